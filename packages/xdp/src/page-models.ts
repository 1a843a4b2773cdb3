import type { Netmem, PageAllocator } from "@netmem/mm/api";
import type { ReportSink } from "@netmem/kernel/api";
import { netmemName } from "@netmem/mm/api";
import type { MemModel } from "./api/index.ts";

/**
 * MEM_TYPE_PAGE_SHARED and MEM_TYPE_PAGE_ORDER0: pages without an allocator of their own. Returning one is dropping a
 * page reference: `page_frag_free` for a shared page, `put_page` for a whole one, which are the same step here since
 * both act on the compound head.
 * @kernel the first two cases of __xdp_return (net/core/xdp.c)
 */
export class PlainPageModel implements MemModel {
  readonly memType: number;
  readonly memId = 0;
  readonly #pages: PageAllocator;
  readonly #reports: ReportSink;

  constructor(memType: number, pages: PageAllocator, reports: ReportSink) {
    this.memType = memType;
    this.#pages = pages;
    this.#reports = reports;
  }

  returnNetmem(netmem: Netmem, _napiDirect: boolean): void {
    if (netmem.isNetIov) {
      this.#reports.report("xdp-wrong-memory-type", "warn", netmemName(netmem), `mem type ${this.memType}`, "a net_iov returned as a plain page: it is lost to its provider");
      return;
    }
    this.#pages.putPage(netmem);
  }

  returnNetmemBulk(netmems: (Netmem | null)[], count: number): void {
    for (let i = 0; i < count; i++) this.returnNetmem(netmems[i]!, false);
  }

  returnSkbNetmem(netmem: Netmem, _napiSafe: boolean): void {
    this.returnNetmem(netmem, false);
  }

  refSkbNetmem(netmem: Netmem): void {
    if (!netmem.isNetIov) this.#pages.getPage(netmem);
  }

  /** Nobody else counts these pages: there is nothing to let go of. */
  releaseNetmem(_netmem: Netmem): void {}

  useXdpMem(_memId: number, _disconnect: () => void): void {}

  unuseXdpMem(): void {}
}
