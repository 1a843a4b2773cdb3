import { EINVAL, ENOMEM, type ReportSink } from "@netmem/kernel/api";
import { GFP_ATOMIC, NUMA_NO_NODE, type PayloadMemory } from "@netmem/mm/api";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import {
  GSO_BY_FRAGS, SKBFL_SHARED_FRAG, SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_DODGY, skbEndOffset, skbHeadFrag, skbHeadlen, skbHeadroom, skbName, skbOwner, skbRegion, type SegmentFeatures, type SkBuff, type SkbZerocopy,
} from "./api/index.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import type { SkbLives } from "./lifetime.ts";
import type { SkbRelease } from "./release.ts";

export interface SegmentParts {
  readonly lives: SkbLives;
  readonly edit: SkbEdits;
  readonly refs: FragRefs;
  readonly release: SkbRelease;
  readonly zerocopy: SkbZerocopy;
  readonly payload: PayloadMemory;
  readonly reports: ReportSink;
}

/** Where the next byte of payload is: packet, frag of it, and how many bytes of the whole lie before that frag. */
class Cursor {
  owner: SkBuff | null = null;
  /** −1: the head of a member of the frag list. */
  frag = 0;
  pos = 0;
  /** The member that comes next. */
  list: SkBuff | null = null;

  start(head: SkBuff): void {
    this.owner = head;
    this.frag = 0;
    this.pos = skbHeadlen(head);
    this.list = head.shinfo!.fragList;
  }
}

/** @kernel skb_segment (net/core/skbuff.c) */
export class Segmentation {
  readonly #parts: SegmentParts;
  /** One packet is segmented at a time. */
  readonly #cursor: Cursor = new Cursor();

  constructor(parts: SegmentParts) {
    this.#parts = parts;
  }

  segment(head: SkBuff, features: SegmentFeatures): SkBuff | number {
    const { edit, release, zerocopy } = this.#parts;
    if (head.macHeader < 0) return -EINVAL;
    const doffset = head.data - head.macHeader;
    if (doffset < 0) this.#parts.reports.report("skb-segment-headers", "bug", skbName(head), skbOwner(head), `its MAC header lies ${-doffset} bytes behind the data`);
    const sg = features.sg && !hasCopiedMember(head);
    edit.skbPush(head, doffset);
    const partialSegs = sg && features.gso ? segmentsEach(head, doffset) : 0;
    const { gsoSize } = head.shinfo!;
    if (gsoSize === 0) this.#parts.reports.report("skb-segment-size", "bug", skbName(head), skbOwner(head), "skb_segment of a packet whose segments have no size");
    const mss = partialSegs > 0 ? gsoSize * partialSegs : gsoSize;
    if (zerocopy.skbOrphanFrags(head, GFP_ATOMIC) < 0) return -ENOMEM;
    const cursor = this.#cursor;
    cursor.start(head);
    let first: SkBuff | null = null;
    let last: SkBuff | null = null;
    let offset = doffset;
    // A packet without payload is one segment: its headers.
    do {
      if (mss === GSO_BY_FRAGS && cursor.list === null) this.#panic(head, "its segments are the members of its frag list, and it has none, or has bytes beyond them");
      const len = mss === GSO_BY_FRAGS ? cursor.list!.len : Math.min(mss, head.len - offset);
      const segment = this.#next(head, cursor, offset, len, doffset, sg);
      if (typeof segment === "number") {
        release.dropList(first, SKB_DROP_REASON_NOT_SPECIFIED);
        return segment;
      }
      if (last === null) first = segment;
      else last.next = segment;
      last = segment;
      offset += len;
    } while (offset < head.len);
    this.#finish(head, first!, last, partialSegs, doffset);
    return first!;
  }

  #next(head: SkBuff, cursor: Cursor, offset: number, len: number, doffset: number, sg: boolean): SkBuff | number {
    const { lives, edit, payload, zerocopy } = this.#parts;
    const headroom = skbHeadroom(head);
    const linear = skbHeadlen(head) - offset;
    const member = cursor.list;
    const memberHead = member === null ? 0 : skbHeadlen(member);
    const asClone = linear <= 0 && cursor.frag >= cursor.owner!.shinfo!.nrFrags && memberHead > 0 && (memberHead === len || sg);
    const hsize = asClone ? 0 : Math.max(0, linear > len || !sg ? len : linear);
    const segment = asClone ? this.#cloneOf(cursor, offset, len, doffset + headroom)
      : lives.allocSkbOnNode(hsize + doffset + headroom, GFP_ATOMIC, lives.rxFlag(head), NUMA_NO_NODE);
    if (segment === null) return -ENOMEM;
    if (asClone) edit.skbPush(segment, doffset);
    else {
      edit.skbReserve(segment, headroom);
      edit.skbPut(segment, doffset);
    }
    lives.copyHeader(segment, head, segment.data - head.data);
    payload.copy(skbRegion(segment), segment.data, skbRegion(head), head.data, doffset);
    if (segment.len === len + doffset) return segment;
    if (!sg) {
      const at = segment.tail;
      edit.skbPut(segment, len);
      return edit.skbCopyBits(head, offset, skbRegion(segment), at, len) < 0 ? this.#fail(segment, -ENOMEM) : segment;
    }
    if (hsize > 0) {
      const at = segment.tail;
      edit.skbPut(segment, hsize);
      edit.skbCopyBits(head, offset, skbRegion(segment), at, hsize);
    }
    segment.shinfo!.flags |= head.shinfo!.flags & SKBFL_SHARED_FRAG;
    if (zerocopy.skbZerocopyClone(segment, cursor.owner!, GFP_ATOMIC) < 0) return this.#fail(segment, -ENOMEM);
    const errno = this.#addFrags(segment, cursor, offset, len);
    if (errno < 0) return this.#fail(segment, errno);
    segment.dataLen = len - hsize;
    segment.len += segment.dataLen;
    segment.truesize += segment.dataLen;
    return segment;
  }

  #fail(segment: SkBuff, errno: number): number {
    this.#parts.release.drop(segment, SKB_DROP_REASON_NOT_SPECIFIED);
    return errno;
  }

  /** Payload begins with a member's head: its clone is the segment, cut to `len`, with a private head for the headers. The cursor goes behind it. */
  #cloneOf(cursor: Cursor, offset: number, len: number, room: number): SkBuff | null {
    const { lives, edit, release } = this.#parts;
    const member = cursor.list!;
    if (skbHeadlen(member) > len) this.#panic(member, `its head of ${skbHeadlen(member)} bytes begins a segment of ${len}`);
    const clone = lives.skbClone(member, GFP_ATOMIC);
    if (clone === null) return null;
    const info = member.shinfo!;
    cursor.owner = member;
    cursor.frag = 0;
    cursor.pos += skbHeadlen(member);
    while (cursor.pos < offset + len) {
      if (cursor.frag >= info.nrFrags) this.#panic(member, `it ends ${offset + len - cursor.pos} bytes before the segment of ${len} that it begins`);
      const { sizeBytes } = info.frags[cursor.frag]!;
      if (cursor.pos + sizeBytes > offset + len) break;
      cursor.frag++;
      cursor.pos += sizeBytes;
    }
    cursor.list = member.next;
    if (edit.pskbTrim(clone, len) < 0) {
      release.drop(clone, SKB_DROP_REASON_NOT_SPECIFIED);
      return null;
    }
    const before = skbEndOffset(clone);
    if (edit.skbCowHead(clone, room) < 0) {
      release.drop(clone, SKB_DROP_REASON_NOT_SPECIFIED);
      return null;
    }
    // Charged twice, here and by the expansion: so does the kernel since 4.10 (158f323b9868).
    clone.truesize += skbEndOffset(clone) - before;
    release.releaseHeadState(clone);
    return clone;
  }

  #addFrags(segment: SkBuff, cursor: Cursor, offset: number, len: number): number {
    const { refs, zerocopy } = this.#parts;
    const info = segment.shinfo!;
    while (cursor.pos < offset + len) {
      if (cursor.frag >= cursor.owner!.shinfo!.nrFrags) {
        const member = cursor.list!;
        if (zerocopy.skbOrphanFrags(member, GFP_ATOMIC) < 0 || zerocopy.skbZerocopyClone(segment, member, GFP_ATOMIC) < 0) return -ENOMEM;
        if (member.len === 0) this.#panic(member, "it is empty");
        if (skbHeadlen(member) > 0 && !skbHeadFrag(member)) this.#panic(member, "its head is no page, and cannot become a frag");
        cursor.owner = member;
        cursor.frag = skbHeadlen(member) > 0 ? -1 : 0;
        cursor.list = member.next;
      }
      if (info.nrFrags >= MAX_SKB_FRAGS) return -EINVAL;
      const owner = cursor.owner!;
      const frag = cursor.frag < 0 ? null : owner.shinfo!.frags[cursor.frag]!;
      const { headPage } = owner.shinfo!;
      const netmem = frag === null ? headPage! : frag.netmem!;
      const size = frag === null ? skbHeadlen(owner) : frag.sizeBytes;
      const skip = Math.max(0, offset - cursor.pos);
      const end = Math.min(size, offset + len - cursor.pos);
      refs.ref(segment, netmem);
      const part = info.frags[info.nrFrags++]!;
      part.netmem = netmem;
      part.offset = (frag === null ? owner.data - headPage!.base : frag.offset) + skip;
      part.sizeBytes = end - skip;
      // The next segment begins in this one.
      if (cursor.pos + size > offset + len) break;
      cursor.frag++;
      cursor.pos += size;
    }
    return 0;
  }

  #panic(member: SkBuff, what: string): void {
    this.#parts.reports.report("skb-segment-member", "bug", skbName(member), skbOwner(member), what);
  }

  #finish(head: SkBuff, first: SkBuff, last: SkBuff, partialSegs: number, doffset: number): void {
    if (partialSegs > 0) {
      const { gsoSize, gsoType } = head.shinfo!;
      const type = gsoType & ~SKB_GSO_DODGY;
      for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) {
        const info = segment.shinfo!;
        info.gsoSize = gsoSize;
        info.gsoSegs = partialSegs;
        info.gsoType = type;
      }
      const rest = last.len - doffset;
      if (rest <= gsoSize) last.shinfo!.gsoSize = 0;
      else if (last !== first) last.shinfo!.gsoSegs = Math.ceil(rest / gsoSize);
    }
    // Back-pressure: whoever waits for the packet to go waits for its last segment.
    if (head.destructor === null) return;
    const { truesize } = last;
    last.truesize = head.truesize;
    head.truesize = truesize;
    last.destructor = head.destructor;
    head.destructor = null;
  }
}

/** A size that nobody vouches for, and a member whose head is no page: it must be copied. */
function hasCopiedMember(head: SkBuff): boolean {
  const { gsoType, gsoSize, fragList } = head.shinfo!;
  if ((gsoType & SKB_GSO_DODGY) === 0 || gsoSize === GSO_BY_FRAGS || gsoSize === skbHeadlen(head)) return false;
  for (let member = fragList; member !== null; member = member.next) if (skbHeadlen(member) > 0 && !skbHeadFrag(member)) return true;
  return false;
}

/** How many segments each may be, where the device does the rest and the frag list falls into equal parts; 0: each is one. */
function segmentsEach(head: SkBuff, doffset: number): number {
  const { gsoSize, fragList } = head.shinfo!;
  if (gsoSize === GSO_BY_FRAGS || fragList === null) return 0;
  let len = head.len - doffset;
  for (let member: SkBuff | null = fragList; member !== null; member = member.next) {
    if ((member.len !== fragList.len && member.next !== null) || (skbHeadlen(member) > 0 && !skbHeadFrag(member))) return 0;
    len -= member.len;
  }
  if (len !== fragList.len) return 0;
  const segs = Math.floor(Math.min(len, GSO_BY_FRAGS - 1) / gsoSize);
  return segs > 1 ? segs : 0;
}
