import { EMSGSIZE, ENETDOWN } from "@netmem/kernel/api";
import type { XdpBuff, XdpFrame } from "./buff.ts";
import { VLAN_HLEN } from "./ethernet.ts";
import type { NetDevice } from "./net-device.ts";
import type { XdpProg } from "./program.ts";
import type { XskBuffPool } from "./xsk.ts";

/** What a device does with XDP. @kernel enum netdev_xdp_act (include/uapi/linux/netdev.h) */
export const NETDEV_XDP_ACT_BASIC: number = 1 << 0;
export const NETDEV_XDP_ACT_REDIRECT: number = 1 << 1;
export const NETDEV_XDP_ACT_NDO_XMIT: number = 1 << 2;
export const NETDEV_XDP_ACT_XSK_ZEROCOPY: number = 1 << 3;
export const NETDEV_XDP_ACT_HW_OFFLOAD: number = 1 << 4;
export const NETDEV_XDP_ACT_RX_SG: number = 1 << 5;
export const NETDEV_XDP_ACT_NDO_XMIT_SG: number = 1 << 6;
export const NETDEV_XDP_ACT_MASK: number = (1 << 7) - 1;

/** Why a driver is woken. @kernel XDP_WAKEUP_RX, XDP_WAKEUP_TX (include/linux/netdevice.h) */
export const XDP_WAKEUP_RX: number = 1 << 0;
export const XDP_WAKEUP_TX: number = 1 << 1;

/** What a NIC says of a packet beside its bytes; null members are what this one does not say. Each answers a value, or -ENODATA for a packet it said nothing of. @kernel struct xdp_metadata_ops (include/net/xdp.h) */
export interface XdpMetadataOps {
  /** When it was received, in ns of the NIC's clock, below 2^53. The packet stays the caller's. @kernel xmo_rx_timestamp */
  readonly rxTimestamp: ((buff: XdpBuff) => number) | null;
  /** Its flow's hash, 32 bits. The packet stays the caller's. @kernel xmo_rx_hash */
  readonly rxHash: ((buff: XdpBuff) => number) | null;
  /** The tag that was stripped: protocol in the upper 16 bits, TCI in the lower. The packet stays the caller's. @kernel xmo_rx_vlan_tag */
  readonly rxVlanTag: ((buff: XdpBuff) => number) | null;
}

/** A driver's side of XDP; null members are what it does not do. @kernel struct net_device_ops (include/linux/netdevice.h) */
export interface XdpDeviceOps {
  /** Runs `prog` on each packet from now on, null for none: 0 or a negative errno. Process context. @kernel ndo_bpf, XDP_SETUP_PROG */
  readonly xdpSetupProg: ((prog: XdpProg | null) => number) | null;
  /**
   * Sends frames from the first on. How many it took, which it consumes; the others stay the caller's. Or a negative errno: all do. Softirq.
   * @kernel ndo_xdp_xmit
   */
  readonly xdpXmit: ((frames: (XdpFrame | null)[], n: number, flags: number) => number) | null;
  /** Receives into `pool` on that queue from now on, null to end it: 0 or a negative errno. Process context. @kernel ndo_bpf, XDP_SETUP_XSK_POOL */
  readonly xskSetupPool: ((pool: XskBuffPool | null, queueId: number) => number) | null;
  /** There is something to do for `flags`, bits of `XDP_WAKEUP_*`: 0 or a negative errno. @kernel ndo_xsk_wakeup */
  readonly xskWakeup: ((queueId: number, flags: number) => number) | null;
}

/** 0, or why a packet of `bytes` may not leave through `dev`: -ENETDOWN, -EMSGSIZE. @kernel xdp_ok_fwd_dev (include/linux/filter.h) */
export function xdpOkFwdDev(dev: NetDevice, bytes: number): number {
  if (!dev.up) return -ENETDOWN;
  return bytes > dev.mtu + dev.hardHeaderLen + VLAN_HLEN ? -EMSGSIZE : 0;
}

/** What devices say of themselves. */
export interface XdpDeviceFeatures {
  /** `features`, bits of `NETDEV_XDP_ACT_*`, are the device's from now on; who listens is told, if it is registered and they are others. @kernel xdp_set_features_flag (net/core/xdp.c) */
  readonly xdpSetFeaturesFlag: (dev: NetDevice, features: number) => void;
}
