import { EBUSY, EEXIST, EINVAL, ENETDOWN, ENODATA, EOPNOTSUPP, ERANGE, type ReportSink } from "@netmem/kernel/api";
import { ETHTOOL_TCP_DATA_SPLIT_ENABLED, type NetDevice, type NetdevRxQueue } from "@netmem/xdp/api";
import type { MemoryProvider, MemoryProviders } from "./api/index.ts";
import type { PoolLists } from "./user.ts";

/** @kernel net/core/netdev_rx_queue.c */
export class RxQueueProviders implements MemoryProviders {
  readonly #lists: PoolLists;
  readonly #reports: ReportSink;

  constructor(lists: PoolLists, reports: ReportSink) {
    this.#lists = lists;
    this.#reports = reports;
  }

  count(): number {
    let count = 0;
    for (const pool of this.#lists.all()) if (pool.memoryProvider !== null) count++;
    return count;
  }

  openRxq(dev: NetDevice, rxqIndex: number, provider: MemoryProvider): number {
    const refused = refusal(dev, rxqIndex);
    if (refused !== 0) return refused;
    const queue = dev.rxQueues[rxqIndex]!;
    queue.memoryProvider = provider;
    const errno = this.restartRxq(dev, rxqIndex);
    if (errno !== 0) queue.memoryProvider = null;
    return errno;
  }

  closeRxq(dev: NetDevice, rxqIndex: number, provider: MemoryProvider): void {
    const queue = dev.rxQueues[rxqIndex];
    // The device went first, and took the binding with it.
    if (dev.unregistered && queue?.memoryProvider === null) return;
    if (queue === undefined || queue.memoryProvider !== provider) {
      this.#warn("mp-close-mismatch", dev, rxqIndex, queue === undefined ? "closed, but there is no such queue" : "closed for a provider that is not bound to it");
      return;
    }
    queue.memoryProvider = null;
    const errno = this.restartRxq(dev, rxqIndex);
    // A driver whose interface is down has no queue to restart.
    if (errno !== 0 && errno !== -ENETDOWN) this.#warn("mp-close-failed", dev, rxqIndex, `restarting it without its provider failed with errno ${errno}`);
  }

  check(queue: NetdevRxQueue): number {
    const provider = queue.memoryProvider;
    if (provider === null) return 0;
    const used = this.#lists.of(queue.dev).some((pool) => pool.memoryProvider === provider && (pool.params.queueIdx ?? 0) === queue.index);
    return used ? 0 : -ENODATA;
  }

  restartRxq(dev: NetDevice, rxqIndex: number): number {
    const ops = dev.queueMgmtOps;
    if (ops === null) return -EOPNOTSUPP;
    const queue = dev.rxQueues[rxqIndex];
    if (queue === undefined) return -ERANGE;
    const made = ops.queueMemAlloc(queue);
    if (typeof made === "number") return made;
    const unused = this.check(queue);
    if (unused !== 0) {
      ops.queueMemFree(queue, made);
      return unused;
    }
    if (!dev.up) {
      // Nothing runs: the memory is made when the interface comes up.
      ops.queueMemFree(queue, made);
      return 0;
    }
    const old = ops.queueStop(queue);
    if (typeof old === "number") {
      ops.queueMemFree(queue, made);
      return old;
    }
    const started = ops.queueStart(queue, made);
    if (started === 0) {
      ops.queueMemFree(queue, old);
      return 0;
    }
    if (ops.queueStart(queue, old) !== 0) {
      this.#warn("rxq-restart-failed", dev, rxqIndex, "neither the new nor the old memory could be started: the queue stands still");
      ops.queueMemFree(queue, old);
    }
    ops.queueMemFree(queue, made);
    return started;
  }

  #warn(kind: string, dev: NetDevice, rxqIndex: number, message: string): void {
    this.#reports.report(kind, "warn", `rx queue ${rxqIndex}`, dev.name, message);
  }
}

/** 0, or why no provider can be bound to the queue, in the kernel's order. @kernel __net_mp_open_rxq */
function refusal(dev: NetDevice, rxqIndex: number): number {
  if (dev.queueMgmtOps === null) return -EOPNOTSUPP;
  const queue = dev.rxQueues[rxqIndex];
  if (queue === undefined) return -ERANGE;
  if (queue.leased) return -EBUSY;
  if (dev.hdsConfig !== ETHTOOL_TCP_DATA_SPLIT_ENABLED) return -EINVAL;
  if (dev.hdsThresh !== 0) return -EINVAL;
  if (dev.xdpProgCount > 0) return -EEXIST;
  if (queue.memoryProvider !== null) return -EEXIST;
  return queue.xskBound ? -EBUSY : 0;
}
