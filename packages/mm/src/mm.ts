import { UsageError, type Kernel } from "@netmem/kernel/api";
import { NetIov, NetIovArea, PAGE_SHIFT, PAGE_SIZE, type DeviceBus, type DmaDevice, type DmaDeviceOptions, type Mm, type PayloadRegion } from "./api/index.ts";
import { DeviceFactory } from "./dma/attach.ts";
import { ShadowedCache } from "./dma/cpu-cache.ts";
import { DmaDebug } from "./dma/debug.ts";
import { PhysMap } from "./dma/phys-map.ts";
import { Swiotlb } from "./dma/swiotlb.ts";
import { Faults } from "./fault-injection.ts";
import { backingBytes, bounceBytes, hostPages, type MmOptions } from "./options.ts";
import { PageBallast } from "./page-alloc/ballast.ts";
import { createPageAlloc } from "./page-alloc/create.ts";
import { PageFragAllocator } from "./page-frag.ts";
import { UnionWords } from "./page-words.ts";
import { BackedPayload } from "./payload.ts";
import { MM_RULES_6_18, type MmRules } from "./rules.ts";
import { BucketSlab } from "./slab/slab.ts";
import { UserAddresses } from "./user-mappings.ts";

/** What memory needs to know of the machine: its CPUs and who is running, its timers, where reports go. */
export type MmKernel = Pick<Kernel, "reports" | "context" | "clock" | "timers" | "nrCpus" | "cpuNodes">;

export function createMm(kernel: MmKernel, options: MmOptions): Mm {
  const needed = backingBytes(options);
  const backing = options.backing ?? { buffer: new ArrayBuffer(needed) };
  if (backing.buffer.byteLength < needed) throw new UsageError("mm", "backing bytes", backing.buffer.byteLength, `give at least ${needed}`);
  const rules: MmRules = { ...MM_RULES_6_18, ...options.rules };
  const { reports, context, nrCpus } = kernel;
  const payload = new BackedPayload(backing, backing.zeroed === true ? needed : backing.buffer.byteLength, reports);
  const host = payload.addRegion("host", hostPages(options) << PAGE_SHIFT, true, "linear");
  const bounce = options.swiotlb === undefined ? null : payload.addRegion("swiotlb", bounceBytes(options.swiotlb), true, "linear");
  const cpuCache = options.cpuCache === true ? new ShadowedCache(bounce === null ? [host] : [host, bounce], options.backing === undefined || options.backing.zeroed === true) : null;
  const words = new UnionWords(reports);
  const faults = new Faults();
  const { pages, buddy, map } = createPageAlloc(kernel, host, options, rules, words, faults.failPageAlloc);
  const slab = new BucketSlab({ pages, words, context, reports, failPoint: faults.failSlab, mightSleep: (gfp, what) => pages.slowPath.mightSleep(gfp, what), nrCpus, nrNodes: options.nodes?.length ?? 1 });
  pages.slowPath.registerShrinker({ name: "slab", shrink: () => slab.shrink() });

  const phys = new PhysMap(host, bounce);
  const devices = new DeviceFactory({
    kernel, pages, payload, phys, cpuCache, rules,
    debug: options.dmaDebug === "off" ? null : new DmaDebug(reports, phys.hostBase, host.bytes.length),
    everySync: options.dmaDebug === "every-sync",
    swiotlb: bounce === null ? null : createSwiotlb(bounce),
    probe: options.dmaProbe ?? null,
    failPoint: faults.failDmaMap,
  });
  return {
    pages, words, slab, payload, faults, cpuCache,
    frags: new PageFragAllocator(pages, rules.fragsAscend, rules.fragRefillReclaims),
    ballast: new PageBallast(pages, buddy, map),
    reclaim: pages.slowPath,
    userMappings: new UserAddresses(pages, kernel.clock),
    attachDevice: (device: DmaDeviceOptions): { readonly dma: DmaDevice; readonly bus: DeviceBus } => devices.attach(device),
    createNetIovArea: (name: string, type: number, count: number, cpuReadable: boolean): NetIovArea => {
      const area = new NetIovArea(payload.addRegion(name, count * PAGE_SIZE, cpuReadable));
      for (let i = 0; i < count; i++) area.niovs.push(new NetIov(type, area, i, i * PAGE_SIZE));
      return area;
    },
  };

  function createSwiotlb(region: PayloadRegion): Swiotlb {
    const { slots, areas = 1, dynamic = false } = options.swiotlb!;
    return new Swiotlb({ region, slots, areas, dynamic, phys, payload, pages, context, reports });
  }
}
