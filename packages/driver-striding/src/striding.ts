import { openQueues, queuesInRings, resizeRings, ringSizeIsIn, stopQueues, xmitFrames, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface, type QueueShared } from "@netmem/driver/api";
import { EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { NETDEV_TX_BUSY, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_REDIRECT, type NetDevice, type XdpProg } from "@netmem/xdp/api";
import { ST_MAX_FRAME_BYTES, ST_MOST_QUEUES, ST_RING_LIMITS, ST_RX_DESC, ST_TX_DESC, ST_TX_DESCRIPTORS } from "./constants.ts";
import { layoutFor } from "./layout.ts";
import { StridingQueue } from "./queue.ts";

class StridingInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #shared: QueueShared;
  readonly #queues: StridingQueue[] = [];
  #rxRingSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#rxRingSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.#shared = { dev: this.dev, earlyDrop: options.earlyDrop, tx: null, prog: null };
    for (let i = 0; i < options.rxQueueCount; i++) this.#queues.push(new StridingQueue(deps, this.#shared, i, (options.cpu + i) % deps.kernel.nrCpus));
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT;
    this.dev.xdpOps = { xdpSetupProg: (prog) => this.#xdpSetup(prog), xdpXmit: (frames, n, flags) => xmitFrames(this.#shared.tx, frames, n, flags), xskSetupPool: null, xskWakeup: null };
    this.dev.changeMtu = (mtu) => (layoutFor(mtu, this.#shared.prog !== null, this.#rxRingSize) === null ? -EINVAL : 0);
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#shared.tx === null ? NETDEV_TX_BUSY : this.#shared.tx.startXmit(skb)) });
  }

  /** @kernel mlx5e_open */
  open(): number {
    const layout = layoutFor(this.dev.mtu, this.#shared.prog !== null, this.#rxRingSize);
    return layout === null ? -EINVAL : openQueues(this.#shared, this.#queues, (queue) => queue.open(layout), () => this.#deps.txRings.create(ST_TX_DESCRIPTORS));
  }

  /** @kernel mlx5e_close */
  stop(): void {
    stopQueues(this.#shared, this.#queues);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, ST_RING_LIMITS, rxPending, this.#rxRingSize, (size) => void (this.#rxRingSize = size));
  }

  inRings(): InRings {
    return queuesInRings(this.#shared);
  }

  /** Strides are others with a program, so that the first and the last restart the device. @kernel mlx5e_xdp_set */
  #xdpSetup(prog: XdpProg | null): number {
    if (layoutFor(this.dev.mtu, prog !== null, this.#rxRingSize) === null) return -EOPNOTSUPP;
    const restart = this.#shared.tx !== null && (prog === null) !== (this.#shared.prog === null);
    if (restart) this.stop();
    this.#shared.prog = prog;
    return restart ? this.open() : 0;
  }
}

/** Striding receive queues, as mlx5 has them: a descriptor brings many pages, and packets take as much of them as they need. @kernel drivers/net/ethernet/mellanox/mlx5/core/en_rx.c */
export const striding: NetDriver = {
  name: "striding",
  mostRxQueues: ST_MOST_QUEUES,
  rxDescFormat: ST_RX_DESC,
  txDescFormat: ST_TX_DESC,
  maxFrameBytes: ST_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(ST_RING_LIMITS, rxRingSize)) throw new UsageError("driver-striding", "rxRingSize", rxRingSize, `give ${ST_RING_LIMITS.least} to ${ST_RING_LIMITS.most} packets`);
    return new StridingInterface(deps, options);
  },
};
