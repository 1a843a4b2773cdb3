import { ENOMEM, EOPNOTSUPP, type ExecutionContext } from "@netmem/kernel/api";
import { PAGE_SIZE, type Netmem, type FaultGate, type FaultPoint, type Page, type PayloadMemory } from "@netmem/mm/api";
import {
  MAX_SKB_FRAGS, MEM_TYPE_PAGE_POOL, SKB_SHARED_INFO_BYTES, XDP_FLAGS_FRAGS_PF_MEMALLOC, XDP_FLAGS_FRAGS_UNREADABLE, XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES, netmemFragCopy, skbDataAlign, xdpBuffHasFrags, xdpDataMetaUnsupported,
  type FragSource, type MemInfo, type NetDevice, type NetmemFrag, type Xdp, type XdpBuff, type XdpFrame,
} from "@netmem/xdp/api";
import { skbHeadlen, skbHeadroom, skbRegion, type SkBuff, type SkbEdit, type SkbRecycle, type XdpSkbs } from "./api/index.ts";
import type { SkbLives } from "./lifetime.ts";

export interface XdpSkbParts {
  readonly xdp: Pick<Xdp, "structs" | "xdpReturn" | "buffs">;
  readonly lives: SkbLives;
  readonly edit: SkbEdit;
  readonly recycle: SkbRecycle;
  readonly payload: Pick<PayloadMemory, "copy">;
  readonly context: ExecutionContext;
  /** By CPU: where copies of packets go; none before 6.9. @kernel system_page_pool */
  readonly systemPages: readonly FragSource[];
  /** From 6.4 a pool's page stays the pool's when its frame becomes an skb. */
  readonly framesRecycle: boolean;
  readonly framesTakeNapiStructs: boolean;
  /** Makes the allocation of skb structs fail, of a batch. */
  readonly failStructs: FaultPoint & FaultGate;
}

/** Fragments of XDP, whichever struct they are in. */
interface Fragments {
  readonly nrFrags: number;
  readonly frags: readonly NetmemFrag[];
  readonly flags: number;
  readonly xdpFragsSize: number;
  readonly xdpFragsTruesize: number;
}

/** @kernel net/core/xdp.c, skb_pp_cow_data of net/core/skbuff.c */
export class XdpConversions implements XdpSkbs {
  readonly #parts: XdpSkbParts;
  /** Of the frame that is being converted. */
  readonly #mem: MemInfo;
  readonly #one: (SkBuff | null)[] = [];

  constructor(parts: XdpSkbParts) {
    this.#parts = parts;
    this.#mem = parts.xdp.structs.createMemInfo();
  }

  xdpAllocSkbBulk(out: (SkBuff | null)[], n: number): number {
    const { lives, framesTakeNapiStructs, failStructs } = this.#parts;
    if (n === 0 || (failStructs.armed && failStructs.shouldFail(0, 0))) return 0;
    return framesTakeNapiStructs ? lives.napiSkbCacheGetBulk(out, n) : lives.slabSkbBulk(out, n);
  }

  xdpBuildSkbFromFrame(frame: XdpFrame, dev: NetDevice): SkBuff | null {
    return this.#parts.lives.slabSkbBulk(this.#one, 1) === 0 ? null : this.xdpBuildSkbAround(this.#one[0]!, frame, dev);
  }

  xdpBuildSkbAround(struct: SkBuff, frame: XdpFrame, dev: NetDevice): SkBuff | null {
    const { lives, edit, xdp, framesRecycle } = this.#parts;
    const head = frame.head as Page | null;
    // What is gone reports itself.
    if (head === null) {
      xdp.buffs.xdpScrubFrame(frame);
      lives.putStruct(struct);
      return null;
    }
    const room = XDP_FRAME_BYTES + frame.headroom;
    const skb = lives.buildSkbAround(struct, head, frame.frameSz, frame.data - room);
    edit.skbReserve(skb, room);
    edit.skbPut(skb, frame.len);
    skb.shinfo!.metaLen = frame.metasize;
    if (!framesRecycle) xdp.xdpReturn.xdpReleaseFrame(frame);
    this.#addFrags(skb, frame, frame.nrFrags * frame.frameSz);
    skb.dev = dev;
    edit.ethTypeTrans(skb);
    if (framesRecycle) {
      this.#mem.type = frame.memType;
      this.#mem.id = frame.memId;
      this.#markForRecycle(skb, this.#mem);
    }
    xdp.buffs.xdpScrubFrame(frame);
    return skb;
  }

  xdpBuildSkbFromBuff(buff: XdpBuff): SkBuff | null {
    const { lives, edit } = this.#parts;
    const head = buff.head as Page;
    const { rxq } = buff;
    const skb = lives.napiBuildAroundPage(head, buff.dataHardStart, buff.frameSz);
    if (skb === null) return null;
    edit.skbReserve(skb, buff.data - buff.dataHardStart);
    edit.skbPut(skb, buff.dataEnd - buff.data);
    skb.shinfo!.metaLen = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
    if (xdpBuffHasFrags(buff)) this.#addFrags(skb, buff, buff.xdpFragsTruesize === 0 ? buff.nrFrags * buff.frameSz : buff.xdpFragsTruesize);
    this.#markForRecycle(skb, rxq.mem);
    skb.rxQueue = rxq.queueIndex + 1;
    skb.dev = rxq.dev;
    edit.ethTypeTrans(skb);
    buff.head = null;
    buff.nrFrags = 0;
    buff.flags = 0;
    return skb;
  }

  xdpBuildSkbFromZc(buff: XdpBuff): SkBuff | null {
    const { lives, edit, payload, xdp, context, systemPages, recycle } = this.#parts;
    const source = systemPages[context.cpu];
    if (source === undefined) return null;
    // The chunk has no shared info behind it, which the copy needs.
    const bytes = Math.max(buff.frameSz, skbDataAlign(buff.dataEnd - buff.dataHardStart) + SKB_SHARED_INFO_BYTES);
    const page = bytes > PAGE_SIZE ? null : source.alloc(bytes);
    if (page === null) return null;
    const metaBytes = buff.data - buff.dataMeta;
    const skb = lives.napiBuildAroundPage(page, source.offset, source.grantedBytes);
    if (skb === null) {
      source.free(page);
      return null;
    }
    recycle.skbMarkForRecycle(skb, page, source.mem);
    edit.skbReserve(skb, buff.data - buff.dataHardStart);
    edit.skbPut(skb, buff.dataEnd - buff.data);
    const head = buff.head!;
    payload.copy(skbRegion(skb), skb.data - metaBytes, head.region, head.base + buff.dataMeta, metaBytes + buff.dataEnd - buff.data);
    skb.shinfo!.metaLen = metaBytes;
    const { rxq } = buff;
    skb.rxQueue = rxq.queueIndex + 1;
    if (xdpBuffHasFrags(buff) && !this.#copyFrags(skb, buff, source)) {
      lives.consumeSkb(skb);
      return null;
    }
    xdp.xdpReturn.xdpReturnBuff(buff);
    skb.dev = rxq.dev;
    edit.ethTypeTrans(skb);
    return skb;
  }

  skbPpCowData(source: FragSource, skb: SkBuff, headroom: number): SkBuff | number {
    const { lives, edit, recycle } = this.#parts;
    if (skb.shinfo!.fragList !== null) return -EOPNOTSUPP;
    const maxHead = PAGE_SIZE - headroom - SKB_SHARED_INFO_BYTES;
    if (skb.len > maxHead + MAX_SKB_FRAGS * PAGE_SIZE) return -ENOMEM;
    const headBytes = Math.min(skb.len, maxHead);
    const page = source.alloc(skbDataAlign(headBytes) + SKB_SHARED_INFO_BYTES + headroom);
    if (page === null) return -ENOMEM;
    const pooled = source.mem.type === MEM_TYPE_PAGE_POOL;
    // Before there was a pool to copy into, a driver did it, and took any struct. @kernel veth_convert_skb_to_xdp_buff up to 6.6
    const copy = pooled ? lives.napiBuildAroundPage(page, source.offset, source.grantedBytes) : lives.buildAroundPage(page, source.offset, source.grantedBytes);
    if (copy === null) {
      source.free(page);
      return -ENOMEM;
    }
    if (pooled) recycle.skbMarkForRecycle(copy, page, source.mem);
    edit.skbReserve(copy, headroom);
    lives.copyHeaderAndGso(copy, skb, copy.data - skb.data);
    edit.skbPut(copy, headBytes);
    let errno = edit.skbCopyBits(skb, 0, skbRegion(copy), copy.data, headBytes);
    for (let done = headBytes; errno === 0 && done < skb.len;) {
      const bytes = Math.min(skb.len - done, PAGE_SIZE);
      const frag = source.alloc(bytes);
      if (frag === null) {
        errno = -ENOMEM;
        break;
      }
      edit.skbAddRxFrag(copy, frag, source.offset, bytes, source.grantedBytes);
      if (pooled) recycle.storeMemInfo(frag, source.mem);
      errno = edit.skbCopyBits(skb, done, frag.region, frag.base + source.offset, bytes);
      done += bytes;
    }
    if (errno < 0) {
      lives.consumeSkb(copy);
      return errno;
    }
    lives.consumeSkb(skb);
    return copy;
  }

  xdpBuffFromSkb(buff: XdpBuff, skb: SkBuff): void {
    const head = headOf(skb);
    const { buffs } = this.#parts.xdp;
    buffs.xdpInitBuff(buff, skb.end - skb.head + SKB_SHARED_INFO_BYTES);
    buffs.xdpPrepareBuff(buff, head, skb.head - head.base, skbHeadroom(skb), skbHeadlen(skb), true);
    if (skb.dataLen === 0) return;
    const info = skb.shinfo!;
    buff.flags |= XDP_FLAGS_HAS_FRAGS;
    buff.nrFrags = info.nrFrags;
    buff.xdpFragsSize = skb.dataLen;
    buff.xdpFragsTruesize = 0;
    for (let i = 0; i < info.nrFrags; i++) {
      const frag = buff.frags[i]!;
      const source = info.frags[i]!;
      netmemFragCopy(frag, source);
    }
  }

  skbFromXdpBuff(skb: SkBuff, buff: XdpBuff): void {
    const { base } = headOf(skb);
    skb.data = base + buff.data;
    skb.tail = base + buff.dataEnd;
    const info = skb.shinfo!;
    const left = xdpBuffHasFrags(buff) ? buff.nrFrags : 0;
    for (let i = 0; i < left; i++) info.frags[i]!.sizeBytes = buff.frags[i]!.sizeBytes;
    for (let i = left; i < info.nrFrags; i++) info.frags[i]!.netmem = null;
    info.nrFrags = left;
    skb.dataLen = left === 0 ? 0 : buff.xdpFragsSize;
    skb.len = skb.tail - skb.data + skb.dataLen;
  }

  /** @kernel xdp_update_skb_frags_info (include/net/xdp.h) */
  #addFrags(skb: SkBuff, from: Fragments, truesize: number): void {
    if (from.nrFrags === 0) return;
    const info = skb.shinfo!;
    for (let i = 0; i < from.nrFrags; i++) {
      const source = from.frags[i]!;
      const frag = info.frags[i]!;
      netmemFragCopy(frag, source);
      source.netmem = null;
    }
    info.nrFrags = from.nrFrags;
    skb.len += from.xdpFragsSize;
    skb.dataLen += from.xdpFragsSize;
    skb.truesize += truesize;
    if ((from.flags & XDP_FLAGS_FRAGS_PF_MEMALLOC) !== 0) skb.pfmemalloc = true;
    if ((from.flags & XDP_FLAGS_FRAGS_UNREADABLE) !== 0) skb.unreadable = true;
  }

  #markForRecycle(skb: SkBuff, mem: MemInfo): void {
    if (mem.type !== MEM_TYPE_PAGE_POOL) return;
    const { recycle } = this.#parts;
    const info = skb.shinfo!;
    recycle.skbMarkForRecycle(skb, info.headPage!, mem);
    for (let i = 0; i < info.nrFrags; i++) recycle.storeMemInfo(info.frags[i]!.netmem!, mem);
  }

  /** @kernel xdp_copy_frags_from_zc */
  #copyFrags(skb: SkBuff, buff: XdpBuff, source: FragSource): boolean {
    const { edit, payload, recycle } = this.#parts;
    for (let i = 0; i < buff.nrFrags; i++) {
      const frag = buff.frags[i]!;
      const page = source.alloc(frag.sizeBytes);
      if (page === null) return false;
      const netmem = frag.netmem!;
      payload.copy(page.region, page.base + source.offset, netmem.region, netmem.base + frag.offset, frag.sizeBytes);
      edit.skbAddRxFrag(skb, page, source.offset, frag.sizeBytes, source.grantedBytes);
      recycle.storeMemInfo(page, source.mem);
    }
    return true;
  }
}

/** A slab's object lies in a page, too. */
function headOf(skb: SkBuff): Netmem {
  const { headPage, headSlab } = skb.shinfo!;
  return headPage ?? headSlab!.slab;
}
