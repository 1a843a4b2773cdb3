import { EBUSY, EINVAL, EIO, EPERM } from "@netmem/kernel/api";
import { PAGE_SIZE, PROT_EXEC, PROT_WRITE, type Netmem, type Page, type UserMappings, type VmArea } from "@netmem/mm/api";
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
  /** The packet that has byte `seq`, those before it being freed. @kernel tcp_recv_skb */
  readonly recvSkb: (seq: number) => SkBuff | null;
  readonly readUpTo: (seq: number) => void;
  readonly copy: (zc: TcpZerocopyReceive, bytes: number) => number;
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

  receive(stream: TcpStream, zc: TcpZerocopyReceive): number {
    const room = zc.copybufLen;
    const inq = stream.available();
    zc.copybufLen = 0;
    if (zc.address % PAGE_SIZE !== 0) return -EINVAL;
    if (inq > 0 && inq <= room) {
      zc.length = 0;
      zc.recvSkipHint = 0;
      return this.copyRest(stream, zc, inq);
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
    stream.readUpTo(this.seq);
    const rest = error === 0 ? Math.min(room, zc.recvSkipHint) : 0;
    const copied = rest === 0 ? 0 : Math.max(0, this.copyRest(stream, zc, rest) === 0 ? rest : 0);
    if (this.length + copied > 0) {
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

  /** @kernel receive_fallback_to_copy, tcp_zc_handle_leftover */
  private copyRest(stream: TcpStream, zc: TcpZerocopyReceive, bytes: number): number {
    const copied = zc.copybuf === null ? 0 : stream.copy(zc, bytes);
    if (copied < 0) return copied;
    zc.copybufLen = copied;
    zc.recvSkipHint = Math.max(0, zc.recvSkipHint - copied);
    return 0;
  }
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
  return sizeBytes === PAGE_SIZE && offset === 0 && isSinglePage(netmem!);
}

function isSinglePage(netmem: Netmem): boolean {
  return !netmem.isNetIov && netmem.head === netmem && netmem.order === 0;
}
