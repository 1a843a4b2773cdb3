import { E2BIG, EINVAL } from "@netmem/kernel/api";
import { BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, type CpuMap, type DevMap, type XdpMaps, type XskMap } from "./api/index.ts";
import type { CpuMapParts } from "./cpumap-entry.ts";
import { CpuMapTable } from "./cpumap.ts";
import { DevMapTable } from "./devmap.ts";
import type { DeviceTable } from "./devices.ts";
import { XskMapTable } from "./xskmap.ts";

/** Most entries that a map is made with, that a mistake should not take all memory. */
const MOST_ENTRIES: number = 1 << 24;

/** @kernel map_alloc of each type; ids count up from 1 */
export class MapFactory implements XdpMaps {
  readonly #devices: DeviceTable;
  readonly #cpuParts: CpuMapParts;
  readonly #xskMaps: XskMapTable[];
  #lastId = 0;

  constructor(devices: DeviceTable, cpuParts: CpuMapParts, xskMaps: XskMapTable[]) {
    this.#devices = devices;
    this.#cpuParts = cpuParts;
    this.#xskMaps = xskMaps;
  }

  createDevMap(maxEntries: number): DevMap | number {
    return isSize(maxEntries) ? new DevMapTable(BPF_MAP_TYPE_DEVMAP, ++this.#lastId, maxEntries, this.#devices) : -EINVAL;
  }

  createDevMapHash(maxEntries: number): DevMap | number {
    return isSize(maxEntries) ? new DevMapTable(BPF_MAP_TYPE_DEVMAP_HASH, ++this.#lastId, maxEntries, this.#devices) : -EINVAL;
  }

  createCpuMap(maxEntries: number): CpuMap | number {
    if (!isSize(maxEntries)) return -EINVAL;
    return maxEntries > this.#cpuParts.kernel.nrCpus ? -E2BIG : new CpuMapTable(this.#cpuParts, ++this.#lastId, maxEntries);
  }

  createXskMap(maxEntries: number): XskMap | number {
    if (!isSize(maxEntries)) return -EINVAL;
    const map = new XskMapTable(++this.#lastId, maxEntries);
    this.#xskMaps.push(map);
    return map;
  }
}

function isSize(maxEntries: number): boolean {
  return Number.isInteger(maxEntries) && maxEntries > 0 && maxEntries <= MOST_ENTRIES;
}
