import type { LinkDeps } from "@netmem/driver/api";
import { GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type Page, type PageAllocator } from "@netmem/mm/api";
import { skbHeadIsLocked, skbHeadroom, skbShared, type SkBuff } from "@netmem/net-core/api";
import { MEM_TYPE_PAGE_ORDER0, SKB_SHARED_INFO_BYTES, XDP_PACKET_HEADROOM, type FragSource, type MemInfo } from "@netmem/xdp/api";
import type { VethCopies } from "./rules.ts";

/** Bytes of a packet that fit into one page, with room in front and the shared info behind. */
const ONE_PAGE_BYTES: number = PAGE_SIZE - XDP_PACKET_HEADROOM - SKB_SHARED_INFO_BYTES;

/**
 * The packet, from its MAC header on, as a program may write it: itself, grown, or copied. Null: there is no memory, it is too long, or the CPU cannot read it; then it stays
 * the caller's. Consumes what it copies. What lacks headroom only is copied, too, as in kernels from 5.18 on that have been mended (7c10131803e4): before, its head grew, and
 * was freed under those whom XDP sent it to.
 */
export function writable(deps: Pick<LinkDeps, "xdpSkbs">, skb: SkBuff, copies: VethCopies, source: FragSource): SkBuff | null {
  const { xdpSkbs } = deps;
  const lacksRoom = skbHeadroom(skb) < XDP_PACKET_HEADROOM;
  const mustCopy = skbShared(skb) || skbHeadIsLocked(skb) || skb.shinfo!.nrFrags > 0;
  if (!mustCopy && !lacksRoom) return skb;
  if (copies === "page" && skb.len > ONE_PAGE_BYTES) return null;
  const copy = xdpSkbs.skbPpCowData(source, skb, XDP_PACKET_HEADROOM);
  return typeof copy === "number" ? null : copy;
}

/** Whole pages of nobody's. */
export class PageSource implements FragSource {
  readonly mem: MemInfo;
  readonly offset = 0;
  readonly grantedBytes: number = PAGE_SIZE;
  readonly #pages: Pick<PageAllocator, "allocPages" | "putPage">;

  constructor(pages: Pick<PageAllocator, "allocPages" | "putPage">, mem: MemInfo) {
    this.#pages = pages;
    this.mem = mem;
    mem.type = MEM_TYPE_PAGE_ORDER0;
  }

  alloc(): Page | null {
    return this.#pages.allocPages(GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
  }

  free(page: Page): void {
    this.#pages.putPage(page);
  }
}
