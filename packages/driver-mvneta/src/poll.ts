import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps, type XdpPort } from "@netmem/driver/api";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, ETH_FCS_LEN, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, xdpDataMetaUnsupported, type NapiStruct, type XdpProg } from "@netmem/xdp/api";
import {
  MVNETA_MAX_RX_BUF_SIZE, MVNETA_MH_SIZE, MVNETA_RXD_CSUM_OK, MVNETA_RXD_ERR_SUMMARY, MVNETA_RXD_FIRST_DESC, MVNETA_RXD_LAST_DESC, MVNETA_RXD_SHIFT, MVNETA_RXD_SIZE, MVNETA_RXD_SIZE_SHIFT, MVNETA_RXD_STATUS, MVNETA_SKB_HEADROOM,
} from "./constants.ts";
import type { MvnetaRxQueue } from "./rx-queue.ts";

/**
 * Takes up to `budget` filled descriptors, hands each complete frame up as an skb, refills, and answers how many
 * packets that made. Softirq. @kernel mvneta_rx_swbm, mvneta_poll (drivers/net/ethernet/marvell/mvneta.c)
 */
export function pollRx(deps: DriverDeps, rxq: MvnetaRxQueue, port: XdpPort, napi: NapiStruct, budget: number, prog: XdpProg | null, earlyDrop: boolean): number {
  const { dev, hw } = rxq;
  let ran = RAN_XDP_PASS;
  const occupied = hw.occupied();
  const todo = occupied < budget ? occupied : budget;
  let packets = 0;
  let bytes = 0;
  for (let done = 0; done < todo; done++) {
    const desc = rxq.nextDesc;
    const page = rxq.pages[desc]!;
    rxq.pages[desc] = null;
    const at = desc << MVNETA_RXD_SHIFT;
    const status = rxq.ring.read32(at + MVNETA_RXD_STATUS);
    if ((status & MVNETA_RXD_FIRST_DESC) !== 0) {
      rxq.frameStatus = status;
      startFrame(deps, rxq, page, rxq.ring.read32(at + MVNETA_RXD_SIZE) >>> MVNETA_RXD_SIZE_SHIFT);
    } else addFragment(deps, rxq, page);
    rxq.nextDesc = desc + 1 === rxq.size ? 0 : desc + 1;
    rxq.refillNum++;
    // A length that goes beyond its descriptors is none.
    if ((status & MVNETA_RXD_ERR_SUMMARY) !== 0 || ((status & MVNETA_RXD_LAST_DESC) !== 0 && rxq.leftBytes > 0)) dropFrame(rxq);
    if ((status & MVNETA_RXD_LAST_DESC) === 0 || rxq.xdp.head === null) continue;

    if (prog !== null) {
      // Longer than the MTU that the program was attached at: the hardware would not have taken it.
      if (!prog.hasFrags && rxq.xdp.nrFrags > 0) {
        dropFrame(rxq);
        continue;
      }
      const received = rxq.xdp.dataEnd;
      const became = runXdp(deps, port, rxq.xdp, prog, true, false);
      if (became !== RAN_XDP_PASS) {
        // Of a program that took its own interface down the packet went with it.
        if (became === RAN_XDP_DROPPED && rxq.xdp.head !== null) putBuff(rxq, Math.max(received, rxq.xdp.dataEnd) - MVNETA_SKB_HEADROOM);
        ran |= became;
        packets++;
        if (rxq.stopped) break;
        continue;
      }
    }
    const skb = buildSkb(deps, rxq);
    if (skb === null) {
      dropFrame(rxq);
      continue;
    }
    // What a program has made of the packet does not count.
    if ((rxq.frameStatus & MVNETA_RXD_CSUM_OK) === MVNETA_RXD_CSUM_OK) skb.ipSummed = CHECKSUM_UNNECESSARY;
    packets++;
    bytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    if (rxq.stopped) break;
  }
  dev.rxPackets += packets;
  dev.rxBytes += bytes;
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (rxq.stopped) return packets;
  if ((ran & RAN_XDP_TX) !== 0) port.tx!.ring();
  if (todo > 0) hw.decOccupied(todo);
  if (rxq.refillNum > 0) rxq.refillAfterPoll();
  return packets;
}

/** The first descriptor: its page becomes the head. @kernel mvneta_swbm_rx_frame */
function startFrame(deps: DriverDeps, rxq: MvnetaRxQueue, page: Page, frameBytes: number): void {
  // A frame whose last descriptor never came must not keep its pages.
  dropFrame(rxq);
  const { xdp } = rxq;
  const bytes = takeBytes(rxq, frameBytes);
  deps.dma.syncForCpu(page.dmaAddr, MVNETA_SKB_HEADROOM, bytes, rxq.dmaDir);
  deps.xdpBuffs.xdpInitBuff(xdp, PAGE_SIZE);
  deps.xdpBuffs.xdpPrepareBuff(xdp, page, 0, MVNETA_SKB_HEADROOM + MVNETA_MH_SIZE, payloadBytes(rxq, bytes) - MVNETA_MH_SIZE, true);
}

/** A further descriptor: its page becomes a frag. @kernel mvneta_swbm_add_rx_fragment */
function addFragment(deps: DriverDeps, rxq: MvnetaRxQueue, page: Page): void {
  const { xdp, pool } = rxq;
  const bytes = takeBytes(rxq, rxq.leftBytes);
  const payload = payloadBytes(rxq, bytes);
  if (xdp.head === null || payload <= 0 || xdp.nrFrags === MAX_SKB_FRAGS) {
    // The rest of a frame that was given up, nothing but checksum, or more than an skb can hold.
    pool.putFullNetmem(page, true);
    if (payload > 0) dropFrame(rxq);
    else if (xdp.head !== null) trimLast(rxq, -payload);
    return;
  }
  deps.dma.syncForCpu(page.dmaAddr, MVNETA_SKB_HEADROOM, bytes, rxq.dmaDir);
  deps.xdpBuffs.xdpBuffAddFrag(xdp, page, MVNETA_SKB_HEADROOM, payload, PAGE_SIZE);
}

/** Bytes of this descriptor: a full buffer, or the rest of the frame. */
function takeBytes(rxq: MvnetaRxQueue, frameLeft: number): number {
  const bytes = frameLeft < MVNETA_MAX_RX_BUF_SIZE ? frameLeft : MVNETA_MAX_RX_BUF_SIZE;
  rxq.leftBytes = frameLeft - bytes;
  return bytes;
}

/** Without the checksum if the frame ends here; negative when part of the checksum lies in the buffer before. */
function payloadBytes(rxq: MvnetaRxQueue, bytes: number): number {
  return rxq.leftBytes === 0 ? bytes - ETH_FCS_LEN : bytes;
}

/** The checksum began in the buffer before: those bytes are not payload either. */
function trimLast(rxq: MvnetaRxQueue, bytes: number): void {
  const { xdp } = rxq;
  if (xdp.nrFrags === 0) {
    xdp.dataEnd -= bytes;
    return;
  }
  xdp.frags[xdp.nrFrags - 1]!.sizeBytes -= bytes;
  xdp.xdpFragsSize -= bytes;
}

/** Null without a struct; the pages then stay in `rxq.xdp`. @kernel mvneta_swbm_build_skb */
function buildSkb(deps: DriverDeps, rxq: MvnetaRxQueue): SkBuff | null {
  const { xdp } = rxq;
  const { mem } = xdp.rxq;
  const { edit, recycle } = deps;
  const page = xdp.head as Page;
  const skb = deps.lifetime.napiBuildSkb(page, PAGE_SIZE);
  if (skb === null) return null;
  skb.dev = rxq.dev;
  recycle.skbMarkForRecycle(skb, page, mem);
  edit.skbReserve(skb, xdp.data);
  edit.skbPut(skb, xdp.dataEnd - xdp.data);
  skb.shinfo!.metaLen = xdpDataMetaUnsupported(xdp) ? 0 : xdp.data - xdp.dataMeta;
  for (let i = 0; i < xdp.nrFrags; i++) {
    const frag = xdp.frags[i]!;
    const netmem = frag.netmem!;
    edit.skbAddRxFrag(skb, netmem, frag.offset, frag.sizeBytes, PAGE_SIZE);
    recycle.storeMemInfo(netmem, mem);
    frag.netmem = null;
  }
  xdp.head = null;
  xdp.nrFrags = 0;
  xdp.flags = 0;
  return skb;
}

/** Straight back, this being the pool's own poll. `touchedBytes`: what the CPU may have touched, should the page go back to the device. @kernel mvneta_xdp_put_buff */
function putBuff({ xdp, pool }: MvnetaRxQueue, touchedBytes: number): void {
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

/** A frame is given up: counted, and its pages straight back, this being the pool's own poll. */
function dropFrame(rxq: MvnetaRxQueue): void {
  if (rxq.xdp.head === null) return;
  rxq.dev.rxDropped++;
  rxq.dropFrame(true);
}
