import { RAN_XDP_DROPPED, RAN_XDP_PASS, RAN_XDP_REDIR, RAN_XDP_TX, runXdp, type DriverDeps } from "@netmem/driver/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import type { NapiStruct } from "@netmem/xdp/api";
import { ST_CQE_BYTES, ST_CQE_BYTES_WORD, ST_CQE_CSUM_OK, ST_CQE_ERROR, ST_CQE_FILLER, ST_CQE_STATUS_WORD, ST_CQE_STRIDE_WORD, ST_HEAD_BYTES } from "./constants.ts";
import type { Running, StridingQueue } from "./queue.ts";
import type { FragPage, Wqe } from "./wqe.ts";

/** Takes up to `budget` packets out of completions, hands them up, and answers how many. Softirq. @kernel mlx5e_poll_rx_cq, mlx5e_handle_rx_cqe_mpwrq (drivers/net/ethernet/mellanox/mlx5/core/en_rx.c) */
export function pollRx(deps: DriverDeps, queue: StridingQueue, running: Running, napi: NapiStruct, budget: number): number {
  const { hw, shared } = queue;
  const { dev, prog } = shared;
  const { completions, layout, wqes } = running;
  const entries = layout.wqes * layout.stridesPerWqe;
  const todo = hw.occupied();
  let packets = 0;
  let done = 0;
  let ran = RAN_XDP_PASS;
  for (; done < todo && packets < budget; done++) {
    const entry = queue.nextCompletion * ST_CQE_BYTES;
    const where = completions.read32(entry + ST_CQE_STRIDE_WORD * 4);
    const size = completions.read32(entry + ST_CQE_BYTES_WORD * 4);
    const status = completions.read32(entry + ST_CQE_STATUS_WORD * 4);
    queue.nextCompletion = queue.nextCompletion + 1 === entries ? 0 : queue.nextCompletion + 1;
    const wqe = wqes[where & 0xffff]!;
    wqe.consumedStrides += size >>> 16;
    if ((status & ST_CQE_FILLER) === 0) {
      const start = (where >>> 16) * layout.strideBytes;
      const bytes = size & 0xffff;
      const became = receive(deps, queue, running, napi, wqe, start, size >>> 16, bytes === 0 ? 1 << 16 : bytes, status);
      ran |= became;
      if (became !== LOST) {
        packets++;
        if (prog !== null) dev.rxPackets++;
      }
      if (queue.running !== running) break;
    }
    if (wqe.consumedStrides === layout.stridesPerWqe) queue.freeWqe(wqe);
  }
  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();
  if (queue.running !== running) return packets;
  if ((ran & RAN_XDP_TX) !== 0) shared.tx!.ring();
  if (done > 0) hw.decOccupied(done);
  return packets;
}

/** No packet came of it. A bit that no verdict has. */
const LOST = 1 << 8;

/** One packet; what became of it. Its strides are counted already. */
function receive(deps: DriverDeps, queue: StridingQueue, running: Running, napi: NapiStruct, wqe: Wqe, start: number, strides: number, bytes: number, status: number): number {
  const { shared } = queue;
  const { dev, prog } = shared;
  const { layout } = running;
  // A length that goes beyond its strides is none.
  if ((status & ST_CQE_ERROR) !== 0 || layout.headroomBytes + bytes > strides * layout.strideBytes) {
    dev.rxDropped++;
    return LOST;
  }
  if (prog !== null) {
    const became = runProgram(deps, queue, running, wqe.pages[Math.floor(start / PAGE_SIZE)]!, start % PAGE_SIZE, bytes);
    if (became !== RAN_XDP_PASS) return became;
    // A program took its own interface down, which is reported, and with it all pages.
    if (queue.running !== running) return RAN_XDP_DROPPED;
  }
  const skb = layout.isLinear ? linear(deps, queue, running, wqe, start, bytes) : nonlinear(deps, queue, running, wqe, start, bytes);
  if (skb === null) {
    dev.rxDropped++;
    return LOST;
  }
  skb.dev = dev;
  skb.rxQueue = queue.index + 1;
  if ((status & ST_CQE_CSUM_OK) !== 0) skb.ipSummed = CHECKSUM_UNNECESSARY;
  if (prog === null) dev.rxPackets++;
  dev.rxBytes += skb.len;
  deps.edit.ethTypeTrans(skb);
  if (shared.earlyDrop) {
    dev.rxDropped++;
    deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  } else deps.receive.napiGroReceive(napi, skb);
  return RAN_XDP_PASS;
}

/** A packet that leaves again takes its page along; one that is dropped leaves it where it is. @kernel mlx5e_xdp_handle (drivers/net/ethernet/mellanox/mlx5/core/en/xdp.c) */
function runProgram(deps: DriverDeps, queue: StridingQueue, { counts, layout, pool }: Running, fragPage: FragPage, offset: number, bytes: number): number {
  const { xdp, shared } = queue;
  const page = fragPage.page!;
  pool.dmaSyncForCpu(page, offset, layout.headroomBytes + bytes);
  deps.xdpBuffs.xdpInitBuff(xdp, layout.strideBytes);
  deps.xdpBuffs.xdpPrepareBuff(xdp, page, offset, layout.headroomBytes, bytes, true);
  const became = runXdp(deps, shared, xdp, shared.prog!, true, false);
  if ((became & (RAN_XDP_TX | RAN_XDP_REDIR)) !== 0) counts.give(fragPage);
  return became;
}

/** Its stride becomes its head; null without a struct. @kernel mlx5e_skb_from_cqe_mpwrq_linear */
function linear(deps: DriverDeps, { xdp, shared, index }: StridingQueue, { counts, layout, pool }: Running, wqe: Wqe, start: number, bytes: number): SkBuff | null {
  const fragPage = wqe.pages[Math.floor(start / PAGE_SIZE)]!;
  const page = fragPage.page!;
  const offset = start % PAGE_SIZE;
  const sawProgram = shared.prog !== null;
  if (!sawProgram) pool.dmaSyncForCpu(page, offset, layout.headroomBytes + bytes);
  const skb = deps.lifetime.napiBuildSkb(page, layout.strideBytes, offset);
  if (skb === null) return null;
  // A program may have moved both ends.
  deps.edit.skbReserve(skb, sawProgram ? xdp.data - offset : layout.headroomBytes);
  deps.edit.skbPut(skb, sawProgram ? xdp.dataEnd - xdp.data : bytes);
  if (sawProgram) skb.shinfo!.metaLen = xdp.data - xdp.dataMeta;
  counts.take(fragPage);
  if (counts.recycles) deps.recycle.skbMarkForRecycle(skb, page, shared.dev.rxQueues[index]!.xdpRxq.mem);
  return skb;
}

/** Its first bytes are copied into a head, the rest are frags of the pages that it lies in; null without memory. @kernel mlx5e_skb_from_cqe_mpwrq_nonlinear, mlx5e_fill_mxbuf, mlx5e_add_skb_frag */
function nonlinear(deps: DriverDeps, { shared, index }: StridingQueue, { counts, layout, pool }: Running, wqe: Wqe, start: number, bytes: number): SkBuff | null {
  const { edit, recycle, lifetime } = deps;
  const skb = lifetime.napiAllocSkb(shared.dev, ST_HEAD_BYTES);
  if (skb === null) return null;
  const { mem } = shared.dev.rxQueues[index]!.xdpRxq;
  const headBytes = Math.min(ST_HEAD_BYTES, bytes);
  const first = wqe.pages[Math.floor(start / PAGE_SIZE)]!.page!;
  // They may lie in two pages.
  let copied = 0;
  for (let at = start; copied < headBytes;) {
    const page = wqe.pages[Math.floor(at / PAGE_SIZE)]!.page!;
    const part = Math.min(headBytes - copied, PAGE_SIZE - (at % PAGE_SIZE));
    pool.dmaSyncForCpu(page, at % PAGE_SIZE, part);
    edit.skbPut(skb, part);
    edit.skbStoreBits(skb, copied, page.region, page.base + (at % PAGE_SIZE), part);
    copied += part;
    at += part;
  }
  for (let at = start + headBytes; at < start + bytes;) {
    const fragPage = wqe.pages[Math.floor(at / PAGE_SIZE)]!;
    const page = fragPage.page!;
    const offset = at % PAGE_SIZE;
    const part = Math.min(start + bytes - at, PAGE_SIZE - offset);
    pool.dmaSyncForCpu(page, offset, part);
    counts.take(fragPage);
    edit.skbAddRxFrag(skb, page, offset, part, Math.ceil(part / layout.strideBytes) * layout.strideBytes);
    if (counts.recycles) recycle.storeMemInfo(page, mem);
    at += part;
  }
  if (counts.recycles && skb.shinfo!.nrFrags > 0) recycle.skbMarkForRecycle(skb, first, mem);
  return skb;
}
