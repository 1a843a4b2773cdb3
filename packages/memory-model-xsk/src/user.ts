import { EAGAIN, EMSGSIZE, ENOBUFS, ENOMEM } from "@netmem/kernel/api";
import { GFP_KERNEL, NUMA_NO_NODE, PAGE_SHIFT, PAGE_SIZE, type Page, type PayloadRegion } from "@netmem/mm/api";
import type { MemoryModelDeps, OnBytes } from "@netmem/memory-model/api";
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST } from "@netmem/net-core/api";
import { MSG_DONTWAIT, XDP_PASS, XDP_RING_NEED_WAKEUP, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY, type NetDevice, type XdpSocket, type XskRing } from "@netmem/xdp/api";

/** Chunks of a page each: those that frames are received into, and those that the user sends from. */
export interface XskBuffers {
  readonly rx: number;
  readonly tx: number;
}

/** A process with an AF_XDP socket on one queue, in memory of its own, and the program that redirects to it: what libxdp does for one. Process context. @kernel net/xdp/xsk.c */
export class XskUser {
  readonly socket: XdpSocket;
  readonly #deps: MemoryModelDeps;
  readonly #dev: NetDevice;
  readonly #queueIndex: number;
  readonly #buffers: XskBuffers;
  readonly #pages: Page[] = [];
  /** Chunks to send from that nobody else has, by their address. */
  readonly #txFree: number[] = [];
  #attached = false;
  #closed = false;

  constructor(deps: MemoryModelDeps, dev: NetDevice, queueIndex: number, buffers: XskBuffers) {
    this.#deps = deps;
    this.#dev = dev;
    this.#queueIndex = queueIndex;
    this.#buffers = buffers;
    this.socket = deps.afXdp.createSocket();
  }

  /** For zero copy, or not at all: 0, or a negative errno, and nothing is left: -EOPNOTSUPP (the driver has none), -EBUSY (there is a program, or the queue is taken), -ENOMEM, or what the driver answers. */
  open(): number {
    const errno = this.#open();
    if (errno < 0) this.close();
    return errno;
  }

  #open(): number {
    const { pages, xdpMaps, xdpPrograms, xdpAttachment } = this.#deps;
    const { socket } = this;
    const { rx, tx } = this.#buffers;
    for (let i = 0; i < rx + tx; i++) {
      const page = pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE);
      if (page === null) return -ENOMEM;
      this.#pages.push(page);
      if (i >= rx) this.#txFree.push(i * PAGE_SIZE);
    }
    const entries = ringFor(rx);
    for (const errno of [socket.umemReg(this.#pages, PAGE_SIZE, 0, 0), socket.rxRing(entries), socket.fillRing(entries), socket.completionRing(ringFor(Math.max(tx, 1))), tx > 0 ? socket.txRing(ringFor(tx)) : 0]) if (errno < 0) return errno;
    for (let i = 0; i < rx; i++) produce(socket.fill!, i * PAGE_SIZE, 0);
    const map = xdpMaps.createXskMap(this.#dev.rxQueues.length);
    if (typeof map === "number") return map;
    const prog = xdpPrograms.bpfProgLoad("to the user", (ctx) => ctx.redirectMap(map, ctx.rxQueueIndex, XDP_PASS), false);
    if (typeof prog === "number") return prog;
    const attached = xdpAttachment.devXdpAttach(this.#dev, prog, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, null);
    if (attached < 0) return attached;
    this.#attached = true;
    const bound = socket.bind(this.#dev, this.#queueIndex, XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP, null);
    return bound < 0 ? bound : map.mapUpdateElem(this.#queueIndex, socket, 0);
  }

  /** All frames that have come, in order; each is the user's as long as `onBytes` runs, and its chunk goes into the fill ring then. How many bytes; -EAGAIN: none has come; 0: closed. */
  read(onBytes: OnBytes): number {
    if (this.#closed) return 0;
    const rx = this.socket.rx!;
    const fill = this.socket.fill!;
    let total = 0;
    for (; rx.consumer !== rx.producer; rx.consumer = (rx.consumer + 1) >>> 0) {
      const slot = rx.consumer & rx.mask;
      const addr = rx.addr[slot]!;
      const len = rx.len[slot]!;
      const page = this.#pages[addr >>> PAGE_SHIFT]!;
      onBytes(page.region, page.base + (addr & (PAGE_SIZE - 1)), len);
      produce(fill, addr & ~(PAGE_SIZE - 1), 0);
      total += len;
    }
    if ((fill.flags & XDP_RING_NEED_WAKEUP) !== 0) this.socket.recvmsg(MSG_DONTWAIT);
    return total > 0 ? total : -EAGAIN;
  }

  /** A frame is copied into a chunk of the user's, and sent from there: 0; -ENOBUFS: all such chunks are on their way; -EMSGSIZE: it is longer than a chunk; or why the kernel could not be woken. The region stays the caller's. */
  send(region: PayloadRegion, offset: number, bytes: number): number {
    if (bytes > PAGE_SIZE) return -EMSGSIZE;
    this.#takeCompleted();
    const addr = this.#txFree.pop();
    if (addr === undefined) return -ENOBUFS;
    const page = this.#pages[addr >>> PAGE_SHIFT]!;
    this.#deps.payload.copy(page.region, page.base, region, offset, bytes);
    const tx = this.socket.tx!;
    produce(tx, addr, bytes);
    return (tx.flags & XDP_RING_NEED_WAKEUP) === 0 ? 0 : this.socket.sendmsg(MSG_DONTWAIT);
  }

  /** Frames that wait for the user. */
  held(): number {
    const { rx } = this.socket;
    return this.#closed || rx === null ? 0 : (rx.producer - rx.consumer) >>> 0;
  }

  /** The queue goes on with pages, and the stack with all frames. Chunks are freed as soon as the kernel has let go of them. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#attached) this.#deps.xdpAttachment.devXdpAttach(this.#dev, null, XDP_FLAGS_DRV_MODE, null);
    this.socket.release();
    // The socket's memory has references of its own.
    for (const page of this.#pages) this.#deps.pages.putPage(page);
  }

  #takeCompleted(): void {
    const ring = this.socket.completion!;
    for (; ring.consumer !== ring.producer; ring.consumer = (ring.consumer + 1) >>> 0) this.#txFree.push(ring.addr[ring.consumer & ring.mask]!);
  }
}

/** Room for all of them. */
function ringFor(chunks: number): number {
  return 2 ** Math.ceil(Math.log2(chunks));
}

function produce(ring: XskRing, addr: number, len: number): void {
  const slot = ring.producer & ring.mask;
  ring.addr[slot] = addr;
  ring.len[slot] = len;
  ring.producer = (ring.producer + 1) >>> 0;
}
