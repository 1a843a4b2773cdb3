import type { XdpSkbs } from "@netmem/net-core/api";
import type { XdpDeviceFeatures } from "@netmem/xdp/api";
import type { DriverDeps, NetInterface } from "./driver.ts";

/** What a driver of devices without hardware is given. */
export interface LinkDeps extends Omit<DriverDeps, "dma" | "nic" | "txRings"> {
  readonly xdpSkbs: XdpSkbs;
  readonly xdpFeatures: XdpDeviceFeatures;
  readonly unregisterNetdev: (dev: NetInterface["dev"]) => void;
}

export interface LinkOptions {
  /** Of the two ends; `veth0` and `veth1`. */
  readonly names: readonly [string, string];
  /** Receive queues of each end. */
  readonly rxQueueCount: number;
}

/** One end: down until it is opened. */
export interface LinkEnd extends NetInterface {
  /** Merges packets of one connection: 0 or a negative errno. Process context. @kernel ndo_set_features, NETIF_F_GRO */
  readonly setGro: (on: boolean) => number;
}

/** Two ends that are gone together. */
export interface Link {
  readonly ends: readonly [LinkEnd, LinkEnd];
  /** Closes and unregisters both; packets in the stack may live on. Process context. @kernel rtnl_link_ops.dellink */
  readonly dellink: () => void;
}

/** A driver of pairs of devices: what one sends the other receives. */
export interface LinkDriver<L extends Link = Link> {
  readonly name: string;
  /** @kernel rtnl_link_ops.newlink */
  readonly newlink: (deps: LinkDeps, options: LinkOptions) => L;
}
