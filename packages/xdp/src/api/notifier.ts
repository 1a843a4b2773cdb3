import type { NetDevice } from "./net-device.ts";

/** @kernel enum netdev_cmd (include/linux/netdevice.h) */
export const NETDEV_REGISTER = 5;
export const NETDEV_UNREGISTER = 6;
export const NETDEV_XDP_FEAT_CHANGE = 40;

/** Somebody who wants to know what happens to devices. @kernel struct notifier_block */
export interface NetdeviceNotifier {
  /** Process context. */
  readonly netdeviceEvent: (event: number, dev: NetDevice) => void;
}

/** The chain, in order of registration. It stands here so that layers beside net-core can hear of devices. @kernel netdev_chain (net/core/dev.c) */
export interface NetdeviceNotifiers {
  /** @kernel register_netdevice_notifier */
  readonly registerNetdeviceNotifier: (notifier: NetdeviceNotifier) => void;
  /** Called by whoever operates devices. @kernel call_netdevice_notifiers */
  readonly callNetdeviceNotifiers: (event: number, dev: NetDevice) => void;
}
