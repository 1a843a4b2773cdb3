import { openQueues, queuesInRings, resizeRings, ringSizeIsIn, stopQueues, xmitFrames, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface, type QueueShared } from "@netmem/driver/api";
import { EINVAL, ENETDOWN, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import {
  NETDEV_TX_BUSY, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_REDIRECT, NETDEV_XDP_ACT_XSK_ZEROCOPY, type NetDevice, type XdpProg, type XskBuffPool,
} from "@netmem/xdp/api";
import { DW_LEAST_CHUNK_FRAME, DW_MAX_FRAME_BYTES, DW_MOST_QUEUES, DW_RING_LIMITS, DW_RX_DESC, DW_TX_DESC, DW_TX_DESCRIPTORS, DW_XDP_MTU } from "./constants.ts";
import { DwQueue } from "./queue.ts";

class DwInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #shared: QueueShared;
  readonly #queues: DwQueue[] = [];
  #rxRingSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#rxRingSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.#shared = { dev: this.dev, earlyDrop: options.earlyDrop, tx: null, prog: null };
    for (let i = 0; i < options.rxQueueCount; i++) this.#queues.push(new DwQueue(deps, this.#shared, i, (options.cpu + i) % deps.kernel.nrCpus));
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT | NETDEV_XDP_ACT_XSK_ZEROCOPY;
    this.dev.xdpOps = {
      xdpSetupProg: (prog) => this.#xdpSetup(prog),
      xdpXmit: (frames, n, flags) => xmitFrames(this.#shared.tx, frames, n, flags),
      xskSetupPool: (pool, queueId) => (pool === null ? this.#disablePool(queueId) : this.#enablePool(pool, queueId)),
      xskWakeup: (queueId) => this.#wakeup(queueId),
    };
    this.dev.changeMtu = (mtu) => (takesMtu(mtu, this.#shared.prog) ? 0 : -EINVAL);
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#shared.tx === null ? NETDEV_TX_BUSY : this.#shared.tx.startXmit(skb)) });
  }

  /** @kernel stmmac_open, stmmac_xdp_open */
  open(): number {
    return openQueues(this.#shared, this.#queues, (queue) => queue.open(this.#rxRingSize), () => this.#deps.txRings.create(DW_TX_DESCRIPTORS, "dev_consume_skb_any"));
  }

  /** @kernel stmmac_release, stmmac_xdp_release */
  stop(): void {
    stopQueues(this.#shared, this.#queues);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, DW_RING_LIMITS, rxPending, this.#rxRingSize, (size) => void (this.#rxRingSize = size));
  }

  inRings(): InRings {
    return queuesInRings(this.#shared);
  }

  /** Pages are mapped otherwise with a program, and users' memory is used with one only, so that the first and the last restart the device. @kernel stmmac_xdp_set_prog (drivers/net/ethernet/stmicro/stmmac/stmmac_xdp.c) */
  #xdpSetup(prog: XdpProg | null): number {
    if (!takesMtu(this.dev.mtu, prog)) return -EOPNOTSUPP;
    const restart = this.#shared.tx !== null && (prog === null) !== (this.#shared.prog === null);
    if (restart) this.stop();
    this.#shared.prog = prog;
    return restart ? this.open() : 0;
  }

  /** @kernel stmmac_xdp_enable_pool */
  #enablePool(pool: XskBuffPool, queueId: number): number {
    const queue = this.#queues[queueId];
    if (queue === undefined) return -EINVAL;
    if (pool.rxFrameSize < DW_LEAST_CHUNK_FRAME) return -EOPNOTSUPP;
    const mapped = pool.dmaMap(this.#deps.dma);
    if (mapped < 0) return mapped;
    const restart = this.#usesChunks();
    const errno = this.#switchTo(queue, pool, restart);
    if (errno === 0) return 0;
    this.#switchTo(queue, null, restart);
    pool.dmaUnmap();
    return errno;
  }

  /** @kernel stmmac_xdp_disable_pool */
  #disablePool(queueId: number): number {
    const queue = this.#queues[queueId];
    const pool = queue?.xskPool ?? null;
    if (queue === undefined || pool === null) return -EINVAL;
    const errno = this.#switchTo(queue, null, this.#usesChunks());
    pool.dmaUnmap();
    return errno;
  }

  /** Up, with a program: a user's memory would be in use. */
  #usesChunks(): boolean {
    return this.#shared.tx !== null && this.#shared.prog !== null;
  }

  /** The queue has that memory from now on, null for its pages. `restart` restarts the device, whose one transmit ring may hold descriptors of the memory that was; the original, with a ring a queue, restarts that queue. Without memory for the rings it stays down. */
  #switchTo(queue: DwQueue, pool: XskBuffPool | null, restart: boolean): number {
    if (restart) this.stop();
    queue.xskPool = pool;
    return restart ? this.open() : 0;
  }

  /** @kernel stmmac_xsk_wakeup */
  #wakeup(queueId: number): number {
    if (this.#shared.tx === null) return -ENETDOWN;
    const queue = this.#queues[queueId];
    if (queue === undefined || queue.running === null || queue.running.buffers.xsk === null) return -EINVAL;
    this.#deps.napi.napiSchedule(queue.napi);
    return 0;
  }
}

/** With a program no frame is a jumbo. @kernel stmmac_xdp_set_prog, stmmac_change_mtu */
function takesMtu(mtu: number, prog: XdpProg | null): boolean {
  return prog === null || mtu <= DW_XDP_MTU;
}

/** DesignWare Ethernet (stmmac): page_pool pages, or the memory of an AF_XDP user, queue by queue. @kernel drivers/net/ethernet/stmicro/stmmac/stmmac_main.c */
export const xsk: NetDriver = {
  name: "xsk",
  mostRxQueues: DW_MOST_QUEUES,
  rxDescFormat: DW_RX_DESC,
  txDescFormat: DW_TX_DESC,
  maxFrameBytes: DW_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(DW_RING_LIMITS, rxRingSize)) throw new UsageError("driver-xsk", "rxRingSize", rxRingSize, `give ${DW_RING_LIMITS.least} to ${DW_RING_LIMITS.most} descriptors`);
    return new DwInterface(deps, options);
  },
};
