/** Holds pages for nobody, so that others meet an allocator as full as one likes. */
export interface Ballast {
  readonly heldPages: () => number;
  /**
   * Takes pages, or gives some back, until `freePages` are left free on node `nid` (all nodes for `NUMA_NO_NODE`), per-CPU
   * lists emptied first; stops early when nothing more is there to take or to give. Answers how many are free then.
   */
  readonly leaveFree: (freePages: number, nid: number) => number;
  /** Gives all of them back. */
  readonly release: () => void;
}

/** Something that can give memory back when there is none. @kernel struct shrinker (include/linux/shrinker.h) */
export interface Shrinker {
  readonly name: string;
  /** Frees what it can and answers how many pages; must not throw. Process context. */
  readonly shrink: () => number;
}

export interface Reclaim {
  /** Asked in the order of registration. Keeps. @kernel shrinker_register (mm/shrinker.c) */
  readonly registerShrinker: (shrinker: Shrinker) => void;
  /** Called when reclaim found nothing: true if it freed memory, and the request is tried once more. Keeps. @kernel out_of_memory (mm/oom_kill.c) */
  readonly setOomHandler: (handler: (() => boolean) | null) => void;
}
