import type { SharedRelease } from "./api/index.ts";

/** The dated behaviours of a pool, resolved once; see the presets of the machine. */
export interface PagePoolRules {
  readonly sharedRelease: SharedRelease;
  /** Written into each page: into word 1, keeping its other bits, or into a word of its own. */
  readonly signature: number;
  readonly ownSignatureWord: boolean;
  /** From 5.15 the pool writes its pointer when it allocates; before, the driver does at mark time. */
  readonly stampsOwnerAtAlloc: boolean;
  /** A put in the consumer's own softirq is direct without being told. */
  readonly napiLocal: boolean;
  /** From 6.16 mapped pages are indexed, and destroy unmaps those still out. */
  readonly tracksDma: boolean;
  /** From 6.8 the stall warning is for pools that no user can list. */
  readonly mutesVisibleStalls: boolean;
  /** Over-large rings are clamped; before, refused. */
  readonly clampsRing: boolean;
}
