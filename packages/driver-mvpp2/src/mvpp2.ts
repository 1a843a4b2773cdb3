import { resizeRings, ringSizeIsIn, startRx, stopRx, xmitFrames, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface } from "@netmem/driver/api";
import { EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE } from "@netmem/mm/api";
import { NAPI_POLL_WEIGHT, NETDEV_TX_BUSY, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_REDIRECT, type NapiStruct, type NetDevice, type XdpProg } from "@netmem/xdp/api";
import { MVPP2_MAX_FRAME_BYTES, MVPP2_MAX_RX_BUF_SIZE, MVPP2_MAX_TXD_DFLT, MVPP2_MOST_QUEUES, MVPP2_RING_LIMITS, MVPP2_RX_DESC, MVPP2_TX_DESC } from "./constants.ts";
import { pollRx, type PortShared } from "./poll.ts";
import { createRxQueue, destroyRxQueue, type Mvpp2RxQueue } from "./rx-queue.ts";

class Mvpp2Interface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #options: DriverOptions;
  readonly #shared: PortShared;
  readonly #napis: NapiStruct[];
  /** Empty while it is down. */
  #rxqs: Mvpp2RxQueue[] = [];
  #rxRingSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#rxRingSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.#shared = { dev: this.dev, earlyDrop: options.earlyDrop, tx: null, prog: null };
    this.#napis = this.dev.rxQueues.map((queue, i) => {
      const napi = deps.napi.netifNapiAdd(this.dev, { poll: (polled, budget) => this.#poll(i, polled, budget) }, NAPI_POLL_WEIGHT);
      queue.napi = napi;
      return napi;
    });
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT;
    this.dev.xdpOps = { xdpSetupProg: (prog) => this.#xdpSetup(prog), xdpXmit: (frames, n, flags) => xmitFrames(this.#shared.tx, frames, n, flags), xskSetupPool: null, xskWakeup: null };
    this.dev.changeMtu = (mtu) => (takesMtu(mtu, this.#shared.prog) ? 0 : -EINVAL);
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#shared.tx === null ? NETDEV_TX_BUSY : this.#shared.tx.startXmit(skb)) });
  }

  /** @kernel mvpp2_open, mvpp2_start_dev */
  open(): number {
    if (this.#shared.tx !== null) return -EINVAL;
    const { rxQueues } = this.dev;
    const rxqs: Mvpp2RxQueue[] = [];
    for (const queue of rxQueues) {
      const rxq = createRxQueue(this.#deps, queue, rxQueues.length, this.#rxRingSize, this.#shared.prog === null ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL);
      if (typeof rxq === "number") return this.#giveUp(rxqs, rxq);
      rxqs.push(rxq);
    }
    const tx = this.#deps.txRings.create(MVPP2_MAX_TXD_DFLT, "dev_kfree_skb_any");
    if (typeof tx === "number") return this.#giveUp(rxqs, tx);
    this.#shared.tx = tx;
    this.#rxqs = rxqs;
    for (const [i, rxq] of rxqs.entries()) startRx(this.#deps, i, (this.#options.cpu + i) % this.#deps.kernel.nrCpus, rxq.hw, this.#napis[i]!);
    this.dev.up = true;
    return 0;
  }

  #giveUp(rxqs: readonly Mvpp2RxQueue[], errno: number): number {
    for (const rxq of rxqs) destroyRxQueue(this.#deps, rxq);
    return errno;
  }

  /** Device off before its buffers go home. @kernel mvpp2_stop */
  stop(): void {
    const { tx } = this.#shared;
    if (tx === null) return;
    this.dev.up = false;
    const rxqs = this.#rxqs;
    for (const [i, rxq] of rxqs.entries()) stopRx(this.#deps, i, rxq.hw, this.#napis[i]!);
    this.#rxqs = [];
    this.#shared.tx = null;
    tx.destroy();
    for (const rxq of rxqs) destroyRxQueue(this.#deps, rxq);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, MVPP2_RING_LIMITS, rxPending, this.#rxRingSize, (size) => void (this.#rxRingSize = size));
  }

  inRings(): InRings {
    return this.#shared.tx === null ? { skbs: [], frames: [] } : this.#shared.tx.inRing();
  }

  #poll(i: number, napi: NapiStruct, budget: number): number {
    const rxq = this.#rxqs[i];
    if (rxq === undefined) return 0;
    // The one transmit queue interrupts on the first line.
    if (i === 0) this.#shared.tx!.done(budget);
    if (budget === 0) return 0;
    const work = pollRx(this.#deps, rxq, this.#shared, napi, budget);
    // Somebody whom a packet was handed to has taken the interface down, which is reported.
    if (rxq.stopped) return work;
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) rxq.hw.enableIrq();
    return work;
  }

  /** Pages are mapped otherwise with a program, so that the first and the last restart the device. @kernel mvpp2_xdp_setup */
  #xdpSetup(prog: XdpProg | null): number {
    if (!takesMtu(this.dev.mtu, prog)) return -EOPNOTSUPP;
    const restart = this.#shared.tx !== null && (prog === null) !== (this.#shared.prog === null);
    if (restart) this.stop();
    this.#shared.prog = prog;
    return restart ? this.open() : 0;
  }
}

/** Marvell PPv2 (Armada 7K/8K) with its pools per CPU: the hardware picks a buffer for each frame, a short one or a long one. @kernel drivers/net/ethernet/marvell/mvpp2/mvpp2_main.c */
export const mvpp2: NetDriver = {
  name: "mvpp2",
  mostRxQueues: MVPP2_MOST_QUEUES,
  rxDescFormat: MVPP2_RX_DESC,
  txDescFormat: MVPP2_TX_DESC,
  maxFrameBytes: MVPP2_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(MVPP2_RING_LIMITS, rxRingSize)) throw new UsageError("driver-mvpp2", "rxRingSize", rxRingSize, `give ${MVPP2_RING_LIMITS.least} to ${MVPP2_RING_LIMITS.most} descriptors`);
    return new Mvpp2Interface(deps, options);
  },
};

/** A program sees a packet in one buffer of the long pool. @kernel mvpp2_xdp_setup, mvpp2_change_mtu */
function takesMtu(mtu: number, prog: XdpProg | null): boolean {
  return prog === null || mtu <= MVPP2_MAX_RX_BUF_SIZE;
}
