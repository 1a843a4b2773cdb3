import type { ExecutionContext, ReportSink } from "@netmem/kernel/api";
import { type Netmem, netmemCompoundHead, netmemName } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, MEM_TYPE_XSK_BUFF_POOL, XDP_BULK_QUEUE_SIZE, type MemModel, type XdpBuff, type XdpFrame, type XdpFrameBulk, type XdpReturn } from "./api/index.ts";
import type { FrameStructs } from "./frames.ts";
import type { MemModelTable } from "./registry.ts";

export interface FrameReturnParts {
  readonly table: MemModelTable;
  readonly frames: FrameStructs;
  readonly context: ExecutionContext;
  readonly nrCpus: number;
  readonly reports: ReportSink;
  /** From 6.3 a page_pool frame follows the pointer in its page; before, every frame asks the registry. */
  readonly followsPointer: boolean;
  /** From 6.14 a bulk may hold several pools' netmems; before, each frame of it asks the registry, and another pool's flushes it. */
  readonly bulksMixPools: boolean;
}

/** @kernel net/core/xdp.c */
export class FrameReturn implements XdpReturn {
  private readonly table: MemModelTable;
  private readonly frames: FrameStructs;
  private readonly context: ExecutionContext;
  private readonly reports: ReportSink;
  private readonly followsPointer: boolean;
  private readonly bulksMixPools: boolean;
  /** By CPU. @kernel BPF_RI_F_RF_NO_DIRECT of bpf_redirect_info */
  private readonly noDirect: boolean[];

  constructor(parts: FrameReturnParts) {
    this.table = parts.table;
    this.frames = parts.frames;
    this.context = parts.context;
    this.reports = parts.reports;
    this.followsPointer = parts.followsPointer;
    this.bulksMixPools = parts.bulksMixPools;
    this.noDirect = [];
    for (let cpu = 0; cpu < parts.nrCpus; cpu++) this.noDirect.push(false);
  }

  xdpReturnFrame(frame: XdpFrame): void {
    this.returnFrame(frame, false);
  }

  xdpReturnFrameRxNapi(frame: XdpFrame): void {
    this.returnFrame(frame, true);
  }

  xdpReturnFrameBulk(frame: XdpFrame, bulk: XdpFrameBulk): void {
    if (this.frames.isGone(frame, "returned in bulk")) return;
    if (frame.memType !== MEM_TYPE_PAGE_POOL) {
      this.xdpReturnFrame(frame);
      return;
    }
    if (this.bulksMixPools === false && bulk.memId !== frame.memId) {
      this.flush(bulk);
      bulk.model = this.table.lookup(frame.memType, frame.memId);
      bulk.memId = bulk.model === null ? 0 : frame.memId;
      if (bulk.model === null) {
        // Says that the buffers are lost, if they are.
        this.xdpReturnFrame(frame);
        return;
      }
    }
    if (bulk.count === XDP_BULK_QUEUE_SIZE) this.flush(bulk);
    for (let i = 0; i < frame.nrFrags; i++) {
      const frag = frame.frags[i]!;
      this.append(bulk, frag.netmem!);
      frag.netmem = null;
      // The head must find room behind the last fragment.
      if (bulk.count === XDP_BULK_QUEUE_SIZE) this.flush(bulk);
    }
    this.append(bulk, frame.head!);
    this.frames.put(frame);
  }

  xdpReleaseFrame(frame: XdpFrame): void {
    if (this.frames.isGone(frame, "released") || frame.memType !== MEM_TYPE_PAGE_POOL) return;
    for (let i = 0; i < frame.nrFrags; i++) this.release(frame.frags[i]!.netmem!, frame.memId);
    this.release(frame.head!, frame.memId);
  }

  xdpFlushFrameBulk(bulk: XdpFrameBulk): void {
    this.flush(bulk);
    // A batch ends: by the next, the id may stand for another model.
    bulk.model = null;
    bulk.memId = 0;
  }

  xdpReturnBuff(buff: XdpBuff): void {
    const { mem } = buff.rxq;
    if (mem.type === MEM_TYPE_XSK_BUFF_POOL && buff.xsk !== null) {
      buff.xsk.pool.xskBuffFree(buff);
      return;
    }
    for (let i = 0; i < buff.nrFrags; i++) {
      const frag = buff.frags[i]!;
      if (frag.netmem !== null) this.xdpReturnNetmem(frag.netmem, mem.type, mem.id, true);
      frag.netmem = null;
    }
    if (buff.head !== null) this.xdpReturnNetmem(buff.head, mem.type, mem.id, true);
    buff.head = null;
    buff.nrFrags = 0;
    buff.flags = 0;
  }

  xdpReturnFrag(netmem: Netmem, buff: XdpBuff): void {
    this.xdpReturnNetmem(netmem, buff.rxq.mem.type, buff.rxq.mem.id, true);
  }

  xdpReturnNetmem(netmem: Netmem, memType: number, memId: number, napiDirect: boolean): void {
    const direct = napiDirect && this.noDirect[this.context.cpu] === false;
    switch (memType) {
      case MEM_TYPE_PAGE_POOL: {
        const head = netmemCompoundHead(netmem);
        const pool = this.followsPointer ? (head.pp as MemModel | null) : this.table.lookup(memType, memId);
        if (pool !== null) {
          pool.returnNetmem(head, direct);
          return;
        }
        break;
      }
      default: {
        const model = this.table.lookup(memType, memId);
        if (model !== null) {
          model.returnNetmem(netmem, direct);
          return;
        }
      }
    }
    this.reportLost(netmem, memType, memId);
  }

  xdpSetReturnFrameNoDirect(): void {
    this.noDirect[this.context.cpu] = true;
  }

  xdpClearReturnFrameNoDirect(): void {
    this.noDirect[this.context.cpu] = false;
  }

  private flush(bulk: XdpFrameBulk): void {
    const { count, q } = bulk;
    if (count === 0) return;
    const model = this.bulksMixPools === true ? (q[0]!.pp as MemModel) : bulk.model!;
    model.returnNetmemBulk(q, count);
    bulk.count = 0;
  }

  private release(netmem: Netmem, memId: number): void {
    const head = netmemCompoundHead(netmem);
    const pool = this.followsPointer ? (head.pp as MemModel | null) : this.table.lookup(MEM_TYPE_PAGE_POOL, memId);
    if (pool !== null) pool.releaseNetmem(head);
  }

  private append(bulk: XdpFrameBulk, netmem: Netmem): void {
    const head = netmemCompoundHead(netmem);
    if (this.bulksMixPools === true && head.pp === null) this.reportLost(head, MEM_TYPE_PAGE_POOL, 0);
    else bulk.q[bulk.count++] = head;
  }

  private reportLost(netmem: Netmem, memType: number, memId: number): void {
    this.reports.report("xdp-wrong-memory-type", "warn", netmemName(netmem), `mem type ${memType} id ${memId}`, "no memory model takes this buffer: it is lost");
  }

  private returnFrame(frame: XdpFrame, napiDirect: boolean): void {
    if (this.frames.isGone(frame, "returned")) return;
    for (let i = 0; i < frame.nrFrags; i++) {
      const frag = frame.frags[i]!;
      if (frag.netmem !== null) this.xdpReturnNetmem(frag.netmem, frame.memType, frame.memId, napiDirect);
      frag.netmem = null;
    }
    this.xdpReturnNetmem(frame.head!, frame.memType, frame.memId, napiDirect);
    this.frames.put(frame);
  }
}
