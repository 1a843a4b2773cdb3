import type { Kernel } from "@netmem/kernel/api";
import type { Mm } from "@netmem/mm/api";
import {
  MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, MEM_TYPE_XSK_BUFF_POOL,
  type NetmemReturn, type ReturnPathName, type Xdp, type XdpProbe,
} from "./api/index.ts";
import { PlainPageModel } from "./page-models.ts";
import { PacketBuffs } from "./buffs.ts";
import { FrameStructs } from "./frames.ts";
import { NetdevChain } from "./notifier.ts";
import { MemModelTable } from "./registry.ts";
import {
  MemInfoInPage, MemInfoInSkb, PoolPointer, PoolPointerAtMark, ReleaseOnMark, SIGNATURE_EXACT, SIGNATURE_MASKED, SIGNATURE_V3,
} from "./return-paths.ts";
import { RxQueueRegistration } from "./rxq.ts";
import { structs } from "./structs.ts";
import { FrameReturn } from "./xdp-return.ts";

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
  /** Kernels from 6.3 return page_pool frames through the page's pointer. */
  readonly framesFollowPointer: boolean;
  /** Kernels from 6.14 return frames of several pools in one bulk. */
  readonly bulksMixPools: boolean;
  /** Tracepoints; none unless given. */
  readonly probe?: XdpProbe | null;
}

const SIGNATURES = { v3: SIGNATURE_V3, exact: SIGNATURE_EXACT, masked: SIGNATURE_MASKED } as const;

export function createXdp(kernel: Pick<Kernel, "reports" | "context" | "nrCpus" | "timers" | "hz">, mm: Pick<Mm, "pages" | "payload">, options: XdpOptions): Xdp {
  const { reports, context, nrCpus } = kernel;
  const { pages, payload } = mm;
  const probe = options.probe ?? null;
  const registry = new MemModelTable(kernel, probe);
  registry.registerMemType(MEM_TYPE_PAGE_SHARED, new PlainPageModel(MEM_TYPE_PAGE_SHARED, pages, reports));
  registry.registerMemType(MEM_TYPE_PAGE_ORDER0, new PlainPageModel(MEM_TYPE_PAGE_ORDER0, pages, reports));
  registry.registerMemType(MEM_TYPE_PAGE_POOL, null);
  registry.registerMemType(MEM_TYPE_XSK_BUFF_POOL, null);
  const frames = new FrameStructs(reports);
  const xdpReturn = new FrameReturn({ table: registry, frames, context, nrCpus, reports, followsPointer: options.framesFollowPointer, bulksMixPools: options.bulksMixPools });
  return {
    structs,
    registry,
    notifiers: new NetdevChain(),
    rxqs: new RxQueueRegistration(registry, reports, probe),
    netmemReturn: createReturnPath(registry, options, kernel),
    xdpReturn,
    buffs: new PacketBuffs(frames, xdpReturn, pages, payload, reports),
  };
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
