import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps } from "@netmem/driver/api";
import type { CoherentMemory } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, type NapiStruct } from "@netmem/xdp/api";
import { SP_BUFFER_BYTES, SP_HEADROOM, SP_RXD_CSUM_OK, SP_RXD_ERROR, SP_RXD_FIRST, SP_RXD_LAST, SP_RX_DESC, SP_TRUESIZE } from "./constants.ts";
import type { SplitQueue } from "./queue.ts";
import { canReuse, drain, flip, getRxBuffer, reuseInto, type SplitBuffer } from "./split-buffer.ts";

/** Takes up to `budget` frames out of filled descriptors, hands them up, and answers how many. Softirq. @kernel ixgbe_clean_rx_irq (drivers/net/ethernet/intel/ixgbe/ixgbe_main.c) */
export function pollRx(deps: DriverDeps, queue: SplitQueue, ring: CoherentMemory, napi: NapiStruct, budget: number): number {
  const { hw, shared } = queue;
  const { dev, prog } = shared;
  const todo = hw.occupied();
  let packets = 0;
  let done = 0;
  let ran = RAN_XDP_PASS;
  for (; done < todo && packets < budget; done++) {
    const at = queue.nextToClean;
    const buffer = queue.buffers[at]!;
    const status = ring.read32(at * SP_RX_DESC.sizeBytes + SP_RX_DESC.statusWord * 4);
    queue.nextToClean = at + 1 === queue.size ? 0 : at + 1;
    const isFirst = (status & SP_RXD_FIRST) !== 0;
    if (isFirst) {
      dropFrame(deps, queue);
      queue.leftBytes = ring.read32(at * SP_RX_DESC.sizeBytes + SP_RX_DESC.sizeWord * 4) >>> SP_RX_DESC.sizeShift;
    }
    const bytes = Math.min(queue.leftBytes, SP_BUFFER_BYTES);
    queue.leftBytes -= bytes;
    getRxBuffer(queue.parts, buffer, bytes);
    // A length that goes beyond its descriptors is none.
    if ((status & SP_RXD_ERROR) !== 0 || bytes === 0 || ((status & SP_RXD_LAST) !== 0 && queue.leftBytes > 0)) {
      dev.rxDropped++;
      keepReference(queue, buffer);
      continue;
    }
    if (isFirst && prog !== null && (status & SP_RXD_LAST) !== 0) {
      const page = buffer.page!;
      deps.xdpBuffs.xdpInitBuff(queue.xdp, SP_TRUESIZE);
      deps.xdpBuffs.xdpPrepareBuff(queue.xdp, page, buffer.pageOffset - SP_HEADROOM, SP_HEADROOM, bytes, true);
      const became = runXdp(deps, shared, queue.xdp, prog, false, true);
      if (queue.ring !== ring) {
        // A program took its own interface down: what the driver has left of the page is the reference that went with the packet.
        deps.pages.putPage(page);
        break;
      }
      if (became !== RAN_XDP_PASS) {
        if (became === RAN_XDP_DROPPED) keepReference(queue, buffer);
        else givenAway(queue, buffer);
        ran |= became;
        packets++;
        dev.rxPackets++;
        continue;
      }
    }
    if (!(isFirst ? startFrame(deps, queue, buffer, bytes, status, prog !== null) : addFragment(deps, queue, buffer, bytes))) {
      dev.rxDropped++;
      keepReference(queue, buffer);
      dropFrame(deps, queue);
      continue;
    }
    givenAway(queue, buffer);
    const { skb } = queue;
    if ((status & SP_RXD_LAST) === 0 || skb === null) continue;
    queue.skb = null;
    packets++;
    dev.rxPackets++;
    dev.rxBytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (shared.earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    if (queue.ring !== ring) break;
  }
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (queue.ring !== ring) return packets;
  if ((ran & RAN_XDP_TX) !== 0) shared.tx!.ring();
  if (done > 0) hw.decOccupied(done);
  return packets;
}

/** The half becomes the head; false: no struct. @kernel ixgbe_build_skb */
function startFrame(deps: DriverDeps, queue: SplitQueue, buffer: SplitBuffer, bytes: number, status: number, sawProgram: boolean): boolean {
  const { edit } = deps;
  const start = buffer.pageOffset - SP_HEADROOM;
  const skb = deps.lifetime.napiBuildSkb(buffer.page!, SP_TRUESIZE, start);
  if (skb === null) return false;
  const { xdp } = queue;
  // A program may have moved both ends.
  const data = sawProgram ? xdp.data - start : SP_HEADROOM;
  edit.skbReserve(skb, data);
  edit.skbPut(skb, sawProgram ? xdp.dataEnd - xdp.data : bytes);
  if (sawProgram) skb.shinfo!.metaLen = xdp.data - xdp.dataMeta;
  skb.dev = queue.shared.dev;
  skb.rxQueue = queue.index + 1;
  if ((status & SP_RXD_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
  queue.skb = skb;
  return true;
}

/** A further half becomes a frag; false: the packet was given up, or can hold no more. @kernel ixgbe_add_rx_frag */
function addFragment(deps: DriverDeps, { skb }: SplitQueue, buffer: SplitBuffer, bytes: number): boolean {
  if (skb === null || skb.shinfo!.nrFrags === MAX_SKB_FRAGS) return false;
  deps.edit.skbAddRxFrag(skb, buffer.page!, buffer.pageOffset, bytes, SP_TRUESIZE);
  return true;
}

/** The packet has this half now: the other is next, if nobody has that. @kernel ixgbe_put_rx_buffer */
function givenAway(queue: SplitQueue, buffer: SplitBuffer): void {
  flip(buffer);
  putRxBuffer(queue, buffer);
}

/** Nobody has it: the reference is the driver's again. */
function keepReference(queue: SplitQueue, buffer: SplitBuffer): void {
  buffer.bias++;
  putRxBuffer(queue, buffer);
}

function putRxBuffer(queue: SplitQueue, buffer: SplitBuffer): void {
  if (!canReuse(queue.parts, buffer)) {
    drain(queue.parts, buffer);
    return;
  }
  const to = queue.buffers[queue.nextToAlloc]!;
  if (to !== buffer) reuseInto(buffer, to);
  queue.nextToAlloc = queue.nextToAlloc + 1 === queue.size ? 0 : queue.nextToAlloc + 1;
}

/** A frame is given up, and counted; its halves are whoever's as its packet is freed. */
export function dropFrame(deps: DriverDeps, queue: SplitQueue): void {
  const { skb }: { skb: SkBuff | null } = queue;
  if (skb === null) return;
  queue.skb = null;
  queue.shared.dev.rxDropped++;
  deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
}
