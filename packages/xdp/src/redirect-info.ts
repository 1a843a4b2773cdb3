import { UsageError, errnoName, type ExecutionContext } from "@netmem/kernel/api";
import {
  BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_UNSPEC, XDP_ABORTED, XDP_REDIRECT, type RedirectMap,
} from "./api/index.ts";
import type { RedirectTarget, TargetMap } from "./target-map.ts";

/** No map: `index` is an ifindex. @kernel INT_MAX as map_id */
export const NO_MAP = 0x7fffffff;

/** The verdicts that a program may ask for when there is nothing under its key. */
const ACTION_MASK = 3;

/** Where the program that ran last on a CPU wants its packet to go. @kernel struct bpf_redirect_info (include/linux/filter.h) */
export class RedirectInfo {
  flags: number;
  index: number;
  target: RedirectTarget | null;
  map: TargetMap | null;
  mapId: number;
  mapType: number;
  /** Of the stretch of code in which it was written. */
  epoch: number;

  constructor() {
    this.flags = 0;
    this.index = 0;
    this.target = null;
    this.map = null;
    this.mapId = 0;
    this.mapType = BPF_MAP_TYPE_UNSPEC;
    this.epoch = 0;
  }
}

/** The helpers that ask for a redirect. @kernel net/core/filter.c, include/linux/filter.h */
export class RedirectTargets {
  private readonly infos: RedirectInfo[];
  private readonly context: ExecutionContext;
  private readonly hasBroadcast: boolean;
  private readonly endsWithContext: boolean;

  constructor(context: ExecutionContext, nrCpus: number, hasBroadcast: boolean, endsWithContext: boolean) {
    this.infos = [];
    for (let cpu = 0; cpu < nrCpus; cpu++) this.infos.push(new RedirectInfo());
    this.context = context;
    this.hasBroadcast = hasBroadcast;
    this.endsWithContext = endsWithContext;
  }

  /** Of the executing CPU. @kernel bpf_net_ctx_get_ri (include/linux/filter.h) */
  current(): RedirectInfo {
    const info = this.infos[this.context.cpu]!;
    const { epoch } = this.context;
    if (info.epoch !== epoch) {
      info.epoch = epoch;
      if (this.endsWithContext === true) reset(info);
    }
    return info;
  }

  /** @kernel bpf_xdp_redirect */
  redirect(ifindex: number, flags: number): number {
    if (flags !== 0) return XDP_ABORTED;
    const info = this.current();
    info.index = ifindex;
    info.map = null;
    info.mapId = NO_MAP;
    info.mapType = BPF_MAP_TYPE_UNSPEC;
    return XDP_REDIRECT;
  }

  /** @kernel __bpf_xdp_redirect_map */
  redirectMap(redirectMap: RedirectMap, key: number, flags: number): number {
    const map = redirectMap as TargetMap;
    if (typeof map?.target !== "function") refuse(redirectMap);
    const isDevMap = map.mapType === BPF_MAP_TYPE_DEVMAP || map.mapType === BPF_MAP_TYPE_DEVMAP_HASH;
    const known = isDevMap && this.hasBroadcast ? ACTION_MASK | BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : ACTION_MASK;
    if ((flags & ~known) !== 0) return XDP_ABORTED;
    const info = this.current();
    info.target = map.target(key);
    info.map = null;
    if (info.target === null && (flags & BPF_F_BROADCAST) === 0) {
      // The index stays: a program that answers XDP_REDIRECT all the same is sent where the one before wanted to go, as in the kernel.
      info.mapId = NO_MAP;
      info.mapType = BPF_MAP_TYPE_UNSPEC;
      return flags & ACTION_MASK;
    }
    info.index = key;
    info.mapId = map.mapId;
    info.mapType = map.mapType;
    info.flags = (flags & BPF_F_BROADCAST) === 0 ? 0 : flags;
    if (info.flags !== 0) info.map = map;
    return XDP_REDIRECT;
  }
}

/** A map that could not be made is an errno. */
function refuse(value: unknown): never {
  const isErrno = typeof value === "number" && value < 0;
  throw new UsageError("xdp", "redirectMap's map", isErrno ? errnoName(value) : value, isErrno ? "making it was refused, with this errno" : "give what a create function of the machine's maps answered");
}

function reset(info: RedirectInfo): void {
  info.flags = 0;
  info.index = 0;
  info.target = null;
  info.map = null;
  info.mapId = 0;
  info.mapType = BPF_MAP_TYPE_UNSPEC;
}
