import type { NetIov, NetIovArea } from "@netmem/mm/api";
import type { ProviderPool } from "@netmem/page-pool/api";

/**
 * An area of net_iovs on the way between pools and users: mapped for one device as long as a pool uses it, a list of those that nobody has, and what users hold. One net_iov is in one place: free,
 * a pool's, or held by users beside the pool that counts it.
 * @kernel struct io_zcrx_area (io_uring/zcrx.h), struct net_devmem_dmabuf_binding (net/core/devmem.h)
 */
export interface ProvidedArea {
  readonly area: NetIovArea;
  /** A pool uses it from now on: 0; -E2BIG (pages of more than one), -EOPNOTSUPP (another direction than from the device), -EINVAL (another device than it is mapped for), -ENOMEM (no room to map it). Process context. */
  readonly addPool: (pool: ProviderPool) => number;
  /** It is gone; the last one's going unmaps, unless that is done. Process context. */
  readonly removePool: (pool: ProviderPool) => void;
  /** No device writes to it any more: unmapped now, whoever holds parts of it still. For as long as pools that are on their way out use it, it is mapped for nobody. Process context. @kernel io_zcrx_unmap_area, from io_pp_uninstall and zcrx's close; net_devmem_unbind_dmabuf */
  readonly unmap: () => void;
  /** One that nobody has, counted as the pool's and synced for its device; null: there is none. The pool's consumer context. */
  readonly takeFree: (pool: ProviderPool) => NetIov | null;
  /** The same of this one; false: somebody has it. The pool's consumer context. Consumes. */
  readonly take: (pool: ProviderPool, niov: NetIov) => boolean;
  /** A pool has given it up: its mark is taken off. Nobody has it. Consumes. */
  readonly release: (pool: ProviderPool, niov: NetIov) => void;
  /** Whether it is one of this area, and one of its pools has it out. It stays whose it is. */
  readonly hasOut: (niov: NetIov) => boolean;
  /** A user gets a reference, which is a reference more of its pool's. Shares. */
  readonly giveToUser: (niov: NetIov) => void;
  /** One that nobody has goes to a user directly, no pool counting it: for bytes that came another way; null: there is none. The caller's. Process context. @kernel io_alloc_fallback_niov */
  readonly takeForUser: () => NetIov | null;
  /** How many times users hold it. It stays whose it is. */
  readonly userRefs: (niov: NetIov) => number;
  /**
   * A user gives one reference back, and `pool` is about to look for memory. True: nobody else holds it, it is `pool`'s already, synced, to be used again, and not to be counted anew. False: no user had it, others have it still, or it went to its own pool.
   * Consumes. The pool's consumer context. @kernel the body of io_zcrx_ring_refill (io_uring/zcrx.c)
   */
  readonly reclaim: (pool: ProviderPool, niov: NetIov) => boolean;
  /** A user gives one reference back, from process context: the last one's going brings it home to its pool, or where no pool counts it to those that nobody has. False: no user had it. Consumes. */
  readonly putUser: (niov: NetIov) => boolean;
  /** Net_iovs that nobody has, and those that users hold. */
  readonly free: () => number;
  readonly held: () => number;
}

export interface ProvidedAreas {
  /** `buffers` net_iovs of a page each, of a `NET_IOV_*` type, all free. */
  readonly create: (name: string, type: number, buffers: number, cpuReadable: boolean) => ProvidedArea;
}
