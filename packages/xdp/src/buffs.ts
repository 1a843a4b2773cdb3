import { EINVAL, ENOSPC, UsageError, type ReportSink } from "@netmem/kernel/api";
import { GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, netmemIsPfmemalloc, netmemName, type Netmem, type PageAllocator, type PayloadMemory } from "@netmem/mm/api";
import {
  MAX_SKB_FRAGS, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_XSK_BUFF_POOL, SKB_SHARED_INFO_BYTES, XDP_FLAGS_FRAGS_PF_MEMALLOC, XDP_FLAGS_FRAGS_UNREADABLE, XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES, xdpBuffHasFrags, xdpDataHardEnd,
  netmemFragCopy, xdpDataMetaUnsupported, type XdpBuff, type XdpBuffs, type XdpFrame, type XdpReturn,
} from "./api/index.ts";
import type { FrameStructs } from "./frames.ts";

/** @kernel include/net/xdp.h */
export class PacketBuffs implements XdpBuffs {
  private readonly frames: FrameStructs;
  private readonly xdpReturn: XdpReturn;
  private readonly pages: PageAllocator;
  private readonly payload: Pick<PayloadMemory, "copy">;
  private readonly reports: ReportSink;

  constructor(frames: FrameStructs, xdpReturn: XdpReturn, pages: PageAllocator, payload: Pick<PayloadMemory, "copy">, reports: ReportSink) {
    this.frames = frames;
    this.xdpReturn = xdpReturn;
    this.pages = pages;
    this.payload = payload;
    this.reports = reports;
  }

  xdpInitBuff(buff: XdpBuff, frameSz: number): void {
    if (!(frameSz > SKB_SHARED_INFO_BYTES && frameSz <= 0xffff_ffff)) throw new UsageError("xdp", "frameSz", frameSz, `give the buffer's bytes, more than the ${SKB_SHARED_INFO_BYTES} of the shared info`);
    buff.frameSz = frameSz;
    buff.flags = 0;
    buff.nrFrags = 0;
  }

  xdpPrepareBuff(buff: XdpBuff, head: Netmem, hardStart: number, headroom: number, dataLen: number, metaValid: boolean): void {
    const data = hardStart + headroom;
    buff.head = head;
    buff.dataHardStart = hardStart;
    buff.data = data;
    buff.dataEnd = data + dataLen;
    buff.dataMeta = metaValid ? data : data + 1;
  }

  xdpBuffAddFrag(buff: XdpBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number): boolean {
    if (!xdpBuffHasFrags(buff)) {
      buff.flags |= XDP_FLAGS_HAS_FRAGS;
      buff.nrFrags = 0;
      buff.xdpFragsSize = 0;
      buff.xdpFragsTruesize = 0;
    }
    const last = buff.nrFrags === 0 ? null : buff.frags[buff.nrFrags - 1]!;
    if (last !== null && last.netmem === netmem && last.offset + last.sizeBytes === offset) {
      last.sizeBytes += sizeBytes;
      this.xdpReturn.xdpReturnFrag(netmem, buff);
    } else {
      if (buff.nrFrags === MAX_SKB_FRAGS) return false;
      const frag = buff.frags[buff.nrFrags++]!;
      frag.netmem = netmem;
      frag.offset = offset;
      frag.sizeBytes = sizeBytes;
    }
    buff.xdpFragsSize += sizeBytes;
    buff.xdpFragsTruesize += truesizeBytes;
    if (netmem.isNetIov) buff.flags |= XDP_FLAGS_FRAGS_UNREADABLE;
    else if (netmemIsPfmemalloc(netmem)) buff.flags |= XDP_FLAGS_FRAGS_PF_MEMALLOC;
    return true;
  }

  xdpUpdateFrameFromBuff(buff: XdpBuff, frame: XdpFrame): number {
    if (buff.head === null) {
      this.reports.report("xdp-empty-buff", "warn", `rx queue ${buff.rxq.queueIndex}`, buff.rxq.dev?.name ?? "no device", "made a frame of, but it holds no packet");
      return -EINVAL;
    }
    const headroom = buff.data - buff.dataHardStart;
    const metasize = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
    if (headroom - metasize < XDP_FRAME_BYTES) return -ENOSPC;
    if (buff.dataEnd > xdpDataHardEnd(buff)) {
      this.reports.report("xdp-missing-tailroom", "warn", netmemName(buff.head), buff.rxq.dev?.name ?? "no device", `driver: missing reserved tailroom: data ends at ${buff.dataEnd}, beyond ${xdpDataHardEnd(buff)}`);
      return -ENOSPC;
    }
    frame.head = buff.head;
    frame.data = buff.data;
    frame.len = buff.dataEnd - buff.data;
    frame.headroom = headroom - XDP_FRAME_BYTES;
    frame.metasize = metasize;
    frame.frameSz = buff.frameSz;
    frame.flags = buff.flags;
    this.moveFrags(buff, frame);
    return 0;
  }

  xdpConvertBuffToFrame(buff: XdpBuff): XdpFrame | null {
    if (buff.rxq.mem.type === MEM_TYPE_XSK_BUFF_POOL) return this.convertZcToFrame(buff);
    const frame = this.frames.take();
    if (this.xdpUpdateFrameFromBuff(buff, frame) !== 0) {
      this.frames.put(frame);
      return null;
    }
    frame.memType = buff.rxq.mem.type;
    frame.memId = buff.rxq.mem.id;
    buff.head = null;
    buff.nrFrags = 0;
    buff.flags = 0;
    return frame;
  }

  /** A frame that nobody took: its packet is in the `buff` that it was made of again, which nobody has touched. */
  giveBack(frame: XdpFrame, buff: XdpBuff): void {
    // A copy of user memory, which has been freed: there is no packet to give back.
    if (buff.rxq.mem.type === MEM_TYPE_XSK_BUFF_POOL) {
      this.xdpReturn.xdpReturnFrameRxNapi(frame);
      return;
    }
    buff.head = frame.head;
    buff.flags = frame.flags;
    buff.nrFrags = frame.nrFrags;
    this.frames.put(frame);
  }

  xdpConvertFrameToBuff(frame: XdpFrame, buff: XdpBuff): void {
    if (this.frames.isGone(frame, "looked at")) return;
    buff.head = frame.head;
    buff.dataHardStart = frame.data - frame.headroom - XDP_FRAME_BYTES;
    buff.data = frame.data;
    buff.dataEnd = frame.data + frame.len;
    buff.dataMeta = frame.data - frame.metasize;
    buff.frameSz = frame.frameSz;
    buff.flags = frame.flags;
    this.moveFrags(frame, buff);
  }

  xdpfClone(frame: XdpFrame): XdpFrame | null {
    if (this.frames.isGone(frame, "cloned")) return null;
    const bytes = XDP_FRAME_BYTES + frame.headroom + frame.len;
    if (bytes > PAGE_SIZE || (frame.flags & XDP_FLAGS_HAS_FRAGS) !== 0) return null;
    const page = this.pages.allocPages(GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    if (page === null) return null;
    const head = frame.head!;
    const from = frame.data - frame.headroom;
    this.payload.copy(page.region, page.base + XDP_FRAME_BYTES, head.region, head.base + from, frame.headroom + frame.len);
    const clone = this.frames.take();
    clone.head = page;
    clone.data = XDP_FRAME_BYTES + frame.headroom;
    clone.len = frame.len;
    clone.headroom = frame.headroom;
    clone.metasize = frame.metasize;
    clone.frameSz = PAGE_SIZE;
    clone.flags = frame.flags;
    clone.memType = MEM_TYPE_PAGE_ORDER0;
    clone.memId = 0;
    clone.devRx = frame.devRx;
    return clone;
  }

  xdpScrubFrame(frame: XdpFrame): void {
    if (!this.frames.isGone(frame, "given up")) this.frames.put(frame);
  }

  /**
   * User memory cannot travel: its packet is copied to a page of its own, the first buffer's part of it. Null: too large for a page, or no
   * memory; the packet stays in `buff`. @kernel xdp_convert_zc_to_xdp_frame (net/core/xdp.c)
   */
  private convertZcToFrame(buff: XdpBuff): XdpFrame | null {
    const metasize = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
    const bytes = buff.dataEnd - buff.data + metasize;
    if (XDP_FRAME_BYTES + bytes > PAGE_SIZE) return null;
    const page = this.pages.allocPages(GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    if (page === null) return null;
    const head = buff.head!;
    this.payload.copy(page.region, page.base + XDP_FRAME_BYTES, head.region, head.base + buff.data - metasize, bytes);
    const frame = this.frames.take();
    frame.head = page;
    frame.data = XDP_FRAME_BYTES + metasize;
    frame.len = bytes - metasize;
    frame.headroom = 0;
    frame.metasize = metasize;
    frame.frameSz = PAGE_SIZE;
    frame.flags = 0;
    frame.memType = MEM_TYPE_PAGE_ORDER0;
    frame.memId = 0;
    this.xdpReturn.xdpReturnBuff(buff);
    return frame;
  }

  private moveFrags(from: XdpBuff | XdpFrame, to: XdpBuff | XdpFrame): void {
    to.nrFrags = 0;
    if ((from.flags & XDP_FLAGS_HAS_FRAGS) === 0) return;
    to.nrFrags = from.nrFrags;
    to.xdpFragsSize = from.xdpFragsSize;
    to.xdpFragsTruesize = from.xdpFragsTruesize;
    for (let i = 0; i < from.nrFrags; i++) netmemFragCopy(to.frags[i]!, from.frags[i]!);
  }
}
