import { EINVAL, UsageError } from "@netmem/kernel/api";
import type { DriverDeps, DriverOptions, NetDriver, NetInterface } from "@netmem/driver/api";
import { NAPI_POLL_WEIGHT, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import { MVNETA_MAX_FRAME_BYTES, MVNETA_MAX_RXD, MVNETA_RX_DESC } from "./constants.ts";
import { pollRx } from "./poll.ts";
import { createRxQueue, destroyRxQueue, type MvnetaRxQueue } from "./rx-queue.ts";

class MvnetaInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #options: DriverOptions;
  readonly #napi: NapiStruct;
  #rxq: MvnetaRxQueue | null = null;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#options = options;
    this.dev = deps.registerNetdev(options.name, 1);
    this.#napi = deps.napi.netifNapiAdd(this.dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    this.dev.rxQueues[0]!.napi = this.#napi;
  }

  /** @kernel mvneta_open */
  open(): number {
    if (this.#rxq !== null) return -EINVAL;
    const { nic, napi } = this.#deps;
    const rxq = createRxQueue(this.#deps, this.dev.rxQueues[0]!, this.#napi, this.#options);
    if (typeof rxq === "number") return rxq;
    this.#rxq = rxq;
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
    destroyRxQueue(this.#deps, rxq);
    this.#rxq = null;
    this.dev.up = false;
  }

  /** @kernel mvneta_isr */
  #interrupt(): void {
    this.#rxq!.hw.disableIrq();
    this.#deps.napi.napiSchedule(this.#napi);
  }

  #poll(napi: NapiStruct, budget: number): number {
    const rxq = this.#rxq!;
    const work = pollRx(this.#deps, rxq, napi, budget, this.#options.earlyDrop);
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) rxq.hw.enableIrq();
    return work;
  }
}

/** Marvell NETA (Armada 370/XP/3700): software buffers, one pool page a descriptor. @kernel drivers/net/ethernet/marvell/mvneta.c */
export const mvneta: NetDriver = {
  name: "mvneta",
  rxDescFormat: MVNETA_RX_DESC,
  maxFrameBytes: MVNETA_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!Number.isInteger(rxRingSize) || rxRingSize < 32 || rxRingSize > MVNETA_MAX_RXD) {
      throw new UsageError("driver-mvneta", "rxRingSize", rxRingSize, `give 32 to ${MVNETA_MAX_RXD} descriptors`);
    }
    return new MvnetaInterface(deps, options);
  },
};
