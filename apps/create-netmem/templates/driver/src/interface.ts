import { openQueues, queuesInRings, resizeRings, stopQueues, type DriverDeps, type DriverOptions, type InRings, type NetInterface, type QueueShared } from "@netmem/driver/api";
import { NETDEV_TX_BUSY, type NetDevice } from "@netmem/xdp/api";
import { RING_LIMITS, TX_DESCRIPTORS } from "./hardware.ts";
import { RxQueue } from "./queue.ts";

/** The network interface: what the stack, and its user, call. */
export class EthernetInterface implements NetInterface {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  readonly #shared: QueueShared;
  readonly #queues: readonly RxQueue[];
  #ringSize: number;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#ringSize = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.#shared = { dev: this.dev, earlyDrop: options.earlyDrop, tx: null, prog: null };
    this.#queues = this.dev.rxQueues.map((queue) => new RxQueue(deps, this.#shared, queue, options.cpu));
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#shared.tx === null ? NETDEV_TX_BUSY : this.#shared.tx.startXmit(skb)) });
  }

  open(): number {
    return openQueues(this.#shared, this.#queues, (queue) => queue.open(this.#ringSize), () => this.#deps.txRings.create(TX_DESCRIPTORS));
  }

  stop(): void {
    stopQueues(this.#shared, this.#queues);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, RING_LIMITS, rxPending, this.#ringSize, (size) => void (this.#ringSize = size));
  }

  inRings(): InRings {
    return queuesInRings(this.#shared);
  }
}
