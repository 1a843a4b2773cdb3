import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps, type TxRing, type XdpPort } from "@netmem/driver/api";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import type { NapiStruct, XdpProg } from "@netmem/xdp/api";
import type { BmPool } from "./bm-pool.ts";
import { MVPP2_MH_SIZE, MVPP2_RXD_ERR_SUMMARY, MVPP2_RXD_L4_CSUM_OK, MVPP2_RX_DESC, MVPP2_SKB_HEADROOM } from "./constants.ts";
import type { Mvpp2RxQueue } from "./rx-queue.ts";

/** What all queues of an interface have in common. */
export interface PortShared extends XdpPort {
  readonly earlyDrop: boolean;
  tx: TxRing | null;
  prog: XdpProg | null;
}

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
  let ran = RAN_XDP_PASS;
  while (rxq.handled < todo) {
    rxq.handled++;
    const desc = rxq.takeDesc();
    const status = rxq.read(desc, MVPP2_RX_DESC.statusWord);
    const cookie = rxq.read(desc, MVPP2_RX_DESC.bufferManager!.cookieWord);
    const bmPool = rxq.poolOf(status);
    const page = bmPool.page(cookie);
    const bytes = (rxq.read(desc, MVPP2_RX_DESC.sizeWord) >>> MVPP2_RX_DESC.sizeShift) - MVPP2_MH_SIZE;
    // A length that goes beyond its buffer is none.
    if ((status & MVPP2_RXD_ERR_SUMMARY) !== 0 || bytes + MVPP2_MH_SIZE > bmPool.kind.pktSize) {
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
      const became = runOn(deps, rxq, shared, bmPool, page, prog, bytes);
      if (became !== RAN_XDP_PASS) {
        ran |= became;
        packets++;
        dev.rxPackets++;
        if (rxq.stopped) break;
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
    if ((status & MVPP2_RXD_L4_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
    packets++;
    dev.rxPackets++;
    dev.rxBytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (shared.earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    if (rxq.stopped) break;
  }
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (rxq.stopped) return packets;
  if ((ran & RAN_XDP_TX) !== 0) shared.tx!.ring();
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

/** Dropped, the page is back in its pool, synced as far as the CPU may have touched it. */
function runOn(deps: DriverDeps, rxq: Mvpp2RxQueue, shared: PortShared, bmPool: BmPool, page: Page, prog: XdpProg, bytes: number): number {
  const { xdp } = rxq;
  xdp.rxq = bmPool.rxq;
  deps.xdpBuffs.xdpInitBuff(xdp, PAGE_SIZE);
  deps.xdpBuffs.xdpPrepareBuff(xdp, page, 0, MVPP2_SKB_HEADROOM + MVPP2_MH_SIZE, bytes, true);
  const received = xdp.dataEnd;
  const became = runXdp(deps, shared, xdp, prog, true, false);
  // Of an interface that is down the pool is on its way out, and this is its poll no more.
  if (became === RAN_XDP_DROPPED) bmPool.pool.putNetmem(page, Math.max(received, xdp.dataEnd) - MVPP2_SKB_HEADROOM, !rxq.stopped);
  return became;
}
