/** What must wait until nobody who may still be looking is. */
export interface Rcu {
  /**
   * `func` runs in a softirq of the calling CPU once a grace period is over: a tick from now, since no reader here lasts longer than a step; on real machines a few,
   * and it is one jiffy at the least. Those of a CPU run in the order they came. @kernel call_rcu (kernel/rcu/tree.c)
   */
  readonly callRcu: (func: () => void) => void;
  /** The calling process sleeps until all that were passed to `callRcu` so far have run, and those that these pass. Throws outside process context. @kernel rcu_barrier */
  readonly rcuBarrier: () => void;
}
