import { E2BIG, EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import { BPF_EXIST, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_NOEXIST, checkXdpProg, type DevMap, type DevMapValue, type NetDevice, type XdpProg } from "./api/index.ts";
import type { DeviceTable } from "./devices.ts";
import type { TargetMap } from "./target-map.ts";

/** What an entry of a devmap leads to. @kernel struct bpf_dtab_netdev (kernel/bpf/devmap.c) */
export class DevMapDst implements DevMapValue {
  readonly dev: NetDevice;
  readonly ifindex: number;
  readonly prog: XdpProg | null;

  constructor(dev: NetDevice, prog: XdpProg | null) {
    this.dev = dev;
    this.ifindex = dev.ifindex;
    this.prog = prog;
  }
}

/** An array of devices, or a hash of them. @kernel kernel/bpf/devmap.c */
export class DevMapTable implements DevMap, TargetMap {
  readonly mapType: number;
  readonly mapId: number;
  readonly maxEntries: number;
  private readonly devices: DeviceTable;
  /** Of an array by index; a hash has it in order of insertion. */
  private readonly entries: Map<number, DevMapDst>;

  constructor(mapType: number, mapId: number, maxEntries: number, devices: DeviceTable) {
    this.mapType = mapType;
    this.mapId = mapId;
    this.maxEntries = maxEntries;
    this.devices = devices;
    this.entries = new Map();
    devices.onGone((dev) => this.forget(dev));
  }

  mapUpdateElem(key: number, ifindex: number, prog: XdpProg | null, flags: number): number {
    checkXdpProg("devmap entry", prog);
    if (!(flags >= 0 && flags <= BPF_EXIST)) return -EINVAL;
    const isArray = this.mapType === BPF_MAP_TYPE_DEVMAP;
    if (!(Number.isInteger(key) && key >= 0 && key < (isArray ? this.maxEntries : 2 ** 32))) return -E2BIG;
    if (flags === BPF_NOEXIST && (isArray || this.entries.has(key))) return -EEXIST;
    if (ifindex === 0 && isArray) {
      if (prog !== null) return -EINVAL;
      this.entries.delete(key);
      return 0;
    }
    const dev = this.devices.devGetByIndex(ifindex);
    if (dev === null) return -EINVAL;
    if (!isArray && !this.entries.has(key) && this.entries.size === this.maxEntries) return -E2BIG;
    this.entries.set(key, new DevMapDst(dev, prog));
    return 0;
  }

  mapDeleteElem(key: number): number {
    if (this.mapType === BPF_MAP_TYPE_DEVMAP_HASH) return this.entries.delete(key) ? 0 : -ENOENT;
    if (!(Number.isInteger(key) && key >= 0 && key < this.maxEntries)) return -EINVAL;
    this.entries.delete(key);
    return 0;
  }

  mapLookupElem(key: number): DevMapValue | null {
    return this.target(key);
  }

  target(key: number): DevMapDst | null {
    return this.entries.get(key) ?? null;
  }

  /** For a broadcast: an array in order of its keys. */
  all(): DevMapDst[] {
    if (this.mapType === BPF_MAP_TYPE_DEVMAP_HASH) return [...this.entries.values()];
    return [...this.entries.keys()].toSorted((a, b) => a - b).map((key) => this.entries.get(key)!);
  }

  private forget(dev: NetDevice): void {
    for (const [key, dst] of this.entries) if (dst.dev === dev) this.entries.delete(key);
  }
}
