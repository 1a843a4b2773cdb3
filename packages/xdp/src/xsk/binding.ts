import { EBUSY, EINVAL, EOPNOTSUPP, type Kernel, type ReportSink } from "@netmem/kernel/api";
import {
  NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_REDIRECT, NETDEV_XDP_ACT_XSK_ZEROCOPY, XDP_COPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_WAKEUP_TX, XDP_ZEROCOPY,
  type NetDevice, type XdpStructs, type XdpUmem,
} from "../api/index.ts";
import type { XdpDates } from "../rules.ts";
import type { XskMapTable } from "../xskmap.ts";
import { BuffPool } from "./pool.ts";
import type { XskQueue } from "./queue.ts";
import type { XskSocket } from "./socket.ts";
import type { Umems } from "./umem.ts";

/** What zero copy needs of a driver. */
const ZC_FEATURES: number = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_XSK_ZEROCOPY;

/** Pools and the queues they are bound to. @kernel net/xdp/xsk_buff_pool.c */
export class XskBinding {
  readonly maps: XskMapTable[] = [];
  readonly sockets: Set<XskSocket> = new Set();
  readonly #structs: XdpStructs;
  readonly #umems: Umems;
  readonly #workqueue: Kernel["workqueue"];
  readonly #reports: ReportSink;
  readonly #asksFeatures: boolean;
  readonly #hasMultiBuffer: boolean;

  constructor(structs: XdpStructs, umems: Umems, kernel: Pick<Kernel, "workqueue" | "reports">, dates: Pick<XdpDates, "asksFeatures" | "xskHasMultiBuffer">) {
    this.#structs = structs;
    this.#umems = umems;
    this.#workqueue = kernel.workqueue;
    this.#reports = kernel.reports;
    this.#asksFeatures = dates.asksFeatures;
    this.#hasMultiBuffer = dates.xskHasMultiBuffer;
  }

  /** @kernel xp_create_and_assign_umem */
  createPool(umem: XdpUmem, fq: XskQueue, cq: XskQueue): BuffPool {
    return new BuffPool(umem, fq, cq, this.#structs, this.#umems, this.#hasMultiBuffer);
  }

  /** Gives the pool to a queue, for zero copy if that works, or must. @kernel xp_assign_dev */
  assignDev(pool: BuffPool, dev: NetDevice, queueId: number, flags: number): number {
    const forceZc = (flags & XDP_ZEROCOPY) !== 0;
    const forceCopy = (flags & XDP_COPY) !== 0;
    if (forceZc && forceCopy) return -EINVAL;
    const queue = dev.rxQueues[queueId];
    if (queue === undefined) return -EINVAL;
    if (queue.xskBound) return -EBUSY;
    queue.xskBound = true;
    pool.dev = dev;
    pool.queueId = queueId;
    pool.usesNeedWakeup = (flags & XDP_USE_NEED_WAKEUP) !== 0;
    // Who sends in copy mode works in the system call: it must be made.
    pool.cachedNeedWakeup = XDP_WAKEUP_TX;
    if (forceCopy) return 0;
    const errno = this.#zeroCopy(pool, dev, queueId, flags);
    if (errno === 0) {
      pool.umem.zc = true;
      return 0;
    }
    if (!forceZc) return 0;
    queue.xskBound = false;
    pool.dev = null;
    return errno;
  }

  /** The last user: the queue is freed in the background. @kernel xp_put_pool, xp_release_deferred */
  putPool(pool: BuffPool): void {
    if (--pool.users > 0) return;
    const work = this.#workqueue.initDelayedWork(() => {
      this.clearDev(pool);
      this.#umems.put(pool.umem);
    });
    this.#workqueue.queueDelayedWork(work, 0);
  }

  /** @kernel xp_clear_dev */
  clearDev(pool: BuffPool): void {
    const { dev, queueId } = pool;
    if (dev === null) return;
    if (pool.umem.zc) {
      const errno = dev.xdpOps?.xskSetupPool?.(null, queueId) ?? 0;
      if (errno < 0) this.#reports.report("xsk-disable-failed", "warn", `rx queue ${queueId}`, dev.name, `the driver did not give up its AF_XDP pool: errno ${errno}`);
    }
    dev.rxQueues[queueId]!.xskBound = false;
    pool.dev = null;
  }

  /** Its sockets are bound to nothing. @kernel xsk_notifier */
  deviceGone(dev: NetDevice): void {
    for (const socket of this.sockets) {
      if (socket.dev !== dev || !socket.bound) continue;
      socket.deviceGone();
      this.clearDev(socket.buffPool!);
    }
  }

  deleteFromMaps(socket: XskSocket): void {
    for (const map of this.maps) map.forget(socket);
    this.sockets.delete(socket);
  }

  #zeroCopy(pool: BuffPool, dev: NetDevice, queueId: number, flags: number): number {
    const { xdpOps, xdpFeatures, xdpZcMaxSegs, rxQueues } = dev;
    if (xdpOps === null || xdpOps.xskSetupPool === null || (this.#asksFeatures ? (xdpFeatures & ZC_FEATURES) !== ZC_FEATURES : xdpOps.xskWakeup === null)) return -EOPNOTSUPP;
    if ((flags & XDP_USE_SG) !== 0 && xdpZcMaxSegs === 1) return -EOPNOTSUPP;
    if (rxQueues.some((queue) => queue.memoryProvider !== null)) return -EBUSY;
    const errno = xdpOps.xskSetupPool(pool, queueId);
    if (errno < 0) return errno;
    if (pool.dmaMapped) return 0;
    this.#reports.report("xsk-driver-no-dma", "warn", `rx queue ${queueId}`, dev.name, "driver did not DMA map zero-copy buffers");
    xdpOps.xskSetupPool(null, queueId);
    return -EINVAL;
  }
}
