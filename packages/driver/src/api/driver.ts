import type { Kernel } from "@netmem/kernel/api";
import type { DmaDevice, PageAllocator } from "@netmem/mm/api";
import type { NapiScheduler, NetCore, NetReceive, NetTransmit, SkBuff, SkbEdit, SkbLifetime, SkbRecycle } from "@netmem/net-core/api";
import type { PagePools } from "@netmem/page-pool/api";
import type { NetDevice, XdpBuffs, XdpFrame, XdpPrograms, XdpRedirect, XdpReturn, XdpRxQueues, XdpStructs } from "@netmem/xdp/api";
import type { NicHardware, RxDescFormat, TxDescFormat } from "./nic.ts";
import type { TxRings } from "./tx-ring.ts";

/** What a driver is given; each member is one role of one layer. */
export interface DriverDeps {
  readonly kernel: Kernel;
  readonly dma: DmaDevice;
  readonly nic: NicHardware;
  readonly txRings: TxRings;
  /** For drivers that have pages of their own. */
  readonly pages: PageAllocator;
  readonly pagePools: PagePools;
  readonly xdpStructs: XdpStructs;
  readonly xdpRxqs: XdpRxQueues;
  readonly xdpBuffs: XdpBuffs;
  readonly xdpReturn: XdpReturn;
  readonly xdpPrograms: XdpPrograms;
  readonly xdpRedirect: XdpRedirect;
  readonly lifetime: SkbLifetime;
  readonly recycle: SkbRecycle;
  readonly edit: SkbEdit;
  readonly napi: NapiScheduler;
  readonly receive: NetReceive;
  readonly transmit: NetTransmit;
  readonly registerNetdev: NetCore["registerNetdev"];
}

export interface DriverOptions {
  /** Interface name, `eth0`. */
  readonly name: string;
  /** Receive descriptors of each queue. */
  readonly rxRingSize: number;
  /** Receive queues, 1 to the driver's `mostRxQueues`. */
  readonly rxQueueCount: number;
  /** CPU of the receive interrupt; of several queues the first one's, the others follow in turn. */
  readonly cpu: number;
  /** Drop each packet once its skb is built: the measurement of the 2021 series. */
  readonly earlyDrop: boolean;
}

/** An interface that a driver made. @kernel struct net_device_ops (include/linux/netdevice.h) */
export interface NetInterface {
  readonly dev: NetDevice;
  /** Brings it up: 0 or a negative errno, nothing then being left behind. Process context. @kernel ndo_open */
  readonly open: () => number;
  /** Hardware off, posted buffers home, pools destroyed; packets in the stack may live on. @kernel ndo_stop */
  readonly stop: () => void;
  /** Other receive rings, of so many descriptors each, if it is up at once: 0 or a negative errno, of `resizeRings`. Packets in the stack may live on. Absent: its rings are what they are. Process context. @kernel ethtool_ops.set_ringparam */
  readonly setRingparam?: (rxPending: number) => number;
  /** What waits in its transmit rings, or for its other end, oldest first; it stays there. For inspection; absent: such a device never holds any. */
  readonly inRings?: () => InRings;
}

/** In a device's rings, beside the buffers that are posted for reception. */
export interface InRings {
  readonly skbs: readonly SkBuff[];
  readonly frames: readonly XdpFrame[];
}

/** A driver model. Its source knows nothing of the design it runs under. */
export interface NetDriver {
  readonly name: string;
  /** What the NIC must look like. */
  readonly mostRxQueues: number;
  readonly rxDescFormat: RxDescFormat;
  readonly txDescFormat: TxDescFormat;
  /** Largest frame it can take in one skb, in bytes, checksum not included. */
  readonly maxFrameBytes: number;
  /** @kernel struct pci_driver.probe, struct platform_driver.probe */
  readonly probe: (deps: DriverDeps, options: DriverOptions) => NetInterface;
}
