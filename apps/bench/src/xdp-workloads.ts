import type { Machine } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import {
  NETDEV_XDP_ACT_NDO_XMIT, XDP_BULK_QUEUE_SIZE, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS, XDP_REDIRECT, XDP_TX,
  type DevMap, type NetDevice, type XdpBuff, type XdpFrame, type XdpMd, type XdpProg, type XdpProgram,
} from "@netmem/xdp/api";

/** Descriptors of the receive queue, and bytes of each packet. */
const RING = 64;
const PACKET_BYTES = 60;
const ETH_P_IP = 0x0800;
const IPPROTO_UDP = 17;

/** Drops UDP, lets pass what is no IP; all packets are UDP here. */
export function dropUdp(ctx: XdpMd): number {
  if (ctx.linearBytes < 34) return XDP_PASS;
  if (ctx.getUint16(12) !== ETH_P_IP) return XDP_PASS;
  return ctx.getUint8(23) === IPPROTO_UDP ? XDP_DROP : XDP_PASS;
}

/** Sends back what is IP. */
export function swapMacs(ctx: XdpMd): number {
  if (ctx.linearBytes < 34 || ctx.getUint16(12) !== ETH_P_IP) return XDP_PASS;
  const high = ctx.getUint32(0);
  const low = ctx.getUint16(4);
  ctx.setUint32(0, ctx.getUint32(6));
  ctx.setUint16(4, ctx.getUint16(10));
  ctx.setUint32(6, high);
  ctx.setUint16(10, low);
  return XDP_TX;
}

/** The receive side of a driver: a ring of pages from a pool, a packet in each, one program. */
class RxRing {
  readonly dev: NetDevice;
  private readonly machine: Machine;
  private readonly pool: PagePool;
  private readonly posted: Page[];
  private readonly buff: XdpBuff;
  private readonly prog: XdpProg;
  /** Sent, and not completed. */
  private readonly tx: (XdpFrame | null)[];
  private sent: number;
  private next: number;
  private sinceFlush: number;

  constructor(machine: Machine, pool: PagePool, run: XdpProgram) {
    const { xdp, net } = machine;
    this.machine = machine;
    this.pool = pool;
    this.dev = net.registerNetdev("eth0", 1);
    const { xdpRxq } = this.dev.rxQueues[0]!;
    xdp.rxqs.xdpRxqInfoReg(xdpRxq, this.dev, 0);
    if (xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, pool.memType, pool) !== 0) throw new Error("the pool was not registered");
    this.buff = xdp.structs.createXdpBuff(xdpRxq);
    const prog = xdp.programs.bpfProgLoad("bench", run, true);
    if (typeof prog === "number") throw new Error(`no program: errno ${prog}`);
    this.prog = prog;
    this.posted = Array.from({ length: RING }, () => pool.allocPages(GFP_ATOMIC)!);
    this.tx = Array.from({ length: XDP_BULK_QUEUE_SIZE }, () => null);
    this.sent = 0;
    this.next = 0;
    this.sinceFlush = 0;
    // What the NIC wrote, in every page the pool will ever hand out.
    for (const page of machine.mm.pages.pages) {
      const at = page.base + XDP_PACKET_HEADROOM;
      page.region.bytes[at + 12] = ETH_P_IP >> 8;
      page.region.bytes[at + 23] = IPPROTO_UDP;
    }
  }

  /** One packet. */
  receive(): void {
    const { xdp } = this.machine;
    const { buff, prog } = this;
    const at = this.next;
    const page = this.posted[at]!;
    this.posted[at] = this.pool.allocPages(GFP_ATOMIC)!;
    this.next = (at + 1) & (RING - 1);
    xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
    xdp.buffs.xdpPrepareBuff(buff, page, 0, XDP_PACKET_HEADROOM, PACKET_BYTES, true);
    switch (xdp.programs.bpfProgRunXdp(prog, buff)) {
      case XDP_TX:
        this.xmitBack();
        return;
      case XDP_REDIRECT:
        if (xdp.redirect.xdpDoRedirect(this.dev, buff, prog) !== 0) throw new Error("not redirected");
        if (++this.sinceFlush === RING) {
          this.sinceFlush = 0;
          xdp.redirect.xdpDoFlush();
        }
        return;
      case XDP_DROP:
        xdp.xdpReturn.xdpReturnBuff(buff);
        return;
      default: throw new Error("the program let a packet pass");
    }
  }

  private xmitBack(): void {
    const { xdp } = this.machine;
    const frame = xdp.buffs.xdpConvertBuffToFrame(this.buff);
    if (frame === null) throw new Error("no frame");
    this.tx[this.sent++] = frame;
    if (this.sent < XDP_BULK_QUEUE_SIZE) return;
    for (let i = 0; i < XDP_BULK_QUEUE_SIZE; i++) xdp.xdpReturn.xdpReturnFrameRxNapi(this.tx[i]!);
    this.sent = 0;
  }
}

export function rxDrop(machine: Machine, pool: PagePool): () => void {
  const ring = new RxRing(machine, pool, dropUdp);
  return () => ring.receive();
}

export function rxTx(machine: Machine, pool: PagePool): () => void {
  const ring = new RxRing(machine, pool, swapMacs);
  return () => ring.receive();
}

/** To a device that takes all it is given, and is done with it at once. */
export function rxRedirect(machine: Machine, pool: PagePool): () => void {
  const { xdp, net } = machine;
  const out = net.registerNetdev("eth1", 1);
  const bulk = xdp.structs.createFrameBulk();
  out.up = true;
  out.xdpFeatures = NETDEV_XDP_ACT_NDO_XMIT;
  out.xdpOps = {
    xdpSetupProg: null, xskSetupPool: null, xskWakeup: null,
    xdpXmit: (frames, n) => {
      for (let i = 0; i < n; i++) xdp.xdpReturn.xdpReturnFrameBulk(frames[i]!, bulk);
      xdp.xdpReturn.xdpFlushFrameBulk(bulk);
      return n;
    },
  };
  const map = xdp.maps.createDevMap(1) as DevMap;
  map.mapUpdateElem(0, out.ifindex, null, 0);
  const ring = new RxRing(machine, pool, (ctx) => ctx.redirectMap(map, 0, 0));
  return () => ring.receive();
}
