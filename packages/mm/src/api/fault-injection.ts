/**
 * When a fault point fails. All conditions must hold; those left out do.
 * @kernel struct fault_attr (include/linux/fault-inject.h)
 */
export interface FaultAttr {
  /** Percent of the calls, 0 … 100, drawn from a stream of the point's own; default 100. */
  readonly probability?: number;
  /** Starts that stream; default 1. */
  readonly seed?: number;
  /** Only every n-th eligible call, n ≥ 1. */
  readonly interval?: number;
  /** Only the n-th eligible call from now, n ≥ 1: to visit every allocation of a run, one run each. @kernel fail-nth */
  readonly nth?: number;
  /** Lets this many bytes pass first. */
  readonly space?: number;
  /** At most so many faults; default without limit. */
  readonly times?: number;
  /** Page allocations below this order pass. @kernel fail_page_alloc min-order */
  readonly minOrder?: number;
  /**
   * Only calls made, directly or not, by a function of this name: `pskbExpandHead`, `fill`. Looked up on the call stack, as
   * the kernel does (`require-start`), so a bundler that renames functions defeats it.
   */
  readonly site?: string;
}

/** One kind of call that can be made to fail. */
export interface FaultPoint {
  readonly name: string;
  /** Starts counting anew. */
  readonly arm: (attr: FaultAttr) => void;
  readonly disarm: () => void;
  /** Since it was armed: calls that met the filters, and faults. */
  readonly eligible: () => number;
  readonly injected: () => number;
}

/** The other end of a fault point, for the layer whose calls it makes fail. */
export interface FaultGate {
  /** Looked at first: off, that is all a point costs. */
  readonly armed: boolean;
  /** Asked only while armed, once a call: whether it is to fail. `order` and `bytes` of the request, 0 where there is none. */
  readonly shouldFail: (order: number, bytes: number) => boolean;
}

/** Failures on demand, of what may always fail. Off, a point costs one comparison. */
export interface FaultInjection {
  /** `allocPages` and `allocPagesBulk`. @kernel fail_page_alloc (mm/fail_page_alloc.c) */
  readonly failPageAlloc: FaultPoint;
  /** `kmalloc` and the caches. @kernel failslab (mm/failslab.c) */
  readonly failSlab: FaultPoint & FaultGate;
  /** Streaming and coherent mappings of any device. */
  readonly failDmaMap: FaultPoint;
  /** A function of a layer above that says it can be made to fail, by our name for it; the same point for the same name. @kernel ALLOW_ERROR_INJECTION, fail_function (kernel/fail_function.c) */
  readonly failFunction: (name: string) => FaultPoint & FaultGate;
}
