import { ETH_DATA_LEN, ETH_HLEN, ETH_MIN_MTU, GRO_LEGACY_MAX_SIZE } from "./ethernet.ts";
import type { XdpDeviceOps, XdpMetadataOps } from "./device-ops.ts";
import type { XdpProg } from "./program.ts";
import type { XdpRxqInfo } from "./rxq.ts";

/** Packets a NAPI instance polls for at a time. @kernel NAPI_POLL_WEIGHT (include/linux/netdevice.h) */
export const NAPI_POLL_WEIGHT = 64;

/** Lower numbers name CPUs, of which there are at most 64. @kernel MIN_NAPI_ID (include/net/busy_poll.h) */
export const MIN_NAPI_ID = 65;

/**
 * Scheduled, or being polled. Scheduled again meanwhile. Somebody waits to disable it. Held by whoever polls it without the network (netpoll, or who disabled it).
 * @kernel enum napi_struct.state bits (include/linux/netdevice.h)
 */
export const NAPIF_STATE_SCHED: number = 1 << 0;
export const NAPIF_STATE_MISSED: number = 1 << 1;
export const NAPIF_STATE_DISABLE: number = 1 << 2;
export const NAPIF_STATE_NPSVC: number = 1 << 3;
/** A process polls it, or would rather. */
export const NAPIF_STATE_IN_BUSY_POLL: number = 1 << 6;
export const NAPIF_STATE_PREFER_BUSY_POLL: number = 1 << 7;
/** A thread polls it instead of the softirq, and has been told to. */
export const NAPIF_STATE_THREADED: number = 1 << 8;
export const NAPIF_STATE_SCHED_THREADED: number = 1 << 9;

/** The driver's poll function. @kernel napi_struct.poll */
export interface NapiPoller {
  /** Handles up to `budget` packets and answers how many; below `budget` it must have completed the instance. */
  readonly poll: (napi: NapiStruct, budget: number) => number;
}

/** What net-core keeps with an instance: a forward declaration, since it holds packets. Nobody else looks inside. */
export interface NapiCore {
  readonly napi: NapiStruct;
}

/**
 * One poll instance. net-core operates it; `listOwner` is what tells page_pool whose context this is.
 * @kernel struct napi_struct (include/linux/netdevice.h)
 */
export class NapiStruct {
  declare private readonly nominal: "NapiStruct";
  readonly dev: NetDevice;
  readonly poller: NapiPoller;
  readonly weight: number;
  /** By which users name it; 0 until it is added to its device. @kernel napi_id */
  napiId: number;
  /** Bits of `NAPIF_STATE_*`. */
  state: number;
  /** CPU on whose poll list it is, from schedule to complete; else −1. */
  listOwner: number;
  /** Links of that list; the instance that is being polled is off it. */
  next: NapiStruct | null;
  queued: boolean;
  /** Null until net-core adds it. */
  core: NapiCore | null;

  constructor(dev: NetDevice, poller: NapiPoller, weight: number) {
    this.dev = dev;
    this.poller = poller;
    this.weight = weight;
    this.napiId = 0;
    this.state = 0;
    this.listOwner = -1;
    this.next = null;
    this.queued = false;
    this.core = null;
  }
}

/** What a provider adds to the description of its queue or pool: attributes of Documentation/netlink/specs/netdev.yaml. @kernel nl_fill */
export interface MemoryProviderInfo {
  /** The dma-buf binding's id. */
  readonly dmabuf?: number;
  /** An empty nest in the kernel. */
  readonly ioUring?: Readonly<Record<string, never>>;
}

/**
 * A queue's memory provider as device code sees it, a forward declaration as in the kernel: what else it can do, page_pool
 * declares, which alone calls it.
 * @kernel struct pp_memory_provider_params (include/net/page_pool/types.h)
 */
export interface QueueMemoryProvider {
  /** In reports. */
  readonly name?: string;
  /** Of the queue, or of a pool (null). @kernel memory_provider_ops.nl_fill */
  readonly nlFill: (queue: NetdevRxQueue | null) => MemoryProviderInfo;
  /** The device goes away while bound: forget it, and clear `queue.memoryProvider`. @kernel memory_provider_ops.uninstall */
  readonly uninstall: (queue: NetdevRxQueue) => void;
}

/** The memory behind one queue as its driver lays it out: pools, posted buffers. Only the driver looks inside. */
export interface QueueMemory {
  readonly queueIndex: number;
}

/**
 * What a driver offers so that one queue can be restarted while the others run. Process context.
 * @kernel struct netdev_queue_mgmt_ops (include/net/netdev_queues.h)
 */
export interface QueueMgmtOps {
  /** Pools and buffers for the queue, not used yet; or a negative errno. @kernel ndo_queue_mem_alloc */
  readonly queueMemAlloc: (queue: NetdevRxQueue) => QueueMemory | number;
  /** Gives all of it back. Consumes. @kernel ndo_queue_mem_free */
  readonly queueMemFree: (queue: NetdevRxQueue, memory: QueueMemory) => void;
  /** The queue runs on `memory` from now on; 0 or a negative errno, and then it does not run. Keeps the memory, or leaves it the caller's. @kernel ndo_queue_start */
  readonly queueStart: (queue: NetdevRxQueue, memory: QueueMemory) => number;
  /** Stops it: what it ran on, the caller's; or a negative errno, and then it still runs. @kernel ndo_queue_stop */
  readonly queueStop: (queue: NetdevRxQueue) => QueueMemory | number;
}

/** Whether headers and payload of TCP are received into different buffers. @kernel ETHTOOL_TCP_DATA_SPLIT_* (include/uapi/linux/ethtool.h) */
export const ETHTOOL_TCP_DATA_SPLIT_UNKNOWN = 0;
export const ETHTOOL_TCP_DATA_SPLIT_DISABLED = 1;
export const ETHTOOL_TCP_DATA_SPLIT_ENABLED = 2;

/** ifindex of the device that every namespace has. @kernel LOOPBACK_IFINDEX (include/net/net_namespace.h) */
export const LOOPBACK_IFINDEX = 1;

/** @kernel struct netdev_rx_queue (include/net/netdev_rx_queue.h) */
export class NetdevRxQueue {
  declare private readonly nominal: "NetdevRxQueue";
  readonly dev: NetDevice;
  readonly index: number;
  readonly xdpRxq: XdpRxqInfo;
  napi: NapiStruct | null;
  /** Bound to it, or null. Only the binding code writes it. @kernel mp_params */
  memoryProvider: QueueMemoryProvider | null;
  /** An AF_XDP socket has its memory here. @kernel netdev_rx_queue.pool */
  xskBound: boolean;
  /** Lent to another device, or standing for another's queue. */
  leased: boolean;

  constructor(dev: NetDevice, index: number, xdpRxq: XdpRxqInfo) {
    this.dev = dev;
    this.index = index;
    this.xdpRxq = xdpRxq;
    this.napi = null;
    this.memoryProvider = null;
    this.xskBound = false;
    this.leased = false;
  }
}

/** @kernel struct net_device (include/linux/netdevice.h), as far as receive needs it */
export class NetDevice {
  declare private readonly nominal: "NetDevice";
  readonly name: string;
  readonly ifindex: number;
  readonly rxQueues: NetdevRxQueue[];
  /** Loopback of its namespace; null for that itself. @kernel dev_net(dev)->loopback_dev */
  loopback: NetDevice | null;
  up: boolean;
  /** From unregistration on. @kernel reg_state > NETREG_REGISTERED */
  unregistered: boolean;
  /** Null: queues cannot be restarted one by one. The driver sets it. */
  queueMgmtOps: QueueMgmtOps | null;
  /** One of `ETHTOOL_TCP_DATA_SPLIT_*`. @kernel ethtool_netdev_state.hds_config */
  hdsConfig: number;
  /** Bytes above which a packet is split. @kernel hds_thresh */
  hdsThresh: number;
  /** XDP programs attached. @kernel dev_xdp_prog_count */
  xdpProgCount: number;
  /** The one that generic XDP runs, and the one its driver does. At most one of them. @kernel dev_xdp_prog */
  xdpGenericProg: XdpProg | null;
  xdpDriverProg: XdpProg | null;
  /** Null: no XDP in this driver. It sets both, and how many segments zero-copy may have. */
  xdpOps: XdpDeviceOps | null;
  /** Null: its NIC says nothing of packets. @kernel xdp_metadata_ops */
  xdpMetadataOps: XdpMetadataOps | null;
  /** Bits of `NETDEV_XDP_ACT_*`; see `xdpSetFeaturesFlag`. @kernel xdp_features */
  xdpFeatures: number;
  /** @kernel xdp_zc_max_segs */
  xdpZcMaxSegs: number;
  /** Six bytes: 02:00:00:00:00:00 and the ifindex. @kernel dev_addr */
  readonly devAddr: Uint8Array;
  /** Bytes behind the link-layer header, which has `hardHeaderLen`; see `NetCore.devSetMtu`. */
  mtu: number;
  /** What it may be set to. @kernel min_mtu, max_mtu */
  minMtu: number;
  maxMtu: number;
  /** Its rings were made for an MTU, so that it is set while the device is down. */
  mtuNeedsDown: boolean;
  /** The driver's word on an MTU within `minMtu` and `maxMtu`: 0, upon which it is set, or a negative errno. Null: it takes all. Process context. @kernel ndo_change_mtu (include/linux/netdevice.h) */
  changeMtu: ((mtu: number) => number) | null;
  /** Bytes that GRO makes of several packets at most. @kernel gro_max_size */
  groMaxSize: number;
  /** The same of IPv4 packets, from 6.3. @kernel gro_ipv4_max_size */
  groIpv4MaxSize: number;
  hardHeaderLen: number;
  /** Packets of one flow are merged as they are received. @kernel NETIF_F_GRO */
  gro: boolean;
  /** With `gro`: datagrams that are no socket's are merged, too, to be sent on. @kernel NETIF_F_GRO_UDP_FWD (ethtool's rx-udp-gro-forwarding) */
  groUdpFwd: boolean;
  /** It sends packets of several segments whole, of TCP and of UDP. @kernel NETIF_F_GSO_SOFTWARE */
  gsoSoftware: boolean;
  /** A packet may leave its checksum to it; for a device that does not take such packets the stack writes it before. @kernel NETIF_F_HW_CSUM (NETIF_F_CSUM_MASK) */
  hwCsum: boolean;
  /** It sends packets with a list of others; for one that does not they are put into one piece first. @kernel NETIF_F_FRAGLIST */
  fragList: boolean;
  /** Threads poll its instances; see `devSetThreaded`. */
  threaded: boolean;
  /** Nobody polls it but softirqs. @kernel IFF_DISABLE_NETPOLL (include/linux/netdevice.h) */
  disableNetpoll: boolean;
  /** After a poll that found something, so many that find nothing pass without an interrupt, each after `groFlushTimeoutNs`. @kernel napi_defer_hard_irqs, gro_flush_timeout */
  napiDeferHardIrqs: number;
  groFlushTimeoutNs: number;
  rxPackets: number;
  rxBytes: number;
  /** Frames that the driver gave up. */
  rxDropped: number;
  /** Packets that the stack gave up before a protocol had them: nobody's, or without room. @kernel dev_core_stats.rx_dropped (include/linux/netdevice.h) */
  coreRxDropped: number;

  constructor(name: string, ifindex: number) {
    this.name = name;
    this.ifindex = ifindex;
    this.rxQueues = [];
    this.loopback = null;
    this.up = false;
    this.unregistered = false;
    this.queueMgmtOps = null;
    this.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_UNKNOWN;
    this.hdsThresh = 0;
    this.xdpProgCount = 0;
    this.xdpGenericProg = null;
    this.xdpDriverProg = null;
    this.xdpOps = null;
    this.xdpMetadataOps = null;
    this.xdpFeatures = 0;
    this.xdpZcMaxSegs = 1;
    this.devAddr = new Uint8Array([2, 0, 0, 0, ifindex >> 8, ifindex]);
    this.mtu = ETH_DATA_LEN;
    this.minMtu = ETH_MIN_MTU;
    this.maxMtu = ETH_DATA_LEN;
    this.mtuNeedsDown = false;
    this.changeMtu = null;
    this.groMaxSize = GRO_LEGACY_MAX_SIZE;
    this.groIpv4MaxSize = GRO_LEGACY_MAX_SIZE;
    this.hardHeaderLen = ETH_HLEN;
    this.gro = false;
    this.groUdpFwd = false;
    this.gsoSoftware = false;
    this.hwCsum = false;
    this.fragList = false;
    this.threaded = false;
    this.disableNetpoll = false;
    this.napiDeferHardIrqs = 0;
    this.groFlushTimeoutNs = 0;
    this.rxPackets = 0;
    this.rxBytes = 0;
    this.rxDropped = 0;
    this.coreRxDropped = 0;
  }
}
