import type { Timer } from "@netmem/kernel/api";
import { netmemName, type CoherentMemory, type Netmem } from "@netmem/mm/api";
import type { NapiStruct, NetDevice } from "@netmem/xdp/api";
import type { DriverDeps, DriverOptions, NetDriver, NetInterface, TxRing } from "@netmem/driver/api";
import type { Machine } from "@netmem/machine";
import type { PagePool } from "@netmem/page-pool/api";
import type { Findings } from "../findings.ts";
import { FreshReports } from "../fresh-reports.ts";
import { watched, type Watches } from "../watched.ts";
import { FailingCalls } from "./failing-calls.ts";
import { NetmemLogs, type NetmemLog } from "./netmems.ts";
import type { WatchedPool } from "./pools.ts";
import { PostedBuffers } from "./posted.ts";
import { ruleOfReport } from "./reports.ts";
import { watchDma, watchNic, watchPages, watchTxRings } from "./watch-device.ts";
import { watchPools } from "./watch-pools.ts";
import { watchEdit, watchLifetime, watchNapi, watchReceive, watchRecycle } from "./watch-stack.ts";
import { watchPrograms, watchRedirect, watchReturns, watchRxqs } from "./watch-xdp.ts";

/** A queue, or a memory model, that XDP knows of; the pool behind it, and where that was done. */
export interface Registration {
  readonly pool: WatchedPool | null;
  readonly where: string;
}

/**
 * Stands between a driver and the layers: the driver is given its own dependencies, each of whose calls is looked at before it goes on. It knows what the driver was given and told them, and nothing of the driver.
 */
export class DriverWatch {
  readonly machine: Machine;
  readonly findings: Findings;
  readonly failing: FailingCalls = new FailingCalls();
  readonly logs: NetmemLogs = new NetmemLogs();
  readonly pools: WatchedPool[] = [];
  /** By the pool that the driver was given. */
  readonly poolOf: Map<PagePool, WatchedPool> = new Map<PagePool, WatchedPool>();
  /** Rings that the driver has, by device address. */
  readonly coherent: Map<number, CoherentMemory> = new Map<number, CoherentMemory>();
  /** Where each ring was made, and each timer armed. */
  readonly ringWhere: Map<number, string> = new Map<number, string>();
  readonly timers: Map<Timer, string> = new Map<Timer, string>();
  /** What it has registered and not undone. */
  readonly registered: Map<object, Registration> = new Map<object, Registration>();
  /** Instances that may poll. */
  readonly enabled: Set<NapiStruct> = new Set<NapiStruct>();
  /** Those whose poll runs, innermost last. */
  readonly polling: NapiStruct[] = [];
  /** How many of these have a budget of 0. */
  budgetless = 0;
  dev: NetDevice | null = null;
  /** The last that it made. */
  txRing: TxRing | null = null;
  posted: PostedBuffers | null = null;
  readonly #reports: FreshReports;

  constructor(machine: Machine, findings: Findings) {
    this.machine = machine;
    this.findings = findings;
    this.#reports = new FreshReports(machine.kernel.reports);
  }

  /** The driver, watched. */
  driver(driver: NetDriver): NetDriver {
    return { ...driver, probe: (deps: DriverDeps, options: DriverOptions): NetInterface => driver.probe(this.#deps(driver, deps), options) };
  }

  watched<T extends object>(target: T, watches: Watches<T>): T {
    return watched(target, this.findings, watches, () => this.reported());
  }

  /** The instance whose poll runs on the innermost level, or null. */
  poll(): NapiStruct | null {
    return this.polling.at(-1) ?? null;
  }

  /** The driver has to do with it just now. */
  touches(netmem: Netmem | null): NetmemLog | null {
    const log = this.logs.of(netmem);
    if (log !== null) log.where = this.findings.trace();
    return log;
  }

  /** A posted buffer must not go anywhere. */
  leavesDriver(netmem: Netmem): void {
    this.findings.occasion("R8");
    // Of a page in parts it is one of them.
    if (this.logs.of(netmem)?.counted === true && netmem.ppRefCount > 1) return;
    const holder = this.posted?.holderOf(netmem) ?? null;
    if (holder !== null) this.findings.broke("R8", `${netmemName(netmem)} is let go of while it is posted to ${holder}`);
  }

  /** What the machine has found by itself since it was last asked. */
  reported(): void {
    for (const { kind, object, message } of this.#reports.take()) {
      // The driver was told, and has to go on.
      if (kind === "pp-create-failed" && this.failing.injected.length > 0) continue;
      const rule = ruleOfReport(kind);
      const log = this.logs.named(object);
      const here = this.findings.here();
      // A mapping that is left may be any page's.
      const counted = log?.counted ?? (kind === "dma-leak" && this.pools.some((pool) => pool.counted));
      this.findings.consequence(rule === "R2" && counted ? "R11" : rule, `${kind}: ${object}: ${message}`, here === "" ? (log?.where ?? "") : here);
    }
  }

  #deps(driver: NetDriver, deps: DriverDeps): DriverDeps {
    const { nic } = deps;
    this.posted = new PostedBuffers(driver.rxDescFormat, nic.rxQueues, nic.bufferPools, this.coherent, this.logs, (dmaAddr, bytes) => this.#isPosted(dmaAddr, bytes));
    return {
      ...deps,
      kernel: { ...deps.kernel, timers: this.watched(deps.kernel.timers, { modTimer: { before: (timer) => void this.timers.set(timer, this.findings.trace()) } }) },
      dma: watchDma(this, deps.dma), nic: watchNic(this, nic), txRings: watchTxRings(this, deps.txRings), pages: watchPages(this, deps.pages),
      pagePools: watchPools(this, deps.pagePools, deps.dma),
      xdpRxqs: watchRxqs(this, deps.xdpRxqs), xdpPrograms: watchPrograms(this, deps.xdpPrograms), xdpReturn: watchReturns(this, deps.xdpReturn), xdpRedirect: watchRedirect(this, deps.xdpRedirect),
      lifetime: watchLifetime(this, deps.lifetime), recycle: watchRecycle(this, deps.recycle), edit: watchEdit(this, deps.edit),
      receive: watchReceive(this, deps.receive), napi: watchNapi(this, deps.napi),
      registerNetdev: (name, rxQueueCount) => {
        const dev = deps.registerNetdev(name, rxQueueCount);
        this.dev ??= dev;
        return dev;
      },
    };
  }

  /** From here on the device may write to it: what the pool syncs must reach as far. */
  #isPosted(dmaAddr: number, bytes: number): void {
    const found = this.logs.at(dmaAddr);
    if (found === null) return;
    const { log, offset } = found;
    log.posted(offset, offset + bytes);
    const { pool, netmem } = log;
    if (pool === null || !pool.real.dmaSync) return;
    this.findings.occasion("R5");
    const { params } = pool.real;
    if (pool.counted) return;
    if (offset < params.offset || offset + bytes > params.offset + params.maxLen) {
      this.findings.broke("R5", `the device may write bytes ${offset} to ${offset + bytes} of ${netmemName(netmem)}, and its pool syncs ${params.offset} to ${params.offset + params.maxLen}: offset and maxLen say where it writes`);
    }
  }
}
