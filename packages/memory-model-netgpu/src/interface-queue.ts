import type { NetIov, Netmem } from "@netmem/mm/api";
import { PAGE_SHIFT } from "@netmem/mm/api";
import type { MemoryModelDeps, ProvidedArea } from "@netmem/memory-model/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import type { MemoryProviderInfo, NetDevice, NetdevRxQueue } from "@netmem/xdp/api";
import type { NetgpuArea, NetgpuContext } from "./context.ts";
import { SharedQueue } from "./shared-queue.ts";

/**
 * One receive queue of a context. What the kernel may receive into is what the user has put on the fill queue, by address: at first all of its buffers, later those that it has looked at. What comes home without having been
 * delivered is kept in a cache of the kernel's.
 * @kernel struct netgpu_ifq, netgpu_get_page, netgpu_put_page (drivers/misc/netgpu/netgpu_main.c of the proposal)
 */
export class NetgpuIfq implements MemoryProvider {
  readonly name = "netgpu";
  readonly fill: SharedQueue;
  /** Entries of the fill queue that were no buffer of the user's to give. */
  badFills = 0;
  #closed = false;
  readonly #context: NetgpuContext;
  readonly #deps: MemoryModelDeps;
  readonly #dev: NetDevice;
  readonly #queueIndex: number;
  readonly #pools: ProviderPool[] = [];
  /** @kernel netgpu_ifq.napi_cache, any_cache */
  readonly #cache: NetIov[] = [];

  constructor(context: NetgpuContext, deps: MemoryModelDeps, dev: NetDevice, queueIndex: number, fillEntries: number) {
    this.fill = new SharedQueue(fillEntries);
    this.#context = context;
    this.#deps = deps;
    this.#dev = dev;
    this.#queueIndex = queueIndex;
  }

  open(): number {
    return this.#deps.providers.openRxq(this.#dev, this.#queueIndex, this);
  }

  /** The user is done with a piece: its address goes onto the fill queue, or the buffer straight home where nobody looks at that any more. False: the queue is full. Process context. */
  giveBack(address: number): boolean {
    if (!this.#closed) return this.fill.push(address, 0);
    const area = this.#context.areaAt(address);
    if (area !== null) area.provided.putUser(niovAt(area, address));
    return true;
  }

  /** The queue goes on without; what is on the fill queue is taken back, so that nothing waits there for a poll that never comes. Process context. @kernel netgpu_free_ifq */
  close(): void {
    this.#closed = true;
    this.#deps.providers.closeRxq(this.#dev, this.#queueIndex, this);
    for (let address = this.fill.peekAddress(); address >= 0; address = this.fill.peekAddress()) {
      this.fill.advance();
      const area = this.#context.areaAt(address);
      if (area !== null) area.provided.putUser(niovAt(area, address));
    }
    this.#context.queueClosed(this);
  }

  init(pool: ProviderPool): number {
    for (const [i, { provided }] of this.#context.areas.entries()) {
      const errno = provided.addPool(pool);
      if (errno === 0) continue;
      for (const before of this.#context.areas.slice(0, i)) before.provided.removePool(pool);
      return errno;
    }
    this.#pools.push(pool);
    return 0;
  }

  /** One that was registered when the queue was bound already: 0 or a negative errno, and then no pool uses it. */
  addArea(provided: ProvidedArea): number {
    for (const [i, pool] of this.#pools.entries()) {
      const errno = provided.addPool(pool);
      if (errno === 0) continue;
      for (const before of this.#pools.slice(0, i)) provided.removePool(before);
      return errno;
    }
    return 0;
  }

  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
    let first: NetIov | null = null;
    while (pool.cacheRoom() > 0) {
      const niov = this.#fromCache(pool) ?? this.#fromFill(pool);
      if (niov === null) break;
      if (first === null) first = niov;
      else pool.netmemPlaceInCache(niov);
    }
    return first;
  }

  #fromCache(pool: ProviderPool): NetIov | null {
    for (let niov = this.#cache.pop(); niov !== undefined; niov = this.#cache.pop()) if (this.#context.areaOf(niov)!.provided.take(pool, niov)) return niov;
    return null;
  }

  /** @kernel netgpu_get_fill_page */
  #fromFill(pool: ProviderPool): NetIov | null {
    for (let address = this.fill.peekAddress(); address >= 0; address = this.fill.peekAddress()) {
      this.fill.advance();
      const area = this.#context.areaAt(address);
      if (area === null) {
        this.badFills++;
        continue;
      }
      const niov = niovAt(area, address);
      if (area.provided.userRefs(niov) === 0) {
        // The user's since it registered the area, and never anybody else's; or somebody else's now.
        if (area.provided.take(pool, niov)) return niov;
        this.badFills++;
      } else if (area.provided.reclaim(pool, niov)) return niov;
    }
    return null;
  }

  releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
    if (!netmem.isNetIov) return true;
    this.#context.areaOf(netmem)!.provided.release(pool, netmem);
    this.#cache.push(netmem);
    return false;
  }

  destroy(pool: ProviderPool): void {
    const at = this.#pools.indexOf(pool);
    if (at >= 0) this.#pools.splice(at, 1);
    for (const { provided } of this.#context.areas) provided.removePool(pool);
  }

  nlFill(_queue: NetdevRxQueue | null): MemoryProviderInfo {
    return {};
  }

  uninstall(queue: NetdevRxQueue): void {
    queue.memoryProvider = null;
    this.#context.queueClosed(this);
  }
}

/** The buffer that an address lies in. */
export function niovAt({ provided, start }: NetgpuArea, address: number): NetIov {
  return provided.area.niovs[(address - start) >> PAGE_SHIFT]!;
}
