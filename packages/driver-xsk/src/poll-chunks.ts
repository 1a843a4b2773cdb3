import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps, type TxRing } from "@netmem/driver/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { ETH_FCS_LEN, type SkBuff } from "@netmem/net-core/api";
import type { NapiStruct, XdpBuff, XdpDesc, XskBuffPool } from "@netmem/xdp/api";
import { DW_RDES3_ERROR, DW_RDES3_FIRST, DW_RDES3_LAST, DW_RX_DESC, DW_RX_FILL_BATCH, DW_TX_XSK_AVAIL, DW_XSK_TX_BUDGET_MAX } from "./constants.ts";
import { deliver } from "./poll-pages.ts";
import type { ChunkBuffers, DwQueue, Running } from "./queue.ts";

const WHOLE: number = DW_RDES3_FIRST | DW_RDES3_LAST;

/** Takes up to `budget` filled chunks and does with each what the program says. Softirq. @kernel stmmac_rx_zc (drivers/net/ethernet/stmicro/stmmac/stmmac_main.c) */
export function pollChunks(deps: DriverDeps, queue: DwQueue, running: Running<ChunkBuffers>, napi: NapiStruct, budget: number): number {
  const { hw, shared } = queue;
  const { ring, entries, buffers } = running;
  const { xsk, posted } = buffers;
  const { dev } = shared;
  const todo = Math.min(budget, hw.occupied());
  let ran = RAN_XDP_PASS;
  let done = 0;
  let handedBack = 0;
  for (; done < todo; done++) {
    if (queue.missing >= DW_RX_FILL_BATCH) {
      hw.decOccupied(done - handedBack);
      handedBack = done;
      hw.addNonOccupied(queue.refill(GFP_ATOMIC));
    }
    const at = queue.nextToClean;
    const descriptor = at * DW_RX_DESC.sizeBytes;
    const status = ring.read32(descriptor + DW_RX_DESC.statusWord * 4);
    const chunk = posted[at]!;
    queue.nextToClean = at + 1 === entries ? 0 : at + 1;
    queue.missing++;
    // Of a packet that does not fit into a chunk nothing is kept.
    const bytes = ring.read32(descriptor + DW_RX_DESC.sizeWord * 4) - ETH_FCS_LEN;
    if ((status & WHOLE) !== WHOLE || (status & DW_RDES3_ERROR) !== 0 || bytes > xsk.rxFrameSize) {
      if ((status & DW_RDES3_LAST) !== 0) dev.rxDropped++;
      posted[at] = null;
      xsk.xskBuffFree(chunk);
      continue;
    }
    xsk.xskBuffSetSize(chunk, bytes);
    xsk.xskBuffDmaSyncForCpu(chunk);
    const became = runXdp(deps, shared, chunk, shared.prog!, false, false);
    ran |= became;
    // Of a program that took its own interface down the chunk went with it.
    if (queue.running !== running) break;
    posted[at] = null;
    dev.rxPackets++;
    if (became === RAN_XDP_DROPPED) {
      dev.rxDropped++;
      xsk.xskBuffFree(chunk);
    } else if (became === RAN_XDP_PASS) {
      const skb = copyToSkb(deps, queue, chunk);
      xsk.xskBuffFree(chunk);
      if (skb === null) dev.rxDropped++;
      else deliver(deps, queue, napi, skb, status);
      if (queue.running !== running) break;
    }
  }
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (queue.running !== running) return done;
  if ((ran & RAN_XDP_TX) !== 0) shared.tx!.ring();
  hw.decOccupied(done - handedBack);
  return done;
}

/** The chunk stays the user's: null without memory. @kernel stmmac_construct_skb_zc */
function copyToSkb({ lifetime, edit }: DriverDeps, { shared }: DwQueue, chunk: XdpBuff): SkBuff | null {
  const skb = lifetime.napiAllocSkb(shared.dev, chunk.dataEnd - chunk.dataHardStart);
  if (skb === null) return null;
  const bytes = chunk.dataEnd - chunk.data;
  edit.skbReserve(skb, chunk.data - chunk.dataHardStart);
  edit.skbPut(skb, bytes);
  edit.skbStoreBits(skb, 0, chunk.head!.region, chunk.head!.base + chunk.data, bytes);
  skb.shinfo!.metaLen = chunk.data - chunk.dataMeta;
  return skb;
}

/** What users have asked for is sent; false: there is more. In the device's poll. @kernel stmmac_xdp_xmit_zc */
export function sendChunks(tx: TxRing, xsk: XskBuffPool, desc: XdpDesc): boolean {
  if (xsk.usesNeedWakeup) xsk.xskSetTxNeedWakeup();
  let sent = 0;
  let isEmpty = false;
  for (; sent < DW_XSK_TX_BUDGET_MAX && tx.room() >= DW_TX_XSK_AVAIL; sent++) {
    isEmpty = !xsk.xskTxPeekDesc(desc);
    if (isEmpty) break;
    const dmaAddr = xsk.xskBuffRawGetDma(desc.addr);
    xsk.xskBuffRawDmaSyncForDevice(dmaAddr, desc.len);
    tx.submitXsk(xsk, dmaAddr, desc.len);
  }
  if (sent > 0) {
    tx.ring();
    xsk.xskTxRelease();
  }
  return isEmpty;
}
