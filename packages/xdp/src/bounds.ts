import { EACCES, EINVAL, ENOTSUPP, EOPNOTSUPP } from "@netmem/kernel/api";
import {
  ETH_HLEN, MEM_TYPE_XSK_BUFF_POOL, XDP_FLAGS_FRAGS_PF_MEMALLOC, XDP_FLAGS_FRAGS_UNREADABLE, XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES, xdpBuffHasFrags, xdpDataHardEnd,
  xdpDataMetaUnsupported, xdpGetBuffLen, xdpMetalenInvalid, type XdpBuff, type XdpReturn,
} from "./api/index.ts";

/** A run of bytes set to 0, in memory the CPU can read. */
function zero(buff: XdpBuff, from: number, to: number): void {
  const head = buff.head!;
  head.region.bytes.fill(0, head.base + from, head.base + to);
}

/** Moves the start; metadata stays in front of it. @kernel bpf_xdp_adjust_head (net/core/filter.c) */
export function adjustHead(buff: XdpBuff, delta: number): number {
  const metaBytes = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
  const data = buff.data + delta;
  if (!(data >= buff.dataHardStart + XDP_FRAME_BYTES + metaBytes && data <= buff.dataEnd - ETH_HLEN)) return -EINVAL;
  if (metaBytes > 0) {
    const { region, base } = buff.head!;
    region.bytes.copyWithin(base + buff.dataMeta + delta, base + buff.dataMeta, base + buff.data);
  }
  buff.dataMeta += delta;
  buff.data = data;
  return 0;
}

/** @kernel bpf_xdp_adjust_meta (net/core/filter.c) */
export function adjustMeta(buff: XdpBuff, delta: number, metalenMax: number): number {
  if (xdpDataMetaUnsupported(buff)) return -ENOTSUPP;
  const dataMeta = buff.dataMeta + delta;
  if (!(dataMeta >= buff.dataHardStart + XDP_FRAME_BYTES && dataMeta <= buff.data)) return -EINVAL;
  if (xdpMetalenInvalid(buff.data - dataMeta, metalenMax)) return -EACCES;
  buff.dataMeta = dataMeta;
  return 0;
}

/** Moves the end. @kernel bpf_xdp_adjust_tail (net/core/filter.c) */
export function adjustTail(buff: XdpBuff, delta: number, xdpReturn: XdpReturn): number {
  if (xdpBuffHasFrags(buff)) return delta < 0 ? shrinkFrags(buff, -delta, xdpReturn) : growLastFrag(buff, delta);
  const dataEnd = buff.dataEnd + delta;
  if (!(dataEnd <= xdpDataHardEnd(buff) && dataEnd >= buff.data + ETH_HLEN)) return -EINVAL;
  // What was there before belonged to another packet.
  if (delta > 0) zero(buff, buff.dataEnd, dataEnd);
  buff.dataEnd = dataEnd;
  return 0;
}

/** @kernel bpf_xdp_frags_increase_tail */
function growLastFrag(buff: XdpBuff, bytes: number): number {
  const { fragSize } = buff.rxq;
  if (fragSize === 0 || fragSize > buff.frameSz) return -EOPNOTSUPP;
  const frag = buff.frags[buff.nrFrags - 1]!;
  const end = frag.offset + frag.sizeBytes;
  // The fragment's own buffer: one page may hold several.
  if (!(bytes <= fragSize - frag.sizeBytes - (frag.offset % fragSize))) return -EINVAL;
  const { region, base } = frag.netmem!;
  if (!region.cpuReadable) return -EINVAL;
  region.bytes.fill(0, base + end, base + end + bytes);
  frag.sizeBytes += bytes;
  buff.xdpFragsSize += bytes;
  growXskTail(buff, bytes);
  return 0;
}

/** Fragments of AF_XDP are buffers of their own, which end where the fragment does. */
function growXskTail(buff: XdpBuff, bytes: number): void {
  if (buff.rxq.mem.type !== MEM_TYPE_XSK_BUFF_POOL || buff.xsk === null) return;
  let last = buff.xsk;
  while (last.nextFrag !== null) last = last.nextFrag;
  last.xdp.dataEnd += bytes;
}

/** Whole fragments go, the last ones first; one that is left is cut. @kernel bpf_xdp_frags_shrink_tail */
function shrinkFrags(buff: XdpBuff, bytes: number, xdpReturn: XdpReturn): number {
  if (!(bytes <= xdpGetBuffLen(buff) - ETH_HLEN)) return -EINVAL;
  let left = bytes;
  while (buff.nrFrags > 0 && left > 0) {
    const frag = buff.frags[buff.nrFrags - 1]!;
    const part = Math.min(left, frag.sizeBytes);
    left -= part;
    buff.xdpFragsSize -= part;
    if (part < frag.sizeBytes) {
      frag.sizeBytes -= part;
      growXskTail(buff, -part);
      break;
    }
    buff.nrFrags--;
    returnLastFrag(buff, xdpReturn);
    frag.netmem = null;
  }
  if (buff.nrFrags > 0) return 0;
  buff.flags &= ~(XDP_FLAGS_HAS_FRAGS | XDP_FLAGS_FRAGS_PF_MEMALLOC | XDP_FLAGS_FRAGS_UNREADABLE);
  buff.dataEnd -= left;
  return 0;
}

/** @kernel bpf_xdp_shrink_data */
function returnLastFrag(buff: XdpBuff, xdpReturn: XdpReturn): void {
  const { mem } = buff.rxq;
  if (mem.type !== MEM_TYPE_XSK_BUFF_POOL || buff.xsk === null) {
    xdpReturn.xdpReturnNetmem(buff.frags[buff.nrFrags]!.netmem!, mem.type, mem.id, false);
    return;
  }
  let before = buff.xsk;
  while (before.nextFrag!.nextFrag !== null) before = before.nextFrag!;
  const last = before.nextFrag!;
  before.nextFrag = null;
  last.pool.xskBuffFree(last.xdp);
}
