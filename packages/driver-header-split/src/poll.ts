import type { DriverDeps } from "@netmem/driver/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, NET_SKB_PAD, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, type NapiStruct } from "@netmem/xdp/api";
import { HS_PAYLOAD_BYTES, HS_RXD_CSUM_OK, HS_RXD_ERROR, HS_RXD_FIRST, HS_RXD_LAST, HS_RX_DESC } from "./constants.ts";
import type { HsQueue } from "./queue.ts";
import type { HsQueueMemory } from "./queue-memory.ts";

/**
 * Takes up to `budget` filled descriptors, hands each complete frame up as an skb, and answers how many packets that made. Softirq.
 * @kernel gve_rx_poll_dqo (drivers/net/ethernet/google/gve/gve_rx_dqo.c), bnxt_rx_pkt (drivers/net/ethernet/broadcom/bnxt/bnxt.c)
 */
export function pollRx(deps: DriverDeps, queue: HsQueue, memory: HsQueueMemory, napi: NapiStruct, budget: number, earlyDrop: boolean): number {
  const { hw, dev } = queue;
  const todo = Math.min(budget, hw.occupied());
  let packets = 0;
  for (let done = 0; done < todo; done++) {
    const desc = memory.nextDesc;
    const status = memory.ring.read32(memory.wordOffset(desc, HS_RX_DESC.statusWord));
    memory.nextDesc = desc + 1 === memory.size ? 0 : desc + 1;
    memory.refillNum++;
    if ((status & HS_RXD_FIRST) !== 0) startFrame(deps, queue, memory, desc, status);
    else if (queue.skb !== null) addPayload(deps, queue.skb, queue, memory, desc);
    recycleUnused(memory, desc);
    // A length that goes beyond its descriptors is none.
    if ((status & HS_RXD_ERROR) !== 0 || ((status & HS_RXD_LAST) !== 0 && queue.leftBytes > 0)) dropFrame(deps, queue);
    if ((status & HS_RXD_LAST) === 0) continue;
    const { skb } = queue;
    if (skb === null) continue;
    queue.skb = null;
    packets++;
    dev.rxPackets++;
    dev.rxBytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    // Whoever got the packet has stopped the queue.
    if (queue.memory !== memory) return packets;
  }
  if (todo > 0) hw.decOccupied(todo);
  if (memory.refillNum > 0) queue.refillAfterPoll(memory);
  return packets;
}

/** The header buffer becomes the head. Without a struct the frame is lost. @kernel gve_rx_copy_hdr, bnxt_rx_skb */
function startFrame(deps: DriverDeps, queue: HsQueue, memory: HsQueueMemory, desc: number, status: number): void {
  // A frame whose last descriptor never came must not keep its pages.
  dropFrame(deps, queue);
  const { lifetime, edit, recycle } = deps;
  const head = memory.heads[desc]!;
  const offset = memory.headOffsets[desc]!;
  const { headerSizeWord, headerSizeShift } = HS_RX_DESC.headerSplit!;
  const headerBytes = memory.ring.read32(memory.wordOffset(desc, headerSizeWord)) >>> headerSizeShift;
  queue.leftBytes = (memory.ring.read32(memory.wordOffset(desc, HS_RX_DESC.sizeWord)) >>> HS_RX_DESC.sizeShift) - headerBytes;
  memory.headPool.dmaSyncForCpu(head, offset + NET_SKB_PAD, headerBytes);
  const skb = lifetime.napiBuildSkb(head, memory.headBytes, offset);
  if (skb === null) {
    queue.dev.rxDropped++;
    return;
  }
  memory.heads[desc] = null;
  recycle.skbMarkForRecycle(skb, head, memory.headMem);
  edit.skbReserve(skb, NET_SKB_PAD);
  edit.skbPut(skb, headerBytes);
  skb.dev = queue.dev;
  skb.rxQueue = queue.index + 1;
  if ((status & HS_RXD_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
  queue.skb = skb;
  addPayload(deps, skb, queue, memory, desc);
}

/** A payload buffer becomes a frag, if there is anything in it. @kernel skb_add_rx_frag_netmem, from gve_rx_append_frags and __bnxt_rx_agg_netmems */
function addPayload(deps: DriverDeps, skb: SkBuff, queue: HsQueue, memory: HsQueueMemory, desc: number): void {
  const bytes = Math.min(queue.leftBytes, HS_PAYLOAD_BYTES);
  if (bytes <= 0) return;
  queue.leftBytes -= bytes;
  if (skb.shinfo!.nrFrags === MAX_SKB_FRAGS) {
    dropFrame(deps, queue);
    return;
  }
  const payload = memory.payloads[desc]!;
  memory.payloads[desc] = null;
  memory.payloadPool.dmaSyncNetmemForCpu(payload, 0, bytes);
  deps.edit.skbAddRxFrag(skb, payload, 0, bytes, PAGE_SIZE);
  deps.recycle.storeMemInfo(payload, memory.payloadMem);
}

/** A header buffer of any but the first descriptor of a frame, a payload buffer of one without: the next descriptor to be filled is another, so home they go, this being their pools' poll. @kernel bnxt_reuse_rx_agg_bufs */
function recycleUnused(memory: HsQueueMemory, desc: number): void {
  const head = memory.heads[desc]!;
  const payload = memory.payloads[desc]!;
  if (head !== null) memory.headPool.putFullNetmem(head, true);
  if (payload !== null) memory.payloadPool.putFullNetmem(payload, true);
  memory.heads[desc] = null;
  memory.payloads[desc] = null;
}

/** A frame is given up, and counted; its pages go home as its packet is freed. */
export function dropFrame(deps: DriverDeps, queue: HsQueue): void {
  const { skb } = queue;
  if (skb === null) return;
  queue.skb = null;
  queue.dev.rxDropped++;
  deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
}
