import type { Kernel } from "@netmem/kernel/api";
import { DMA_NONE, PAGE_SIZE } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, type MemRegistry } from "@netmem/xdp/api";
import { PP_FLAG_SYSTEM_POOL, SYSTEM_PERCPU_PAGE_POOL_BYTES, type PagePool, type PagePools } from "./api/index.ts";

/**
 * One pool a CPU for the stack's own copies, from that CPU's memory node, known to the registry of memory models. They live as
 * long as the machine. An errno if one of them cannot be had; those made before it are destroyed.
 * @kernel net_page_pool_create, net_dev_init (net/core/dev.c)
 */
export function createSystemPools(kernel: Pick<Kernel, "nrCpus" | "cpuNodes">, pagePools: PagePools, registry: MemRegistry): readonly PagePool[] | number {
  const pools: PagePool[] = [];
  for (let cpu = 0; cpu < kernel.nrCpus; cpu++) {
    const pool = pagePools.createPercpu(
      {
        flags: PP_FLAG_SYSTEM_POOL, order: 0, poolSize: SYSTEM_PERCPU_PAGE_POOL_BYTES / PAGE_SIZE, nid: kernel.cpuNodes[cpu]!,
        dev: null, napi: null, dmaDir: DMA_NONE, maxLen: 0, offset: 0, netdev: null,
      },
      cpu,
    );
    const errno = typeof pool === "number" ? pool : Math.min(registry.registerMemModel(MEM_TYPE_PAGE_POOL, pool), 0);
    if (typeof pool !== "number") {
      if (errno === 0) {
        pools.push(pool);
        continue;
      }
      pool.destroy();
    }
    for (const made of pools) {
      made.unuseXdpMem();
      made.destroy();
    }
    return errno;
  }
  return pools;
}
