import { EAGAIN, type Clock } from "@netmem/kernel/api";
import { GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, type Page, type PageAllocator, type PayloadMemory, type PayloadRegion } from "@netmem/mm/api";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { PIPE_DEF_BUFFERS, skbHeadIsLocked, skbHeadlen, skbRegion, type PacketHolder, type Pipe, type SkBuff } from "../api/index.ts";

export interface PipeParts {
  readonly pages: Pick<PageAllocator, "allocPages" | "getPage" | "putPage">;
  readonly payload: PayloadMemory;
  readonly clock: Clock;
  /** Those in which there is something. */
  readonly filledPipes: Set<PageRing>;
}

/** @kernel struct pipe_buffer */
class PipeBuffer {
  since = 0;
  page: Page | null = null;
  offset = 0;
  bytes = 0;
}

/** @kernel fs/pipe.c, skb_splice_bits (net/core/skbuff.c) */
export class PageRing implements Pipe {
  private readonly parts: PipeParts;
  private readonly ring: PipeBuffer[];
  private head: number;
  private used: number;
  private filled: number;
  /** Where heads are copied to that cannot be shared. @kernel sk_page_frag */
  private copyPage: Page | null;
  private copyOffset: number;

  constructor(parts: PipeParts) {
    this.parts = parts;
    this.ring = Array.from({ length: PIPE_DEF_BUFFERS }, () => new PipeBuffer());
    this.head = 0;
    this.used = 0;
    this.filled = 0;
    this.copyPage = null;
    this.copyOffset = 0;
  }

  bytes(): number {
    return this.filled;
  }

  buffers(): number {
    return this.used;
  }

  read(target: PayloadRegion, offset: number, bytes: number): number {
    let done = 0;
    while (done < bytes && this.used > 0) {
      const buffer = this.ring[this.head]!;
      const part = Math.min(bytes - done, buffer.bytes);
      const { region, base } = buffer.page!;
      this.parts.payload.copy(target, offset + done, region, base + buffer.offset, part);
      done += part;
      this.filled -= part;
      buffer.offset += part;
      buffer.bytes -= part;
      if (buffer.bytes === 0) this.release(buffer);
    }
    return done === 0 && bytes > 0 ? -EAGAIN : done;
  }

  /** Of what is in it, one for each piece. */
  holder(): PacketHolder {
    const pieces = Array.from({ length: this.used }, (_, i) => this.ring[(this.head + i) % PIPE_DEF_BUFFERS]!);
    return { kind: "pipe", name: "pipe", packets: [], pages: pieces.map(({ page }) => page!), since: pieces[0]!.since };
  }

  close(): void {
    while (this.used > 0) this.release(this.ring[this.head]!);
    this.filled = 0;
    if (this.copyPage !== null) this.parts.pages.putPage(this.copyPage);
    this.copyPage = null;
  }

  /** Up to `most` of the packet's bytes from `offset` on, as far as there is room: how many. The packet stays the caller's. @kernel skb_splice_bits, __skb_splice_bits */
  splice(skb: SkBuff, offset: number, most: number): number {
    const room = Math.min(MAX_SKB_FRAGS, PIPE_DEF_BUFFERS - this.used);
    const before = this.used;
    let done = 0;
    let start = 0;
    const take = (page: Page, at: number, sizeBytes: number, copies: boolean): boolean => {
      const skip = Math.max(0, offset + done - start);
      start += sizeBytes;
      for (let from = skip; from < sizeBytes && done < most;) {
        if (this.used - before >= room) return false;
        const part = this.add(page, at + from, Math.min(sizeBytes - from, most - done), copies, skb);
        if (part === 0) return false;
        from += part;
        done += part;
      }
      return done < most;
    };
    const { headPage, headSlab, frags, nrFrags, fragList } = skb.shinfo!;
    const head = headPage ?? headSlab!.slab;
    if (!take(head, skb.data - head.base, skbHeadlen(skb), skbHeadIsLocked(skb))) return done;
    for (let i = 0; i < nrFrags; i++) {
      const frag = frags[i]!;
      if (!take(frag.netmem as Page, frag.offset, frag.sizeBytes, false)) return done;
    }
    for (let member = fragList; member !== null && done < most; member = member.next) {
      const skip = Math.max(0, offset + done - start);
      start += member.len;
      if (skip >= member.len) continue;
      const part = this.splice(member, skip, most - done);
      done += part;
      if (part < member.len - skip) break;
    }
    return done;
  }

  /** One piece, with a reference of its page, or of the page that it is copied to. */
  private add(page: Page, offset: number, bytes: number, copies: boolean, skb: SkBuff): number {
    const { pages, payload } = this.parts;
    let from = page;
    let at = offset;
    let part = bytes;
    if (copies) {
      if (this.copyPage === null || this.copyOffset === PAGE_SIZE) {
        if (this.copyPage !== null) pages.putPage(this.copyPage);
        this.copyPage = pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE);
        this.copyOffset = 0;
        if (this.copyPage === null) return 0;
      }
      part = Math.min(bytes, PAGE_SIZE - this.copyOffset);
      const region = skbRegion(skb);
      payload.copy(this.copyPage.region, this.copyPage.base + this.copyOffset, region, page.base + offset, part);
      from = this.copyPage;
      at = this.copyOffset;
      this.copyOffset += part;
    }
    pages.getPage(from);
    if (this.used === 0) this.parts.filledPipes.add(this);
    const buffer = this.ring[(this.head + this.used++) % PIPE_DEF_BUFFERS]!;
    buffer.since = this.parts.clock.stamp;
    buffer.page = from;
    buffer.offset = at;
    buffer.bytes = part;
    this.filled += part;
    return part;
  }

  private release(buffer: PipeBuffer): void {
    this.parts.pages.putPage(buffer.page!);
    buffer.page = null;
    this.head = (this.head + 1) % PIPE_DEF_BUFFERS;
    if (--this.used === 0) this.parts.filledPipes.delete(this);
  }
}
