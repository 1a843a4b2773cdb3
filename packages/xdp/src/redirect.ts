import { EBADRQC, EINVAL, ENOENT, ENOSPC, EOVERFLOW, type ExecutionContext } from "@netmem/kernel/api";
import {
  BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS, BPF_MAP_TYPE_CPUMAP, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_XSKMAP, xdpOkFwdDev,
  type GenericPacket, type GenericRedirect, type GenericTarget, type NetDevice, type XdpBuff, type XdpFrame, type XdpProbe, type XdpProg, type XdpRedirect, type XdpReturn,
} from "./api/index.ts";
import type { PacketBuffs } from "./buffs.ts";
import type { CpuMapEntry, CpuQueue } from "./cpumap-entry.ts";
import type { DeviceQueues } from "./device-queues.ts";
import type { DeviceTable } from "./devices.ts";
import type { DevMapRedirect } from "./devmap-redirect.ts";
import type { DevMapDst, DevMapTable } from "./devmap.ts";
import { FlushList } from "./flush-list.ts";
import type { ProgramOnFrame } from "./program-on-frame.ts";
import { NO_MAP, type RedirectInfo, type RedirectTargets } from "./redirect-info.ts";
import type { RedirectCounts } from "./redirect-stats.ts";
import type { XskReceive } from "./xsk/receive.ts";
import type { XskSocket } from "./xsk/socket.ts";

export interface RedirectParts {
  readonly context: ExecutionContext;
  readonly nrCpus: number;
  readonly targets: RedirectTargets;
  readonly devices: DeviceTable;
  readonly devmap: DevMapRedirect;
  readonly deviceQueues: DeviceQueues;
  readonly buffs: PacketBuffs;
  readonly xdpReturn: XdpReturn;
  readonly onFrame: ProgramOnFrame;
  readonly xsk: XskReceive;
  readonly stats: RedirectCounts;
  readonly probe: XdpProbe | null;
  readonly devmapRunsAtFlush: boolean;
}

/** From the verdict XDP_REDIRECT to a queue. @kernel net/core/filter.c */
export class PacketRedirect implements XdpRedirect {
  private readonly context: ExecutionContext;
  private readonly targets: RedirectTargets;
  private readonly devices: DeviceTable;
  private readonly devmap: DevMapRedirect;
  private readonly deviceQueues: DeviceQueues;
  private readonly buffs: PacketBuffs;
  private readonly xdpReturn: XdpReturn;
  private readonly onFrame: ProgramOnFrame;
  private readonly xsk: XskReceive;
  readonly stats: RedirectCounts;
  private readonly probe: XdpProbe | null;
  private readonly devmapRunsAtFlush: boolean;
  /** By CPU: whose frames wait for a ring. @kernel cpu_map_flush_list */
  private readonly cpuFlushLists: FlushList<CpuQueue>[];

  constructor(parts: RedirectParts) {
    this.context = parts.context;
    this.targets = parts.targets;
    this.devices = parts.devices;
    this.devmap = parts.devmap;
    this.deviceQueues = parts.deviceQueues;
    this.buffs = parts.buffs;
    this.xdpReturn = parts.xdpReturn;
    this.onFrame = parts.onFrame;
    this.xsk = parts.xsk;
    this.stats = parts.stats;
    this.probe = parts.probe;
    this.devmapRunsAtFlush = parts.devmapRunsAtFlush;
    this.cpuFlushLists = [];
    for (let cpu = 0; cpu < parts.nrCpus; cpu++) this.cpuFlushLists.push(new FlushList());
  }

  xdpDoRedirect(dev: NetDevice, buff: XdpBuff, prog: XdpProg): number {
    const info = this.targets.current();
    if (info.mapType === BPF_MAP_TYPE_XSKMAP) {
      const { index, mapId } = info;
      info.mapId = 0;
      info.mapType = BPF_MAP_TYPE_UNSPEC;
      const errno = this.xsk.redirect(info.target as XskSocket, buff);
      this.told(prog, dev, errno, 0, mapId, index);
      return errno;
    }
    const frame = this.buffs.xdpConvertBuffToFrame(buff);
    const errno = this.frameTo(info, dev, frame, prog);
    // It is the caller's again, as it was.
    if (errno < 0 && frame !== null) this.buffs.giveBack(frame, buff);
    return errno;
  }

  /** For who has a frame already. 0: consumes it; an errno: it stays the caller's. @kernel xdp_do_redirect_frame */
  redirectFrame(dev: NetDevice, frame: XdpFrame, prog: XdpProg): number {
    const info = this.targets.current();
    return info.mapType === BPF_MAP_TYPE_XSKMAP ? this.frameToSocket(info, dev, frame, prog) : this.frameTo(info, dev, frame, prog);
  }

  redirectBack(ifindex: number): void {
    this.targets.redirect(ifindex, 0);
  }

  xdpDoFlush(): void {
    this.deviceQueues.flush();
    const cpus = this.cpuFlushLists[this.context.cpu]!;
    for (let bq = cpus.pop(); bq !== null; bq = cpus.pop()) {
      bq.entry.flushToRing(bq, cpus);
      bq.entry.wake();
    }
    this.xsk.flush();
  }

  xdpDoCheckFlushed(): boolean {
    if (this.deviceQueues.waiting() === 0 && this.cpuFlushLists[this.context.cpu]!.length === 0 && this.xsk.waiting() === 0) return false;
    this.xdpDoFlush();
    return true;
  }

  devXdpEnqueue(dev: NetDevice, frame: XdpFrame, devRx: NetDevice): number {
    return this.devmap.enqueue(dev, frame, devRx, null);
  }

  xdpDoGenericRedirect(dev: NetDevice, packet: GenericPacket, buff: XdpBuff, prog: XdpProg): GenericRedirect {
    const info = this.targets.current();
    const { mapId, mapType, index } = info;
    info.mapId = 0;
    info.mapType = BPF_MAP_TYPE_UNSPEC;
    const result = this.genericTo(info, mapId, mapType, dev, packet, buff);
    const targets = typeof result === "object" ? result : [];
    if (targets.length > 1) this.stats.copies += targets.length - 1;
    this.told(prog, dev, typeof result === "number" ? result : 0, targets.length === 1 ? targets[0]!.dev.ifindex : 0, mapId, index);
    return result;
  }

  private genericTo(info: RedirectInfo, mapId: number, mapType: number, devRx: NetDevice, packet: GenericPacket, buff: XdpBuff): GenericRedirect {
    switch (mapType) {
      case BPF_MAP_TYPE_DEVMAP: case BPF_MAP_TYPE_DEVMAP_HASH: {
        const { flags, map, target } = info;
        info.flags = 0;
        // Not asked whether they may send it, as frames are: the first that may not ends it.
        if ((flags & BPF_F_BROADCAST) !== 0) return map === null ? -ENOENT : (map as DevMapTable).all().filter((dst) => (flags & BPF_F_EXCLUDE_INGRESS) === 0 || dst.dev !== devRx);
        return oneTarget(target as DevMapDst, packet);
      }
      case BPF_MAP_TYPE_CPUMAP: return (info.target as CpuMapEntry).enqueuePacket(packet) ? "queued" : -ENOSPC;
      case BPF_MAP_TYPE_XSKMAP: {
        const errno = this.xsk.genericReceive(info.target as XskSocket, buff);
        return errno < 0 ? errno : "copied";
      }
      default: {
        if (mapId !== NO_MAP) return -EBADRQC;
        const dev = this.devices.devGetByIndex(info.index);
        if (dev === null) return -EINVAL;
        return oneTarget({ dev, prog: null }, packet);
      }
    }
  }

  /** @kernel __xdp_do_redirect_frame */
  private frameTo(info: RedirectInfo, devRx: NetDevice, frame: XdpFrame | null, prog: XdpProg): number {
    const { mapId, mapType, flags, index } = info;
    info.mapId = 0;
    info.mapType = BPF_MAP_TYPE_UNSPEC;
    info.flags = 0;
    const errno = frame === null ? -EOVERFLOW : this.enqueue(info, mapId, mapType, flags, devRx, frame);
    this.told(prog, devRx, errno, this.probe === null ? 0 : toIfindex(info, mapId, mapType), mapId, index);
    return errno;
  }

  private enqueue(info: RedirectInfo, mapId: number, mapType: number, flags: number, devRx: NetDevice, frame: XdpFrame): number {
    switch (mapType) {
      case BPF_MAP_TYPE_DEVMAP: case BPF_MAP_TYPE_DEVMAP_HASH: {
        if ((flags & BPF_F_BROADCAST) !== 0) return info.map === null ? -ENOENT : this.devmap.enqueueMulti(info.map as DevMapTable, frame, devRx, flags);
        const { dev, prog } = info.target as DevMapDst;
        if (prog === null || this.devmapRunsAtFlush) return this.devmap.enqueue(dev, frame, devRx, prog);
        if (this.deviceQueues.passes(frame, dev, devRx, prog)) return this.devmap.enqueue(dev, frame, devRx, null);
        this.stats.devmapDrops++;
        this.xdpReturn.xdpReturnFrameRxNapi(frame);
        return 0;
      }
      case BPF_MAP_TYPE_CPUMAP: return (info.target as CpuMapEntry).enqueue(frame, devRx, this.cpuFlushLists[this.context.cpu]!);
      default: {
        if (mapType !== BPF_MAP_TYPE_UNSPEC || mapId !== NO_MAP) return -EBADRQC;
        const dev = this.devices.devGetByIndex(info.index);
        return dev === null ? -EINVAL : this.devmap.enqueue(dev, frame, devRx, null);
      }
    }
  }

  private frameToSocket(info: RedirectInfo, devRx: NetDevice, frame: XdpFrame, prog: XdpProg): number {
    const { index, mapId } = info;
    info.mapId = 0;
    info.mapType = BPF_MAP_TYPE_UNSPEC;
    const { buff } = this.onFrame;
    const errno = this.xsk.redirect(info.target as XskSocket, buff);
    // The socket has copied it, and returned what it was copied from.
    if (errno === 0) this.buffs.xdpScrubFrame(frame);
    this.told(prog, devRx, errno, 0, mapId, index);
    return errno;
  }

  /** @kernel _trace_xdp_redirect_map, _trace_xdp_redirect_map_err */
  private told(prog: XdpProg, dev: NetDevice, errno: number, toIfindex: number, mapId: number, index: number): void {
    if (errno < 0) this.stats.failed(errno);
    if (this.probe !== null) this.probe.xdpRedirect(prog, dev.ifindex, errno, toIfindex, mapId, index);
  }
}

function oneTarget(target: GenericTarget, packet: GenericPacket): GenericRedirect {
  const errno = xdpOkFwdDev(target.dev, packet.len);
  return errno < 0 ? errno : [target];
}

function toIfindex(info: RedirectInfo, mapId: number, mapType: number): number {
  if (mapType === BPF_MAP_TYPE_DEVMAP || mapType === BPF_MAP_TYPE_DEVMAP_HASH) return info.map === null ? (info.target as DevMapDst).ifindex : 0;
  return mapId === NO_MAP ? info.index : 0;
}
