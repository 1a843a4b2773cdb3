/** The dated behaviours of memory, resolved once; see the presets of the machine. */
export interface MmRules {
  /** From 6.8 (dba1b8a7ab68): freeing a page looks for the page_pool signature. */
  readonly checksPoolSignature: boolean;
  /** From 6.7: per-CPU lists move their high mark, and refills and returns grow while they repeat. Before, only returns grow. */
  readonly pcpAutoTunes: boolean;
  /** From 6.14 or so a slab page has no references to take or drop; 6.1 and 6.12 know no exception. */
  readonly slabHasNoRefs: boolean;
  /** From 6.13 fragments are cut from the start of their block upwards; before, from its end downwards. */
  readonly fragsAscend: boolean;
  /** Until after 6.1 a fragment cache may reclaim for its large block, if the caller may. */
  readonly fragRefillReclaims: boolean;
  /** From 6.2 (ffcb75458460): coherent memory cannot be asked for as a compound block. */
  readonly coherentRefusesComp: boolean;
  /** From 6.10 (f406c8e4b770): syncs that would do nothing are skipped. */
  readonly skipsSyncs: boolean;
}

/** What the newest kernel does. */
export const MM_RULES_6_18: MmRules = {
  checksPoolSignature: true,
  pcpAutoTunes: true,
  slabHasNoRefs: true,
  fragsAscend: true,
  fragRefillReclaims: false,
  coherentRefusesComp: true,
  skipsSyncs: true,
};
