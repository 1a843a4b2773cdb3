import type { TraceRing } from "@netmem/kernel/api";
import type { DmaProbe, Netmem } from "@netmem/mm/api";
import type { SkBuff, SkbProbe } from "@netmem/net-core/api";
import type { PagePoolProbe, PagePoolView } from "@netmem/page-pool/api";
import type { NicProbe } from "@netmem/driver/api";
import type { MemModel, NapiStruct, NetDevice, XdpProbe, XdpProg, XdpRxqInfo } from "@netmem/xdp/api";

/** What the layers' probes become when tracing is on: fixed-size records in the machine's ring. */
export interface MachineProbes {
  readonly pagePool: PagePoolProbe;
  readonly xdp: XdpProbe;
  readonly dma: DmaProbe;
  readonly skb: SkbProbe;
  readonly nic: NicProbe;
}

/** Bytes of a struct page, and of a net_iov. */
const STRUCT_BYTES = 64;

/** Where the netmem's struct would lie, counted from the start of its array; the lowest bit marks a net_iov, as in a netmem_ref. */
function netmemAddress(netmem: Netmem): number {
  return netmem.isNetIov ? netmem.region.base + netmem.index * STRUCT_BYTES + 1 : netmem.pfn * STRUCT_BYTES;
}

/** The pool that the page_pool events name; 0 for a model of another kind. */
function allocatorId(model: MemModel & { readonly id?: number }): number {
  return model.id ?? 0;
}

export function createTracingProbes(ring: TraceRing): MachineProbes {
  const hold = ring.define("page_pool_state_hold", ["page_pool", "netmem", "is_net_iov", "pfn", "hold"]).id;
  const release = ring.define("page_pool_state_release", ["page_pool", "netmem", "is_net_iov", "pfn", "release"]).id;
  const poolRelease = ring.define("page_pool_release", ["page_pool", "inflight", "hold", "release", "cnt"]).id;
  const updateNid = ring.define("page_pool_update_nid", ["page_pool", "pool_nid", "new_nid"]).id;
  const memConnect = ring.define("mem_connect", ["mem_id", "mem_type", "allocator", "ifindex"]).id;
  const memDisconnect = ring.define("mem_disconnect", ["mem_id", "mem_type", "allocator"]).id;
  const xdpException = ring.define("xdp_exception", ["prog_id", "action", "ifindex"]).id;
  const xdpRedirect = ring.define("xdp_redirect", ["prog_id", "ifindex", "to_ifindex", "err", "map_id", "map_index"]).id;
  const xdpRedirectErr = ring.define("xdp_redirect_err", ["prog_id", "ifindex", "to_ifindex", "err", "map_id", "map_index"]).id;
  const devmapXmit = ring.define("xdp_devmap_xmit", ["from_ifindex", "to_ifindex", "sent", "drops", "err"]).id;
  const bulkTx = ring.define("xdp_bulk_tx", ["ifindex", "sent", "drops", "err"]).id;
  const cpumapEnqueue = ring.define("xdp_cpumap_enqueue", ["map_id", "processed", "drops", "to_cpu"]).id;
  const cpumapKthread = ring.define("xdp_cpumap_kthread", ["map_id", "processed", "drops", "sched", "xdp_pass", "xdp_drop", "xdp_redirect"]).id;
  const map = ring.define("dma_map_page", ["pfn", "dma_addr", "dir"]).id;
  const unmap = ring.define("dma_unmap_page", ["pfn", "dma_addr", "dir"]).id;
  const freed = ring.define("skb_freed", ["skb", "reason", "len", "truesize", "pp_recycle", "how"]).id;
  const groReceive = ring.define("napi_gro_receive_entry", ["ifindex", "skb", "len", "data_len", "truesize", "nr_frags", "ip_summed"]).id;
  const skbReceived = ring.define("netif_receive_skb", ["ifindex", "skb", "len"]).id;
  const napiPoll = ring.define("napi_poll", ["napi", "ifindex", "work", "budget"]).id;
  const received = ring.define("nic_receive", ["queue", "bytes", "descriptors"]).id;
  const overrun = ring.define("nic_overrun", ["queue", "bytes"]).id;
  const transmitted = ring.define("nic_transmit", ["queue", "bytes", "descriptors"]).id;
  return {
    pagePool: {
      stateHold: (pool: PagePoolView, netmem: Netmem, count: number, pfn: number): void => ring.record(hold, pool.id, netmemAddress(netmem), netmem.isNetIov ? 1 : 0, pfn, count),
      stateRelease: (pool: PagePoolView, netmem: Netmem, count: number, pfn: number): void => ring.record(release, pool.id, netmemAddress(netmem), netmem.isNetIov ? 1 : 0, pfn, count),
      release: (pool: PagePoolView, inflight: number, h: number, r: number, cnt: number): void => ring.record(poolRelease, pool.id, inflight, h, r, cnt),
      updateNid: (pool: PagePoolView, poolNid: number, newNid: number): void => ring.record(updateNid, pool.id, poolNid, newNid, 0, 0),
    },
    xdp: {
      memConnect: (memId: number, memType: number, allocator: MemModel, _rxq: XdpRxqInfo, ifindex: number): void => ring.record(memConnect, memId, memType, allocatorId(allocator), ifindex, 0),
      memDisconnect: (memId: number, memType: number, allocator: MemModel): void => ring.record(memDisconnect, memId, memType, allocatorId(allocator), 0, 0),
      xdpException: (prog: XdpProg, act: number, ifindex: number): void => ring.record(xdpException, prog.id, act, ifindex, 0, 0),
      xdpRedirect: (prog: XdpProg, ifindex: number, err: number, toIfindex: number, mapId: number, mapIndex: number): void =>
        ring.recordWide(err < 0 ? xdpRedirectErr : xdpRedirect, prog.id, ifindex, toIfindex, err, mapId, mapIndex, 0, 0),
      xdpDevmapXmit: (from: NetDevice | null, to: NetDevice, sent: number, drops: number, err: number): void => ring.record(devmapXmit, from?.ifindex ?? 0, to.ifindex, sent, drops, err),
      xdpBulkTx: (dev: NetDevice, sent: number, drops: number, err: number): void => ring.record(bulkTx, dev.ifindex, sent, drops, err, 0),
      xdpCpumapEnqueue: (mapId: number, processed: number, drops: number, toCpu: number): void => ring.record(cpumapEnqueue, mapId, processed, drops, toCpu, 0),
      xdpCpumapKthread: (mapId: number, processed: number, drops: number, sched: number, pass: number, drop: number, redirect: number): void =>
        ring.recordWide(cpumapKthread, mapId, processed, drops, sched, pass, drop, redirect, 0),
    },
    dma: {
      map: (_device: string, dmaAddr: number, pfn: number, direction: number): void => ring.record(map, pfn, dmaAddr, direction, 0, 0),
      unmap: (_device: string, dmaAddr: number, pfn: number, direction: number): void => ring.record(unmap, pfn, dmaAddr, direction, 0, 0),
    },
    skb: {
      freed: (skb: SkBuff, reason: number, how: number): void => ring.recordWide(freed, skb.id, reason, skb.len, skb.truesize, skb.ppRecycle ? 1 : 0, how, 0, 0),
      groReceiveEntry: (skb: SkBuff): void => ring.recordWide(groReceive, skb.dev?.ifindex ?? 0, skb.id, skb.len, skb.dataLen, skb.truesize, skb.shinfo!.nrFrags, skb.ipSummed, 0),
      received: (skb: SkBuff): void => ring.record(skbReceived, skb.dev?.ifindex ?? 0, skb.id, skb.len, 0, 0),
      polled: (napi: NapiStruct, work: number, budget: number): void => ring.record(napiPoll, napi.napiId, napi.dev.ifindex, work, budget, 0),
    },
    nic: {
      received: (queue: number, bytes: number, descriptors: number): void => ring.record(received, queue, bytes, descriptors, 0, 0),
      transmitted: (queue: number, bytes: number, descriptors: number): void => ring.record(transmitted, queue, bytes, descriptors, 0, 0),
      overrun: (queue: number, bytes: number): void => ring.record(overrun, queue, bytes, 0, 0, 0),
    },
  };
}

/** Both are told of everything, in this order. Where there is one only, it is told itself, at no cost. */
export function combineProbes(first: Partial<MachineProbes> | null, second: Partial<MachineProbes> | null): Partial<MachineProbes> | null {
  if (first === null || second === null) return first ?? second;
  const combined: Record<string, object> = { ...first, ...second };
  for (const [layer, probe] of Object.entries(first)) {
    const other = second[layer as keyof MachineProbes];
    if (other === undefined) continue;
    const both: Record<string, (...args: unknown[]) => void> = {};
    const two = [probe, other] as unknown as readonly Record<string, (...args: unknown[]) => void>[];
    for (const name of Object.keys(probe)) both[name] = (...args) => {
      for (const one of two) one[name]!(...args);
    };
    combined[layer] = both;
  }
  return combined;
}
