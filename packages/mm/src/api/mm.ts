import type { CpuCache } from "./cpu-cache.ts";
import type { DeviceBus, DmaDevice, DmaDeviceOptions } from "./dma.ts";
import type { FaultInjection } from "./fault-injection.ts";
import type { NetIovArea } from "./net-iov.ts";
import type { PageAllocator } from "./page-allocator.ts";
import type { PageFrags } from "./page-frag.ts";
import type { PageWords } from "./page-words.ts";
import type { PayloadMemory } from "./payload.ts";
import type { Ballast, Reclaim } from "./pressure.ts";
import type { SlabAllocator } from "./slab.ts";
import type { UserMappings } from "./vm-area.ts";

/** The layer's services, by role; a user's deps name the ones it needs. */
export interface Mm {
  readonly pages: PageAllocator;
  readonly words: PageWords;
  readonly frags: PageFrags;
  readonly slab: SlabAllocator;
  readonly payload: PayloadMemory;
  readonly ballast: Ballast;
  readonly reclaim: Reclaim;
  readonly userMappings: UserMappings;
  readonly faults: FaultInjection;
  /** Null unless the machine was created with one. */
  readonly cpuCache: CpuCache | null;
  /** Plugs a device in: the driver's half and the device's half. */
  readonly attachDevice: (options: DmaDeviceOptions) => { readonly dma: DmaDevice; readonly bus: DeviceBus };
  /** `count` net_iovs of a page each over new device memory of the backing. @kernel net_iov_area set-up by a provider */
  readonly createNetIovArea: (name: string, type: number, count: number, cpuReadable: boolean) => NetIovArea;
}
