import { MAX_PAGE_ORDER, MIGRATE_MOVABLE, MIGRATE_PCPTYPES, MIGRATE_UNMOVABLE, PAGEBLOCK_ORDER, PAGE_SHIFT, Page, type PayloadRegion } from "../api/index.ts";

/** Page frame number of the first page: no page has number 0, and the 4 MiB below are the firmware's and the bounce buffer's. */
export const FIRST_PFN: number = 1 << MAX_PAGE_ORDER;
/** @kernel MIGRATE_TYPES with CMA: how many pageblocks there must be for grouping to pay */
const KERNEL_MIGRATE_TYPES = 6;

/** All page structs of a machine, and what each pageblock of 512 pages is used for. @kernel mem_map, pageblock_flags */
export class MemMap {
  readonly pages: Page[] = [];
  readonly region: PayloadRegion;
  /** False on machines so small that each type would get less than a block: everything is unmovable then. @kernel page_group_by_mobility_disabled */
  readonly groupsByMobility: boolean;
  private readonly blockTypes: Uint8Array;

  constructor(region: PayloadRegion, nrPages: number) {
    this.region = region;
    this.groupsByMobility = nrPages >= KERNEL_MIGRATE_TYPES << PAGEBLOCK_ORDER;
    this.blockTypes = new Uint8Array((nrPages >> PAGEBLOCK_ORDER) + 1).fill(this.groupsByMobility ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE);
  }

  addPage(nid: number, zone: number): Page {
    const index = this.pages.length;
    const page = new Page(FIRST_PFN + index, nid, zone, this.region, index << PAGE_SHIFT);
    this.pages.push(page);
    return page;
  }

  /** `offset` pages behind the head of a block. */
  pageAt(head: Page, offset: number): Page {
    return this.pages[head.pfn - FIRST_PFN + offset]!;
  }

  /** The first page of the pageblock, or, where memory begins inside it, undefined. */
  blockStart(page: Page): Page {
    return this.pages[(page.pfn - FIRST_PFN) & -(1 << PAGEBLOCK_ORDER)]!;
  }

  /** @kernel get_pageblock_migratetype */
  blockType(page: Page): number {
    return this.blockTypes[(page.pfn - FIRST_PFN) >> PAGEBLOCK_ORDER]!;
  }

  /** Of every pageblock that the 2^`order` pages touch. @kernel set_pageblock_migratetype, change_pageblock_range */
  setBlockType(page: Page, order: number, migratetype: number): void {
    const type = this.groupsByMobility || migratetype >= MIGRATE_PCPTYPES ? migratetype : MIGRATE_UNMOVABLE;
    const first = (page.pfn - FIRST_PFN) >> PAGEBLOCK_ORDER;
    const blocks = order > PAGEBLOCK_ORDER ? 1 << (order - PAGEBLOCK_ORDER) : 1;
    this.blockTypes.fill(type, first, first + blocks);
  }
}
