import type { NetIov, NetIovArea, Netmem } from "@netmem/mm/api";
import type { MemoryProvider, PagePool } from "@netmem/page-pool/api";

/** The smallest memory provider: an area's net_iovs on a free list. */
export class AreaProvider implements MemoryProvider {
  /** Net_iovs that no pool has. */
  readonly free: NetIov[];
  /** Pools that use it. */
  users = 0;

  constructor(area: NetIovArea) {
    this.free = [...area.niovs];
  }

  init(_pool: PagePool): number {
    this.users++;
    return 0;
  }

  allocNetmem(_pool: PagePool, _gfp: number): Netmem | null {
    return this.free.pop() ?? null;
  }

  releaseNetmem(_pool: PagePool, netmem: Netmem): boolean {
    if (netmem.isNetIov) this.free.push(netmem);
    return !netmem.isNetIov;
  }

  destroy(_pool: PagePool): void {
    this.users--;
  }
}
