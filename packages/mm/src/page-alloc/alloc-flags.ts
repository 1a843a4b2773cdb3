import {
  __GFP_DIRECT_RECLAIM, __GFP_DMA, __GFP_DMA32, __GFP_HIGH, __GFP_KSWAPD_RECLAIM, __GFP_MEMALLOC, __GFP_MOVABLE, __GFP_NOMEMALLOC, __GFP_RECLAIMABLE,
  MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE, ZONE_DMA, ZONE_DMA32, ZONE_NORMAL,
} from "../api/index.ts";
import { CONTEXT_HARDIRQ, PF_MEMALLOC, type ExecutionContext } from "@netmem/kernel/api";

/** What an attempt may do, from the request's flags and how desperate it is. @kernel ALLOC_WMARK_MIN … ALLOC_KSWAPD (mm/internal.h) */
export const ALLOC_WMARK_MIN = 0;
export const ALLOC_WMARK_LOW = 1;
export const ALLOC_WMARK_HIGH = 2;
export const ALLOC_WMARK_MASK = 3;
export const ALLOC_NO_WATERMARKS = 0x4;
export const ALLOC_NON_BLOCK = 0x10;
export const ALLOC_MIN_RESERVE = 0x20;
export const ALLOC_NOFRAGMENT = 0x100;
export const ALLOC_HIGHATOMIC = 0x200;
export const ALLOC_KSWAPD = 0x800;
/** Rights below the min watermark: what is kept for atomic requests counts as free for these. */
export const ALLOC_RESERVES: number = ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE | ALLOC_HIGHATOMIC;

/** Of the second attempt, that of the slow path. @kernel gfp_to_alloc_flags (mm/page_alloc.c) */
export function gfpToAllocFlags(gfp: number, order: number): number {
  let flags = ALLOC_WMARK_MIN;
  if ((gfp & __GFP_HIGH) !== 0) flags |= ALLOC_MIN_RESERVE;
  if ((gfp & __GFP_KSWAPD_RECLAIM) !== 0) flags |= ALLOC_KSWAPD;
  if ((gfp & __GFP_DIRECT_RECLAIM) === 0 && (gfp & __GFP_NOMEMALLOC) === 0) {
    flags |= ALLOC_NON_BLOCK;
    if (order > 0 && (flags & ALLOC_MIN_RESERVE) !== 0) flags |= ALLOC_HIGHATOMIC;
  }
  return flags;
}

/** Whether the request may go below every mark. @kernel __gfp_pfmemalloc_flags (mm/page_alloc.c) */
export function mayIgnoreWatermarks(gfp: number, context: ExecutionContext): boolean {
  if ((gfp & __GFP_NOMEMALLOC) !== 0) return false;
  if ((gfp & __GFP_MEMALLOC) !== 0) return true;
  return (context.taskFlags & PF_MEMALLOC) !== 0 && context.level !== CONTEXT_HARDIRQ;
}

/** The highest zone that may serve it. @kernel gfp_zone (include/linux/gfp.h) */
export function gfpZone(gfp: number): number {
  if ((gfp & __GFP_DMA) !== 0) return ZONE_DMA;
  return (gfp & __GFP_DMA32) === 0 ? ZONE_NORMAL : ZONE_DMA32;
}

/** @kernel gfp_migratetype (include/linux/gfp.h) */
export function gfpMigratetype(gfp: number, groupsByMobility: boolean): number {
  if (!groupsByMobility) return MIGRATE_UNMOVABLE;
  if ((gfp & __GFP_MOVABLE) !== 0) return MIGRATE_MOVABLE;
  return (gfp & __GFP_RECLAIMABLE) === 0 ? MIGRATE_UNMOVABLE : MIGRATE_RECLAIMABLE;
}
