import { XDP_METALEN_MAX } from "./api/index.ts";

/** The dated behaviours of the XDP layer, resolved once; see the presets of the machine. */
export interface XdpDates {
  /** From 6.3: a page_pool frame's page says whose it is, and its mem id is not looked up. */
  readonly framesFollowPointer: boolean;
  /** Bytes of metadata that a packet may have: XDP_METALEN_MAX from 6.8, XDP_METALEN_MAX_OLD before. */
  readonly metalenMax: number;
  /** From 5.18: packets in several buffers reach programs that say they can take them. */
  readonly hasMultiBuffer: boolean;
  /** From 5.14 (e624d4ed4aa8): a redirect may go to all of a devmap. */
  readonly hasBroadcast: boolean;
  /** From 5.14 (cb261b594b41): a devmap's program runs when the queue is sent; before, when a packet enters it. */
  readonly devmapRunsAtFlush: boolean;
  /** From 6.3: what a device does with XDP is asked of its feature bits, fragments among them; before, of the functions it has. */
  readonly asksFeatures: boolean;
  /** From 6.6: AF_XDP knows packets in several buffers. */
  readonly xskHasMultiBuffer: boolean;
  /** From 6.11: where a program asked to go is forgotten when its softirq ends; before, the next that answers XDP_REDIRECT without asking is sent there. */
  readonly redirectEndsWithContext: boolean;
  /** From 6.17 (2b986b9e917b): a cpumap's thread returns nothing direct until its redirects are flushed; before, while its program runs. */
  readonly cpumapFlushesNoDirect: boolean;
  /** From 6.15: a cpumap's program sees every skb of a batch; before, those behind the first that does not pass go up unseen. */
  readonly cpumapRunsEverySkb: boolean;
  /** From 6.12 (23dc9867329c): a cpumap's thread tells of a batch before it goes up; before, afterwards. */
  readonly cpumapTellsFirst: boolean;
  /** From 6.15 (4f8ab26a034f): a cpumap's thread has packets merged, where their device has GRO; before, those of a batch go up together as they are, skbs first. */
  readonly cpumapMerges: boolean;
}

export const XDP_DATES_6_18: XdpDates = {
  framesFollowPointer: true,
  metalenMax: XDP_METALEN_MAX,
  hasMultiBuffer: true,
  hasBroadcast: true,
  devmapRunsAtFlush: true,
  asksFeatures: true,
  xskHasMultiBuffer: true,
  redirectEndsWithContext: true,
  cpumapFlushesNoDirect: true,
  cpumapRunsEverySkb: true,
  cpumapTellsFirst: true,
  cpumapMerges: true,
};
