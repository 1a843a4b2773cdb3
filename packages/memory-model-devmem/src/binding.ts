import { NET_IOV_DMABUF, type NetIov, type Netmem } from "@netmem/mm/api";
import type { MemoryModelDeps, ProvidedArea } from "@netmem/memory-model/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import type { MemoryProviderInfo, NetDevice, NetdevRxQueue } from "@netmem/xdp/api";

/**
 * A dma-buf bound to receive queues: a pool of its pages, one of which is handed out at a time. Whoever opened it closes it; what packets and users hold of it is valid until they let go.
 * @kernel struct net_devmem_dmabuf_binding, dmabuf_devmem_ops (net/core/devmem.c)
 */
export class DmabufBinding implements MemoryProvider {
  readonly name = "devmem";
  /** By which users, and netlink, know it. */
  readonly id: number;
  readonly provided: ProvidedArea;
  readonly #deps: MemoryModelDeps;
  readonly #queues: { readonly dev: NetDevice; readonly index: number }[] = [];
  #warned = false;

  constructor(deps: MemoryModelDeps, id: number, buffers: number) {
    this.id = id;
    this.provided = deps.areas.create(`dmabuf ${id}`, NET_IOV_DMABUF, buffers, false);
    this.#deps = deps;
  }

  /** 0 or a negative errno of the queue. Process context. @kernel net_devmem_bind_dmabuf_to_queue */
  bindQueue(dev: NetDevice, index: number): number {
    const errno = this.#deps.providers.openRxq(dev, index, this);
    if (errno === 0) this.#queues.push({ dev, index });
    return errno;
  }

  /** From all its queues; nothing is received into it any more. Process context. @kernel net_devmem_unbind_dmabuf, as the netlink socket closes */
  unbind(): void {
    for (const { dev, index } of this.#queues.splice(0)) this.#deps.providers.closeRxq(dev, index, this);
    this.provided.unmap();
  }

  init(pool: ProviderPool): number {
    return this.provided.addPool(pool);
  }

  /** One: the cache is not filled beside it. @kernel mp_dmabuf_devmem_alloc_netmems */
  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
    return this.provided.takeFree(pool);
  }

  /** @kernel mp_dmabuf_devmem_release_page */
  releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
    if (!netmem.isNetIov || netmem.ppRefCount !== 1) {
      this.#warn(netmem.isNetIov ? `net_iov ${netmem.index} with pp_ref_count ${netmem.ppRefCount}` : "a page");
      if (!netmem.isNetIov) return false;
    }
    this.provided.release(pool, netmem);
    return false;
  }

  destroy(pool: ProviderPool): void {
    this.provided.removePool(pool);
  }

  nlFill(_queue: NetdevRxQueue | null): MemoryProviderInfo {
    return { dmabuf: this.id };
  }

  uninstall(queue: NetdevRxQueue): void {
    queue.memoryProvider = null;
    const at = this.#queues.findIndex(({ dev, index }) => dev === queue.dev && index === queue.index);
    if (at >= 0) this.#queues.splice(at, 1);
    if (this.#queues.length === 0) this.provided.unmap();
  }

  /** Of this binding. */
  owns(niov: NetIov): boolean {
    return niov.area === this.provided.area;
  }

  #warn(what: string): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#deps.kernel.reports.report("devmem-bad-release", "warn", `dmabuf ${this.id}`, "page_pool", `given back ${what}; reported once`);
  }
}
