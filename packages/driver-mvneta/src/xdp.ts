import type { DriverDeps, TxRing } from "@netmem/driver/api";
import type { Page } from "@netmem/mm/api";
import { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, type XdpProg } from "@netmem/xdp/api";
import { MVNETA_SKB_HEADROOM } from "./constants.ts";
import type { MvnetaRxQueue } from "./rx-queue.ts";

/** What became of a packet. */
export const MVNETA_XDP_PASS = 0;
export const MVNETA_XDP_DROPPED = 1;
export const MVNETA_XDP_TX = 2;
export const MVNETA_XDP_REDIR = 4;

/**
 * Runs the program on the packet in `rxq.xdp`, and does what it says. The packet stays there if it passes. Softirq.
 * @kernel mvneta_run_xdp (drivers/net/ethernet/marvell/mvneta.c)
 */
export function runXdp(deps: DriverDeps, rxq: MvnetaRxQueue, tx: TxRing, prog: XdpProg): number {
  const { xdp, dev } = rxq;
  const { xdpPrograms } = deps;
  const received = xdp.dataEnd;
  const act = xdpPrograms.bpfProgRunXdp(prog, xdp);
  // A program that took its own interface down: the packet went with it.
  if (xdp.head === null) return MVNETA_XDP_DROPPED;
  // What the CPU may have touched, should the page go back to the device.
  const touched = Math.max(received, xdp.dataEnd) - MVNETA_SKB_HEADROOM;
  switch (act) {
    case XDP_PASS: return MVNETA_XDP_PASS;
    case XDP_REDIRECT:
      if (deps.xdpRedirect.xdpDoRedirect(dev, xdp, prog) === 0) return MVNETA_XDP_REDIR;
      break;
    case XDP_TX:
      if (xmitBack(deps, rxq, tx)) return MVNETA_XDP_TX;
      break;
    case XDP_DROP: break;
    default:
      if (act !== XDP_ABORTED) xdpPrograms.bpfWarnInvalidXdpAction(dev, prog, act);
      xdpPrograms.xdpException(dev, prog, act);
  }
  putBuff(rxq, touched);
  return MVNETA_XDP_DROPPED;
}

/** Where it came from. False: no room, and the packet stays in `rxq.xdp`. @kernel mvneta_xdp_xmit_back */
function xmitBack(deps: DriverDeps, rxq: MvnetaRxQueue, tx: TxRing): boolean {
  const { xdpBuffs } = deps;
  const { xdp } = rxq;
  const frame = xdpBuffs.xdpConvertBuffToFrame(xdp);
  if (frame === null) return false;
  if (!tx.submitFrame(frame, true)) {
    xdpBuffs.xdpConvertFrameToBuff(frame, xdp);
    xdpBuffs.xdpScrubFrame(frame);
    return false;
  }
  tx.ring();
  return true;
}

/** Straight back, this being the pool's own poll. @kernel mvneta_xdp_put_buff */
function putBuff(rxq: MvnetaRxQueue, touchedBytes: number): void {
  const { xdp, pool } = rxq;
  for (let i = 0; i < xdp.nrFrags; i++) {
    const frag = xdp.frags[i]!;
    pool.putFullNetmem(frag.netmem!, true);
    frag.netmem = null;
  }
  pool.putNetmem(xdp.head as Page, touchedBytes, true);
  xdp.head = null;
  xdp.nrFrags = 0;
  xdp.flags = 0;
}
