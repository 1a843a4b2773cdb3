import { DMA_ATTR_SKIP_CPU_SYNC, DMA_MAPPING_ERROR, PAGE_SIZE, DMA_BIDIRECTIONAL, netmemName, type DmaDevice, type PageAllocator } from "@netmem/mm/api";
import { ENOMEM } from "@netmem/kernel/api";
import { XDP_FLAGS_HAS_FRAGS, type XdpFrame } from "@netmem/xdp/api";
import type { NicHardware, TxRing, TxRings } from "@netmem/driver/api";
import { mayRecycleDirect, mayTouchPools } from "./watch-pools.ts";
import type { DriverWatch } from "./watch.ts";

/** Whose poll takes the transmit ring back: what it has of that queue goes home directly. */
const POLLING_RX_QUEUE = 0;

/** Mapping and syncing: R6, and R8 where a ring or a posted buffer goes. */
export function watchDma(watch: DriverWatch, dma: DmaDevice): DmaDevice {
  const { findings, failing, logs, coherent } = watch;
  return watch.watched(dma, {
    allocCoherent: {
      instead: (call, bytes, gfp) => (failing.fails("dma_alloc_coherent") ? null : call(bytes, gfp)),
      after: (memory) => {
        if (memory === null) return;
        coherent.set(memory.dmaAddr, memory);
        watch.ringWhere.set(memory.dmaAddr, findings.trace());
      },
    },
    freeCoherent: { before: (memory) => {
      if (memory === null) return;
      coherent.delete(memory.dmaAddr);
      findings.occasion("R8");
      const queue = watch.posted!.runsOn(memory);
      if (queue >= 0) findings.broke("R8", `the ring of receive queue ${queue} is freed while the queue runs`);
    } },
    mapPage: {
      instead: (call, ...args) => (failing.fails("dma_map_page") ? DMA_MAPPING_ERROR : call(...args)),
      after: (dmaAddr, page, offset, bytes) => {
        if (dmaAddr === DMA_MAPPING_ERROR) return;
        if (logs.of(page) === null) logs.got(page, null, PAGE_SIZE << page.order);
        logs.mapped(page, dmaAddr, offset, bytes);
      },
    },
    unmapPage: { before: (dmaAddr, bytes, _direction, attrs) => {
      const found = logs.at(dmaAddr);
      if (found === null) return;
      watch.leavesDriver(found.log.netmem);
      if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) found.log.synced(found.offset, found.offset + bytes);
    } },
    syncForCpu: { before: (dmaAddr, offset, bytes) => {
      findings.occasion("R6");
      const found = logs.at(dmaAddr);
      found?.log.synced(found.offset + offset, found.offset + offset + bytes);
    } },
  });
}

/** Pages of the driver's own, and plain references. */
export function watchPages(watch: DriverWatch, pages: PageAllocator): PageAllocator {
  const { failing, logs, findings } = watch;
  const own = (pageRefs: number) => (page: Parameters<PageAllocator["getPage"]>[0]): void => {
    const log = watch.touches(page);
    if (log !== null) log.plainRefs += pageRefs;
  };
  return watch.watched(pages, {
    allocPages: {
      instead: (call, ...args) => (failing.fails("alloc_pages") ? null : call(...args)),
      after: (page, _gfp, order) => {
        if (page === null) return;
        const log = logs.got(page, null, PAGE_SIZE << order);
        log.plainRefs = 1;
        log.where = findings.trace();
      },
    },
    getPage: { before: own(1) },
    putPage: { before: (page) => {
      watch.leavesDriver(page);
      own(-1)(page);
    } },
    pageRefAdd: { before: (page, n) => {
      findings.occasion("R11");
      own(n)(page);
      const log = logs.of(page);
      if (log !== null && n > 1) log.counted = true;
    } },
    pageRefSub: { before: (page, n) => own(-n)(page) },
    pageRefSubAndTest: { before: (page, n) => own(-n)(page) },
    setPageCount: { before: (page) => void watch.touches(page) },
  });
}

/** The NIC's registers: what the device has, and until when. */
export function watchNic(watch: DriverWatch, nic: NicHardware): NicHardware {
  const posted = watch.posted!;
  return {
    name: nic.name, stats: nic.stats, txQueues: nic.txQueues, steering: nic.steering,
    rxQueues: nic.rxQueues.map((queue, i) => watch.watched(queue, {
      configure: { before: (ring, entries, bytes) => posted.configure(i, ring, entries, bytes) },
      setHeaderSplit: { before: (bytes) => void (posted.queues[i]!.headerBytes = bytes) },
      setStrides: { before: (completions, entries, strideBytes) => posted.setStrides(i, completions, entries, strideBytes) },
      addNonOccupied: { before: (n) => posted.addNonOccupied(i, n) },
      decOccupied: { before: (n) => posted.decOccupied(i, n) },
      enableIrq: { before: () => {
        if (watch.budgetless > 0) watch.findings.broke("R14", "interrupts are enabled in a poll with a budget of 0: whoever has scheduled it polls it still");
      } },
      start: { before: () => void (posted.queues[i]!.running = true) },
      stop: { after: () => void (posted.queues[i]!.running = false) },
    })),
    bufferPools: nic.bufferPools.map((pool, i) => watch.watched(pool, {
      configure: { before: (_capacity, bytes) => posted.configurePool(i, bytes) },
      put: { after: (took, dmaAddr) => void (took && posted.putInPool(i, dmaAddr)) },
    })),
    requestIrq: (queue, cpu, handler) => nic.requestIrq(queue, cpu, handler),
    freeIrq: (queue) => nic.freeIrq(queue),
  };
}

/** What is sent again: R4, and R3 as it is taken back. */
export function watchTxRings(watch: DriverWatch, txRings: TxRings): TxRings {
  return watch.watched(txRings, { create: { instead: (call, entries, sentSkbs) => {
    if (watch.failing.fails("a transmit ring's memory")) return -ENOMEM;
    const ring = call(entries, sentSkbs);
    if (typeof ring === "number") return ring;
    watch.txRing = ring;
    return watchTxRing(watch, ring);
  } } });
}

function watchTxRing(watch: DriverWatch, real: TxRing): TxRing {
  const { findings, logs } = watch;
  /** Sent as the device's own, and not taken back. */
  const ours = new Set<XdpFrame>();
  const ring = watch.watched(real, {
    submitFrame: { before: (frame, rxQueue) => {
      if (rxQueue < 0) return;
      findings.occasion("R4");
      const netmems = [frame.head, ...frame.frags.slice(0, (frame.flags & XDP_FLAGS_HAS_FRAGS) === 0 ? 0 : frame.nrFrags).map(({ netmem }) => netmem)];
      for (const netmem of netmems) {
        const pool = logs.of(netmem)?.pool ?? null;
        if (pool === null) findings.broke("R4", `${netmem === null ? "nothing" : netmemName(netmem)} is sent as one of the device's own pool: what no pool has mapped is mapped for each transmit`);
        else if (pool.real.params.dmaDir !== DMA_BIDIRECTIONAL) findings.broke("R4", `${netmemName(netmem!)} is sent by XDP, and page_pool ${pool.real.id} has it mapped from the device only`);
      }
    }, after: (took, frame, rxQueue) => void (took && rxQueue === POLLING_RX_QUEUE && ours.add(frame)) },
    done: {
      before: () => {
        const polled = watch.poll();
        const waiting = new Set(real.inRing().frames);
        if (polled === null && waiting.size > 0) findings.broke("R3", "the transmit ring is taken back outside any poll");
      },
      instead: (call, budget) => {
        // Whose were sent goes home directly now: each into its own pool's cache.
        const { frames } = real.inRing();
        const before = frames.filter((frame) => ours.has(frame)).map((frame) => ({ frame, pool: logs.of(frame.head)?.pool ?? null, head: frame.head! }));
        call(budget);
        const left = new Set(real.inRing().frames);
        if (left.size < frames.length) mayTouchPools(watch, "a frame that was sent is taken back");
        for (const { frame, pool, head } of before) {
          if (left.has(frame)) continue;
          ours.delete(frame);
          if (pool !== null) mayRecycleDirect(watch, pool, netmemName(head));
        }
      },
    },
  });
  return ring;
}
