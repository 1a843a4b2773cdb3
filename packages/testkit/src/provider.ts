import { E2BIG, EINVAL, ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import { DMA_FROM_DEVICE, PAGE_SIZE, type NetIov, type NetIovArea, type Netmem } from "@netmem/mm/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import type { MemoryProviderInfo, NetdevRxQueue } from "@netmem/xdp/api";

export interface AreaProviderOptions {
  /** Device memory is never synced: false clears the pool's bits. Default true. @kernel mp_dmabuf_devmem_init */
  readonly syncs?: boolean;
  /** The binding's id that netlink shows. */
  readonly dmabuf?: number;
}

/**
 * A memory provider to try things with: an area's net_iovs, a free list, and a user who may hold some of them and gives them back
 * through a refill ring, as with io_uring's zcrx. One netmem of the area is in one place: free, a pool's, or gone with a user.
 * @kernel struct io_zcrx_ifq, io_pp_zc_ops (io_uring/zcrx.c); dmabuf_devmem_ops (net/core/devmem.c)
 */
export class AreaProvider implements MemoryProvider {
  readonly area: NetIovArea;
  /** Net_iovs that no pool has; the last goes first. */
  readonly free: NetIov[];
  /** Given back by the user, not yet looked at. */
  readonly refillRing: NetIov[] = [];
  /** Pools that use it. */
  readonly pools: ProviderPool[] = [];
  /** By index: how many times the user holds it. */
  readonly userRefs: number[];
  readonly #options: AreaProviderOptions;
  readonly #dmaAddrs: number[] = [];

  constructor(area: NetIovArea, options: AreaProviderOptions = {}) {
    this.area = area;
    this.free = [...area.niovs];
    this.userRefs = area.niovs.map(() => 0);
    this.#options = options;
  }

  /** -E2BIG for large pages, -EOPNOTSUPP for another direction, -EINVAL for another device than the area is mapped for, -ENOMEM if that has no room for it. */
  init(pool: ProviderPool): number {
    if (pool.params.order !== 0) return -E2BIG;
    if (pool.params.dmaDir !== DMA_FROM_DEVICE) return -EOPNOTSUPP;
    const mappedFor = this.pools[0]?.params.dev;
    if (mappedFor !== undefined && mappedFor !== pool.params.dev) return -EINVAL;
    if (mappedFor === undefined && !this.#map(pool)) return -ENOMEM;
    if (this.#options.syncs === false) {
      pool.dmaSync = false;
      pool.dmaSyncCpu = false;
    }
    this.pools.push(pool);
    return 0;
  }

  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
    return this.#reclaim(pool) ?? this.#takeFree(pool);
  }

  releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
    if (!netmem.isNetIov) return true;
    pool.niovClearPagePool(netmem);
    this.free.push(netmem);
    return false;
  }

  destroy(pool: ProviderPool): void {
    const at = this.pools.indexOf(pool);
    if (at < 0) return;
    this.pools.splice(at, 1);
    if (this.pools.length === 0) this.#unmap(pool);
  }

  nlFill(_queue: NetdevRxQueue | null): MemoryProviderInfo {
    return this.#options.dmabuf === undefined ? { ioUring: {} } : { dmabuf: this.#options.dmabuf };
  }

  uninstall(queue: NetdevRxQueue): void {
    queue.memoryProvider = null;
  }

  /** The user gets a reference of its own, beside whoever holds the netmem now. Shares. @kernel io_zcrx_recv_frag */
  giveToUser(niov: NetIov): void {
    niov.ppRefCount++;
    this.userRefs[niov.index]!++;
  }

  /** The user is done with it. Consumes one of its references. @kernel io_uring_zcrx_rqe */
  userReturns(niov: NetIov): void {
    this.refillRing.push(niov);
  }

  /** What the user gave back goes to the cache: it never left the pool, so it is not counted anew. @kernel io_zcrx_ring_refill */
  #reclaim(pool: ProviderPool): Netmem | null {
    let first: NetIov | null = null;
    while (this.refillRing.length > 0 && pool.cacheRoom() > 0) {
      const niov = this.refillRing.shift()!;
      if (niov !== this.area.niovs[niov.index] || this.userRefs[niov.index] === 0) continue;
      this.userRefs[niov.index]!--;
      const owner = this.pools.find((candidate) => candidate.hasOut(niov));
      if (owner === undefined || owner.unrefNetmem(niov, 1) !== 0) continue;
      if (owner !== pool) owner.putUnrefedNetmem(niov, -1, false);
      else {
        if (pool.dmaSync) pool.dmaSyncForDevice(niov, -1);
        if (first === null) first = niov;
        else pool.netmemPlaceInCache(niov);
      }
    }
    return first;
  }

  /** Up to a refill of free ones, each counted. @kernel io_zcrx_refill_slow */
  #takeFree(pool: ProviderPool): Netmem | null {
    let first: NetIov | null = null;
    while (this.free.length > 0 && pool.cacheRoom() > 0) {
      const niov = this.free.pop()!;
      pool.niovSetPagePool(niov);
      if (pool.dmaSync) pool.dmaSyncForDevice(niov, -1);
      if (first === null) first = niov;
      else pool.netmemPlaceInCache(niov);
    }
    return first;
  }

  #map(pool: ProviderPool): boolean {
    const dev = pool.params.dev!;
    for (const niov of this.area.niovs) {
      const dmaAddr = dev.mapNetIov(niov, PAGE_SIZE, pool.params.dmaDir, 0);
      const mapped = !dev.mappingError(dmaAddr);
      if (mapped) this.#dmaAddrs.push(dmaAddr);
      if (!mapped || pool.niovSetDmaAddr(niov, dmaAddr)) {
        this.#unmap(pool);
        return false;
      }
    }
    return true;
  }

  #unmap(pool: ProviderPool): void {
    const { dev, dmaDir } = pool.params;
    for (const dmaAddr of this.#dmaAddrs.splice(0)) dev!.unmapPage(dmaAddr, PAGE_SIZE, dmaDir, 0);
    for (const niov of this.area.niovs) niov.dmaAddr = 0;
  }
}
