import type { Machine } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, PAGE_SIZE, type DmaDevice, type Page, type PayloadRegion } from "@netmem/mm/api";
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
const SMALL_FRAME = 64;
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

/** References that a driver takes of a page at a time. */
const BIAS = 65_535;
const HALF: number = PAGE_SIZE / 2;

/** A page whose halves are posted in turn. */
class PostedPage {
  readonly page: Page;
  readonly dmaAddr: number;
  offset: number;
  bias: number;

  constructor(page: Page, dmaAddr: number) {
    this.page = page;
    this.dmaAddr = dmaAddr;
    this.offset = 0;
    this.bias = BIAS;
  }
}

/** A driver with pages of its own, two packets to a page: a frame is copied into a half, becomes an skb, and is freed; the other half is next. */
class SplitRxQueue {
  private readonly machine: Machine;
  private readonly dma: DmaDevice;
  private readonly dev: NetDevice;
  private readonly wire: PayloadRegion;
  private readonly posted: PostedPage[];
  private readonly descriptors: Int32Array;
  private next: number;

  constructor(machine: Machine) {
    const { pages } = machine.mm;
    this.machine = machine;
    this.dma = machine.mm.attachDevice({ name: "eth0", coherent: true }).dma;
    this.dev = machine.net.registerNetdev("eth0", 1);
    this.wire = machine.mm.payload.addRegion("wire", FRAMES * FRAME_STRIDE, true);
    for (let i = 0; i < FRAMES; i++) this.wire.bytes[i * FRAME_STRIDE + 12] = ETH_P_IP >> 8;
    this.posted = Array.from({ length: RING }, () => {
      const page = pages.allocPages(GFP_ATOMIC, 0, -1)!;
      pages.pageRefAdd(page, BIAS - 1);
      return new PostedPage(page, this.dma.mapPage(page, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0));
    });
    this.descriptors = new Int32Array(RING);
    this.next = 0;
  }

  /** One packet. */
  receive(): void {
    const at = this.next;
    this.next = (at + 1) & (RING - 1);
    const { machine, dma } = this;
    const posted = this.posted[at]!;
    const { page } = posted;
    machine.mm.payload.dmaCopy(page.region, page.base + posted.offset + NET_SKB_PAD, this.wire, at * FRAME_STRIDE, SMALL_FRAME);
    this.descriptors[at] = DONE | SMALL_FRAME;

    const status = this.descriptors[at]!;
    if ((status & DONE) === 0) throw new Error("nothing received");
    this.descriptors[at] = 0;
    const count = page.refcount;
    const bytes = status & (DONE - 1);
    dma.syncForCpu(posted.dmaAddr, posted.offset + NET_SKB_PAD, bytes, DMA_FROM_DEVICE);
    posted.bias--;
    const { lifetime, edit } = machine.net;
    const skb = lifetime.napiBuildSkb(page, HALF, posted.offset)!;
    edit.skbReserve(skb, NET_SKB_PAD);
    edit.skbPut(skb, bytes);
    skb.dev = this.dev;
    edit.ethTypeTrans(skb);
    if (count - posted.bias > 1) throw new Error("the other half is held");
    posted.offset ^= HALF;
    if (posted.bias === 1) {
      machine.mm.pages.pageRefAdd(page, BIAS - 1);
      posted.bias = BIAS;
    }
    lifetime.consumeSkb(skb);
    dma.syncForDevice(posted.dmaAddr, posted.offset + NET_SKB_PAD, bytes, DMA_FROM_DEVICE);
  }
}

export function splitPages(machine: Machine): () => void {
  const queue = new SplitRxQueue(machine);
  return () => queue.receive();
}

/** Bytes beside its pages that a machine of these workloads needs. */
export const WIRE_BYTES: number = FRAMES * FRAME_STRIDE;
