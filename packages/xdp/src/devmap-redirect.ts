import { ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import {
  BPF_F_EXCLUDE_INGRESS, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_NDO_XMIT_SG, XDP_FLAGS_HAS_FRAGS, xdpGetFrameLen, xdpOkFwdDev,
  type NetDevice, type XdpBuffs, type XdpFrame, type XdpProg, type XdpReturn,
} from "./api/index.ts";
import type { DeviceQueues } from "./device-queues.ts";
import type { DevMapDst, DevMapTable } from "./devmap.ts";
import type { RedirectCounts } from "./redirect-stats.ts";

/** Frames to devices, if those may send them. @kernel kernel/bpf/devmap.c */
export class DevMapRedirect {
  private readonly queues: DeviceQueues;
  private readonly buffs: XdpBuffs;
  private readonly xdpReturn: XdpReturn;
  private readonly stats: RedirectCounts;
  private readonly asksFeatures: boolean;

  constructor(queues: DeviceQueues, buffs: XdpBuffs, xdpReturn: XdpReturn, stats: RedirectCounts, asksFeatures: boolean) {
    this.queues = queues;
    this.buffs = buffs;
    this.xdpReturn = xdpReturn;
    this.stats = stats;
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
        this.stats.copies++;
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
