import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps } from "@netmem/driver/api";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, ETH_FCS_LEN, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, type NapiStruct } from "@netmem/xdp/api";
import { DW_RDES3_CSUM_OK, DW_RDES3_ERROR, DW_RDES3_FIRST, DW_RDES3_LAST, DW_RX_DESC } from "./constants.ts";
import type { DwQueue, PageBuffers, Running } from "./queue.ts";

/** Takes up to `budget` filled descriptors, hands complete packets up, and answers how many it was done with. Softirq. @kernel stmmac_rx (drivers/net/ethernet/stmicro/stmmac/stmmac_main.c) */
export function pollPages(deps: DriverDeps, queue: DwQueue, running: Running<PageBuffers>, napi: NapiStruct, budget: number): number {
  const { hw, shared } = queue;
  const { ring, entries, buffers } = running;
  const todo = Math.min(budget, hw.occupied());
  let ran = RAN_XDP_PASS;
  let packets = 0;
  let done = 0;
  for (; done < todo; done++) {
    const at = queue.nextToClean;
    const descriptor = at * DW_RX_DESC.sizeBytes;
    const status = ring.read32(descriptor + DW_RX_DESC.statusWord * 4);
    queue.nextToClean = at + 1 === entries ? 0 : at + 1;
    queue.missing++;
    if ((status & DW_RDES3_FIRST) !== 0) {
      giveUp(deps, queue);
      queue.skipping = false;
      queue.frameStatus = status;
      queue.leftBytes = ring.read32(descriptor + DW_RX_DESC.sizeWord * 4);
    }
    const isLast = (status & DW_RDES3_LAST) !== 0;
    const became = takeBuffer(deps, queue, running, at, status);
    ran |= became;
    if (queue.running !== running) break;
    buffers.posted[at] = null;
    if (!isLast) continue;
    if (became !== LOST) packets++;
    const { skb } = queue;
    if (skb === null) continue;
    queue.skb = null;
    deliver(deps, queue, napi, skb, queue.frameStatus);
    if (queue.running !== running) break;
  }
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (queue.running !== running) return packets;
  if ((ran & RAN_XDP_TX) !== 0) shared.tx!.ring();
  if (done > 0) hw.decOccupied(done);
  return packets;
}

/** No packet came of it. A bit that no verdict has. */
const LOST = 1 << 8;

/** The packet goes up, or, where that is measured, nowhere. `status`: of its first descriptor. */
export function deliver(deps: DriverDeps, { shared, index }: DwQueue, napi: NapiStruct, skb: SkBuff, status: number): void {
  const { dev, prog } = shared;
  skb.dev = dev;
  skb.rxQueue = index + 1;
  if ((status & DW_RDES3_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
  if (prog === null) dev.rxPackets++;
  dev.rxBytes += skb.len;
  deps.edit.ethTypeTrans(skb);
  if (shared.earlyDrop) {
    dev.rxDropped++;
    deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  } else deps.receive.napiGroReceive(napi, skb);
}

/** What a descriptor brought becomes part of a packet, goes where the program says, or back. It stays posted as long as a program runs, which may take the interface down. */
function takeBuffer(deps: DriverDeps, queue: DwQueue, running: Running<PageBuffers>, at: number, status: number): number {
  const { pool, bufferBytes, headroomBytes } = running;
  const page = running.buffers.posted[at]!;
  const isLast = (status & DW_RDES3_LAST) !== 0;
  const inBuffer = Math.min(queue.leftBytes, bufferBytes);
  queue.leftBytes -= inBuffer;
  const bytes = isLast ? inBuffer - ETH_FCS_LEN : inBuffer;
  // A length that goes beyond its descriptors is none.
  if ((status & DW_RDES3_ERROR) !== 0 || (isLast && queue.leftBytes > 0) || queue.skb?.shinfo!.nrFrags === MAX_SKB_FRAGS) lose(deps, queue);
  if (queue.skipping) {
    pool.putFullNetmem(page, true);
    return LOST;
  }
  if (queue.skb === null) return startPacket(deps, queue, running, page, bytes, isLast);
  if (bytes <= 0) {
    // Nothing but checksum, some of which lies in the buffer before.
    pool.putFullNetmem(page, true);
    deps.edit.pskbTrim(queue.skb, queue.skb.len + bytes);
    return RAN_XDP_PASS;
  }
  pool.dmaSyncForCpu(page, 0, bytes);
  deps.edit.skbAddRxFrag(queue.skb, page, headroomBytes, bytes, bufferBytes);
  deps.recycle.storeMemInfo(page, queue.xdp.rxq.mem);
  return RAN_XDP_PASS;
}

/** The first buffer becomes the head; a program sees it before. */
function startPacket(deps: DriverDeps, queue: DwQueue, { pool, headroomBytes }: Running<PageBuffers>, page: Page, bytes: number, isLast: boolean): number {
  const { xdp, shared } = queue;
  const { dev, prog } = shared;
  pool.dmaSyncForCpu(page, 0, bytes);
  deps.xdpBuffs.xdpInitBuff(xdp, PAGE_SIZE);
  deps.xdpBuffs.xdpPrepareBuff(xdp, page, 0, headroomBytes, bytes, true);
  if (prog !== null) {
    const became = runXdp(deps, shared, xdp, prog, true, false);
    if (queue.running === null) return became;
    dev.rxPackets++;
    if (became !== RAN_XDP_PASS) {
      if (became === RAN_XDP_DROPPED) pool.putNetmem(page, Math.max(bytes, xdp.dataEnd - headroomBytes), true);
      queue.skipping = !isLast;
      return became;
    }
  }
  const skb = deps.lifetime.napiBuildSkb(page, PAGE_SIZE);
  if (skb === null) {
    pool.putFullNetmem(page, true);
    lose(deps, queue);
    return LOST;
  }
  deps.edit.skbReserve(skb, xdp.data);
  deps.edit.skbPut(skb, xdp.dataEnd - xdp.data);
  deps.recycle.skbMarkForRecycle(skb, page, xdp.rxq.mem);
  queue.skb = skb;
  return RAN_XDP_PASS;
}

/** This packet, and what is still to come of it. Counted once. */
function lose(deps: DriverDeps, queue: DwQueue): void {
  if (!queue.skipping && queue.skb === null) queue.shared.dev.rxDropped++;
  giveUp(deps, queue);
  queue.skipping = true;
}

/** A packet whose end never came must not keep its pages. */
function giveUp(deps: DriverDeps, queue: DwQueue): void {
  if (queue.skb === null) return;
  queue.shared.dev.rxDropped++;
  deps.lifetime.kfreeSkb(queue.skb, SKB_DROP_REASON_NOT_SPECIFIED);
  queue.skb = null;
}
