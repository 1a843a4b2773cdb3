import { EBADF, EBUSY, EINVAL, ENETDOWN, ENOBUFS, ENODEV, ENXIO, EOPNOTSUPP } from "@netmem/kernel/api";
import type { Page } from "@netmem/mm/api";
import {
  EPOLLIN, EPOLLOUT, MSG_DONTWAIT, XDP_COPY, XDP_SHARED_UMEM, XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_RING_NEED_WAKEUP, XDP_WAKEUP_RX, XDP_WAKEUP_TX, XDP_ZEROCOPY, XskRing,
  type NetDevice, type XdpSocket, type XdpStatistics, type XdpUmem, type XskBuffPool,
} from "../api/index.ts";
import type { XskBinding } from "./binding.ts";
import type { GenericXmit } from "./generic-xmit.ts";
import type { BuffPool } from "./pool.ts";
import { XskQueue } from "./queue.ts";
import type { Umems } from "./umem.ts";

/** Largest ring: what a u32 of bytes can hold of descriptors, and more than anyone has. */
const MOST_ENTRIES: number = 1 << 24;

export interface SocketParts {
  readonly umems: Umems;
  readonly binding: XskBinding;
  readonly xmit: GenericXmit;
  readonly hasMultiBuffer: boolean;
}

/** @kernel struct xdp_sock, net/xdp/xsk.c */
export class XskSocket implements XdpSocket {
  umem: XdpUmem | null;
  dev: NetDevice | null;
  queueId: number;
  zc: boolean;
  /** Packets in several buffers. */
  sg: boolean;
  bound: boolean;
  /** It was bound: nothing can be set up any more. @kernel XSK_READY, no longer */
  used: boolean;
  released: boolean;
  rxQueue: XskQueue | null;
  txQueue: XskQueue | null;
  buffPool: BuffPool | null;
  /** Until a bind gives them to its pool. @kernel fq_tmp, cq_tmp */
  fillQueue: XskQueue | null;
  completionQueue: XskQueue | null;
  rxDropped: number;
  rxQueueFull: number;
  txBudgetSpent: number;
  flushListed: boolean;
  dataReady: (() => void) | null;
  private error: number;
  private readonly parts: SocketParts;

  constructor(parts: SocketParts) {
    this.umem = null;
    this.dev = null;
    this.queueId = 0;
    this.zc = false;
    this.sg = false;
    this.bound = false;
    this.used = false;
    this.released = false;
    this.error = 0;
    this.rxQueue = null;
    this.txQueue = null;
    this.buffPool = null;
    this.fillQueue = null;
    this.completionQueue = null;
    this.rxDropped = 0;
    this.rxQueueFull = 0;
    this.txBudgetSpent = 0;
    this.flushListed = false;
    this.dataReady = null;
    this.parts = parts;
  }

  get rx(): XskRing | null {
    return this.rxQueue?.ring ?? null;
  }

  get tx(): XskRing | null {
    return this.txQueue?.ring ?? null;
  }

  get fill(): XskRing | null {
    return (this.buffPool?.fq ?? this.fillQueue)?.ring ?? null;
  }

  get completion(): XskRing | null {
    return (this.buffPool?.cq ?? this.completionQueue)?.ring ?? null;
  }

  get pool(): XskBuffPool | null {
    return this.buffPool;
  }

  umemReg(pages: readonly Page[], chunkSize: number, headroom: number, flags: number): number {
    if (this.used || this.released || this.umem !== null) return -EBUSY;
    const umem = this.parts.umems.create(pages, chunkSize, headroom, flags);
    if (typeof umem === "number") return umem;
    this.umem = umem;
    return 0;
  }

  rxRing(entries: number): number {
    const queue = this.initQueue(entries, this.rxQueue);
    if (typeof queue === "number") return queue;
    this.rxQueue = queue;
    return 0;
  }

  txRing(entries: number): number {
    const queue = this.initQueue(entries, this.txQueue);
    if (typeof queue === "number") return queue;
    this.txQueue = queue;
    // Until a driver says otherwise, who sends must ask. @kernel xsk_setsockopt
    queue.ring.flags |= XDP_RING_NEED_WAKEUP;
    return 0;
  }

  fillRing(entries: number): number {
    const queue = this.initQueue(entries, this.fillQueue);
    if (typeof queue === "number") return queue;
    this.fillQueue = queue;
    return 0;
  }

  completionRing(entries: number): number {
    const queue = this.initQueue(entries, this.completionQueue);
    if (typeof queue === "number") return queue;
    this.completionQueue = queue;
    return 0;
  }

  bind(dev: NetDevice, queueId: number, flags: number, shared: XdpSocket | null): number {
    const known = XDP_SHARED_UMEM | XDP_COPY | XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP | (this.parts.hasMultiBuffer ? XDP_USE_SG : 0);
    if ((flags & ~known) !== 0) return -EINVAL;
    if (this.used || this.released) return -EBUSY;
    if (dev.unregistered) return -ENODEV;
    if (this.rxQueue === null && this.txQueue === null) return -EINVAL;
    const errno = (flags & XDP_SHARED_UMEM) === 0 ? this.bindOwn(dev, queueId, flags) : this.bindShared(dev, queueId, flags, shared as XskSocket | null);
    if (errno < 0) return errno;
    this.dev = dev;
    this.queueId = queueId;
    this.zc = this.umem!.zc;
    if ((flags & XDP_USE_SG) !== 0) this.umem!.sg = true;
    this.sg = this.umem!.sg;
    this.bound = true;
    this.used = true;
    // Empty from the start of the pool on.
    if (this.txQueue !== null) this.buffPool!.tx.sockets.push(this);
    return 0;
  }

  sendmsg(flags: number): number {
    if (!this.bound) return -ENXIO;
    if (!this.dev!.up) return -ENETDOWN;
    if ((flags & MSG_DONTWAIT) === 0) return -EOPNOTSUPP;
    if (this.txQueue === null) return -ENOBUFS;
    if ((this.buffPool!.cachedNeedWakeup & XDP_WAKEUP_TX) === 0) return 0;
    return this.zc ? this.wakeup(XDP_WAKEUP_TX) : this.parts.xmit.xmit(this);
  }

  recvmsg(flags: number): number {
    if (!this.bound) return -ENXIO;
    if (!this.dev!.up) return -ENETDOWN;
    if (this.rxQueue === null) return -ENOBUFS;
    if ((flags & MSG_DONTWAIT) === 0) return -EOPNOTSUPP;
    return (this.buffPool!.cachedNeedWakeup & XDP_WAKEUP_RX) !== 0 && this.zc ? this.wakeup(XDP_WAKEUP_RX) : 0;
  }

  poll(): number {
    if (!this.bound || !this.dev!.up) return 0;
    const { cachedNeedWakeup } = this.buffPool!;
    if (cachedNeedWakeup !== 0) {
      if (this.zc) this.wakeup(cachedNeedWakeup);
      else if (this.txQueue !== null) this.parts.xmit.xmit(this);
    }
    let mask = 0;
    if (this.rxQueue !== null && !this.rxQueue.isEmpty()) mask |= EPOLLIN;
    if (this.txQueue !== null && this.txWriteable()) mask |= EPOLLOUT;
    return mask;
  }

  statistics(): XdpStatistics {
    return {
      rxDropped: this.rxDropped,
      rxInvalidDescs: this.buffPool?.fq.invalidDescs ?? 0,
      txInvalidDescs: this.txQueue?.invalidDescs ?? 0,
      rxRingFull: this.rxQueueFull,
      rxFillRingEmptyDescs: this.buffPool?.fq.queueEmptyDescs ?? 0,
      txRingEmptyDescs: this.txQueue?.queueEmptyDescs ?? 0,
    };
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    this.unbind();
    this.parts.binding.deleteFromMaps(this);
    if (this.umem !== null && this.buffPool === null) this.parts.umems.put(this.umem);
    if (this.buffPool !== null) this.parts.binding.putPool(this.buffPool);
    this.buffPool = null;
    this.umem = null;
    this.rxQueue = null;
    this.txQueue = null;
  }

  soError(): number {
    const { error } = this;
    this.error = 0;
    return error;
  }

  deviceGone(): void {
    this.error = -ENETDOWN;
    this.unbind();
  }

  /** No packet comes or goes any more; the memory stays until release. @kernel xsk_unbind_dev */
  unbind(): void {
    if (!this.bound) return;
    this.bound = false;
    const { sockets } = this.buffPool!.tx;
    const index = sockets.indexOf(this);
    if (index >= 0) sockets.splice(index, 1);
  }

  /** At most half of the ring waits. @kernel xsk_tx_writeable */
  private txWriteable(): boolean {
    return this.txQueue!.presentEntries() <= this.txQueue!.ring.entries / 2;
  }

  private wakeup(flags: number): number {
    return this.dev!.xdpOps?.xskWakeup?.(this.queueId, flags) ?? -EOPNOTSUPP;
  }

  /** @kernel xsk_init_queue */
  private initQueue(entries: number, there: XskQueue | null): XskQueue | number {
    if (this.used || this.released) return -EBUSY;
    const isPower = Number.isInteger(entries) && entries > 0 && entries <= MOST_ENTRIES && (entries & (entries - 1)) === 0;
    if (!isPower || there !== null) return -EINVAL;
    return new XskQueue(new XskRing(entries));
  }

  private bindOwn(dev: NetDevice, queueId: number, flags: number): number {
    const { umem, fillQueue, completionQueue } = this;
    if (umem === null || fillQueue === null || completionQueue === null) return -EINVAL;
    return this.takePool(this.parts.binding.createPool(umem, fillQueue, completionQueue), dev, queueId, flags);
  }

  /** Another queue of the same umem has rings of its own; the same queue has the same pool. */
  private bindShared(dev: NetDevice, queueId: number, flags: number, other: XskSocket | null): number {
    if ((flags & (XDP_COPY | XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP | XDP_USE_SG)) !== 0 || this.umem !== null) return -EINVAL;
    if (other === null || !other.bound) return -EBADF;
    const umem = other.umem!;
    const { fillQueue, completionQueue } = this;
    if (other.dev === dev && other.queueId === queueId) {
      if (fillQueue !== null || completionQueue !== null) return -EINVAL;
      this.umem = umem;
      this.buffPool = other.buffPool!;
      this.buffPool.users++;
      return 0;
    }
    if (fillQueue === null || completionQueue === null) return -EINVAL;
    umem.users++;
    const wanted = (other.buffPool!.usesNeedWakeup ? XDP_USE_NEED_WAKEUP : 0) | (umem.zc ? XDP_ZEROCOPY : XDP_COPY) | (other.sg ? XDP_USE_SG : 0);
    this.umem = umem;
    const errno = this.takePool(this.parts.binding.createPool(umem, fillQueue, completionQueue), dev, queueId, wanted);
    if (errno < 0) {
      umem.users--;
      this.umem = null;
    }
    return errno;
  }

  private takePool(pool: BuffPool, dev: NetDevice, queueId: number, flags: number): number {
    const errno = this.parts.binding.assignDev(pool, dev, queueId, flags);
    if (errno < 0) return errno;
    this.buffPool = pool;
    this.fillQueue = null;
    this.completionQueue = null;
    return 0;
  }
}
