import { __GFP_DIRECT_RECLAIM, __GFP_KSWAPD_RECLAIM, __GFP_THISNODE, __GFP_ZERO, ZONE_NORMAL } from "../api/index.ts";
import { ALLOC_KSWAPD, ALLOC_WMARK_LOW, gfpMigratetype, gfpZone } from "./alloc-flags.ts";
import type { Nodes, Zonelist } from "./nodes.ts";
import type { Zone } from "./zone.ts";

/** More pages than any zone has, and still a small integer to the engine. */
const NEVER: number = 2 ** 30 - 1;

/** What flags and a node come to: where to look, and how far one may go in the first attempt. @kernel struct alloc_context, prepare_alloc_pages */
export class Request {
  readonly gfp: number;
  readonly node: number;
  readonly zones: Zonelist;
  /** The first of them, which is asked most. Without one, any: `highMark` keeps requests away. */
  readonly zone: Zone;
  /** `ZONE_*` of the highest that may serve. */
  readonly highest: number;
  readonly migratetype: number;
  readonly noFragment: number;
  readonly flags: number;
  /**
   * Free pages above which the first zone hands out a page without further ado. `NEVER` if there is more to do: bytes to
   * clear, or a word about the context.
   */
  readonly highMark: number;

  constructor(gfp: number, node: number, nodes: Nodes, groupsByMobility: boolean, noFragment: number) {
    this.gfp = gfp;
    this.node = node;
    this.highest = gfpZone(gfp);
    this.zones = nodes.zonelist(node, (gfp & __GFP_THISNODE) !== 0, this.highest);
    this.zone = this.zones[0] ?? nodes.zones[0]!;
    this.migratetype = gfpMigratetype(gfp, groupsByMobility);
    this.noFragment = this.highest === ZONE_NORMAL ? noFragment : 0;
    this.flags = ALLOC_WMARK_LOW | this.noFragment | ((gfp & __GFP_KSWAPD_RECLAIM) === 0 ? 0 : ALLOC_KSWAPD);
    const isQuick = this.zones.length > 0 && (gfp & (__GFP_DIRECT_RECLAIM | __GFP_ZERO)) === 0;
    this.highMark = isQuick ? this.zone.watermarkHigh + this.zone.lowmemReserve[this.highest]! : NEVER;
  }
}
