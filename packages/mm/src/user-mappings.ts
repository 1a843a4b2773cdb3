import { EBUSY, EINVAL, type Clock } from "@netmem/kernel/api";
import { PAGE_SHIFT, PAGE_SIZE, PAGE_SLAB, VmArea, type Page, type PageRefs, type UserMappings } from "./api/index.ts";

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
    const slot = (address - area.vmStart) >> PAGE_SHIFT;
    for (let i = 0; i < n; i++) {
      const page = pages[from + i]!;
      const error = area.unmapped || address < area.vmStart || slot + i >= area.mapped.length || page.head.state === PAGE_SLAB ? -EINVAL : area.mapped[slot + i] === null ? 0 : -EBUSY;
      if (error !== 0) return { inserted: i, error };
      this.pages.getPage(page);
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
      if (--area.filePages === 0) this.used.delete(area);
      this.pages.putPage(page);
    }
  }

  munmap(area: VmArea): void {
    this.zapPageRange(area, area.vmStart, area.vmEnd - area.vmStart);
    area.unmapped = true;
  }
}
