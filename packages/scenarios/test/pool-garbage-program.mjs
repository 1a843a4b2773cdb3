// Runs each kind of trip two million times and says, as JSON, how often the collector ran meanwhile and how far the heap grew.
import { PerformanceObserver, performance } from "node:perf_hooks";
import { createMachine } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SIZE } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV } from "@netmem/page-pool/api";
import { AreaProvider } from "@netmem/testkit";

const OPERATIONS = 2_000_000;
const machine = createMachine({ nrCpus: 1, nrPages: 4096, extraBytes: 128 * PAGE_SIZE, reports: "panic", memory: { dmaDebug: "off" } });
const { kernel, mm, pagePools, net } = machine;
const { dma } = mm.attachDevice({ name: "nic", coherent: false });
const dev = net.registerNetdev("eth0", 1);
const params = {
  flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: 1024, nid: NUMA_NO_NODE, dev: dma, napi: null,
  dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null,
};
const pool = pagePools.create(params);
const other = pagePools.create(params);
dev.rxQueues[0].memoryProvider = new AreaProvider(mm.createNetIovArea("device", NET_IOV_DMABUF, 64, false));
const device = pagePools.create({ ...params, flags: params.flags | PP_FLAG_ALLOW_UNREADABLE_NETMEM, netdev: dev });
const frag = pagePools.createFrag();
const batch = Array.from({ length: 16 }, () => null);

const trips = {
  direct: () => pool.recycleDirect(pool.allocPages(GFP_ATOMIC)),
  ring: () => pool.putFullNetmem(pool.allocPages(GFP_ATOMIC), false),
  "page allocator": () => {
    const page = pool.allocPages(GFP_ATOMIC);
    mm.pages.getPage(page);
    pool.putFullNetmem(page, false);
    mm.pages.putPage(page);
  },
  "bulk of two pools": () => {
    for (let i = 0; i < 16; i += 2) {
      batch[i] = pool.allocPages(GFP_ATOMIC);
      batch[i + 1] = other.allocPages(GFP_ATOMIC);
    }
    pool.putNetmemBulk(batch, 16);
  },
  fragments: () => pool.putFullNetmem(pool.allocFrag(frag, 1500, GFP_ATOMIC), false),
  shared: () => {
    const page = pool.allocPages(GFP_ATOMIC);
    pool.refNetmem(page);
    pool.putFullNetmem(page, false);
    pool.putFullNetmem(page, false);
  },
  net_iov: () => device.putFullNetmem(device.allocNetmems(GFP_ATOMIC), false),
};

const collected = [];
new PerformanceObserver((list) => collected.push(...list.getEntries())).observe({ entryTypes: ["gc"] });

/** In one softirq, as a NAPI poll without an end. */
function softirq(work) {
  kernel.timers.modTimer(kernel.timers.timerSetup(work, 0), 0);
  kernel.scheduler.runFor(0);
}

function repeat(trip, times) {
  softirq(() => {
    for (let i = 0; i < times; i++) trip();
  });
}

const results = [];
for (const [name, trip] of Object.entries(trips)) {
  // The engine compiles in the background: what it leaves behind is not the model's.
  for (let i = 0; i < 5; i++) {
    repeat(trip, OPERATIONS / 20);
    await new Promise((done) => setTimeout(done, 20));
  }
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  const began = performance.now();
  repeat(trip, OPERATIONS);
  const ended = performance.now();
  const bytes = process.memoryUsage().heapUsed - before;
  await new Promise((done) => setTimeout(done, 5));
  results.push({ name, operations: OPERATIONS, collections: collected.filter(({ startTime }) => startTime >= began && startTime <= ended).length, bytes });
}
process.stdout.write(JSON.stringify(results));
