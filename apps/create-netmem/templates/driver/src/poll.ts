import type { DriverDeps } from "@netmem/driver/api";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { SKB_DROP_REASON_NOT_SPECIFIED } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, type NapiStruct } from "@netmem/xdp/api";
import { BUFFER_BYTES, HEADROOM, RXD_ERROR, RXD_FIRST, RXD_LAST, RX_DESC } from "./hardware.ts";
import type { RxQueue, Running } from "./queue.ts";

/** Poll: filled descriptors become packets, at most `budget` of them; how many. */
export function pollRx(deps: DriverDeps, queue: RxQueue, running: Running, napi: NapiStruct, budget: number): number {
  const { ring, posted, pool } = running;
  const { dev } = queue.shared;
  const todo = queue.hw.occupied();
  let packets = 0;
  let done = 0;
  for (; done < todo && packets < budget; done++) {
    const at = queue.nextToClean;
    const word = (index: number): number => ring.read32(at * RX_DESC.sizeBytes + index * 4);
    const status = word(RX_DESC.statusWord);
    const page = posted[at]!;
    posted[at] = null;
    queue.nextToClean = at + 1 === posted.length ? 0 : at + 1;
    queue.missing++;
    if ((status & RXD_FIRST) !== 0) {
      // A frame whose end never came must not keep its pages.
      dropFrame(deps, queue);
      queue.skipping = false;
      queue.leftBytes = word(RX_DESC.sizeWord);
    }
    const isLast = (status & RXD_LAST) !== 0;
    const bytes = Math.min(queue.leftBytes, BUFFER_BYTES);
    queue.leftBytes -= bytes;
    // A length that goes beyond its descriptors is none.
    if ((status & RXD_ERROR) !== 0 || bytes === 0 || (isLast && queue.leftBytes > 0)) lose(deps, queue);
    if (queue.skipping || !takePage(deps, queue, running, page, bytes)) {
      pool.recycleDirect(page);
      continue;
    }
    const { skb } = queue;
    if (!isLast || skb === null) continue;
    queue.skb = null;
    packets++;
    dev.rxPackets++;
    dev.rxBytes += skb.len;
    deps.edit.ethTypeTrans(skb);
    if (queue.shared.earlyDrop) {
      dev.rxDropped++;
      deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    } else deps.receive.napiGroReceive(napi, skb);
    if (queue.running !== running) return packets;
  }
  if (done > 0) queue.hw.decOccupied(done);
  return packets;
}

/** The page is the packet's: its head, or a fragment. False: it is not, and the packet is lost. */
function takePage(deps: DriverDeps, queue: RxQueue, { pool }: Running, page: Page, bytes: number): boolean {
  const { mem } = queue.queue.xdpRxq;
  if (queue.skb !== null && queue.skb.shinfo!.nrFrags === MAX_SKB_FRAGS) {
    lose(deps, queue);
    return false;
  }
  // What the CPU reads is synced for it, and no more.
  pool.dmaSyncForCpu(page, 0, bytes);
  if (queue.skb !== null) {
    deps.edit.skbAddRxFrag(queue.skb, page, HEADROOM, bytes, PAGE_SIZE);
    deps.recycle.storeMemInfo(page, mem);
    return true;
  }
  const skb = deps.lifetime.napiBuildSkb(page, PAGE_SIZE);
  if (skb === null) {
    lose(deps, queue);
    return false;
  }
  // At once: whatever becomes of the packet, its pages find their way home.
  deps.recycle.skbMarkForRecycle(skb, page, mem);
  deps.edit.skbReserve(skb, HEADROOM);
  deps.edit.skbPut(skb, bytes);
  skb.dev = queue.shared.dev;
  skb.rxQueue = queue.queue.index + 1;
  queue.skb = skb;
  return true;
}

/** This packet, and what is still to come of it; counted once. */
function lose(deps: DriverDeps, queue: RxQueue): void {
  if (queue.skb === null && !queue.skipping) queue.shared.dev.rxDropped++;
  dropFrame(deps, queue);
  queue.skipping = true;
}

export function dropFrame(deps: DriverDeps, queue: RxQueue): void {
  if (queue.skb === null) return;
  queue.shared.dev.rxDropped++;
  deps.lifetime.kfreeSkb(queue.skb, SKB_DROP_REASON_NOT_SPECIFIED);
  queue.skb = null;
}
