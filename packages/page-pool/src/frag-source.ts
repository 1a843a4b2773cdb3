import { GFP_ATOMIC, __GFP_NOWARN, type Page } from "@netmem/mm/api";
import type { FragSource, MemInfo } from "@netmem/xdp/api";
import { PagePoolFrag, type PagePool } from "./api/index.ts";

/** A pool, for a stack that copies packets into its fragments. */
export class PoolFragSource implements FragSource {
  readonly mem: MemInfo;
  private readonly pool: PagePool;
  private readonly frag: PagePoolFrag;

  constructor(pool: PagePool, mem: MemInfo) {
    this.mem = mem;
    this.pool = pool;
    this.frag = new PagePoolFrag();
  }

  get offset(): number {
    return this.frag.offset;
  }

  get grantedBytes(): number {
    return this.frag.sizeBytes;
  }

  alloc(bytes: number): Page | null {
    this.frag.sizeBytes = bytes;
    return this.pool.allocVa(this.frag, GFP_ATOMIC | __GFP_NOWARN);
  }

  free(page: Page): void {
    this.pool.freeVa(page, true);
  }
}
