import { EBUSY, EFAULT, EINVAL, type Clock } from "@netmem/kernel/api";
import { PAGE_IN_USE, PAGE_SHIFT, PAGE_SIZE, VmArea, pageIsAnon, type Page, type PageRefs, type UserMappings } from "./api/index.ts";

/** Where user addresses begin. */
const FIRST_ADDRESS = 0x10_0000;

/** @kernel mm/mmap.c, mm/memory.c */
export class UserAddresses implements UserMappings {
  private readonly pages: PageRefs;
  private readonly clock: Clock;
  private readonly used: Set<VmArea>;
  private next: number;

  constructor(pages: PageRefs, clock: Clock) {
    this.pages = pages;
    this.clock = clock;
    this.used = new Set();
    this.next = FIRST_ADDRESS;
  }

  areas(): readonly VmArea[] {
    return [...this.used];
  }

  mmap(lengthBytes: number, name: string): VmArea {
    const count = Math.max(1, Math.ceil(lengthBytes / PAGE_SIZE));
    const area = new VmArea(name, this.next, this.next + count * PAGE_SIZE, count);
    // A page that nothing is ever mapped at lies between two.
    this.next = area.vmEnd + PAGE_SIZE;
    return area;
  }

  vmInsertPages(area: VmArea, address: number, pages: readonly (Page | null)[], from: number, n: number): { inserted: number; error: number } {
    if (area.unmapped) return { inserted: 0, error: -EINVAL };
    if (address < area.vmStart || address + n * PAGE_SIZE > area.vmEnd) return { inserted: 0, error: -EFAULT };
    const slot = (address - area.vmStart) >> PAGE_SHIFT;
    for (let i = 0; i < n; i++) {
      const page = pages[from + i]!;
      if (!mayBeInserted(page)) return { inserted: i, error: -EINVAL };
      if (area.mapped[slot + i] !== null) return { inserted: i, error: -EBUSY };
      this.pages.getPage(page);
      page.mapcount++;
      area.mapped[slot + i] = page;
      if (area.filePages++ > 0) continue;
      area.since = this.clock.stamp;
      this.used.add(area);
    }
    return { inserted: n, error: 0 };
  }

  zapPageRange(area: VmArea, address: number, lengthBytes: number): void {
    const first = Math.max(0, (address - area.vmStart) >> PAGE_SHIFT);
    const end = Math.min(area.mapped.length, (address - area.vmStart + lengthBytes) >> PAGE_SHIFT);
    for (let slot = first; slot < end; slot++) {
      const page = area.mapped[slot]!;
      if (page === null) continue;
      area.mapped[slot] = null;
      page.mapcount--;
      if (--area.filePages === 0) this.used.delete(area);
      this.pages.putPage(page);
    }
  }

  munmap(area: VmArea): void {
    this.zapPageRange(area, area.vmStart, area.vmEnd - area.vmStart);
    area.unmapped = true;
  }
}

/** Its user could otherwise see, and keep, what is nobody's, or an allocator's, or counted otherwise. @kernel validate_page_before_insert (mm/memory.c) */
function mayBeInserted({ head }: Page): boolean {
  return head.refcount > 0 && head.state === PAGE_IN_USE && !pageIsAnon(head);
}
