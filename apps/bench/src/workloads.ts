import { createKernel } from "@netmem/kernel";
import { createMachine, type Machine, type MachineOptions } from "@netmem/machine";
import { backingBytes, createMm, createWasmBacking } from "@netmem/mm";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, type Mm, type Page } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import type { ReturnPathName } from "@netmem/xdp/api";
import { EIGHT_MODELS_BYTES, withEightModels } from "./model-workloads.ts";
import { WIRE_BYTES, rxCloneFree, splitPages } from "./skb-workloads.ts";
import { tcpThroughGro, udpIntoSocket } from "./stack-workloads.ts";
import { rxDrop, rxRedirect, rxTx } from "./xdp-workloads.ts";

export interface Workload {
  readonly name: string;
  /** What one operation is. */
  readonly operation: string;
  /** Whether the C reference has it. */
  readonly inC: boolean;
  /** Operations of one round: some tenths of a second. */
  readonly opsPerRound: number;
  /** Sets up; the answer runs so many operations. */
  readonly prepare: () => (ops: number) => void;
}

/** 256 MiB, lists as a machine of some GiB has them. The reference has the same numbers. */
function bigMachine(dmaDebug: "on" | "off" = "off"): Mm {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "panic" });
  return createMm(kernel, { nrPages: 65_536, pcp: { batch: 63, high: 512 }, dmaDebug });
}

function pcp(): (ops: number) => void {
  const { pages } = bigMachine();
  return (ops) => {
    for (let i = 0; i < ops; i++) pages.putPage(pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
  };
}

function bulk64(): (ops: number) => void {
  const { pages } = bigMachine();
  const out: (Page | null)[] = Array.from({ length: 64 }, () => null);
  return (ops) => {
    for (let i = 0; i < ops; i += 64) {
      pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 64, out);
      for (let j = 0; j < 64; j++) {
        pages.putPage(out[j]!);
        out[j] = null;
      }
    }
  };
}

function mapUnmap(dmaDebug: "on" | "off"): (ops: number) => void {
  const mm = bigMachine(dmaDebug);
  const { dma } = mm.attachDevice({ name: "bench", coherent: true });
  const pages = Array.from({ length: 256 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
  return (ops) => {
    for (let i = 0; i < ops; i++) {
      const dmaAddr = dma.mapPage(pages[i & 255]!, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
      if (dma.mappingError(dmaAddr)) throw new Error("no room in the aperture");
      dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    }
  };
}

/** One CPU, and a pool as the kernel's bench_page_pool_simple has it: default ring, no device, 64 pages in the ring. */
function poolMachine(options: MachineOptions = {}): { readonly machine: Machine; readonly pool: PagePool } {
  const machine = createMachine({ nrCpus: 1, reports: "panic", nrPages: 65_536, memory: { pcp: { batch: 63, high: 512 }, dmaDebug: "off" }, ...options });
  const pool = machine.pagePools.create({
    flags: 0, order: 0, poolSize: 1024, nid: NUMA_NO_NODE, dev: null, napi: null, dmaDir: DMA_BIDIRECTIONAL, maxLen: 0, offset: 0, netdev: null,
  });
  if (typeof pool === "number") throw new Error(`no pool: errno ${pool}`);
  for (const page of Array.from({ length: 64 }, () => pool.allocPages(GFP_ATOMIC)!)) pool.putFullNetmem(page, false);
  return { machine, pool };
}

/** All of a round in one softirq. */
function inSoftirq({ kernel }: Machine, trip: () => void): (ops: number) => void {
  let left = 0;
  const softirq = kernel.timers.timerSetup(() => {
    for (let i = 0; i < left; i++) trip();
  }, 0);
  return (ops) => {
    left = ops;
    kernel.timers.modTimer(softirq, 0);
    kernel.scheduler.runFor(0);
  };
}

function fastPath(): (ops: number) => void {
  const { machine, pool } = poolMachine();
  return inSoftirq(machine, () => pool.recycleDirect(pool.allocPages(GFP_ATOMIC)!));
}

/** A trip in a process where eight memory models have had packets and are bound still. */
function amongModels(trip: (pool: PagePool) => () => void): (ops: number) => void {
  const { machine, pool } = poolMachine({ extraBytes: EIGHT_MODELS_BYTES });
  withEightModels(machine);
  return inSoftirq(machine, trip(pool));
}

function ptrRing(): (ops: number) => void {
  const { machine, pool } = poolMachine();
  return inSoftirq(machine, () => pool.putFullNetmem(pool.allocPages(GFP_ATOMIC)!, false));
}

function slowPath(): (ops: number) => void {
  const { machine, pool } = poolMachine();
  const { pages } = machine.mm;
  return inSoftirq(machine, () => {
    const page = pool.allocPages(GFP_ATOMIC)!;
    pages.getPage(page);
    pool.putFullNetmem(page, false);
    pages.putPage(page);
  });
}

/** What an skb's free does with one page: finds its owner, who puts it into the ring. */
function returnPath(path: ReturnPathName): (ops: number) => void {
  const { machine, pool } = poolMachine({ returnPath: path });
  const { registry, netmemReturn } = machine.xdp;
  const { xdpRxq } = machine.net.registerNetdev("eth0", 1).rxQueues[0]!;
  xdpRxq.mem.type = pool.memType;
  xdpRxq.mem.id = registry.registerMemModel(pool.memType, pool);
  return inSoftirq(machine, () => {
    const page = pool.allocPages(GFP_ATOMIC)!;
    netmemReturn.storeMemInfo(page, xdpRxq.mem);
    netmemReturn.tryReturn(page, false);
  });
}

function xdpPath(path: (machine: Machine, pool: PagePool) => () => void): (ops: number) => void {
  const { machine, pool } = poolMachine();
  return inSoftirq(machine, path(machine, pool));
}

/** Payload in a WebAssembly memory, whose copies are C's. */
function payloadPath(path: (machine: Machine, pool: PagePool) => () => void): (ops: number) => void {
  const size = { nrPages: 65_536, extraBytes: WIRE_BYTES };
  const { machine, pool } = poolMachine({ extraBytes: WIRE_BYTES, backing: createWasmBacking(backingBytes(size)) });
  return inSoftirq(machine, path(machine, pool));
}

export const WORKLOADS: readonly Workload[] = [
  { name: "w1", operation: "pool page taken and put direct", inC: true, opsPerRound: 20_000_000, prepare: fastPath },
  { name: "w2", operation: "pool page taken and put through the ring", inC: true, opsPerRound: 10_000_000, prepare: ptrRing },
  { name: "w3", operation: "pool page taken, and lost to the page allocator", inC: true, opsPerRound: 5_000_000, prepare: slowPath },
  { name: "w4-64", operation: "packet of 64 bytes received, made an skb, cloned, and both freed", inC: true, opsPerRound: 5_000_000, prepare: () => payloadPath(rxCloneFree(64)) },
  { name: "w4-1500", operation: "the same of 1500 bytes", inC: true, opsPerRound: 3_000_000, prepare: () => payloadPath(rxCloneFree(1500)) },
  { name: "w5-drop", operation: "packet received, run through a program, and dropped", inC: true, opsPerRound: 10_000_000, prepare: () => xdpPath(rxDrop) },
  { name: "w5-tx", operation: "packet received, its MACs swapped, and sent back", inC: true, opsPerRound: 8_000_000, prepare: () => xdpPath(rxTx) },
  { name: "w6", operation: "packet of 64 bytes into half a page, made an skb, and freed: the other half is next", inC: true, opsPerRound: 5_000_000, prepare: () => payloadPath(splitPages) },
  { name: "w5-redirect", operation: "packet received, and redirected through a devmap", inC: false, opsPerRound: 5_000_000, prepare: () => xdpPath(rxRedirect) },
  { name: "rx-udp", operation: "frame of 64 bytes received, through IPv4 into a UDP socket, and read", inC: false, opsPerRound: 1_000_000, prepare: udpIntoSocket },
  { name: "rx-tcp-gro", operation: "segment of 1448 bytes received, merged by GRO, into a TCP socket, and read", inC: false, opsPerRound: 500_000, prepare: tcpThroughGro },
  { name: "pp-return-pointer", operation: "pool page taken, marked, and returned by its pointer", inC: false, opsPerRound: 5_000_000, prepare: () => returnPath("pool-pointer") },
  { name: "pp-return-mem-info", operation: "pool page taken, marked, and returned through the registry", inC: false, opsPerRound: 5_000_000, prepare: () => returnPath("mem-info") },
  { name: "w1-models", operation: "w1 with eight memory models loaded, bound and run", inC: false, opsPerRound: 20_000_000, prepare: () => amongModels((pool) => () => pool.recycleDirect(pool.allocPages(GFP_ATOMIC)!)) },
  { name: "w2-models", operation: "w2 with them", inC: false, opsPerRound: 10_000_000, prepare: () => amongModels((pool) => () => pool.putFullNetmem(pool.allocPages(GFP_ATOMIC)!, false)) },
  { name: "mm-pcp", operation: "order-0 page through the per-CPU list", inC: true, opsPerRound: 8_000_000, prepare: pcp },
  { name: "mm-bulk64", operation: "page of a bulk request for 64", inC: true, opsPerRound: 6_400_000, prepare: bulk64 },
  { name: "mm-map", operation: "map and unmap, strict IOMMU, unrecorded", inC: true, opsPerRound: 4_000_000, prepare: () => mapUnmap("off") },
  { name: "mm-map-checked", operation: "map and unmap, strict IOMMU, recorded", inC: false, opsPerRound: 2_000_000, prepare: () => mapUnmap("on") },
];
