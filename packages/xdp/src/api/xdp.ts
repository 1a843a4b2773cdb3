import type { XdpBuffs } from "./buffs.ts";
import type { NetdeviceNotifiers } from "./notifier.ts";
import type { MemRegistry, NetmemReturn, XdpReturn } from "./return.ts";
import type { XdpRxQueues } from "./rxq.ts";
import type { XdpStructs } from "./structs.ts";

/** The layer's services, by role. */
export interface Xdp {
  readonly structs: XdpStructs;
  readonly rxqs: XdpRxQueues;
  readonly registry: MemRegistry;
  readonly notifiers: NetdeviceNotifiers;
  readonly netmemReturn: NetmemReturn;
  readonly xdpReturn: XdpReturn;
  readonly buffs: XdpBuffs;
}
