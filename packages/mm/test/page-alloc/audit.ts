// By the package's name, so that the soak, which runs on the build, can use it too.
import { MAX_PAGE_ORDER, MIGRATE_HIGHATOMIC, MIGRATE_TYPES, PAGEBLOCK_ORDER, PAGE_BUDDY, PAGE_BUDDY_PART, PAGE_PCP, type Page, type PageAllocator } from "@netmem/mm/api";

/**
 * Everything that must hold of all pages at any time, as a list of what does not: blocks aligned and within one zone, no
 * two over the same page, each listed as its pageblocks' type, lists and counters saying the same, nothing free with a
 * reference, an owner or a foreign claim.
 */
export function audit(pages: PageAllocator): string[] {
  const faults: string[] = [];
  const say = (page: Page, what: string): void => void faults.push(`+${page.base >> 12}: ${what}`);
  const free = pages.zones.map(() => 0);
  const pcp = pages.zones.map(() => 0);
  const blocks = pages.zones.map(() => Array.from({ length: MAX_PAGE_ORDER + 1 }, () => 0));
  const typed = pages.zones.map(() => Array.from({ length: (MAX_PAGE_ORDER + 1) * MIGRATE_TYPES }, () => 0));
  const reserved = pages.zones.map(() => 0);
  for (let i = 0; i < pages.nrPages; i += 1 << PAGEBLOCK_ORDER) {
    const page = pages.pages[i]!;
    if (pages.getPageblockMigratetype(page) === MIGRATE_HIGHATOMIC) reserved[page.zone]! += 1 << PAGEBLOCK_ORDER;
  }
  for (let i = 0; i < pages.nrPages;) {
    const page = pages.pages[i]!;
    const isFree = page.state === PAGE_BUDDY || page.state === PAGE_PCP;
    if (!isFree) {
      if (page.state === PAGE_BUDDY_PART) say(page, "free, and part of no block");
      i++;
      continue;
    }
    const size = 1 << page.order;
    if ((page.pfn & (size - 1)) !== 0) say(page, `free block of order ${page.order} out of line`);
    (page.state === PAGE_BUDDY ? free : pcp)[page.zone]! += size;
    if (page.state === PAGE_BUDDY) {
      const type = pages.getPageblockMigratetype(page);
      blocks[page.zone]![page.order]!++;
      typed[page.zone]![page.order * MIGRATE_TYPES + type]!++;
      const end = pages.pages[i + size - 1];
      if (end !== undefined && pages.getPageblockMigratetype(end) !== type) say(page, `block of order ${page.order} over pageblocks of types ${type} and ${pages.getPageblockMigratetype(end)}`);
    }
    if (page.claims !== (page.state === PAGE_BUDDY ? 0x10011 : 0x22)) say(page, `claims 0x${page.claims.toString(16)} on a free list`);
    for (let j = 0; j < size; j++) {
      const part = pages.pages[i + j];
      if (part === undefined || part.zone !== page.zone) {
        say(page, `block of order ${page.order} leaves its zone`);
        break;
      }
      if (part.refcount !== 0 || part.pp !== null || part.ppMagic !== 0 || part.head !== part) say(part, "free, and somebody's");
      if (j > 0 && part.state !== PAGE_BUDDY_PART) say(part, `state ${part.state} within a free block`);
    }
    i += size;
  }
  for (const [index, zone] of pages.zones.entries()) {
    if (zone.freePages !== free[index]) faults.push(`zone ${index}: counts ${zone.freePages} free pages, and has ${free[index]}`);
    if (zone.reservedHighatomic !== reserved[index]) faults.push(`zone ${index}: counts ${zone.reservedHighatomic} pages reserved, and has ${reserved[index]}`);
    const counted = zone.pcps.reduce((sum, { count }) => sum + count, 0);
    if (counted !== pcp[index]) faults.push(`zone ${index}: per-CPU lists count ${counted}, and have ${pcp[index]}`);
    for (let order = 0; order <= MAX_PAGE_ORDER; order++) {
      if (zone.freeBlocks(order, -1) !== blocks[index]![order]) faults.push(`zone ${index}: counts ${zone.freeBlocks(order, -1)} blocks of order ${order}, and has ${blocks[index]![order]}`);
      for (let type = 0; type < MIGRATE_TYPES; type++) {
        const there = typed[index]![order * MIGRATE_TYPES + type]!;
        if (zone.freeBlocks(order, type) !== there) faults.push(`zone ${index}: ${zone.freeBlocks(order, type)} blocks of order ${order} listed as of type ${type}, and has ${there}`);
      }
    }
  }
  return faults;
}

/** `+offset:order` of each free block, by address. */
export function freeBlocks(pages: PageAllocator): string[] {
  return pages.pages.flatMap((page) => (page.state === PAGE_BUDDY ? [`+${page.base >> 12}:${page.order}`] : []));
}

