import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, PAGE_SIZE, netmemName, type DmaDevice, type Netmem, type Page } from "@netmem/mm/api";
import { ENOMEM } from "@netmem/kernel/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool, type PagePoolParams, type PagePools } from "@netmem/page-pool/api";
import type { Watch } from "../watched.ts";
import { WatchedPool } from "./pools.ts";
import type { DriverWatch } from "./watch.ts";

/** Pools as a driver makes them: R1, R3, R4, R5, R9, R12, R13 and R14 begin here. */
export function watchPools(watch: DriverWatch, pagePools: PagePools, dma: DmaDevice): PagePools {
  const create = (call: (params: PagePoolParams) => PagePool | number, params: PagePoolParams): PagePool | number => {
    judgeParams(watch, params, dma);
    if (watch.failing.fails("page_pool_create")) return -ENOMEM;
    const real = call(params);
    return typeof real === "number" ? real : watchPool(watch, real);
  };
  return watch.watched(pagePools, {
    create: { instead: create },
    createPercpu: { instead: (call, params, cpu) => create((given) => call(given, cpu), params) },
    createFragSource: { instead: (call, pool, mem) => call(watch.poolOf.get(pool)?.real ?? pool, mem) },
  });
}

function judgeParams({ findings, dev }: DriverWatch, params: PagePoolParams, dma: DmaDevice): void {
  const { flags, dmaDir, maxLen, netdev, queueIdx } = params;
  findings.occasion("R13");
  if (netdev === null || netdev !== dev) findings.stated("R13", `a pool of ${netdev === null ? "no device" : `device ${netdev.name}`} instead of ${dev?.name ?? "its own"}: users cannot find it`);
  if ((flags & PP_FLAG_DMA_MAP) !== 0) {
    findings.occasion("R4");
    if (dmaDir !== DMA_FROM_DEVICE && dmaDir !== DMA_BIDIRECTIONAL) findings.stated("R4", `dmaDir ${dmaDir}: a receive pool is mapped DMA_FROM_DEVICE, or DMA_BIDIRECTIONAL`);
    if (params.dev !== null && params.dev.name !== dma.name) findings.stated("R4", `a pool that is mapped for ${params.dev.name}`);
  }
  if ((flags & PP_FLAG_DMA_SYNC_DEV) !== 0) {
    findings.occasion("R5");
    if ((flags & PP_FLAG_DMA_MAP) === 0) findings.stated("R5", "PP_FLAG_DMA_SYNC_DEV without PP_FLAG_DMA_MAP");
    if (maxLen === 0) findings.stated("R5", "PP_FLAG_DMA_SYNC_DEV with maxLen 0: nothing is synced");
  }
  if ((flags & PP_FLAG_ALLOW_UNREADABLE_NETMEM) !== 0) {
    findings.occasion("R12");
    if (queueIdx === undefined) findings.stated("R12", "PP_FLAG_ALLOW_UNREADABLE_NETMEM without queueIdx: the provider of queue 0 would be anybody's");
    if ((flags & PP_FLAG_DMA_MAP) === 0) findings.stated("R12", "PP_FLAG_ALLOW_UNREADABLE_NETMEM without PP_FLAG_DMA_MAP");
  }
}

function watchPool(watch: DriverWatch, real: PagePool): PagePool {
  const { findings, failing, logs } = watch;
  const pool = new WatchedPool(real, findings.trace());
  watch.pools.push(pool);

  const alloc = <A extends readonly unknown[], T extends Netmem>(name: string, cutsPages: boolean): Watch<A, T | null> => ({
    before: () => mayAllocate(watch, pool),
    instead: (call, ...args) => (failing.fails(name) ? null : call(...args)),
    after: (netmem: T | null, ..._args: A) => {
      if (netmem === null) return;
      if (cutsPages) pool.counted = true;
      const log = logs.got(netmem, pool, PAGE_SIZE << real.params.order);
      if (cutsPages) log.counted = true;
      log.where = findings.trace();
    },
  });
  const put = (netmem: Netmem, syncBytes: number, direct: boolean): void => {
    watch.touches(netmem);
    mayPut(watch, pool, netmem, syncBytes, direct);
  };
  const given = watch.watched(real, {
    allocPages: alloc<[number], Page>("page_pool_alloc_pages", false), allocNetmems: alloc<[number], Netmem>("page_pool_alloc_netmems", false), devAllocPages: alloc<[], Page>("page_pool_dev_alloc_pages", false), devAllocNetmems: alloc<[], Netmem>("page_pool_dev_alloc_netmems", false),
    allocFragNetmem: alloc("page_pool_alloc_frag_netmem", true), allocFrag: alloc("page_pool_alloc_frag", true), allocNetmem: alloc("page_pool_alloc_netmem", true), alloc: alloc("page_pool_alloc", true), allocVa: alloc("page_pool_alloc_va", true),
    putNetmem: { before: put }, putFullNetmem: { before: (netmem, direct) => put(netmem, -1, direct) }, recycleDirect: { before: (netmem) => put(netmem, -1, true) },
    putUnrefedNetmem: { before: put }, freeVa: { before: (page, direct) => put(page, -1, direct) },
    putNetmemBulk: { before: (netmems, count) => { for (const netmem of netmems.slice(0, count)) if (netmem !== null) put(netmem, -1, false); } },
    fragmentNetmem: { before: (netmem) => {
      pool.counted = true;
      const log = watch.touches(netmem);
      if (log !== null) log.counted = true;
    } },
    refNetmem: { before: (netmem) => void watch.touches(netmem) },
    unrefNetmem: { before: (netmem) => {
      findings.occasion("R11");
      watch.touches(netmem);
    } },
    dmaSyncForCpu: { before: (page, offset, bytes) => logs.of(page)?.synced(real.params.offset + offset, real.params.offset + offset + bytes) },
    dmaSyncNetmemForCpu: { before: (netmem, offset, bytes) => logs.of(netmem)?.synced(real.params.offset + offset, real.params.offset + offset + bytes) },
    enableDirectRecycling: { after: (_answer, napi) => void (pool.consumer = napi) },
    destroy: { before: () => mayDestroy(watch, pool), after: () => void (pool.destroyed = true) },
  });
  watch.poolOf.set(given, pool);
  return given;
}

function mayAllocate(watch: DriverWatch, pool: WatchedPool): void {
  const { findings, enabled, posted } = watch;
  findings.occasion("R1");
  const polled = watch.poll();
  const name = `page_pool ${pool.real.id}`;
  mayTouchPools(watch, `${name} is allocated from`);
  if (polled === null) {
    // Before its hardware runs nobody asks for a poll.
    if (pool.consumer !== null && enabled.has(pool.consumer) && posted!.queues.some(({ running }) => running)) findings.broke("R1", `${name} is allocated from outside its poll, while that may run`);
    return;
  }
  pool.consumer ??= polled;
  if (pool.consumer !== polled) findings.broke("R1", `${name} is allocated from in the poll of another NAPI instance`);
  if (pool.real.napi === null) findings.stated("R13", `${name} has no NAPI instance while it is polled: give napi, or enable direct recycling as its queue starts`);
}

/** Whether `direct` may be said here: in the poll of whoever takes from the pool, or while nobody can poll. */
export function mayRecycleDirect(watch: DriverWatch, pool: WatchedPool, what: string): void {
  const { findings, enabled } = watch;
  findings.occasion("R3");
  const polled = watch.poll();
  const { consumer } = pool;
  if (consumer === null || polled === consumer || (polled === null && !enabled.has(consumer))) return;
  findings.broke("R3", `${what} goes directly into the cache of page_pool ${pool.real.id} ${polled === null ? "outside any poll" : "in the poll of another NAPI instance"}, while its own may run`);
}

/** Interrupts are off in a poll with a budget of 0, and the pool's own may be under way. */
export function mayTouchPools({ findings, budgetless }: DriverWatch, what: string): void {
  if (budgetless > 0) findings.broke("R14", `${what} in a poll with a budget of 0`);
}

function mayPut(watch: DriverWatch, pool: WatchedPool, netmem: Netmem, syncBytes: number, direct: boolean): void {
  const { findings, logs } = watch;
  findings.occasion("R2");
  mayTouchPools(watch, `${netmemName(netmem)} is put into its pool`);
  watch.leavesDriver(netmem);
  if (direct) mayRecycleDirect(watch, pool, netmemName(netmem));
  const log = logs.of(netmem);
  if (log === null || syncBytes < 0 || !pool.real.dmaSync) return;
  findings.occasion("R5");
  const { offset } = pool.real.params;
  if (log.counted) findings.broke("R5", `${netmemName(netmem)}, a page in parts, is put with a sync size of ${syncBytes}: others may have touched more, give −1`);
  else if (offset + syncBytes < log.touchedEnd) findings.broke("R5", `${netmemName(netmem)} is put with a sync size of ${syncBytes}, and the CPU may have touched ${log.touchedEnd - offset} bytes`);
}

function mayDestroy({ findings, enabled }: DriverWatch, pool: WatchedPool): void {
  const { real } = pool;
  if (pool.consumer !== null) findings.occasion("R9");
  if (real.napi !== null && enabled.has(real.napi)) findings.broke("R9", `page_pool ${real.id} is destroyed while its NAPI instance polls: disable the instance, or direct recycling, first`);
  findings.occasion("R7");
  if (pool.registrations > 0) findings.broke("R7", `page_pool ${real.id} is destroyed while it is registered: unregister it first`);
  if (pool.destroyed) findings.broke("R2", `page_pool ${real.id} is destroyed twice`);
}
