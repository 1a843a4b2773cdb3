import { EFAULT, ENOMEM, ENOSPC } from "@netmem/kernel/api";
import { PAGE_SHIFT, PAGE_SIZE, type NetIov, type PayloadRegion } from "@netmem/mm/api";
import { forEachPiece, type MemoryModelDeps, type SkbPieces } from "@netmem/memory-model/api";
import { skbRegion, type SkBuff, type TcpSocket } from "@netmem/net-core/api";
import type { NetmemFrag } from "@netmem/xdp/api";
import type { ZcrxIfq } from "./ifq.ts";

/** Bytes, and where in the area they lie. @kernel struct io_uring_zcrx_cqe, cqe.res */
export interface ZcrxCqe {
  readonly off: number;
  readonly len: number;
}

/** A multishot receive: completions for one connection. @kernel io_recvzc (io_uring/net.c), io_zcrx_recv (io_uring/zcrx.c) */
export class ZcrxReceive {
  /** Bytes that were not received into the area, and had to be copied there. */
  copiedBytes = 0;
  readonly #deps: MemoryModelDeps;
  readonly #ifq: ZcrxIfq;
  readonly #socket: TcpSocket;
  readonly #mostCqes: number;
  readonly #cqes: ZcrxCqe[] = [];
  readonly #pieces: SkbPieces = { linear: (skb, offset, bytes) => this.#linear(skb, offset, bytes), frag: (frag, skip, bytes) => this.#frag(frag, skip, bytes) };

  /** `mostCqes`: completions that may wait. */
  constructor(deps: MemoryModelDeps, ifq: ZcrxIfq, socket: TcpSocket, mostCqes: number) {
    this.#deps = deps;
    this.#ifq = ifq;
    this.#socket = socket;
    this.#mostCqes = mostCqes;
  }

  /** Up to `bytes` of what there is become completions: how many bytes; 0 at the end; -EAGAIN, -ECONNRESET; -ENOSPC: too many completions wait; -ENOMEM: nothing to copy into; -EFAULT: memory of somebody else's. Process context. */
  receive(bytes: number): number {
    return this.#socket.readSock(bytes, (skb, offset, part) => forEachPiece(skb, offset, part, this.#pieces));
  }

  /** The oldest completion, the user's from now on, with a reference of its buffer; null: none. */
  nextCqe(): ZcrxCqe | null {
    return this.#cqes.shift() ?? null;
  }

  #linear(skb: SkBuff, offset: number, bytes: number): number {
    return this.#copyChunk(skbRegion(skb), skb.data + offset, bytes);
  }

  /** @kernel io_zcrx_recv_frag */
  #frag({ netmem, offset }: NetmemFrag, skip: number, bytes: number): number {
    if (!netmem!.isNetIov) return this.#copyChunk(netmem!.region, netmem!.base + offset + skip, bytes);
    const { provided } = this.#ifq;
    if (netmem!.area !== provided.area) return -EFAULT;
    if (!this.#complete(netmem!, offset + skip, bytes)) return -ENOSPC;
    provided.giveToUser(netmem!);
    return bytes;
  }

  /** Into buffers that no pool has. @kernel io_zcrx_copy_chunk */
  #copyChunk(region: PayloadRegion, at: number, bytes: number): number {
    const { provided } = this.#ifq;
    let done = 0;
    while (done < bytes) {
      if (this.#cqes.length === this.#mostCqes) return done > 0 ? done : -ENOSPC;
      const niov = provided.takeForUser();
      if (niov === null) return done > 0 ? done : -ENOMEM;
      const part = Math.min(bytes - done, PAGE_SIZE);
      this.#deps.payload.copy(niov.region, niov.base, region, at + done, part);
      this.#complete(niov, 0, part);
      this.copiedBytes += part;
      done += part;
    }
    return done;
  }

  #complete(niov: NetIov, offset: number, len: number): boolean {
    if (this.#cqes.length === this.#mostCqes) return false;
    this.#cqes.push({ off: (niov.index << PAGE_SHIFT) + offset, len });
    return true;
  }
}
