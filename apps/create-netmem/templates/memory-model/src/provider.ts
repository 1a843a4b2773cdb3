import type { MemoryModelDeps, ProvidedArea } from "@netmem/memory-model/api";
import { NET_IOV_DMABUF, type Netmem } from "@netmem/mm/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import type { MemoryProviderInfo, NetDevice, NetdevRxQueue } from "@netmem/xdp/api";

/** Where the memory of one queue comes from, in place of the page allocator. */
export class DeviceMemoryProvider implements MemoryProvider {
  readonly name = "my-model";
  readonly provided: ProvidedArea;
  readonly #deps: MemoryModelDeps;
  readonly #dev: NetDevice;
  readonly #queueIndex: number;

  constructor(deps: MemoryModelDeps, dev: NetDevice, queueIndex: number, buffers: number) {
    this.#deps = deps;
    this.#dev = dev;
    this.#queueIndex = queueIndex;
    // Memory of the device's: the CPU cannot read it.
    this.provided = deps.areas.create("my-model", NET_IOV_DMABUF, buffers, false);
  }

  /** Register: the queue is restarted, and its driver's new pool asks `init`. 0 or a negative errno, and nothing is left. */
  open(): number {
    return this.#deps.providers.openRxq(this.#dev, this.#queueIndex, this);
  }

  /** Unload: the queue goes on with pages, and no device writes here any more. What packets hold comes home when they are freed. */
  close(): void {
    this.#deps.providers.closeRxq(this.#dev, this.#queueIndex, this);
    this.provided.unmap();
  }

  /** A pool wants memory from now on: what it cannot have (large pages, another direction, another device) is refused. */
  init(pool: ProviderPool): number {
    return this.provided.addPool(pool);
  }

  /** In the queue's poll, as its pool is empty: one buffer, and as many more as its cache has room for. */
  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
    // BEGIN HERE: which buffer is next is yours to say. takeFree hands out one that nobody has, counted and marked as the pool's.
    const first = this.provided.takeFree(pool);
    if (first === null) return null;
    for (let room = pool.cacheRoom() - 1; room > 0; room--) {
      const more = this.provided.takeFree(pool);
      if (more === null) break;
      pool.netmemPlaceInCache(more);
    }
    return first;
  }

  /** The pool gives one up for good. True: it is none of ours. */
  releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
    if (!netmem.isNetIov) return true;
    this.provided.release(pool, netmem);
    return false;
  }

  /** The pool is gone, and all that it had is back. */
  destroy(pool: ProviderPool): void {
    this.provided.removePool(pool);
  }

  nlFill(_queue: NetdevRxQueue | null): MemoryProviderInfo {
    return { dmabuf: 1 };
  }

  /** The device goes away while its queue is bound. */
  uninstall(queue: NetdevRxQueue): void {
    queue.memoryProvider = null;
    this.provided.unmap();
  }
}
