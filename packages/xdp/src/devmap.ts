import { E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import {
  BPF_EXIST, BPF_F_EXCLUDE_INGRESS, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_NOEXIST, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_NDO_XMIT_SG,
  XDP_FLAGS_HAS_FRAGS, xdpGetFrameLen, xdpOkFwdDev, type DevMap, type DevMapValue, type NetDevice, type XdpBuffs, type XdpFrame, type XdpProg, type XdpReturn,
} from "./api/index.ts";
import type { DeviceQueues } from "./device-queues.ts";
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

export class DevMapRedirect {
  private readonly queues: DeviceQueues;
  private readonly buffs: XdpBuffs;
  private readonly xdpReturn: XdpReturn;
  private readonly asksFeatures: boolean;

  constructor(queues: DeviceQueues, buffs: XdpBuffs, xdpReturn: XdpReturn, asksFeatures: boolean) {
    this.queues = queues;
    this.buffs = buffs;
    this.xdpReturn = xdpReturn;
    this.asksFeatures = asksFeatures;
  }

  /** 0: the queue keeps it. An errno: it stays the caller's. @kernel __xdp_enqueue */
  enqueue(dev: NetDevice, frame: XdpFrame, devRx: NetDevice, prog: XdpProg | null): number {
    const errno = this.mayEnqueue(dev, frame);
    if (errno < 0) return errno;
    this.queues.enqueue(dev, frame, devRx, prog);
    return 0;
  }

  /**
   * To every device of the map that may send it: clones, and the last gets the frame itself. With none the frame is returned, and that is a
   * success. -ENOMEM without memory for a clone: those before are on their way, and the frame stays the caller's. @kernel dev_map_enqueue_multi
   */
  enqueueMulti(map: DevMapTable, frame: XdpFrame, devRx: NetDevice, flags: number): number {
    let last: DevMapDst | null = null;
    for (const dst of map.all()) {
      if (this.mayEnqueue(dst.dev, frame) < 0) continue;
      if ((flags & BPF_F_EXCLUDE_INGRESS) !== 0 && dst.dev === devRx) continue;
      if (last !== null) {
        const clone = this.buffs.xdpfClone(frame);
        if (clone === null) return -ENOMEM;
        this.queues.enqueue(last.dev, clone, devRx, last.prog);
      }
      last = dst;
    }
    if (last === null) this.xdpReturn.xdpReturnFrameRxNapi(frame);
    else this.queues.enqueue(last.dev, frame, devRx, last.prog);
    return 0;
  }

  private mayEnqueue(dev: NetDevice, frame: XdpFrame): number {
    const hasFrags = (frame.flags & XDP_FLAGS_HAS_FRAGS) !== 0;
    const { xdpFeatures, xdpOps } = dev;
    if (xdpOps === null || xdpOps.xdpXmit === null || (this.asksFeatures && (xdpFeatures & NETDEV_XDP_ACT_NDO_XMIT) === 0)) return -EOPNOTSUPP;
    if (hasFrags && this.asksFeatures && (xdpFeatures & NETDEV_XDP_ACT_NDO_XMIT_SG) === 0) return -EOPNOTSUPP;
    return xdpOkFwdDev(dev, xdpGetFrameLen(frame));
  }
}
