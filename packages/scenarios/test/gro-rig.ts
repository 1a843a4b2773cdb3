import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { skbRegion, type SkBuff } from "@netmem/net-core/api";
import type { PresetName } from "@netmem/machine";
import { Rig, type RigPool } from "./rig.ts";

/** How a driver lays a frame out: all in one page, the same with its IP header on a word; or the first bytes in a head of the slab and the rest in pages. */
export type Layout = "page" | "aligned page" | "split" | "all behind Ethernet in a page" | "cut behind IP" | "cut in IP and TCP" | "IP in a page of its own";
/** Where those are cut that are not in one page. */
const CUTS: Readonly<Record<Exclude<Layout, "page" | "aligned page">, readonly number[]>> = { split: [54], "all behind Ethernet in a page": [14], "cut behind IP": [34], "cut in IP and TCP": [25, 40], "IP in a page of its own": [14, 34] };
export const LAYOUTS: readonly Layout[] = ["page", "aligned page", ...(Object.keys(CUTS) as Layout[])];

/** A device with GRO whose received packets are ours to look at. */
export class GroRig {
  readonly rig: Rig;
  readonly from: RigPool;
  readonly up: SkBuff[] = [];
  /** How many came up together. */
  readonly batches: number[] = [];

  constructor(hz: number = 1000, preset: PresetName = "6.18") {
    this.rig = new Rig({ preset, hz });
    this.from = this.rig.createPool();
    this.rig.dev.gro = true;
    this.rig.machine.net.receive.setProtocol({ packetRcv: (skb) => void this.up.push(skb) });
  }

  skb(frame: Uint8Array, layout: Layout = "page"): SkBuff {
    const { net } = this.rig.machine;
    let skb: SkBuff;
    if (layout === "page" || layout === "aligned page") {
      const head = this.rig.page(this.from);
      skb = net.lifetime.napiBuildSkb(head, PAGE_SIZE)!;
      net.recycle.skbMarkForRecycle(skb, head, this.from.mem);
      net.edit.skbReserve(skb, layout === "page" ? 64 : 66);
      net.edit.skbPut(skb, frame.length);
      skbRegion(skb).bytes.set(frame, skb.data);
    } else {
      const [inHead, ...cuts] = CUTS[layout];
      skb = net.lifetime.allocSkb(256, GFP_ATOMIC)!;
      net.edit.skbPut(skb, Math.min(inHead!, frame.length));
      skbRegion(skb).bytes.set(frame.subarray(0, inHead), skb.data);
      for (const [i, from] of [inHead!, ...cuts].entries()) {
        const part = frame.subarray(from, cuts[i] ?? frame.length);
        if (part.length === 0) continue;
        const page = this.rig.page(this.from);
        page.region.bytes.set(part, page.base + 8);
        net.edit.skbAddRxFrag(skb, page, 8, part.length, PAGE_SIZE);
        net.recycle.skbMarkForRecycle(skb, page, this.from.mem);
      }
    }
    skb.dev = this.rig.dev;
    net.edit.ethTypeTrans(skb);
    return skb;
  }

  /** One poll that receives these. */
  receive(...frames: readonly Uint8Array[]): void {
    this.receiveAs("page", frames);
  }

  receiveAs(layout: Layout, frames: readonly Uint8Array[]): void {
    this.rig.inPoll(() => {
      for (const frame of frames) this.rig.machine.net.receive.napiGroReceive(this.rig.napi, this.skb(frame, layout));
    });
  }

  /** IP packet of what came up, all of it. */
  bytes(skb: SkBuff): Uint8Array {
    const { net, mm } = this.rig.machine;
    const copy = new Uint8Array((skb.len + 7) & ~7);
    if (net.edit.skbCopyBits(skb, 0, mm.payload.adoptRegion("copy", copy, true), 0, skb.len) !== 0) throw new Error("unreadable");
    return copy.subarray(0, skb.len);
  }

  /** TCP's. */
  payload(skb: SkBuff): Uint8Array {
    const bytes = this.bytes(skb);
    return bytes.subarray(20 + (bytes[32]! >> 4) * 4);
  }

  segments(): number[] {
    return this.up.map((skb) => skb.shinfo!.gsoSegs || 1);
  }

  /** All is freed: packets and pages that are nowhere then. */
  end(): { lost: number; reports: readonly string[] } {
    for (const skb of this.up.splice(0)) this.rig.free(skb);
    this.rig.machine.kernel.rcu.rcuBarrier();
    this.rig.destroyPool(this.from);
    return { lost: this.from.pool.inflight() + this.rig.machine.net.lifetime.stats.live, reports: this.rig.reportKinds() };
  }
}
