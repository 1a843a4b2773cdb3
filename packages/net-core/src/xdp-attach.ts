import { EBUSY, EEXIST, EINVAL, EOPNOTSUPP } from "@netmem/kernel/api";
import { ETHTOOL_TCP_DATA_SPLIT_ENABLED, checkXdpProg, type NetDevice, type XdpProg } from "@netmem/xdp/api";
import {
  XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_REPLACE, XDP_FLAGS_SKB_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST, type XdpAttachment,
} from "./api/index.ts";

const MODES: number = XDP_FLAGS_SKB_MODE | XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE;
const KNOWN: number = MODES | XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_REPLACE;

/** @kernel dev_xdp_attach, dev_xdp_install (net/core/dev.c) */
export class XdpAttachments implements XdpAttachment {
  devXdpAttach(dev: NetDevice, prog: XdpProg | null, flags: number, old: XdpProg | null): number {
    checkXdpProg("devXdpAttach", prog);
    const modes = flags & MODES;
    if ((flags & ~KNOWN) !== 0 || (modes & (modes - 1)) !== 0) return -EINVAL;
    // Without a mode it is the driver's, if that can. @kernel dev_xdp_mode
    const generic = modes === XDP_FLAGS_SKB_MODE || (modes === 0 && (dev.xdpOps?.xdpSetupProg ?? null) === null);
    const replace = (flags & XDP_FLAGS_REPLACE) !== 0;
    if (old !== null && !replace) return -EINVAL;
    const current = generic ? dev.xdpGenericProg : dev.xdpDriverProg;
    if (replace && current !== old) return -EEXIST;
    if (prog !== null) {
      if ((flags & XDP_FLAGS_UPDATE_IF_NOEXIST) !== 0 && current !== null) return -EBUSY;
      if ((generic ? dev.xdpDriverProg : dev.xdpGenericProg) !== null) return -EEXIST;
    }
    if (prog === current) return 0;
    if (modes === XDP_FLAGS_HW_MODE) return -EOPNOTSUPP;
    const setup = dev.xdpOps?.xdpSetupProg ?? null;
    if (!generic && setup === null) return -EOPNOTSUPP;
    if (prog !== null && !prog.hasFrags && dev.hdsConfig === ETHTOOL_TCP_DATA_SPLIT_ENABLED) return -EBUSY;
    if (dev.rxQueues.some((queue) => queue.memoryProvider !== null)) return -EBUSY;
    if (!generic) {
      const errno = setup!(prog);
      if (errno < 0) return errno;
      dev.xdpDriverProg = prog;
    } else dev.xdpGenericProg = prog;
    dev.xdpProgCount += Number(prog !== null) - Number(current !== null);
    return 0;
  }
}
