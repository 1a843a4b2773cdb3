import type { NetDevice } from "./net-device.ts";
import type { XdpProg } from "./program.ts";
import type { XdpSocket } from "./xsk.ts";

/** @kernel enum bpf_map_type (include/uapi/linux/bpf.h) */
export const BPF_MAP_TYPE_UNSPEC = 0;
export const BPF_MAP_TYPE_DEVMAP = 14;
export const BPF_MAP_TYPE_CPUMAP = 16;
export const BPF_MAP_TYPE_XSKMAP = 17;
export const BPF_MAP_TYPE_DEVMAP_HASH = 25;

/** Of an update: create or replace, create only, replace only. */
export const BPF_ANY = 0;
export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;

/** Of a redirect into a devmap: to all of its devices; not to the one the packet came from. From 5.14. @kernel BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS */
export const BPF_F_BROADCAST: number = 1 << 3;
export const BPF_F_EXCLUDE_INGRESS: number = 1 << 4;

/** Frames that wait for one device on one CPU. @kernel DEV_MAP_BULK_SIZE (kernel/bpf/devmap.c) */
export const DEV_MAP_BULK_SIZE = 16;
/** Frames that wait for one CPU on another, and that its thread takes at a time. @kernel CPU_MAP_BULK_SIZE, CPUMAP_BATCH (kernel/bpf/cpumap.c) */
export const CPU_MAP_BULK_SIZE = 8;
export const CPUMAP_BATCH = 8;
/** Largest queue of a cpumap entry. */
export const CPU_MAP_MAX_QSIZE = 16_384;

/** Of `xdpXmit`: the last of a batch, ring the doorbell. @kernel XDP_XMIT_FLUSH (include/net/xdp.h) */
export const XDP_XMIT_FLUSH: number = 1 << 0;

/** What `redirectMap` takes. Keys are whole numbers from 0. */
export interface RedirectMap {
  /** One of `BPF_MAP_TYPE_*`. */
  readonly mapType: number;
  readonly mapId: number;
  readonly maxEntries: number;
}

/** Where a devmap entry leads, as its users read it. @kernel struct bpf_devmap_val (include/uapi/linux/bpf.h) */
export interface DevMapValue {
  readonly ifindex: number;
  /** Runs on each frame on its way out; null for none. */
  readonly prog: XdpProg | null;
}

/** Devices by number. Process context. @kernel kernel/bpf/devmap.c */
export interface DevMap extends RedirectMap {
  /** 0; -EINVAL (flags, no such device, ifindex 0 with a program), -E2BIG (key beyond an array, a full hash), -EEXIST (BPF_NOEXIST on what is there, and always on an array). ifindex 0 deletes. @kernel dev_map_update_elem, dev_map_hash_update_elem */
  readonly mapUpdateElem: (key: number, ifindex: number, prog: XdpProg | null, flags: number) => number;
  /** 0; -EINVAL beyond an array, -ENOENT for a key that a hash has not. @kernel dev_map_delete_elem, dev_map_hash_delete_elem */
  readonly mapDeleteElem: (key: number) => number;
  readonly mapLookupElem: (key: number) => DevMapValue | null;
}

/** CPUs by their number, each with a queue and a thread that builds skbs there. Process context. @kernel kernel/bpf/cpumap.c */
export interface CpuMap extends RedirectMap {
  /** 0; -EINVAL (flags), -E2BIG (key), -EEXIST (BPF_NOEXIST), -EOVERFLOW (`qsize` above 16384), -ENODEV (no such CPU). `qsize` 0 deletes. What an entry replaced still holds goes up first. @kernel cpu_map_update_elem */
  readonly mapUpdateElem: (cpu: number, qsize: number, prog: XdpProg | null, flags: number) => number;
  /** 0 or -EINVAL. @kernel cpu_map_delete_elem */
  readonly mapDeleteElem: (cpu: number) => number;
  /** Its `qsize`, and frames that wait there. */
  readonly mapLookupElem: (cpu: number) => { readonly qsize: number; readonly prog: XdpProg | null; readonly waiting: number } | null;
}

/** AF_XDP sockets by number. Process context. @kernel net/xdp/xskmap.c */
export interface XskMap extends RedirectMap {
  /** 0; -EINVAL (flags), -E2BIG (key), -EEXIST, -ENOENT (BPF_EXIST on nothing), -EOPNOTSUPP (no socket of this machine), -ENXIO (one that was released). @kernel xsk_map_update_elem */
  readonly mapUpdateElem: (key: number, socket: XdpSocket, flags: number) => number;
  /** 0 or -EINVAL. @kernel xsk_map_delete_elem */
  readonly mapDeleteElem: (key: number) => number;
  readonly mapLookupElem: (key: number) => XdpSocket | null;
}

/** Maps are made for good; each answers -EINVAL for `maxEntries` below 1 or above 2^24. */
export interface XdpMaps {
  readonly createDevMap: (maxEntries: number) => DevMap | number;
  /** Any key below 2^32. */
  readonly createDevMapHash: (maxEntries: number) => DevMap | number;
  /** -E2BIG for more entries than this machine has CPUs. */
  readonly createCpuMap: (maxEntries: number) => CpuMap | number;
  readonly createXskMap: (maxEntries: number) => XskMap | number;
}

/** A device that frames are redirected to is known by its ifindex once it is registered. */
export interface DevicesByIndex {
  /** @kernel dev_get_by_index_rcu (net/core/dev.c) */
  readonly devGetByIndex: (ifindex: number) => NetDevice | null;
}
