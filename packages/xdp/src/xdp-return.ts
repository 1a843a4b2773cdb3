import type { ReportSink } from "@netmem/kernel/api";
import { type Netmem, netmemCompoundHead, netmemName } from "@netmem/mm/api";
import {
  MEM_TYPE_PAGE_POOL, type MemModel, type XdpBuff, type XdpFrame, type XdpReturn,
} from "./api/index.ts";
import type { MemModelTable } from "./registry.ts";

export class FrameReturn implements XdpReturn {
  readonly #table: MemModelTable;
  readonly #reports: ReportSink;
  /** From 6.3 a page_pool frame follows the pointer in its page; before, every frame asks the registry. */
  readonly #followsPointer: boolean;

  constructor(table: MemModelTable, followsPointer: boolean, reports: ReportSink) {
    this.#table = table;
    this.#followsPointer = followsPointer;
    this.#reports = reports;
  }

  xdpReturnFrame(frame: XdpFrame): void {
    this.#returnFrame(frame, false);
  }

  xdpReturnFrameRxNapi(frame: XdpFrame): void {
    this.#returnFrame(frame, true);
  }

  xdpReturnBuff(buff: XdpBuff): void {
    const { mem } = buff.rxq;
    for (let i = 0; i < buff.nrFrags; i++) {
      const frag = buff.frags[i]!;
      if (frag.netmem !== null) this.xdpReturnNetmem(frag.netmem, mem.type, mem.id, true);
      frag.netmem = null;
    }
    if (buff.head !== null) this.xdpReturnNetmem(buff.head, mem.type, mem.id, true);
    buff.head = null;
    buff.nrFrags = 0;
  }

  xdpReturnNetmem(netmem: Netmem, memType: number, memId: number, napiDirect: boolean): void {
    switch (memType) {
      case MEM_TYPE_PAGE_POOL: {
        const head = netmemCompoundHead(netmem);
        const pool = this.#followsPointer ? (head.pp as MemModel | null) : this.#table.lookup(memType, memId);
        if (pool !== null) {
          pool.returnNetmem(head, napiDirect);
          return;
        }
        break;
      }
      default: {
        const model = this.#table.lookup(memType, memId);
        if (model !== null) {
          model.returnNetmem(netmem, napiDirect);
          return;
        }
      }
    }
    this.#reports.report("xdp-wrong-memory-type", "warn", netmemName(netmem), `mem type ${memType} id ${memId}`, "no memory model takes this buffer: it is lost");
  }

  xdpConvertBuffToFrame(buff: XdpBuff, frame: XdpFrame): void {
    frame.head = buff.head;
    frame.data = buff.data;
    frame.len = buff.dataEnd - buff.data;
    frame.memType = buff.rxq.mem.type;
    frame.memId = buff.rxq.mem.id;
    frame.nrFrags = buff.nrFrags;
    for (let i = 0; i < buff.nrFrags; i++) {
      const to = frame.frags[i]!;
      const from = buff.frags[i]!;
      to.netmem = from.netmem;
      to.offset = from.offset;
      to.sizeBytes = from.sizeBytes;
      from.netmem = null;
    }
    buff.head = null;
    buff.nrFrags = 0;
  }

  #returnFrame(frame: XdpFrame, napiDirect: boolean): void {
    for (let i = 0; i < frame.nrFrags; i++) {
      const frag = frame.frags[i]!;
      if (frag.netmem !== null) this.xdpReturnNetmem(frag.netmem, frame.memType, frame.memId, napiDirect);
      frag.netmem = null;
    }
    frame.nrFrags = 0;
    if (frame.head !== null) this.xdpReturnNetmem(frame.head, frame.memType, frame.memId, napiDirect);
    frame.head = null;
  }
}
