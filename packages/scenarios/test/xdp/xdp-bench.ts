import { PRESETS, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import {
  MEM_TYPE_PAGE_POOL, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_NDO_XMIT_SG, NETDEV_XDP_ACT_REDIRECT, XDP_PACKET_HEADROOM,
  type DevMap, type NetDevice, type XdpBuff, type XdpFrame, type XdpProg, type XdpProgram,
} from "@netmem/xdp/api";
import { PoolBench } from "../pp-rows/pool-bench.ts";

/** A machine, a pool that is the memory of its device's first queue, and packets of that pool's. */
export class XdpBench extends PoolBench {
  readonly pool: PagePool;
  readonly buff: XdpBuff;
  readonly preset: PresetName;

  constructor(preset: PresetName) {
    super(preset);
    this.preset = preset;
    this.pool = this.create({ napi: null });
    this.buff = this.queue(0, this.pool);
  }

  /** Registers a queue with a pool as its memory: the packet that is received there. */
  queue(index: number, pool: PagePool): XdpBuff {
    const { xdp } = this.machine;
    const { xdpRxq } = this.dev.rxQueues[index]!;
    xdp.rxqs.xdpRxqInfoReg(xdpRxq, this.dev, index);
    if (xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool) !== 0) throw new Error("refused");
    const buff = xdp.structs.createXdpBuff(xdpRxq);
    xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
    return buff;
  }

  receive(buff: XdpBuff, pool: PagePool, frags: number = 0): Page[] {
    const { buffs } = this.machine.xdp;
    const pages = this.take(pool, 1 + frags);
    buffs.xdpInitBuff(buff, PAGE_SIZE);
    buffs.xdpPrepareBuff(buff, pages[0]!, 0, XDP_PACKET_HEADROOM, 60, true);
    for (const page of pages.slice(1)) if (!buffs.xdpBuffAddFrag(buff, page, 0, 1000, PAGE_SIZE)) throw new Error("no room");
    return pages;
  }

  /** A packet of 60 bytes in `buff`, its pool's consumer being the caller already. */
  receiveHere(buff: XdpBuff = this.buff, pool: PagePool = this.pool): Page[] {
    const { buffs } = this.machine.xdp;
    const page = pool.allocPages(GFP_ATOMIC)!;
    buffs.xdpInitBuff(buff, PAGE_SIZE);
    buffs.xdpPrepareBuff(buff, page, 0, XDP_PACKET_HEADROOM, 60, true);
    return [page];
  }

  frame(buff: XdpBuff = this.buff, pool: PagePool = this.pool, frags: number = 0): { readonly frame: XdpFrame; readonly pages: Page[] } {
    const pages = this.receive(buff, pool, frags);
    const frame = this.machine.xdp.buffs.xdpConvertBuffToFrame(buff);
    if (frame === null) throw new Error("no frame");
    return { frame, pages };
  }

  /** What lies in a pool's ring, in order. */
  ring(pool: PagePool = this.pool): number[] {
    return pool.ringItems().map((netmem: Netmem) => (netmem as Page).pfn);
  }

  /** A program, loaded; one that takes fragments only where kernels know of such. */
  prog(run: XdpProgram, name: string = "test", hasFrags: boolean = this.multiBuffer): XdpProg {
    const prog = this.machine.xdp.programs.bpfProgLoad(name, run, hasFrags);
    if (typeof prog === "number") throw new Error(`refused with ${prog}`);
    return prog;
  }

  get multiBuffer(): boolean {
    return PRESETS[this.preset].xdp.hasMultiBuffer;
  }

  /** Runs `prog` on the packet in `buff`, and redirects it: 0 or an errno. In softirq. */
  redirect(prog: XdpProg, buff: XdpBuff = this.buff): number {
    this.machine.xdp.programs.bpfProgRunXdp(prog, buff);
    return this.machine.xdp.redirect.xdpDoRedirect(this.dev, buff, prog);
  }

  devMap(...devs: readonly NetDevice[]): DevMap {
    const map = this.machine.xdp.maps.createDevMap(16);
    if (typeof map === "number") throw new Error(`refused with ${map}`);
    devs.forEach((dev, key) => {
      if (map.mapUpdateElem(key, dev.ifindex, null, 0) !== 0) throw new Error("no entry");
    });
    return map;
  }
}

/** A device that notes what it is asked to send. */
export class SendingDevice {
  readonly dev: NetDevice;
  /** `n flags` of each call. */
  readonly calls: string[] = [];
  /** Sent and not completed. */
  readonly frames: XdpFrame[] = [];
  /** What `ndo_xdp_xmit` answers; null: it takes all. */
  answer: number | null = null;

  constructor(bench: PoolBench, name: string) {
    this.dev = bench.machine.net.registerNetdev(name, 1);
    this.dev.up = true;
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT | NETDEV_XDP_ACT_NDO_XMIT_SG;
    this.dev.xdpOps = {
      xdpSetupProg: null, xskSetupPool: null, xskWakeup: null,
      xdpXmit: (frames, n, flags) => {
        this.calls.push(`${n} ${flags}`);
        const taken = this.answer ?? n;
        for (let i = 0; i < taken; i++) this.frames.push(frames[i]!);
        return taken;
      },
    };
  }

  /** Sends are complete: all frames home. */
  complete(bench: PoolBench): void {
    for (const frame of this.frames.splice(0)) bench.machine.xdp.xdpReturn.xdpReturnFrame(frame);
  }
}

/** Of pages, for comparisons that can be printed. */
export function pfns(pages: readonly Page[]): number[] {
  return pages.map(({ pfn }) => pfn);
}

