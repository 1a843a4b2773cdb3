import type { Page } from "@netmem/mm/api";
import type { MemInfo } from "./mem-info.ts";

/** Where the stack takes pages for a copy: fragments of somebody's pool, of which this layer knows no more. Its consumer's context. */
export interface FragSource {
  /** Whose memory it is. */
  readonly mem: MemInfo;
  /** At least `bytes`, 1 … a page, of memory the CPU can address, the caller's; null without any. `offset` and `grantedBytes` say where, and how much. @kernel page_pool_dev_alloc, page_pool_dev_alloc_va */
  readonly alloc: (bytes: number) => Page | null;
  /** Of the last allocation: bytes from the page's start, and bytes given, which the rest of the page may be added to. */
  readonly offset: number;
  readonly grantedBytes: number;
  /** What was not used after all. Consumes. @kernel page_pool_free_va */
  readonly free: (page: Page) => void;
}
