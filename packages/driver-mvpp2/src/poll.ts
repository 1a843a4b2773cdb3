import type { DriverDeps, TxRing } from "@netmem/driver/api";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, type NapiStruct, type NetDevice, type XdpProg } from "@netmem/xdp/api";
import type { BmPool } from "./bm-pool.ts";
import { MVPP2_MH_SIZE, MVPP2_RXD_ERR_SUMMARY, MVPP2_RXD_L4_CSUM_OK, MVPP2_RX_DESC, MVPP2_SKB_HEADROOM } from "./constants.ts";
import type { Mvpp2RxQueue } from "./rx-queue.ts";

/** What all queues of an interface have in common. */
export interface PortShared {
  readonly dev: NetDevice;
  readonly earlyDrop: boolean;
  /** Null while the interface is down. */
  tx: TxRing | null;
  prog: XdpProg | null;
}

/** What became of a packet that a program saw. @kernel MVPP2_XDP_PASS, MVPP2_XDP_DROPPED, MVPP2_XDP_TX, MVPP2_XDP_REDIR */
const MVPP2_XDP_PASS = 0;
const MVPP2_XDP_DROPPED = 1;
const MVPP2_XDP_TX = 2;
const MVPP2_XDP_REDIR = 4;

/**
 * Takes up to `budget` frames, puts a fresh buffer into the hardware for each before its own goes up, and answers how many. Softirq.
 *
 * In this order, as mended in 2025: the original refilled after the skb was built, and when that failed freed the skb and gave the hardware the same buffer.
 * @kernel mvpp2_rx (drivers/net/ethernet/marvell/mvpp2/mvpp2_main.c)
 */
export function pollRx(deps: DriverDeps, rxq: Mvpp2RxQueue, shared: PortShared, napi: NapiStruct, budget: number): number {
  const { dev, prog } = shared;
  const todo = Math.min(budget, rxq.hw.occupied());
  let packets = 0;
  let became = MVPP2_XDP_PASS;
  while (rxq.handled < todo) {
    rxq.handled++;
    const desc = rxq.takeDesc();
    const status = rxq.read(desc, MVPP2_RX_DESC.statusWord);
    const cookie = rxq.read(desc, MVPP2_RX_DESC.bufferManager!.cookieWord);
    const bmPool = rxq.poolOf(status);
    const page = bmPool.page(cookie);
    const bytes = (rxq.read(desc, MVPP2_RX_DESC.sizeWord) >>> MVPP2_RX_DESC.sizeShift) - MVPP2_MH_SIZE;
    if ((status & MVPP2_RXD_ERR_SUMMARY) !== 0) {
      dev.rxDropped++;
      bmPool.putBack(cookie);
      continue;
    }
    deps.dma.syncForCpu(page.dmaAddr, MVPP2_SKB_HEADROOM, bytes + MVPP2_MH_SIZE, bmPool.dmaDir);
    if (!bmPool.refill(GFP_ATOMIC)) {
      dev.rxDropped++;
      bmPool.putBack(cookie);
      continue;
    }
    bmPool.takeOut(cookie);
    if (prog !== null) {
      const ret = runXdp(deps, rxq, shared, bmPool, page, prog, bytes);
      if (ret !== MVPP2_XDP_PASS) {
        became |= ret;
        packets++;
        dev.rxPackets++;
        if (rxq.stopped) return packets;
        continue;
      }
    }
    const skb = buildSkb(deps, rxq, bmPool, page, bytes, prog !== null);
    if (skb === null) {
      dev.rxDropped++;
      bmPool.pool.putFullNetmem(page, true);
      continue;
    }
    skb.dev = dev;
    skb.rxQueue = rxq.index + 1;
    if (prog === null && (status & MVPP2_RXD_L4_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
    packets++;
    dev.rxPackets++;
    dev.rxBytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (shared.earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    if (rxq.stopped) return packets;
  }
  if ((became & MVPP2_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if ((became & MVPP2_XDP_TX) !== 0) shared.tx!.ring();
  rxq.giveBack();
  return packets;
}

/** Null without a struct; the page stays the caller's. A program may have moved both ends, as far as the page goes. */
function buildSkb(deps: DriverDeps, { xdp }: Mvpp2RxQueue, bmPool: BmPool, page: Page, bytes: number, sawProgram: boolean): SkBuff | null {
  const { edit, recycle } = deps;
  const skb = deps.lifetime.buildSkb(page, sawProgram ? PAGE_SIZE : bmPool.fragSize);
  if (skb === null) return null;
  recycle.skbMarkForRecycle(skb, page, bmPool.rxq.mem);
  edit.skbReserve(skb, sawProgram ? xdp.data : MVPP2_SKB_HEADROOM + MVPP2_MH_SIZE);
  edit.skbPut(skb, sawProgram ? xdp.dataEnd - xdp.data : bytes);
  if (sawProgram) skb.shinfo!.metaLen = xdp.data - xdp.dataMeta;
  return skb;
}

/** @kernel mvpp2_run_xdp */
function runXdp(deps: DriverDeps, { xdp }: Mvpp2RxQueue, { dev, tx }: PortShared, bmPool: BmPool, page: Page, prog: XdpProg, bytes: number): number {
  const { xdpBuffs, xdpPrograms } = deps;
  xdp.rxq = bmPool.rxq;
  xdpBuffs.xdpInitBuff(xdp, PAGE_SIZE);
  xdpBuffs.xdpPrepareBuff(xdp, page, 0, MVPP2_SKB_HEADROOM + MVPP2_MH_SIZE, bytes, true);
  const received = xdp.dataEnd;
  const act = xdpPrograms.bpfProgRunXdp(prog, xdp);
  switch (act) {
    case XDP_PASS: return MVPP2_XDP_PASS;
    case XDP_REDIRECT:
      if (deps.xdpRedirect.xdpDoRedirect(dev, xdp, prog) === 0) return MVPP2_XDP_REDIR;
      break;
    case XDP_TX: {
      const frame = tx === null ? null : xdpBuffs.xdpConvertBuffToFrame(xdp);
      if (frame === null) break;
      if (tx!.submitFrame(frame, true)) return MVPP2_XDP_TX;
      xdpBuffs.xdpScrubFrame(frame);
      break;
    }
    case XDP_DROP: break;
    default:
      if (act !== XDP_ABORTED) xdpPrograms.bpfWarnInvalidXdpAction(dev, prog, act);
      xdpPrograms.xdpException(dev, prog, act);
  }
  // As far as the CPU may have touched it.
  bmPool.pool.putNetmem(page, Math.max(received, xdp.dataEnd) - MVPP2_SKB_HEADROOM, true);
  return MVPP2_XDP_DROPPED;
}
