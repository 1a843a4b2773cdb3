import { EINVAL, ENOBUFS, ENOMEM, ENOSPC, ENXIO, type ExecutionContext } from "@netmem/kernel/api";
import { MEM_TYPE_XSK_BUFF_POOL, XDP_PKT_CONTD, xdpBuffHasFrags, xdpDataMetaUnsupported, xdpGetBuffLen, type XdpBuff, type XdpBuffXsk, type XdpReturn } from "../api/index.ts";
import { FlushList } from "../flush-list.ts";
import type { BuffPool } from "./pool.ts";
import type { XskSocket } from "./socket.ts";
import type { Umems } from "./umem.ts";

/** Packets into rx rings. @kernel net/xdp/xsk.c */
export class XskReceive {
  private readonly context: ExecutionContext;
  private readonly umems: Umems;
  private readonly xdpReturn: XdpReturn;
  /** By CPU: sockets whose users have not seen what they got. @kernel xskmap_flush_list */
  private readonly flushLists: FlushList<XskSocket>[];
  /** Of the packet that is being copied. */
  private readonly chunks: (XdpBuff | null)[];

  constructor(context: ExecutionContext, nrCpus: number, umems: Umems, xdpReturn: XdpReturn) {
    this.context = context;
    this.umems = umems;
    this.xdpReturn = xdpReturn;
    this.chunks = [];
    this.flushLists = [];
    for (let cpu = 0; cpu < nrCpus; cpu++) this.flushLists.push(new FlushList());
  }

  /** 0: consumes the packet. An errno: it stays the caller's, user memory excepted when its ring was full: that is freed. @kernel __xsk_map_redirect, xsk_rcv */
  redirect(socket: XskSocket, buff: XdpBuff): number {
    const errno = this.receive(socket, buff);
    if (errno < 0) return errno;
    if (!socket.flushListed) {
      socket.flushListed = true;
      this.flushLists[this.context.cpu]!.push(socket);
    }
    return 0;
  }

  /** Copies the packet, which stays the caller's. @kernel xsk_generic_rcv */
  genericReceive(socket: XskSocket, buff: XdpBuff): number {
    const bytes = xdpGetBuffLen(buff);
    const errno = check(socket, buff, bytes);
    if (errno < 0) return errno;
    const copied = this.copy(socket, buff, bytes);
    publish(socket);
    return copied;
  }

  /** Sockets of this CPU's list. */
  waiting(): number {
    return this.flushLists[this.context.cpu]!.length;
  }

  /** @kernel __xsk_map_flush */
  flush(): void {
    const list = this.flushLists[this.context.cpu]!;
    for (let socket = list.pop(); socket !== null; socket = list.pop()) {
      socket.flushListed = false;
      publish(socket);
    }
  }

  private receive(socket: XskSocket, buff: XdpBuff): number {
    const bytes = xdpGetBuffLen(buff);
    const errno = check(socket, buff, bytes);
    if (errno < 0) return errno;
    if (buff.rxq.mem.type === MEM_TYPE_XSK_BUFF_POOL) return this.receiveZc(socket, buff);
    const copied = this.copy(socket, buff, bytes);
    if (copied === 0) this.xdpReturn.xdpReturnBuff(buff);
    return copied;
  }

  /** The chunks themselves go to the user; all of them or none. @kernel xsk_rcv_zc */
  private receiveZc(socket: XskSocket, buff: XdpBuff): number {
    const rx = socket.rxQueue!;
    const buffers = xdpBuffHasFrags(buff) ? buff.nrFrags + 1 : 1;
    if (rx.prodNbFree(buffers) < buffers) {
      socket.rxQueueFull++;
      this.xdpReturn.xdpReturnBuff(buff);
      return -ENOBUFS;
    }
    for (let xskb: XdpBuffXsk | null = buff.xsk; xskb !== null;) {
      const next: XdpBuffXsk | null = xskb.nextFrag;
      xskb.nextFrag = null;
      post(socket, xskb, xskb.xdp.dataEnd - xskb.xdp.data, next === null ? 0 : XDP_PKT_CONTD);
      xskb = next;
    }
    return 0;
  }

  /** Into chunks of the user's, with its metadata; all of it or nothing. @kernel __xsk_rcv */
  private copy(socket: XskSocket, buff: XdpBuff, bytes: number): number {
    const pool = socket.buffPool!;
    const rx = socket.rxQueue!;
    const frameSize = pool.rxFrameSize;
    const buffers = Math.max(1, Math.ceil(bytes / frameSize));
    if (buffers > 1 && !pool.xskBuffCanAlloc(buffers)) {
      socket.rxDropped++;
      return -ENOMEM;
    }
    if (buffers > 1 && rx.prodNbFree(buffers) < buffers) {
      socket.rxQueueFull++;
      return -ENOBUFS;
    }
    const metaBytes = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
    if (!this.takeChunks(pool, buffers)) {
      socket.rxDropped++;
      return -ENOMEM;
    }
    let done = 0;
    for (let i = 0; i < buffers; i++) {
      const chunk = this.chunks[i]!;
      this.chunks[i] = null;
      const xskb = chunk.xsk!;
      const addr = xskb.origAddr + pool.handleOffset(xskb);
      const part = Math.min(frameSize, bytes - done);
      if (i === 0 && metaBytes > 0) this.copyLinear(buff, buff.dataMeta, pool, addr - metaBytes, metaBytes);
      this.copyPart(buff, done, pool, addr, part);
      done += part;
      if (post(socket, xskb, part, done < bytes ? XDP_PKT_CONTD : 0) < 0) {
        // Of one chunk: for more there was room.
        socket.rxQueueFull++;
        pool.xskBuffFree(chunk);
        return -ENOBUFS;
      }
    }
    return 0;
  }

  /** All or none: entries of the fill ring that were counted may turn out to be invalid. */
  private takeChunks(pool: BuffPool, n: number): boolean {
    for (let i = 0; i < n; i++) {
      const chunk = pool.xskBuffAlloc();
      if (chunk === null) {
        while (i > 0) pool.xskBuffFree(this.chunks[--i]!);
        return false;
      }
      this.chunks[i] = chunk;
    }
    return true;
  }

  private copyLinear(buff: XdpBuff, from: number, pool: BuffPool, addr: number, bytes: number): void {
    const head = buff.head!;
    this.umems.copyIn(pool.umem, addr, head.region, head.base + from, bytes);
  }

  /** `bytes` from byte `from` of the packet on, wherever they lie. */
  private copyPart(buff: XdpBuff, from: number, pool: BuffPool, addr: number, bytes: number): void {
    const linear = buff.dataEnd - buff.data;
    let done = 0;
    if (from < linear) {
      done = Math.min(bytes, linear - from);
      this.copyLinear(buff, buff.data + from, pool, addr, done);
    }
    let start = linear;
    for (let i = 0; done < bytes; i++) {
      const frag = buff.frags[i]!;
      const skip = from + done - start;
      if (skip < frag.sizeBytes) {
        const part = Math.min(bytes - done, frag.sizeBytes - skip);
        const netmem = frag.netmem!;
        this.umems.copyIn(pool.umem, addr + done, netmem.region, netmem.base + frag.offset + skip, part);
        done += part;
      }
      start += frag.sizeBytes;
    }
  }
}

/** @kernel xsk_rcv_check */
function check(socket: XskSocket, buff: XdpBuff, bytes: number): number {
  const pool = socket.buffPool;
  if (pool === null || !socket.bound) return -ENXIO;
  if (socket.rxQueue === null) return -EINVAL;
  const { rxq } = buff;
  if (socket.dev !== rxq.dev || socket.queueId !== rxq.queueIndex) return -EINVAL;
  if (bytes <= pool.rxFrameSize || socket.sg) return 0;
  socket.rxDropped++;
  return -ENOSPC;
}

/** A chunk with a packet is the user's: 0, or -ENOBUFS, and then it is not. @kernel __xsk_rcv_zc */
function post(socket: XskSocket, xskb: XdpBuffXsk, bytes: number, options: number): number {
  const pool = xskb.pool as BuffPool;
  const offset = pool.handleOffset(xskb);
  const unaligned = pool.isUnaligned();
  const errno = socket.rxQueue!.prodReserveDesc(unaligned ? xskb.origAddr : xskb.origAddr + offset, unaligned ? offset : 0, bytes, options);
  if (errno === 0) pool.release(xskb);
  return errno;
}

/** @kernel xsk_flush */
function publish(socket: XskSocket): void {
  if (socket.rxQueue === null || socket.buffPool === null) return;
  socket.rxQueue.prodSubmit();
  socket.buffPool.fq.consPublish();
  socket.dataReady?.();
}
