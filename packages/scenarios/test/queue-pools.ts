import type { PagePool, PagePoolParams, PagePools } from "@netmem/page-pool/api";
import type { NetdevRxQueue, QueueMemory, QueueMgmtOps } from "@netmem/xdp/api";

class PoolMemory implements QueueMemory {
  readonly queueIndex: number;
  readonly pool: PagePool | null;

  constructor(queueIndex: number, pool: PagePool | null) {
    this.queueIndex = queueIndex;
    this.pool = pool;
  }
}

/** The least a driver can do for queues that are restarted: one pool each, and steps that a test can make fail. */
export class QueuePools implements QueueMgmtOps {
  /** What was called, in order. */
  readonly calls: string[] = [];
  /** By call: the errno it answers instead of doing anything, from its n-th time on. */
  readonly failures = new Map<string, { readonly errno: number; readonly from: number; readonly times: number }>();
  readonly #pagePools: PagePools;
  readonly #params: (queueIdx: number) => PagePoolParams;
  readonly #running = new Map<number, PoolMemory>();

  constructor(pagePools: PagePools, params: (queueIdx: number) => PagePoolParams) {
    this.#pagePools = pagePools;
    this.#params = params;
  }

  running(queueIndex: number): PagePool | null {
    return this.#running.get(queueIndex)?.pool ?? null;
  }

  queueMemAlloc(queue: NetdevRxQueue): QueueMemory | number {
    const failed = this.#call("alloc");
    if (failed !== 0) return failed;
    const pool = this.#pagePools.create(this.#params(queue.index));
    return typeof pool === "number" ? pool : new PoolMemory(queue.index, pool);
  }

  queueMemFree(_queue: NetdevRxQueue, memory: QueueMemory): void {
    this.#call("free");
    (memory as PoolMemory).pool?.destroy();
  }

  queueStart(queue: NetdevRxQueue, memory: QueueMemory): number {
    const failed = this.#call("start");
    if (failed === 0) this.#running.set(queue.index, memory as PoolMemory);
    return failed;
  }

  queueStop(queue: NetdevRxQueue): QueueMemory | number {
    const failed = this.#call("stop");
    if (failed !== 0) return failed;
    const memory = this.#running.get(queue.index) ?? new PoolMemory(queue.index, null);
    this.#running.delete(queue.index);
    return memory;
  }

  #call(name: string): number {
    this.calls.push(name);
    const failure = this.failures.get(name);
    const nth = this.calls.filter((call) => call === name).length;
    return failure !== undefined && nth >= failure.from && nth < failure.from + failure.times ? failure.errno : 0;
  }
}
