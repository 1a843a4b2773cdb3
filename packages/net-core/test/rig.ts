import { createKernel } from "@netmem/kernel";
import type { Kernel } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { GFP_ATOMIC, PAGE_SIZE, type Mm, type Page } from "@netmem/mm/api";
import { XDP_OPTIONS_6_18, createXdp } from "@netmem/xdp";
import type { NetDevice, Xdp } from "@netmem/xdp/api";
import { NET_CORE_RULES_6_18, createNetCore, type NetCoreRules } from "../src/index.ts";
import type { NetCore, SkBuff } from "../src/api/index.ts";

const TWO_NODES = [{ zones: [{ name: "Normal", pages: 256 }] }, { zones: [{ name: "Normal", pages: 256 }] }] as const;

/** net-core over real lower layers, without any page_pool: it never learns that there is one. */
export class NetRig {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly xdp: Xdp;
  readonly net: NetCore;
  readonly dev: NetDevice;
  /** `len reason` of each packet freed. */
  readonly freed: string[] = [];
  /** How each ended, `SKB_FREED` and the others. */
  readonly freedHow: number[] = [];

  constructor(rules: Partial<NetCoreRules> = {}, packetCostNs: number = 0, cpuNodes: readonly number[] = [0, 0]) {
    this.kernel = createKernel({ nrCpus: cpuNodes.length, cpuNodes, seed: 1, reports: "collect" });
    this.mm = createMm(this.kernel, { ...(cpuNodes.includes(1) ? { nodes: TWO_NODES } : { nrPages: 512 }), extraBytes: 2 * 1024 * 1024 });
    this.xdp = createXdp(this.kernel, this.mm, XDP_OPTIONS_6_18);
    this.net = createNetCore({
      kernel: this.kernel, mm: this.mm, xdp: this.xdp,
      rules: { ...NET_CORE_RULES_6_18, ...rules }, packetCostNs, probe: { groReceiveEntry: () => undefined, received: () => undefined, polled: () => undefined, freed: (skb, reason, how) => {
        this.freed.push(`${skb.len} ${reason}`);
        this.freedHow.push(how);
      } },
    });
    this.dev = this.net.registerNetdev("eth0", 1);
  }

  page(): Page {
    return this.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  }

  /** An skb over a fresh page, `bytes` of linear data at offset 64. */
  skb(bytes: number = 60): SkBuff {
    const skb = this.net.lifetime.napiBuildSkb(this.page(), PAGE_SIZE)!;
    this.net.edit.skbReserve(skb, 64);
    this.net.edit.skbPut(skb, bytes);
    return skb;
  }

  hardirq(cpu: number, work: () => void): void {
    this.kernel.irqs.raise(this.kernel.irqs.requestIrq("rig", cpu, work));
    this.kernel.scheduler.runFor(0);
  }

  softirq(cpu: number, work: () => void): void {
    const { timers, scheduler } = this.kernel;
    timers.modTimer(timers.timerSetup(work, cpu), 0);
    scheduler.runFor(0);
  }

  kinds(): string[] {
    return this.kernel.reports.reports.map((report) => report.kind);
  }

  /** Free pages once empty slabs are given back. */
  freePages(): number {
    this.mm.slab.shrink();
    return this.mm.pages.freePages();
  }
}
