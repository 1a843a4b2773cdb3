import { EINVAL } from "@netmem/kernel/api";
import type { NetInterface } from "./driver.ts";

/** What a driver lets its rings be. */
export interface RingLimits {
  readonly least: number;
  readonly most: number;
}

/** Whether a ring may have so many descriptors. */
export function ringSizeIsIn({ least, most }: RingLimits, size: number): boolean {
  return Number.isInteger(size) && size >= least && size <= most;
}

/**
 * Other rings for a driver that makes them as it comes up: down, and up again, with what it had before if there is no memory for these. 0; -EINVAL for a size that it cannot have, nothing then being touched; the errno of
 * coming up otherwise, and if memory is not even there for the old rings, it stays down. `set` keeps the size for the next time it comes up. Process context.
 * @kernel mvneta_ethtool_set_ringparam, mvpp2_ethtool_set_ringparam, ixgbe_set_ringparam
 */
export function resizeRings(netif: Pick<NetInterface, "dev" | "open" | "stop">, limits: RingLimits, size: number, now: number, set: (size: number) => void): number {
  if (!ringSizeIsIn(limits, size)) return -EINVAL;
  if (size === now) return 0;
  if (!netif.dev.up) {
    set(size);
    return 0;
  }
  netif.stop();
  set(size);
  const errno = netif.open();
  if (errno === 0) return 0;
  set(now);
  netif.open();
  return errno;
}
