import type { ReportSink } from "@netmem/kernel/api";
import { PAGE_IN_USE, PAGE_SLAB, pageName, pageOwner, type Page, type PageRefs } from "../api/index.ts";

/** Takes a block whose count has reached zero. */
export interface FrozenSink {
  readonly freeFrozenPages: (page: Page, order: number) => void;
}

export class References implements PageRefs {
  private readonly reports: ReportSink;
  private readonly slabHasNoRefs: boolean;
  private readonly sink: FrozenSink;

  constructor(reports: ReportSink, slabHasNoRefs: boolean, sink: FrozenSink) {
    this.reports = reports;
    this.slabHasNoRefs = slabHasNoRefs;
    this.sink = sink;
  }

  getPage(page: Page): void {
    const { head } = page;
    if (head.state === PAGE_SLAB && this.slabHasNoRefs) {
      this.report("page-ref-slab", head, "get_page on a slab page, which has no references to share");
      return;
    }
    if (head.refcount <= 0) {
      this.report("page-ref-zero", head, `get_page on a page with ${head.refcount} references`);
      return;
    }
    head.refcount++;
  }

  getPageUnlessZero(page: Page): boolean {
    const { head } = page;
    if (head.refcount <= 0) return false;
    head.refcount++;
    return true;
  }

  putPage(page: Page): void {
    const { head } = page;
    if (head.state === PAGE_SLAB && this.slabHasNoRefs) return;
    if (head.refcount === 1) {
      head.refcount = 0;
      this.sink.freeFrozenPages(head, head.order);
    } else this.drop(head, 1, "put_page");
  }

  pageRefAdd(page: Page, n: number): void {
    const { head } = page;
    if (!(n > 0 && Number.isInteger(n))) this.report("page-ref-store", head, `page_ref_add of ${n}`);
    else if (head.refcount <= 0) this.report("page-ref-zero", head, `page_ref_add of ${n} to a page with ${head.refcount} references`);
    else head.refcount += n;
  }

  pageRefSub(page: Page, n: number): void {
    this.drop(page.head, n, "page_ref_sub");
  }

  pageRefSubAndTest(page: Page, n: number): boolean {
    return this.drop(page.head, n, "page_ref_sub_and_test") === 0;
  }

  setPageCount(page: Page, n: number): void {
    const { head } = page;
    if (head.refcount === 0 && n >= 0 && Number.isInteger(n) && head.state === PAGE_IN_USE) head.refcount = n;
    else if (head.state !== PAGE_IN_USE) this.report("page-ref-store", head, `set_page_count(${n}) on a page that is not in use`);
    else this.report("page-ref-store", head, `set_page_count(${n}) on a page with ${head.refcount} references: others may hold them`);
  }

  /** References left, or −1 where there were not enough to drop: nothing is changed then. */
  drop(head: Page, n: number, what: string): number {
    if (!(n > 0 && head.refcount >= n && (n | 0) === n)) {
      this.report("page-ref-underflow", head, `${what}${n === 1 ? "" : ` of ${n}`} on a page with ${head.refcount} references`);
      return -1;
    }
    head.refcount -= n;
    return head.refcount;
  }

  private report(kind: string, head: Page, message: string): void {
    this.reports.report(kind, "warn", pageName(head), pageOwner(head), message);
  }
}
