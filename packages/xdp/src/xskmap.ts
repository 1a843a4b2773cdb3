import { E2BIG, EEXIST, EINVAL, ENOENT, ENXIO, EOPNOTSUPP } from "@netmem/kernel/api";
import { BPF_EXIST, BPF_MAP_TYPE_XSKMAP, BPF_NOEXIST, type XdpSocket, type XskMap } from "./api/index.ts";
import type { TargetMap } from "./target-map.ts";
import { XskSocket } from "./xsk/socket.ts";

/** @kernel net/xdp/xskmap.c */
export class XskMapTable implements XskMap, TargetMap {
  readonly mapType: number = BPF_MAP_TYPE_XSKMAP;
  readonly mapId: number;
  readonly maxEntries: number;
  private readonly entries: (XskSocket | null)[];

  constructor(mapId: number, maxEntries: number) {
    this.mapId = mapId;
    this.maxEntries = maxEntries;
    this.entries = Array.from({ length: maxEntries }, () => null);
  }

  mapUpdateElem(key: number, socket: XdpSocket, flags: number): number {
    if (!(flags >= 0 && flags <= BPF_EXIST)) return -EINVAL;
    if (!(Number.isInteger(key) && key >= 0 && key < this.maxEntries)) return -E2BIG;
    if (!(socket instanceof XskSocket)) return -EOPNOTSUPP;
    if (socket.released) return -ENXIO;
    const there = this.entries[key]!;
    // Not an error, whatever the flags.
    if (there === socket) return 0;
    if (there !== null && flags === BPF_NOEXIST) return -EEXIST;
    if (there === null && flags === BPF_EXIST) return -ENOENT;
    this.entries[key] = socket;
    return 0;
  }

  mapDeleteElem(key: number): number {
    if (!(Number.isInteger(key) && key >= 0 && key < this.maxEntries)) return -EINVAL;
    this.entries[key] = null;
    return 0;
  }

  mapLookupElem(key: number): XdpSocket | null {
    return this.target(key);
  }

  target(key: number): XskSocket | null {
    return this.entries[key] ?? null;
  }

  /** @kernel xsk_map_try_sock_delete */
  forget(socket: XskSocket): void {
    for (let key = 0; key < this.maxEntries; key++) if (this.entries[key] === socket) this.entries[key] = null;
  }
}
