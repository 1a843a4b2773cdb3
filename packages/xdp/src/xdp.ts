import type { Kernel } from "@netmem/kernel/api";
import type { PageAllocator } from "@netmem/mm/api";
import {
  MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, MEM_TYPE_XSK_BUFF_POOL,
  type NetmemReturn, type ReturnPathName, type Xdp,
} from "./api/index.ts";
import { PlainPageModel } from "./page-models.ts";
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
}

const SIGNATURES = { v3: SIGNATURE_V3, exact: SIGNATURE_EXACT, masked: SIGNATURE_MASKED } as const;

export function createXdp(kernel: Pick<Kernel, "reports">, pages: PageAllocator, options: XdpOptions): Xdp {
  const { reports } = kernel;
  const registry = new MemModelTable(reports);
  registry.registerMemType(MEM_TYPE_PAGE_SHARED, new PlainPageModel(MEM_TYPE_PAGE_SHARED, pages, reports));
  registry.registerMemType(MEM_TYPE_PAGE_ORDER0, new PlainPageModel(MEM_TYPE_PAGE_ORDER0, pages, reports));
  registry.registerMemType(MEM_TYPE_PAGE_POOL, null);
  registry.registerMemType(MEM_TYPE_XSK_BUFF_POOL, null);
  return {
    structs,
    registry,
    notifiers: new NetdevChain(),
    rxqs: new RxQueueRegistration(registry, reports),
    netmemReturn: createReturnPath(registry, options, kernel),
    xdpReturn: new FrameReturn(registry, options.framesFollowPointer, reports),
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
