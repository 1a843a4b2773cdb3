import { ETOOMANYREFS, type ReportSink } from "@netmem/kernel/api";
import { skbCloned, skbName, skbOwner, type Coalesced, type SegmentFeatures, type SkBuff, type SkbMerge, type SkbZerocopy } from "./api/index.ts";
import { tryCoalesce } from "./coalesce.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import { groHold, groReceive, groStart } from "./gro/skb-gro-receive.ts";
import { mustLive } from "./must-live.ts";
import type { NetCoreRules } from "./rules.ts";
import type { Segmentation } from "./segment.ts";
import { SkbShifts } from "./shift.ts";

/** Packets that become one, or several; each way has a file of its own. */
export class SkbMerges implements SkbMerge {
  readonly #edit: SkbEdits;
  readonly #refs: FragRefs;
  readonly #shifts: SkbShifts;
  readonly #segmentation: Segmentation;
  readonly #rules: NetCoreRules;
  readonly #reports: ReportSink;

  constructor(edit: SkbEdits, refs: FragRefs, zerocopy: SkbZerocopy, segmentation: Segmentation, rules: NetCoreRules, reports: ReportSink) {
    this.#edit = edit;
    this.#refs = refs;
    this.#shifts = new SkbShifts(edit, refs, zerocopy, reports);
    this.#segmentation = segmentation;
    this.#rules = rules;
    this.#reports = reports;
  }

  skbTryCoalesce(to: SkBuff, from: SkBuff, result: Coalesced): boolean {
    mustLive(to, this.#reports);
    mustLive(from, this.#reports);
    return tryCoalesce(to, from, result, this.#edit, this.#refs, this.#rules.clonedCoalesce);
  }

  skbSplit(skb: SkBuff, skb1: SkBuff, len: number): void {
    mustLive(skb, this.#reports);
    mustLive(skb1, this.#reports);
    this.#shifts.split(skb, skb1, len);
  }

  skbShift(tgt: SkBuff, skb: SkBuff, bytes: number): number {
    mustLive(tgt, this.#reports);
    mustLive(skb, this.#reports);
    return this.#shifts.shift(tgt, skb, bytes);
  }

  skbSegment(skb: SkBuff, features: SegmentFeatures): SkBuff | number {
    mustLive(skb, this.#reports);
    return this.#segmentation.segment(skb, features);
  }

  skbGroReceive(p: SkBuff, skb: SkBuff): number {
    mustLive(p, this.#reports);
    mustLive(skb, this.#reports);
    if (p.gro.last === null || p.dev === null) this.#reports.report("skb-gro-not-held", "bug", skbName(p), skbOwner(p), "packets are merged into it, but it has no device, or is not held: groStart and groHold come first");
    if (skbCloned(p) || skbCloned(skb)) {
      this.#reports.report("skb-gro-shared", "warn", skbName(skb), skbOwner(skb), "GRO gets packets whose data nobody shares; these two are not merged");
      return -ETOOMANYREFS;
    }
    return groReceive(p, skb, this.#edit, this.#rules);
  }

  groStart(skb: SkBuff, dataOffset: number): void {
    mustLive(skb, this.#reports);
    groStart(skb, dataOffset);
  }

  groHold(skb: SkBuff): void {
    groHold(skb);
  }
}
