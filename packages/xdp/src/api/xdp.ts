import type { XdpBuffs } from "./buffs.ts";
import type { DevicesByIndex, XdpMaps } from "./maps.ts";
import type { XdpDeviceFeatures } from "./device-ops.ts";
import type { NetdeviceNotifiers } from "./notifier.ts";
import type { XdpPrograms } from "./program.ts";
import type { FrameReceiver } from "./receiver.ts";
import type { XdpRedirect } from "./redirect.ts";
import type { MemRegistry, NetmemReturn, XdpReturn } from "./return.ts";
import type { XdpRxQueues } from "./rxq.ts";
import type { XdpStructs } from "./structs.ts";
import type { AfXdp, XskTransmitter } from "./xsk.ts";

/** The layer's services, by role. */
export interface Xdp {
  readonly structs: XdpStructs;
  readonly rxqs: XdpRxQueues;
  readonly registry: MemRegistry;
  readonly notifiers: NetdeviceNotifiers;
  readonly netmemReturn: NetmemReturn;
  readonly xdpReturn: XdpReturn;
  readonly buffs: XdpBuffs;
  readonly programs: XdpPrograms;
  readonly maps: XdpMaps;
  readonly redirect: XdpRedirect;
  readonly devices: DevicesByIndex;
  readonly features: XdpDeviceFeatures;
  readonly afXdp: AfXdp;
  /** The stack above, once it is there. Keeps both. Process context. */
  readonly connectStack: (receiver: FrameReceiver, transmitter: XskTransmitter) => void;
}
