import type { SharedRelease } from "./api/index.ts";

/** Who finds out that a put is its consumer's own: nobody; whoever frees an skb; the pool. */
export type NapiLocal = "nobody" | "skb-free" | "pool";
export const NAPI_LOCALS: readonly NapiLocal[] = ["nobody", "skb-free", "pool"];

/** What a pool does differently from kernel to kernel. */
export interface PagePoolDates {
  /** From 5.13 pages come in bulks of 64; before, one at a time. */
  readonly allocatesInBulk: boolean;
  /** From 6.0 a bulk comes from the pool's node; before, from the running CPU's, whatever node the pool is for. */
  readonly bulkOnPoolNode: boolean;
  /**
   * Who finds out that a put runs in the consumer's own softirq, and may use its cache. `nobody` (up to 6.3): the caller says
   * so or it is not. `skb-free` (6.4 to 6.9): a freed skb's pages are asked about, and only a NAPI counts. `pool` (from 6.10): every put
   * that was not told, and `cpuid` counts as well.
   */
  readonly napiLocal: NapiLocal;
  /** Up to 6.9 a caller's word that it is the consumer counts in softirq only. */
  readonly directNeedsSoftirq: boolean;
  /** From 5.15 (53e0961da1c7). */
  readonly hasFragments: boolean;
  /** From 5.19 (0f6deac3a079) to 6.12 each further fragment of a page counts as `fast`; since, only a page used again in place does, and as `cached` too. */
  readonly fragsCountAsFast: boolean;
  /** From 6.14 (fcc680a647ba) a bulk put may hold several pools' netmems. */
  readonly bulkMixesPools: boolean;
  /** From 6.8 users can list the pools of a device, and a stall of one that they can list is no longer warned of (be0096676e23). */
  readonly listsToUsers: boolean;
  /** What users are shown of a pool's NAPI is what it had when it was created; a later kernel looks anew (6.12 does not yet). */
  readonly listsNapiOfCreation: boolean;
  /** From 6.18 a request with all of GFP_ATOMIC never warns (f3b52167a0cb); before, as its caller said. */
  readonly atomicNeverWarns: boolean;
  /** From 6.9 (2b0cfa6e4956) the stack has a pool a CPU of its own, and PP_FLAG_SYSTEM_POOL is known. */
  readonly hasSystemPools: boolean;
  /** From 6.15 a negative count ends the retries of teardown; before, they went on for ever. */
  readonly stopsAtNegative: boolean;
  /** From 6.16 (ee62ce7a1d90) mapped pages are tracked by an index of so many bits, and destroy unmaps those still out; 0: not tracked. */
  readonly dmaIndexBits: number;
  /** From 6.18 over-large rings are clamped; before, refused. */
  readonly clampsRing: boolean;
}

/** What the newest kernel does. */
export const PAGE_POOL_DATES_6_18: PagePoolDates = {
  allocatesInBulk: true,
  bulkOnPoolNode: true,
  napiLocal: "pool",
  directNeedsSoftirq: false,
  hasFragments: true,
  fragsCountAsFast: false,
  bulkMixesPools: true,
  listsToUsers: true,
  listsNapiOfCreation: false,
  atomicNeverWarns: true,
  hasSystemPools: true,
  stopsAtNegative: true,
  dmaIndexBits: 32,
  clampsRing: true,
};

/** All that pools of one machine have in common, resolved once; see the presets of the machine. */
export interface PagePoolRules extends PagePoolDates {
  readonly sharedRelease: SharedRelease;
  /** Written into each page: into word 1, keeping its other bits, or into a word of its own. */
  readonly signature: number;
  readonly ownSignatureWord: boolean;
  /** From 5.15 the pool writes its pointer when it allocates; before, the driver does at mark time. */
  readonly stampsOwnerAtAlloc: boolean;
  /** On PREEMPT_RT a softirq can be preempted by the consumer: no put is found to be local. */
  readonly preemptRt: boolean;
  /** A 32-bit machine with wider device addresses keeps them in pages: an address that is not a page's cannot be stored. */
  readonly dmaAddrInPages: boolean;
}
