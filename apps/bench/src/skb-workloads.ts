import type { Machine } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Page, type PayloadRegion } from "@netmem/mm/api";
import { NET_SKB_PAD } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import type { MemInfo, NetDevice } from "@netmem/xdp/api";

/** Descriptors of the receive queue. */
const RING = 64;
/** Of a descriptor: the NIC has filled its buffer; the other bits are the length. */
const DONE: number = 1 << 30;
/** Frames in the wire's memory. */
const FRAMES = 64;
const FRAME_STRIDE = 2048;
const ETH_P_IP = 0x0800;

/** A NIC's receive side and its driver: a frame is copied into a posted page, becomes an skb, is cloned, and both are freed. */
class RxQueue {
  private readonly machine: Machine;
  private readonly pool: PagePool;
  private readonly dev: NetDevice;
  private readonly mem: MemInfo;
  private readonly wire: PayloadRegion;
  private readonly posted: Page[];
  private readonly descriptors: Int32Array;
  private readonly frameBytes: number;
  private next: number;

  constructor(machine: Machine, pool: PagePool, frameBytes: number) {
    this.machine = machine;
    this.pool = pool;
    this.frameBytes = frameBytes;
    this.dev = machine.net.registerNetdev("eth0", 1);
    const { xdpRxq } = this.dev.rxQueues[0]!;
    machine.xdp.rxqs.xdpRxqInfoReg(xdpRxq, this.dev, 0);
    if (machine.xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, pool.memType, pool) !== 0) throw new Error("the pool was not registered");
    this.mem = xdpRxq.mem;
    this.wire = machine.mm.payload.addRegion("wire", FRAMES * FRAME_STRIDE, true);
    for (let i = 0; i < FRAMES; i++) this.wire.bytes[i * FRAME_STRIDE + 12] = ETH_P_IP >> 8;
    this.posted = Array.from({ length: RING }, () => pool.allocPages(GFP_ATOMIC)!);
    this.descriptors = new Int32Array(RING);
    this.next = 0;
  }

  /** One packet. */
  receive(): void {
    const at = this.next;
    this.next = (at + 1) & (RING - 1);
    this.arrive(at);
    this.poll(at);
  }

  private arrive(at: number): void {
    const page = this.posted[at]!;
    this.machine.mm.payload.dmaCopy(page.region, page.base + NET_SKB_PAD, this.wire, at * FRAME_STRIDE, this.frameBytes);
    this.descriptors[at] = DONE | this.frameBytes;
  }

  private poll(at: number): void {
    const status = this.descriptors[at]!;
    if ((status & DONE) === 0) throw new Error("nothing received");
    const page = this.posted[at]!;
    this.posted[at] = this.pool.allocPages(GFP_ATOMIC)!;
    this.descriptors[at] = 0;
    const { lifetime, edit, recycle } = this.machine.net;
    const skb = lifetime.napiBuildSkb(page, PAGE_SIZE)!;
    recycle.skbMarkForRecycle(skb, page, this.mem);
    edit.skbReserve(skb, NET_SKB_PAD);
    edit.skbPut(skb, status & (DONE - 1));
    skb.dev = this.dev;
    edit.ethTypeTrans(skb);
    const clone = lifetime.skbClone(skb, GFP_ATOMIC)!;
    lifetime.consumeSkb(skb);
    lifetime.consumeSkb(clone);
  }
}

export function rxCloneFree(frameBytes: number): (machine: Machine, pool: PagePool) => () => void {
  return (machine, pool) => {
    const queue = new RxQueue(machine, pool, frameBytes);
    return () => queue.receive();
  };
}

/** Bytes beside its pages that a machine of these workloads needs. */
export const WIRE_BYTES: number = FRAMES * FRAME_STRIDE;
