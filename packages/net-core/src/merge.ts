import type { ReportSink } from "@netmem/kernel/api";
import type { Coalesced, SegmentFeatures, SkBuff, SkbMerge, SkbZerocopy } from "./api/index.ts";
import { tryCoalesce } from "./coalesce.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import { groHold, groReceive, groStart } from "./gro-receive.ts";
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

  constructor(edit: SkbEdits, refs: FragRefs, zerocopy: SkbZerocopy, segmentation: Segmentation, rules: NetCoreRules, reports: ReportSink) {
    this.#edit = edit;
    this.#refs = refs;
    this.#shifts = new SkbShifts(edit, refs, zerocopy, reports);
    this.#segmentation = segmentation;
    this.#rules = rules;
  }

  skbTryCoalesce(to: SkBuff, from: SkBuff, result: Coalesced): boolean {
    return tryCoalesce(to, from, result, this.#edit, this.#refs, this.#rules.clonedCoalesce);
  }

  skbSplit(skb: SkBuff, skb1: SkBuff, len: number): void {
    this.#shifts.split(skb, skb1, len);
  }

  skbShift(tgt: SkBuff, skb: SkBuff, bytes: number): number {
    return this.#shifts.shift(tgt, skb, bytes);
  }

  skbSegment(skb: SkBuff, features: SegmentFeatures): SkBuff | number {
    return this.#segmentation.segment(skb, features);
  }

  skbGroReceive(p: SkBuff, skb: SkBuff): number {
    return groReceive(p, skb, this.#edit, this.#rules.groRefusesZcopy);
  }

  groStart(skb: SkBuff, dataOffset: number): void {
    groStart(skb, dataOffset);
  }

  groHold(skb: SkBuff): void {
    groHold(skb);
  }
}
