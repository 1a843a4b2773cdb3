import { EFAULT, ENOSPC } from "@netmem/kernel/api";
import { PAGE_SHIFT } from "@netmem/mm/api";
import { forEachPiece, type SkbPieces } from "@netmem/memory-model/api";
import type { TcpSocket } from "@netmem/net-core/api";
import type { NetmemFrag } from "@netmem/xdp/api";
import type { NetgpuContext } from "./context.ts";
import { niovAt } from "./interface-queue.ts";
import { SharedQueue } from "./shared-queue.ts";

/** Bytes asked for at a time: all that a socket can have. */
const ALL = 0x7fff_ffff;

/**
 * What one socket delivers: an address and a length for each piece, in order, in memory of the context's, each a reference of the user's until the address comes back on a fill queue.
 * @kernel struct netgpu_skq, netgpu_recv_skb (drivers/misc/netgpu/netgpu_sock.c of the proposal)
 */
export class NetgpuSkq {
  readonly rx: SharedQueue;
  readonly #context: NetgpuContext;
  readonly #socket: TcpSocket;
  readonly #pieces: SkbPieces = { linear: () => -EFAULT, frag: (frag, skip, bytes) => this.#push(frag, skip, bytes) };

  constructor(context: NetgpuContext, socket: TcpSocket, rxEntries: number) {
    this.rx = new SharedQueue(rxEntries);
    this.#context = context;
    this.#socket = socket;
  }

  /**
   * Delivers what the socket has, as far as the queue has room: how many bytes; 0 at the end; -EAGAIN, -ECONNRESET; -ENOSPC if the queue is full; -EFAULT if the next bytes are in no area of this context, where the kernel's own
   * memory is. Process context. @kernel netgpu_data_ready, netgpu_recv_skb
   */
  receive(): number {
    return this.#socket.readSock(ALL, (skb, offset, bytes) => forEachPiece(skb, offset, bytes, this.#pieces));
  }

  /** What was delivered and not taken goes home. Process context. @kernel netgpu_release_sock */
  close(): void {
    for (let address = this.rx.peekAddress(); address >= 0; address = this.rx.peekAddress()) {
      this.rx.advance();
      const area = this.#context.areaAt(address)!;
      area.provided.putUser(niovAt(area, address));
    }
  }

  #push({ netmem, offset }: NetmemFrag, skip: number, bytes: number): number {
    if (!netmem!.isNetIov) return -EFAULT;
    const area = this.#context.areaOf(netmem!);
    if (area === null) return -EFAULT;
    if (!this.rx.push(area.start + (netmem!.index << PAGE_SHIFT) + offset + skip, bytes)) return -ENOSPC;
    area.provided.giveToUser(netmem!);
    return bytes;
  }
}
