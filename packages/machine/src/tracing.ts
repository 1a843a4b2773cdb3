import type { TraceRing } from "@netmem/kernel/api";
import { netmemPfnTrace, type DmaProbe, type Netmem } from "@netmem/mm/api";
import type { SkBuff, SkbProbe } from "@netmem/net-core/api";
import type { PagePoolProbe, PagePoolView } from "@netmem/page-pool/api";
import type { NicProbe } from "@netmem/driver/api";

/** What the layers' probes become when tracing is on: fixed-size records in the machine's ring. */
export interface MachineProbes {
  readonly pagePool: PagePoolProbe;
  readonly dma: DmaProbe;
  readonly skb: SkbProbe;
  readonly nic: NicProbe;
}

export function createTracingProbes(ring: TraceRing): MachineProbes {
  const hold = ring.define("page_pool_state_hold", ["page_pool", "is_net_iov", "pfn", "hold"]).id;
  const release = ring.define("page_pool_state_release", ["page_pool", "is_net_iov", "pfn", "release"]).id;
  const poolRelease = ring.define("page_pool_release", ["page_pool", "inflight", "hold", "release", "cnt"]).id;
  const map = ring.define("dma_map_page", ["pfn", "dma_addr", "dir"]).id;
  const unmap = ring.define("dma_unmap_page", ["pfn", "dma_addr", "dir"]).id;
  const freed = ring.define("skb_freed", ["skb", "reason", "len", "truesize", "pp_recycle"]).id;
  const received = ring.define("nic_receive", ["queue", "bytes", "descriptors"]).id;
  const overrun = ring.define("nic_overrun", ["queue", "bytes"]).id;
  return {
    pagePool: {
      stateHold: (pool: PagePoolView, netmem: Netmem, count: number): void => ring.record(hold, pool.id, netmem.isNetIov ? 1 : 0, netmemPfnTrace(netmem), count, 0),
      stateRelease: (pool: PagePoolView, netmem: Netmem, count: number): void => ring.record(release, pool.id, netmem.isNetIov ? 1 : 0, netmemPfnTrace(netmem), count, 0),
      release: (pool: PagePoolView, inflight: number, h: number, r: number, cnt: number): void => ring.record(poolRelease, pool.id, inflight, h, r, cnt),
    },
    dma: {
      map: (_device: string, dmaAddr: number, pfn: number, direction: number): void => ring.record(map, pfn, dmaAddr, direction, 0, 0),
      unmap: (_device: string, dmaAddr: number, pfn: number, direction: number): void => ring.record(unmap, pfn, dmaAddr, direction, 0, 0),
    },
    skb: {
      freed: (skb: SkBuff, reason: number): void => ring.record(freed, skb.id, reason, skb.len, skb.truesize, skb.ppRecycle ? 1 : 0),
    },
    nic: {
      received: (queue: number, bytes: number, descriptors: number): void => ring.record(received, queue, bytes, descriptors, 0, 0),
      overrun: (queue: number, bytes: number): void => ring.record(overrun, queue, bytes, 0, 0, 0),
    },
  };
}
