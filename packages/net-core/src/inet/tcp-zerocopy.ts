import { EBUSY, EFAULT, EINVAL, EIO, EPERM } from "@netmem/kernel/api";
import { PAGE_SIZE, PROT_EXEC, PROT_WRITE, pageHasMapping, type Netmem, type Page, type PayloadRegion, type UserMappings, type VmArea } from "@netmem/mm/api";
import type { NetmemFrag } from "@netmem/xdp/api";
import { TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT, skbHeadlen, type SkBuff, type TcpZerocopyReceive } from "../api/index.ts";

/** Pages that are mapped at a time. @kernel TCP_ZEROCOPY_PAGE_BATCH_SIZE (net/ipv4/tcp.c) */
const TCP_ZEROCOPY_PAGE_BATCH_SIZE = 32;

/** A connection's bytes, as far as they are read by mapping them. */
export interface TcpStream {
  readonly available: () => number;
  readonly isFinished: () => boolean;
  /** Of the next byte to be read. */
  readonly copiedSeq: () => number;
  /** The packet that has byte `seq`, or the end of the stream there; those before it are freed. @kernel tcp_recv_skb */
  readonly recvSkb: (seq: number) => SkBuff | null;
  readonly readUpTo: (seq: number) => void;
  /** A plain read. */
  readonly recvmsg: (target: PayloadRegion, offset: number, bytes: number) => number;
  readonly copyBits: (skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number) => number;
  /** Why there will be no more, said once. */
  readonly sockError: () => number;
}

/** @kernel tcp_mmap, tcp_zerocopy_receive (net/ipv4/tcp.c) */
export class TcpZerocopy {
  private readonly mappings: UserMappings;
  private readonly batch: (Page | null)[];
  private batched: number;
  /** Of the call under way. */
  private address: number;
  private length: number;
  private seq: number;

  constructor(mappings: UserMappings) {
    this.mappings = mappings;
    this.batch = [];
    for (let i = 0; i < TCP_ZEROCOPY_PAGE_BATCH_SIZE; i++) this.batch.push(null);
    this.batched = 0;
    this.address = 0;
    this.length = 0;
    this.seq = 0;
  }

  mmap(prot: number, lengthBytes: number, name: string): VmArea | number {
    return (prot & (PROT_WRITE | PROT_EXEC)) !== 0 ? -EPERM : this.mappings.mmap(lengthBytes, name);
  }

  /** @kernel do_tcp_getsockopt, TCP_ZEROCOPY_RECEIVE */
  receive(stream: TcpStream, zc: TcpZerocopyReceive): number {
    const { length, recvSkipHint, copybufLen } = zc;
    const errno = this.receiveInto(stream, zc);
    if (errno !== 0) {
      zc.length = length;
      zc.recvSkipHint = recvSkipHint;
      zc.copybufLen = copybufLen;
      return errno;
    }
    zc.err = stream.sockError();
    zc.inq = stream.available() + (stream.isFinished() ? 1 : 0);
    return 0;
  }

  private receiveInto(stream: TcpStream, zc: TcpZerocopyReceive): number {
    const room = zc.copybufLen;
    const inq = stream.available();
    zc.copybufLen = 0;
    if (zc.address % PAGE_SIZE !== 0) return -EINVAL;
    if (inq > 0 && inq <= room) {
      zc.length = 0;
      zc.recvSkipHint = 0;
      return fallbackToCopy(stream, zc, inq);
    }
    if (inq < PAGE_SIZE) {
      zc.length = 0;
      zc.recvSkipHint = inq;
      return inq === 0 && stream.isFinished() ? -EIO : 0;
    }
    if (zc.area.unmapped || zc.address < zc.area.vmStart || zc.address >= zc.area.vmEnd) return -EINVAL;
    const most = Math.min(zc.length, zc.area.vmEnd - zc.address, inq);
    const toMap = most - (most % PAGE_SIZE);
    if (toMap > 0 && (zc.flags & TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT) === 0) this.mappings.zapPageRange(zc.area, zc.address, toMap);
    zc.length = toMap > 0 ? toMap : most;
    zc.recvSkipHint = toMap > 0 ? 0 : most;
    this.address = zc.address;
    this.length = 0;
    this.seq = stream.copiedSeq();
    const error = this.mapFrags(stream, zc, toMap);
    const copied = error === 0 ? this.handleLeftover(stream, zc, room) : 0;
    if (this.length + copied > 0) {
      stream.readUpTo(this.seq);
      if (this.length === zc.length) zc.recvSkipHint = 0;
      zc.length = this.length;
      return 0;
    }
    zc.length = 0;
    return error !== 0 ? error : zc.recvSkipHint === 0 && stream.isFinished() ? -EIO : 0;
  }

  /** Whole pages, until one cannot be mapped, or the range is full. */
  private mapFrags(stream: TcpStream, zc: TcpZerocopyReceive, toMap: number): number {
    let skb: SkBuff | null = null;
    let index = 0;
    this.batched = 0;
    while (this.length + PAGE_SIZE <= zc.length) {
      if (zc.recvSkipHint < PAGE_SIZE) {
        if (skb !== null && zc.recvSkipHint > 0) break;
        skb = skb === null ? stream.recvSkb(this.seq) : skb.next;
        if (skb === null || skb.unreadable) break;
        const offset = (this.seq - skb.seq) | 0;
        zc.recvSkipHint = skb.len - offset;
        index = fragAt(skb, offset);
        if (index < 0) break;
      }
      const { frags, nrFrags } = skb!.shinfo!;
      const skip = bytesToMappable(frags, index, nrFrags, zc.recvSkipHint);
      if (skip > 0) {
        zc.recvSkipHint = skip;
        break;
      }
      this.batch[this.batched++] = frags[index++]!.netmem as Page;
      this.length += PAGE_SIZE;
      zc.recvSkipHint -= PAGE_SIZE;
      // What is speculative is of one packet.
      if (this.batched === TCP_ZEROCOPY_PAGE_BATCH_SIZE || zc.recvSkipHint < PAGE_SIZE) {
        const error = this.insertBatch(zc, toMap);
        if (error !== 0) return error;
      }
    }
    return this.batched > 0 ? this.insertBatch(zc, toMap) : 0;
  }

  /** @kernel tcp_zerocopy_vm_insert_batch, tcp_zerocopy_vm_insert_batch_error */
  private insertBatch(zc: TcpZerocopyReceive, toMap: number): number {
    const { batch, batched, mappings } = this;
    let done = this.insert(zc, 0);
    let { error } = done;
    let mapped = done.inserted;
    if (error === -EBUSY && (zc.flags & TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT) !== 0) {
      // The hint was wrong.
      mappings.zapPageRange(zc.area, this.address, toMap - this.length + (batched - mapped) * PAGE_SIZE);
      done = this.insert(zc, mapped);
      error = done.error;
      mapped += done.inserted;
    }
    const missing = (batched - mapped) * PAGE_SIZE;
    this.length -= missing;
    zc.recvSkipHint += missing;
    batch.fill(null);
    this.batched = 0;
    return error;
  }

  private insert(zc: TcpZerocopyReceive, from: number): { readonly inserted: number; readonly error: number } {
    const result = this.mappings.vmInsertPages(zc.area, this.address, this.batch, from, this.batched - from);
    this.address += result.inserted * PAGE_SIZE;
    this.seq = (this.seq + result.inserted * PAGE_SIZE) | 0;
    return result;
  }

  /** Bytes that no page has, of those that come next: how many were copied. @kernel tcp_zc_handle_leftover, tcp_copy_straggler_data */
  private handleLeftover(stream: TcpStream, zc: TcpZerocopyReceive, room: number): number {
    // Signed where it decides on a fallback, unsigned here.
    const bytes = Math.min(room >>> 0, zc.recvSkipHint);
    const skb = bytes === 0 ? null : stream.recvSkb(this.seq);
    if (skb === null) return 0;
    const errno = hasRoom(zc, bytes) ? stream.copyBits(skb, (this.seq - skb.seq) | 0, zc.copybuf!, zc.copybufOffset, bytes) : -EFAULT;
    zc.copybufLen = errno < 0 ? errno : bytes;
    if (errno < 0) return 0;
    zc.recvSkipHint -= bytes;
    this.seq = (this.seq + bytes) | 0;
    return bytes;
  }
}

/** All that there is. @kernel receive_fallback_to_copy */
function fallbackToCopy(stream: TcpStream, zc: TcpZerocopyReceive, bytes: number): number {
  const copied = hasRoom(zc, bytes) ? stream.recvmsg(zc.copybuf!, zc.copybufOffset, bytes) : -EFAULT;
  if (copied < 0) return copied;
  zc.copybufLen = copied;
  return 0;
}

/** Whether the buffer is the user's memory so far. */
function hasRoom({ copybuf, copybufOffset }: TcpZerocopyReceive, bytes: number): boolean {
  return copybuf !== null && copybufOffset + bytes <= copybuf.bytes.length;
}

/** The frag that begins `offset` bytes into the packet; −1: none begins there, or it has a frag list. @kernel skb_advance_to_frag */
function fragAt(skb: SkBuff, offset: number): number {
  const { frags, nrFrags, fragList } = skb.shinfo!;
  if (fragList !== null) return -1;
  let left = offset - skbHeadlen(skb);
  let index = 0;
  while (left > 0 && index < nrFrags) left -= frags[index++]!.sizeBytes;
  return left === 0 && index < nrFrags ? index : -1;
}

/** 0: the frag at `index` can be mapped; else bytes until one that can. @kernel find_next_mappable_frag */
function bytesToMappable(frags: readonly NetmemFrag[], index: number, nrFrags: number, leftInSkb: number): number {
  let skip = 0;
  for (let i = index; skip < leftInSkb && i < nrFrags && !canMapFrag(frags[i]!); i++) skip += frags[i]!.sizeBytes;
  return skip;
}

/** @kernel can_map_frag */
function canMapFrag({ netmem, offset, sizeBytes }: NetmemFrag): boolean {
  return sizeBytes === PAGE_SIZE && offset === 0 && isPlainPage(netmem!);
}

/** One page by itself, and neither a file's nor an anonymous one. */
function isPlainPage(netmem: Netmem): boolean {
  return !netmem.isNetIov && netmem.head === netmem && netmem.order === 0 && !pageHasMapping(netmem);
}
