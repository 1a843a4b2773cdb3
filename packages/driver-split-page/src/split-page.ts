import { openQueues, queuesInRings, resizeRings, ringSizeIsIn, stopQueues, xmitFrames, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface, type QueueShared } from "@netmem/driver/api";
import { EINVAL, UsageError } from "@netmem/kernel/api";
import { ETH_HLEN, NETDEV_TX_BUSY, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_REDIRECT, type NetDevice, type XdpProg } from "@netmem/xdp/api";
import { SP_BUFFER_BYTES, SP_MAX_FRAME_BYTES, SP_MOST_QUEUES, SP_RING_LIMITS, SP_RX_DESC, SP_TX_DESC, SP_TX_DESCRIPTORS } from "./constants.ts";
import { SplitQueue } from "./queue.ts";

class SplitInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #shared: QueueShared;
  readonly #queues: SplitQueue[] = [];
  #rxRingSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#rxRingSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.#shared = { dev: this.dev, earlyDrop: options.earlyDrop, tx: null, prog: null };
    for (let i = 0; i < options.rxQueueCount; i++) this.#queues.push(new SplitQueue(deps, this.#shared, i, (options.cpu + i) % deps.kernel.nrCpus));
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT;
    this.dev.xdpOps = { xdpSetupProg: (prog) => this.#xdpSetup(prog), xdpXmit: (frames, n, flags) => xmitFrames(this.#shared.tx, frames, n, flags), xskSetupPool: null, xskWakeup: null };
    this.dev.changeMtu = (mtu) => (takesMtu(mtu, this.#shared.prog) ? 0 : -EINVAL);
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#shared.tx === null ? NETDEV_TX_BUSY : this.#shared.tx.startXmit(skb)) });
  }

  /** @kernel ixgbe_open */
  open(): number {
    return openQueues(this.#shared, this.#queues, (queue) => queue.open(this.#rxRingSize), () => this.#deps.txRings.create(SP_TX_DESCRIPTORS));
  }

  /** @kernel ixgbe_close */
  stop(): void {
    stopQueues(this.#shared, this.#queues);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, SP_RING_LIMITS, rxPending, this.#rxRingSize, (size) => void (this.#rxRingSize = size));
  }

  inRings(): InRings {
    return queuesInRings(this.#shared);
  }

  /** @kernel ixgbe_xdp_setup */
  #xdpSetup(prog: XdpProg | null): number {
    if (!takesMtu(this.dev.mtu, prog)) return -EINVAL;
    this.#shared.prog = prog;
    return 0;
  }
}

/** With a program a frame must fit into one half. @kernel ixgbe_xdp_setup, ixgbe_change_mtu */
function takesMtu(mtu: number, prog: XdpProg | null): boolean {
  return prog === null || mtu + ETH_HLEN <= SP_BUFFER_BYTES;
}

/** Pages of the driver's own, two packets to a page, as ixgbe and i40e had them before page_pool: what the 2021 series could not help. @kernel drivers/net/ethernet/intel/ixgbe/ixgbe_main.c */
export const splitPage: NetDriver = {
  name: "split-page",
  mostRxQueues: SP_MOST_QUEUES,
  rxDescFormat: SP_RX_DESC,
  txDescFormat: SP_TX_DESC,
  maxFrameBytes: SP_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(SP_RING_LIMITS, rxRingSize)) throw new UsageError("driver-split-page", "rxRingSize", rxRingSize, `give ${SP_RING_LIMITS.least} to ${SP_RING_LIMITS.most} descriptors`);
    return new SplitInterface(deps, options);
  },
};
