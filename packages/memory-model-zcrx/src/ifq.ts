import { NET_IOV_IOURING, PAGE_SHIFT, PAGE_SIZE, type NetIov, type Netmem } from "@netmem/mm/api";
import type { MemoryModelDeps, ProvidedArea } from "@netmem/memory-model/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import type { MemoryProviderInfo, NetDevice, NetdevRxQueue } from "@netmem/xdp/api";
import { EINVAL, UsageError } from "@netmem/kernel/api";

/**
 * One receive queue that writes into memory which a user has registered, and the ring through which it gives buffers back.
 * @kernel struct io_zcrx_ifq, io_uring_pp_zc_ops (io_uring/zcrx.c)
 */
export class ZcrxIfq implements MemoryProvider {
  readonly name = "zcrx";
  readonly provided: ProvidedArea;
  /** Entries of the refill ring that were no buffer of the user's to give: out of the area, or not its own. */
  badRefills = 0;
  readonly #deps: MemoryModelDeps;
  readonly #dev: NetDevice;
  readonly #queueIndex: number;
  /** Offsets into the area; indices run free. @kernel struct io_uring_zcrx_rqe, rq_ring */
  readonly #rqes: Int32Array;
  #tail = 0;
  #head = 0;
  #closed = false;

  /** `rqEntries`: of the refill ring, a power of two. The area is memory of the user's process, which the CPU can read. */
  constructor(deps: MemoryModelDeps, dev: NetDevice, queueIndex: number, buffers: number, rqEntries: number) {
    if (!Number.isInteger(rqEntries) || rqEntries < 1 || (rqEntries & (rqEntries - 1)) !== 0) throw new UsageError("memory-model-zcrx", "entries of the refill ring", rqEntries, "give a power of two");
    this.provided = deps.areas.create("zcrx area", NET_IOV_IOURING, buffers, true);
    this.#deps = deps;
    this.#dev = dev;
    this.#queueIndex = queueIndex;
    this.#rqes = new Int32Array(rqEntries);
  }

  /** 0 or a negative errno of the queue. Process context. @kernel io_register_zcrx_ifq */
  open(): number {
    return this.#deps.providers.openRxq(this.#dev, this.#queueIndex, this);
  }

  /** What the user has is taken from it, and nothing is received into the area any more; in this order up to 6.18, so that a queue's pool has all at once. Process context. @kernel io_shutdown_zcrx_ifqs: io_zcrx_scrub, io_close_queue */
  close(): void {
    this.#closed = true;
    for (const niov of this.provided.area.niovs) while (this.provided.userRefs(niov) > 0) this.provided.putUser(niov);
    this.#deps.providers.closeRxq(this.#dev, this.#queueIndex, this);
    this.#head = this.#tail;
    this.provided.unmap();
  }

  /** The user gives back the buffer that `areaOffset` lies in: it goes into the ring, or straight home where nobody looks at that any more. False: the ring is full. Process context. @kernel the user's side of the refill ring */
  refill(areaOffset: number): boolean {
    if (this.#closed) {
      const niov = this.#niovAt(areaOffset);
      if (niov === null || !this.provided.putUser(niov)) this.badRefills++;
      return true;
    }
    if (((this.#tail - this.#head) | 0) === this.#rqes.length) return false;
    this.#rqes[this.#tail & (this.#rqes.length - 1)] = areaOffset;
    this.#tail = (this.#tail + 1) | 0;
    return true;
  }

  /** All of the ring at once, where the user cannot wait for the queue to look. Process context. @kernel ZCRX_CTRL_FLUSH_RQ, zcrx_flush_rq */
  flushRefills(): void {
    while (this.#head !== this.#tail) {
      const niov = this.#takeEntry();
      if (niov === null || !this.provided.putUser(niov)) this.badRefills++;
    }
  }

  /** @kernel io_pp_zc_init */
  init(pool: ProviderPool): number {
    return pool.params.order !== 0 ? -EINVAL : this.provided.addPool(pool);
  }

  /** First what the user gave back, which never left the pool; then free ones: a cache full of them, the last of which is answered. @kernel io_pp_zc_alloc_netmems */
  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
    const given = Math.min((this.#tail - this.#head) | 0, pool.cacheRoom());
    return this.#fill(pool, given, () => this.#reclaimed(pool)) ?? this.#fill(pool, pool.cacheRoom(), () => this.provided.takeFree(pool));
  }

  /** Asks so many times, whether there is one or not. */
  #fill(pool: ProviderPool, times: number, take: () => NetIov | null): NetIov | null {
    let last: NetIov | null = null;
    for (let i = 0; i < times; i++) {
      const niov = take();
      if (niov === null) continue;
      if (last !== null) pool.netmemPlaceInCache(last);
      last = niov;
    }
    return last;
  }

  /** The next entry's, if it is one to have. @kernel io_zcrx_ring_refill */
  #reclaimed(pool: ProviderPool): NetIov | null {
    const niov = this.#takeEntry();
    if (niov !== null && this.provided.userRefs(niov) > 0) return this.provided.reclaim(pool, niov) ? niov : null;
    this.badRefills++;
    return null;
  }

  /** Null: that lies outside of the area. */
  #takeEntry(): NetIov | null {
    const niov = this.#niovAt(this.#rqes[this.#head & (this.#rqes.length - 1)]!);
    this.#head = (this.#head + 1) | 0;
    return niov;
  }

  /** Null: that lies outside of the area. */
  #niovAt(offset: number): NetIov | null {
    const { niovs } = this.provided.area;
    return offset >= 0 && offset < niovs.length * PAGE_SIZE ? niovs[offset >> PAGE_SHIFT]! : null;
  }

  /** @kernel io_pp_zc_release_netmem */
  releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
    if (!netmem.isNetIov) return true;
    this.provided.release(pool, netmem);
    return false;
  }

  destroy(pool: ProviderPool): void {
    this.provided.removePool(pool);
  }

  nlFill(_queue: NetdevRxQueue | null): MemoryProviderInfo {
    return { ioUring: {} };
  }

  uninstall(queue: NetdevRxQueue): void {
    queue.memoryProvider = null;
    this.provided.unmap();
  }
}
