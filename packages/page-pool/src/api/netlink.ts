import type { MemoryProviderInfo } from "@netmem/xdp/api";
import type { PagePoolStats } from "./stats.ts";

/**
 * A pool as a user sees it. Absent members are attributes the kernel leaves out.
 * @kernel page_pool_nl_fill (net/core/page_pool_user.c), attributes of Documentation/netlink/specs/netdev.yaml
 */
export interface PagePoolInfo extends MemoryProviderInfo {
  readonly id: number;
  /** Absent once the device is gone and loopback has taken its pools. */
  readonly ifindex?: number;
  /** Absent without a NAPI, and after direct recycling was disabled. */
  readonly napiId?: number;
  /** Never below 0. */
  readonly inflight: number;
  readonly inflightMem: number;
  /** Whole seconds since boot when teardown had to wait. */
  readonly detachTime?: number;
}

/** @kernel page_pool_nl_stats_fill */
export interface PagePoolStatsInfo {
  readonly info: { readonly id: number; readonly ifindex?: number };
  readonly stats: PagePoolStats;
}

/** @kernel NETDEV_CMD_PAGE_POOL_ADD_NTF, NETDEV_CMD_PAGE_POOL_DEL_NTF, NETDEV_CMD_PAGE_POOL_CHANGE_NTF */
export type PagePoolEvent = "page-pool-add-ntf" | "page-pool-del-ntf" | "page-pool-change-ntf";

export interface PagePoolListener {
  readonly notify: (event: PagePoolEvent, info: PagePoolInfo) => void;
}

/** What netlink's `netdev` family says of pools: those linked to a device. Process context. */
export interface PagePoolNetlink {
  /** -ENOENT for a pool that is gone or invisible. @kernel page-pool-get */
  readonly get: (id: number) => PagePoolInfo | number;
  /** All of them: devices by ifindex, the newest pool of each first. @kernel page-pool-get */
  readonly dump: () => PagePoolInfo[];
  /** -ENOENT for a pool that is gone or invisible. @kernel page-pool-stats-get */
  readonly statsGet: (id: number) => PagePoolStatsInfo | number;
  readonly statsDump: () => PagePoolStatsInfo[];
  /** Told of each event from now on. @kernel the multicast group page-pool */
  readonly subscribe: (listener: PagePoolListener) => void;
  readonly unsubscribe: (listener: PagePoolListener) => void;
}
