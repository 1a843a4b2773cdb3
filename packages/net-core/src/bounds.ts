import { EFAULT, type ReportSink } from "@netmem/kernel/api";
import { pageIsPfmemalloc, type Netmem, type PayloadMemory, type PayloadRegion } from "@netmem/mm/api";
import { ETH_HLEN, MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { SKB_DATAREF_SHIFT, skbCloned, skbHeadlen, skbHeadroom, skbName, skbOwner, skbRegion, type SkBuff, type SkbBounds } from "./api/index.ts";
import { mustLive } from "./must-live.ts";

/** Bounds and bytes. */
export class SkbBoundary implements SkbBounds {
  protected readonly payload: PayloadMemory;
  protected readonly reports: ReportSink;

  constructor(payload: PayloadMemory, reports: ReportSink) {
    this.payload = payload;
    this.reports = reports;
  }

  skbReserve(skb: SkBuff, bytes: number): void {
    skb.data += bytes;
    skb.tail += bytes;
  }

  skbPut(skb: SkBuff, bytes: number): void {
    if (skb.tail + bytes > skb.end || skb.dataLen > 0) this.overPanic(skb, bytes);
    skb.tail += bytes;
    skb.len += bytes;
  }

  /** @kernel skb_over_panic */
  private overPanic(skb: SkBuff, bytes: number): void {
    this.reports.report("skb-over-panic", "bug", skbName(skb), skbOwner(skb), `skb_put of ${bytes} bytes, tailroom ${skb.end - skb.tail}, data_len ${skb.dataLen}`);
  }

  /** @kernel skb_under_panic */
  private underPanic(skb: SkBuff, bytes: number): void {
    this.reports.report("skb-under-panic", "bug", skbName(skb), skbOwner(skb), `skb_push of ${bytes} bytes, headroom ${skbHeadroom(skb)}`);
  }

  skbPush(skb: SkBuff, bytes: number): void {
    if (bytes > skbHeadroom(skb)) this.underPanic(skb, bytes);
    skb.data -= bytes;
    skb.len += bytes;
  }

  skbPull(skb: SkBuff, bytes: number): boolean {
    if (bytes > skb.len - skb.dataLen) return this.pullTooFar(skb, bytes);
    skb.data += bytes;
    skb.len -= bytes;
    return true;
  }

  private pullTooFar(skb: SkBuff, bytes: number): boolean {
    if (bytes <= skb.len) this.reports.report("skb-pull-past-head", "bug", skbName(skb), skbOwner(skb), `skb_pull of ${bytes} bytes, ${skbHeadlen(skb)} of them in the head: pskb_pull moves them there`);
    return false;
  }

  skbAddRxFrag(skb: SkBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number): void {
    mustLive(skb, this.reports);
    this.skbFillNetmemDesc(skb, skb.shinfo!.nrFrags, netmem, offset, sizeBytes);
    skb.len += sizeBytes;
    skb.dataLen += sizeBytes;
    skb.truesize += truesizeBytes;
  }

  skbFillNetmemDesc(skb: SkBuff, i: number, netmem: Netmem, offset: number, sizeBytes: number): void {
    mustLive(skb, this.reports);
    const info = skb.shinfo!;
    if (i >= MAX_SKB_FRAGS) this.reports.report("skb-too-many-frags", "bug", skbName(skb), skbOwner(skb), `more than ${MAX_SKB_FRAGS} frags`);
    info.nrFrags = i + 1;
    const frag = info.frags[i]!;
    frag.netmem = netmem;
    frag.offset = offset;
    frag.sizeBytes = sizeBytes;
    if (netmem.isNetIov) skb.unreadable = true;
    else if (pageIsPfmemalloc(netmem.head)) skb.pfmemalloc = true;
  }

  ethTypeTrans(skb: SkBuff): number {
    skb.macHeader = skb.data;
    const { bytes } = skbRegion(skb);
    const typeAt = skb.data + ETH_HLEN - 2;
    // A frame cut short by its capture has no header to pull.
    if (skb.len - skb.dataLen < ETH_HLEN) return 0;
    skb.data += ETH_HLEN;
    skb.len -= ETH_HLEN;
    skb.protocol = (bytes[typeAt]! << 8) | bytes[typeAt + 1]!;
    return skb.protocol;
  }

  skbHeaderRelease(skb: SkBuff): void {
    mustLive(skb, this.reports);
    if (skbCloned(skb)) this.reports.report("skb-header-release-shared", "warn", skbName(skb), skbOwner(skb), "others share its data, and are no longer counted: it is for the only one");
    skb.nohdr = true;
    skb.shinfo!.dataref = 1 + (1 << SKB_DATAREF_SHIFT);
  }

  skbCopyBits(skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number): number {
    // Most packets are in one piece.
    if (skb.free === false && offset >= 0 && bytes >= 0 && offset + bytes <= skb.len - skb.dataLen) {
      this.payload.copy(target, targetOffset, skbRegion(skb), skb.data + offset, bytes);
      return 0;
    }
    return this.bits(skb, offset, target, targetOffset, bytes, false);
  }

  skbStoreBits(skb: SkBuff, offset: number, source: PayloadRegion, sourceOffset: number, bytes: number): number {
    return this.bits(skb, offset, source, sourceOffset, bytes, true);
  }

  private bits(skb: SkBuff, offset: number, other: PayloadRegion, otherOffset: number, bytes: number, store: boolean): number {
    mustLive(skb, this.reports);
    if (offset < skb.head - skb.data || bytes < 0 || offset + bytes > skb.len) return -EFAULT;
    const headlen = skbHeadlen(skb);
    let done = 0;
    if (offset < headlen) {
      done = smaller(bytes, headlen - offset);
      this.part(skbRegion(skb), skb.data + offset, other, otherOffset, done, store);
    }
    const info = skb.shinfo!;
    // Of what is still to be copied: bytes from the beginning of the frag, or packet, that is looked at.
    let skip = offset + done - headlen;
    for (let i = 0; i < info.nrFrags && done < bytes; i++) {
      const frag = info.frags[i]!;
      const { sizeBytes } = frag;
      if (skip < sizeBytes) {
        const part = smaller(bytes - done, sizeBytes - skip);
        const netmem = frag.netmem!;
        const { region } = netmem;
        if (region.cpuReadable === false) return -EFAULT;
        this.part(region, netmem.base + frag.offset + skip, other, otherOffset + done, part, store);
        done += part;
        skip = 0;
      } else skip -= sizeBytes;
    }
    for (let frag = info.fragList; frag !== null && done < bytes; frag = frag.next) {
      const { len } = frag;
      if (skip < len) {
        const part = smaller(bytes - done, len - skip);
        if (this.bits(frag, skip, other, otherOffset + done, part, store) < 0) return -EFAULT;
        done += part;
        skip = 0;
      } else skip -= len;
    }
    return done < bytes ? -EFAULT : 0;
  }

  private part(packet: PayloadRegion, at: number, other: PayloadRegion, otherAt: number, bytes: number, store: boolean): void {
    if (store === true) this.payload.copy(packet, at, other, otherAt, bytes);
    else this.payload.copy(other, otherAt, packet, at, bytes);
  }
}

/** `Math.min` of two integers, which the engine would compute in floating point. */
function smaller(a: number, b: number): number {
  return a < b ? a : b;
}
