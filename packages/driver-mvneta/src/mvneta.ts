import { EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { resizeRings, ringSizeIsIn, xmitFrames, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface, type TxRing } from "@netmem/driver/api";
import {
  NAPI_POLL_WEIGHT, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_NDO_XMIT_SG, NETDEV_XDP_ACT_REDIRECT, NETDEV_XDP_ACT_RX_SG,
  NETDEV_TX_BUSY, type NapiStruct, type NetDevice, type XdpProg,
} from "@netmem/xdp/api";
import { MVNETA_MAX_FRAME_BYTES, MVNETA_MAX_RX_BUF_SIZE, MVNETA_MAX_TXD, MVNETA_RING_LIMITS, MVNETA_RX_DESC, MVNETA_TX_DESC } from "./constants.ts";
import { pollRx } from "./poll.ts";
import { createRxQueue, destroyRxQueue, type MvnetaRxQueue } from "./rx-queue.ts";

class MvnetaInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #options: DriverOptions;
  readonly #napi: NapiStruct;
  #rxq: MvnetaRxQueue | null = null;
  readonly #port: { readonly dev: NetDevice; tx: TxRing | null };
  #prog: XdpProg | null = null;
  #rxRingSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#rxRingSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, 1);
    this.#port = { dev: this.dev, tx: null };
    this.#napi = deps.napi.netifNapiAdd(this.dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    this.dev.rxQueues[0]!.napi = this.#napi;
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT | NETDEV_XDP_ACT_RX_SG | NETDEV_XDP_ACT_NDO_XMIT_SG;
    this.dev.xdpOps = {
      xdpSetupProg: (prog) => this.#xdpSetup(prog),
      xdpXmit: (frames, n, flags) => xmitFrames(this.#port.tx, frames, n, flags),
      xskSetupPool: null,
      xskWakeup: null,
    };
    this.dev.changeMtu = (mtu) => (takesMtu(mtu, this.#prog) ? 0 : -EINVAL);
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#port.tx === null ? NETDEV_TX_BUSY : this.#port.tx.startXmit(skb)) });
  }

  /** @kernel mvneta_open */
  open(): number {
    if (this.#rxq !== null) return -EINVAL;
    const { nic, napi } = this.#deps;
    const rxq = createRxQueue(this.#deps, this.dev.rxQueues[0]!, this.#napi, { ...this.#options, rxRingSize: this.#rxRingSize }, this.#prog);
    if (typeof rxq === "number") return rxq;
    const txq = this.#deps.txRings.create(MVNETA_MAX_TXD, "dev_kfree_skb_any");
    if (typeof txq === "number") {
      destroyRxQueue(this.#deps, rxq);
      return txq;
    }
    this.#rxq = rxq;
    this.#port.tx = txq;
    nic.requestIrq(0, this.#options.cpu, () => this.#interrupt());
    napi.napiEnable(this.#napi);
    rxq.hw.start();
    rxq.hw.enableIrq();
    this.dev.up = true;
    return 0;
  }

  /** Device off before its buffers go home. @kernel mvneta_stop */
  stop(): void {
    const rxq = this.#rxq;
    if (rxq === null) return;
    rxq.hw.stop();
    this.#deps.nic.freeIrq(0);
    this.#deps.napi.napiDisable(this.#napi);
    this.dev.up = false;
    this.#rxq = null;
    this.#port.tx!.destroy();
    this.#port.tx = null;
    destroyRxQueue(this.#deps, rxq);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, MVNETA_RING_LIMITS, rxPending, this.#rxRingSize, (size) => void (this.#rxRingSize = size));
  }

  inRings(): InRings {
    return this.#port.tx === null ? { skbs: [], frames: [] } : this.#port.tx.inRing();
  }

  /** Pages are mapped otherwise with a program, so that the first and the last restart the device. @kernel mvneta_xdp_setup */
  #xdpSetup(prog: XdpProg | null): number {
    if (!takesMtu(this.dev.mtu, prog)) return -EOPNOTSUPP;
    const restart = this.#rxq !== null && (prog === null) !== (this.#prog === null);
    if (restart) this.stop();
    this.#prog = prog;
    return restart ? this.open() : 0;
  }

  /** @kernel mvneta_isr */
  #interrupt(): void {
    this.#rxq!.hw.disableIrq();
    this.#deps.napi.napiSchedule(this.#napi);
  }

  #poll(napi: NapiStruct, budget: number): number {
    const rxq = this.#rxq!;
    this.#port.tx!.done(budget);
    if (budget === 0) return 0;
    const work = pollRx(this.#deps, rxq, this.#port, napi, budget, this.#prog, this.#options.earlyDrop);
    // Somebody whom a packet was handed to has taken the interface down, which is reported.
    if (this.#rxq !== rxq) return work;
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) rxq.hw.enableIrq();
    return work;
  }
}

/** Marvell NETA (Armada 370/XP/3700): software buffers, one pool page a descriptor. @kernel drivers/net/ethernet/marvell/mvneta.c */
export const mvneta: NetDriver = {
  name: "mvneta",
  mostRxQueues: 1,
  rxDescFormat: MVNETA_RX_DESC,
  txDescFormat: MVNETA_TX_DESC,
  maxFrameBytes: MVNETA_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(MVNETA_RING_LIMITS, rxRingSize)) throw new UsageError("driver-mvneta", "rxRingSize", rxRingSize, `give ${MVNETA_RING_LIMITS.least} to ${MVNETA_RING_LIMITS.most} descriptors`);
    return new MvnetaInterface(deps, options);
  },
};

/** A program without fragments sees a packet in one page. @kernel mvneta_xdp_setup, mvneta_change_mtu */
function takesMtu(mtu: number, prog: XdpProg | null): boolean {
  return prog === null || prog.hasFrags || mtu <= MVNETA_MAX_RX_BUF_SIZE;
}
