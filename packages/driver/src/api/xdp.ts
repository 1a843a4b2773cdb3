import type { DriverDeps } from "./driver.ts";
import type { TxRing } from "./tx-ring.ts";
import { EINVAL, ENETDOWN } from "@netmem/kernel/api";
import { MEM_TYPE_XSK_BUFF_POOL, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, XDP_XMIT_FLUSH, type NetDevice, type XdpBuff, type XdpFrame, type XdpProg } from "@netmem/xdp/api";

/** What became of a packet that a program saw; of several, the bits. @kernel MVNETA_XDP_PASS, MVPP2_XDP_PASS, IXGBE_XDP_PASS and the like */
export const RAN_XDP_PASS = 0;
export const RAN_XDP_DROPPED = 1;
export const RAN_XDP_TX = 2;
export const RAN_XDP_REDIR = 4;

/** The interface, and the ring that it sends by; null while it is down. */
export interface XdpPort {
  readonly dev: NetDevice;
  readonly tx: TxRing | null;
}

/**
 * Runs the program on the packet in `xdp`, and does what it says. PASS and DROPPED: its memory is the caller's still (a chunk of an AF_XDP pool may be that pool's already, which frees it once). TX: the ring's, which the caller rings once its poll is over. REDIR: another's; the caller flushes then.
 * `tracesFailures`: a packet that could not be sent or redirected is an exception, as ixgbe has it and mvneta not.
 * `ours`: its pages are of a pool that has them mapped for this device, in both directions. Whatever a program that took its own interface down says, the packet is DROPPED. Softirq.
 * @kernel mvneta_run_xdp, mvneta_xdp_xmit_back (drivers/net/ethernet/marvell/mvneta.c), mvpp2_run_xdp, ixgbe_run_xdp
 */
export function runXdp(deps: Pick<DriverDeps, "xdpBuffs" | "xdpPrograms" | "xdpRedirect" | "xdpReturn">, port: XdpPort, xdp: XdpBuff, prog: XdpProg, ours: boolean, tracesFailures: boolean): number {
  const { xdpPrograms, xdpRedirect } = deps;
  const act = xdpPrograms.bpfProgRunXdp(prog, xdp);
  const { dev, tx } = port;
  if (tx === null) return RAN_XDP_DROPPED;
  switch (act) {
    case XDP_PASS: return RAN_XDP_PASS;
    case XDP_DROP: return RAN_XDP_DROPPED;
    case XDP_REDIRECT:
      if (xdpRedirect.xdpDoRedirect(dev, xdp, prog) === 0) return RAN_XDP_REDIR;
      break;
    case XDP_TX:
      if (xmitBack(deps, tx, xdp, ours)) return RAN_XDP_TX;
      break;
    default:
      if (act !== XDP_ABORTED) xdpPrograms.bpfWarnInvalidXdpAction(dev, prog, act);
  }
  if (tracesFailures || (act !== XDP_REDIRECT && act !== XDP_TX)) xdpPrograms.xdpException(dev, prog, act);
  return RAN_XDP_DROPPED;
}

/** False: no room, and the packet stays in `xdp`, or, if that is memory of an AF_XDP user, which a copy has left, is dropped. */
function xmitBack({ xdpBuffs, xdpReturn }: Pick<DriverDeps, "xdpBuffs" | "xdpReturn">, tx: TxRing, xdp: XdpBuff, ours: boolean): boolean {
  const isUserMemory = xdp.rxq.mem.type === MEM_TYPE_XSK_BUFF_POOL;
  const frame = xdpBuffs.xdpConvertBuffToFrame(xdp);
  if (frame === null) return false;
  if (tx.submitFrame(frame, ours ? xdp.rxq.queueIndex : -1)) return true;
  if (isUserMemory) {
    xdpReturn.xdpReturnFrameRxNapi(frame);
    return false;
  }
  xdpBuffs.xdpConvertFrameToBuff(frame, xdp);
  xdpBuffs.xdpScrubFrame(frame);
  return false;
}

/** Frames of other devices, as `xdpOps.xdpXmit` has it: how many were taken, -ENETDOWN, or -EINVAL for flags nobody knows. @kernel mvneta_xdp_xmit, mvpp2_xdp_xmit, ixgbe_xdp_xmit */
export function xmitFrames(tx: TxRing | null, frames: readonly (XdpFrame | null)[], n: number, flags: number): number {
  if (tx === null) return -ENETDOWN;
  if ((flags & ~XDP_XMIT_FLUSH) !== 0) return -EINVAL;
  let sent = 0;
  while (sent < n && tx.submitFrame(frames[sent]!, -1)) sent++;
  if ((flags & XDP_XMIT_FLUSH) !== 0) tx.ring();
  return sent;
}
