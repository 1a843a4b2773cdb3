import { EINVAL } from "@netmem/kernel/api";
import type { NapiStruct, XdpProg } from "@netmem/xdp/api";
import type { DriverDeps, InRings } from "./driver.ts";
import type { NicRxQueue } from "./nic.ts";
import type { TxRing } from "./tx-ring.ts";
import type { XdpPort } from "./xdp.ts";

/** What all queues of an interface have in common. It is up as long as there is a ring to send by. */
export interface QueueShared extends XdpPort {
  readonly earlyDrop: boolean;
  tx: TxRing | null;
  prog: XdpProg | null;
}

/** A receive queue of an interface whose queues come up together. */
export interface InterfaceQueue {
  readonly start: () => void;
  /** The device first, then whoever polls, then what it had. */
  readonly stop: () => void;
  /** Of one that was opened and never started. */
  readonly close: () => void;
}

/** All queues, `open` answering 0 for each, then the ring to send by, then traffic: 0, -EINVAL if it is up, or the errno of what failed, and nothing is left. Process context. @kernel ndo_open */
export function openQueues<Q extends InterfaceQueue>(shared: QueueShared, queues: readonly Q[], open: (queue: Q) => number, createTx: () => TxRing | number): number {
  if (shared.tx !== null) return -EINVAL;
  const opened: Q[] = [];
  const giveUp = (errno: number): number => {
    for (const queue of opened) queue.close();
    return errno;
  };
  for (const queue of queues) {
    const errno = open(queue);
    if (errno < 0) return giveUp(errno);
    opened.push(queue);
  }
  const tx = createTx();
  if (typeof tx === "number") return giveUp(tx);
  shared.tx = tx;
  shared.dev.up = true;
  for (const queue of queues) queue.start();
  return 0;
}

/** The other way round; nothing, of an interface that is down. Process context. @kernel ndo_stop */
export function stopQueues(shared: QueueShared, queues: readonly InterfaceQueue[]): void {
  const { tx } = shared;
  if (tx === null) return;
  shared.dev.up = false;
  // Whoever polls is waited for, and may send.
  for (const queue of queues) queue.stop();
  shared.tx = null;
  tx.destroy();
}

/** What waits to be sent. */
export function queuesInRings({ tx }: QueueShared): InRings {
  return tx === null ? { skbs: [], frames: [] } : tx.inRing();
}

/** The queue's interrupt has it polled from now on, on that CPU; its ring is posted. Process context. */
export function startRx({ nic, napi }: Pick<DriverDeps, "nic" | "napi">, index: number, cpu: number, hw: NicRxQueue, instance: NapiStruct): void {
  nic.requestIrq(index, cpu, () => {
    hw.disableIrq();
    napi.napiSchedule(instance);
  });
  napi.napiEnable(instance);
  hw.start();
  hw.enableIrq();
}

/** No descriptor is written, and nobody polls, after this. Process context. */
export function stopRx({ nic, napi }: Pick<DriverDeps, "nic" | "napi">, index: number, hw: NicRxQueue, instance: NapiStruct): void {
  hw.stop();
  nic.freeIrq(index);
  napi.napiDisable(instance);
}
