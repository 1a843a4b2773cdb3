import type { Kernel } from "@netmem/kernel/api";
import type { Mm, PageAllocator } from "@netmem/mm/api";
import {
  MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, MEM_TYPE_XSK_BUFF_POOL,
  type NetmemReturn, type ReturnPathName, type Xdp, type XdpProbe,
} from "./api/index.ts";
import { PlainPageModel } from "./page-models.ts";
import { PacketBuffs } from "./buffs.ts";
import { DeviceQueues } from "./device-queues.ts";
import { DeviceFeatures, DeviceTable } from "./devices.ts";
import { DevMapRedirect } from "./devmap-redirect.ts";
import { FrameStructs } from "./frames.ts";
import { MapFactory } from "./maps.ts";
import { NetdevChain } from "./notifier.ts";
import { ProgramOnFrame } from "./program-on-frame.ts";
import { Programs } from "./programs.ts";
import { RedirectTargets } from "./redirect-info.ts";
import { RedirectCounts } from "./redirect-stats.ts";
import { PacketRedirect } from "./redirect.ts";
import { MemModelTable } from "./registry.ts";
import {
  MemInfoInPage, MemInfoInSkb, PoolPointer, PoolPointerAtMark, ReleaseOnMark, SIGNATURE_EXACT, SIGNATURE_MASKED, SIGNATURE_V3,
} from "./return-paths.ts";
import { XDP_DATES_6_18, type XdpDates } from "./rules.ts";
import { RxQueueRegistration } from "./rxq.ts";
import { Stack } from "./stack.ts";
import { structs } from "./structs.ts";
import { ProgramContext } from "./xdp-md.ts";
import { FrameReturn } from "./xdp-return.ts";
import { XskBinding } from "./xsk/binding.ts";
import { GenericXmit } from "./xsk/generic-xmit.ts";
import { XskReceive } from "./xsk/receive.ts";
import { XskSockets } from "./xsk/sockets.ts";
import { Umems } from "./xsk/umem.ts";

export interface XdpOptions {
  readonly returnPath: ReturnPathName;
  /** False before the series: handing a page to an skb releases it from its pool. */
  readonly recyclesSkbPages: boolean;
  /** Which signature pages carry and how exactly it is compared; must be what page-pool writes. */
  readonly signature: "v3" | "exact" | "masked";
  /** 5.14: the pointer is written at mark time, not at allocation. */
  readonly stampsOwnerAtMark: boolean;
  /** v3 and 5.14: a return wipes what the mark wrote. */
  readonly returnClearsMark: boolean;
  /** What changed between kernels. */
  readonly dates: XdpDates;
  /** Kernels from 6.14 return frames of several pools in one bulk; must be what page-pool does. */
  readonly bulksMixPools: boolean;
  /** Tracepoints; none unless given. */
  readonly probe?: XdpProbe | null;
}

/** The kernel of the default preset. */
export const XDP_OPTIONS_6_18: XdpOptions = {
  returnPath: "pool-pointer", recyclesSkbPages: true, signature: "masked", stampsOwnerAtMark: false, returnClearsMark: false, dates: XDP_DATES_6_18, bulksMixPools: true,
};

const SIGNATURES = { v3: SIGNATURE_V3, exact: SIGNATURE_EXACT, masked: SIGNATURE_MASKED } as const;

export function createXdp(kernel: Kernel, mm: Pick<Mm, "pages" | "payload">, options: XdpOptions): Xdp {
  const { reports, context, nrCpus } = kernel;
  const { pages, payload } = mm;
  const { dates } = options;
  const probe = options.probe ?? null;
  const registry = createRegistry(kernel, pages, probe);
  const frames = new FrameStructs(reports);
  const xdpReturn = new FrameReturn({ table: registry, frames, context, nrCpus, reports, followsPointer: dates.framesFollowPointer, bulksMixPools: options.bulksMixPools });
  const buffs = new PacketBuffs(frames, xdpReturn, pages, payload, reports);
  const notifiers = new NetdevChain();
  const devices = new DeviceTable();
  notifiers.registerNetdeviceNotifier(devices);
  const stack = new Stack();

  const targets = new RedirectTargets(context, nrCpus, dates.hasBroadcast, dates.redirectEndsWithContext);
  const programs = new Programs(new ProgramContext(xdpReturn, targets, dates.metalenMax), reports, probe, dates.hasMultiBuffer);
  const onFrame = new ProgramOnFrame(structs, buffs, programs);
  const stats = new RedirectCounts();
  const deviceQueues = new DeviceQueues(context, nrCpus, xdpReturn, programs, onFrame, stats, probe);
  const devmap = new DevMapRedirect(deviceQueues, buffs, xdpReturn, stats, dates.asksFeatures);

  const umems = new Umems(pages, payload);
  const xskReceive = new XskReceive(context, nrCpus, umems, xdpReturn);
  const binding = new XskBinding(structs, umems, kernel, dates);
  devices.onGone((dev) => deviceQueues.deviceGone(dev));
  devices.onGone((dev) => binding.deviceGone(dev));

  const redirect = new PacketRedirect({
    context, nrCpus, targets, devices, devmap, deviceQueues, buffs, xdpReturn, onFrame, xsk: xskReceive, stats, probe, devmapRunsAtFlush: dates.devmapRunsAtFlush,
  });
  return {
    structs,
    registry,
    notifiers,
    rxqs: new RxQueueRegistration(registry, reports, probe),
    netmemReturn: createReturnPath(registry, options, kernel),
    xdpReturn,
    buffs,
    programs,
    maps: new MapFactory(devices, { kernel, xdpReturn, onFrame, stack, redirect, stats, probe, flushesNoDirect: dates.cpumapFlushesNoDirect, runsEverySkb: dates.cpumapRunsEverySkb, merges: dates.cpumapMerges, tellsFirst: dates.cpumapTellsFirst }, binding.maps),
    redirect,
    devices,
    features: new DeviceFeatures(devices, notifiers),
    afXdp: new XskSockets({ umems, binding, xmit: new GenericXmit(umems, stack, binding), hasMultiBuffer: dates.xskHasMultiBuffer }),
    connectStack: (receiver, transmitter) => {
      stack.receiver = receiver;
      stack.transmitter = transmitter;
    },
  };
}

/** The page allocator's own two types are in it like everyone else's. */
function createRegistry(kernel: Kernel, pages: PageAllocator, probe: XdpProbe | null): MemModelTable {
  const registry = new MemModelTable(kernel, probe);
  registry.registerMemType(MEM_TYPE_PAGE_SHARED, new PlainPageModel(MEM_TYPE_PAGE_SHARED, pages, kernel.reports));
  registry.registerMemType(MEM_TYPE_PAGE_ORDER0, new PlainPageModel(MEM_TYPE_PAGE_ORDER0, pages, kernel.reports));
  registry.registerMemType(MEM_TYPE_PAGE_POOL, null);
  registry.registerMemType(MEM_TYPE_XSK_BUFF_POOL, null);
  return registry;
}

function createReturnPath(table: MemModelTable, options: XdpOptions, kernel: Pick<Kernel, "reports">): NetmemReturn {
  const rule = SIGNATURES[options.signature];
  if (!options.recyclesSkbPages) return new ReleaseOnMark(table);
  switch (options.returnPath) {
    case "mem-info": return new MemInfoInPage(table, rule, options.returnClearsMark, kernel.reports);
    case "skb-mem-info": return new MemInfoInSkb(table, rule, kernel.reports);
    case "pool-pointer":
      return options.stampsOwnerAtMark ? new PoolPointerAtMark(table, rule, options.returnClearsMark, kernel.reports) : new PoolPointer(rule);
  }
}
