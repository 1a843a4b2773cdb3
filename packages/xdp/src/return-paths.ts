import type { ReportSink } from "@netmem/kernel/api";
import { type Netmem, PP_MAGIC_MASK, PP_SIGNATURE, PP_SIGNATURE_V3, netmemCompoundHead, netmemName } from "@netmem/mm/api";
import type { MemInfo, MemModel, NetmemReturn } from "./api/index.ts";
import type { MemModelTable } from "./registry.ts";

/** How a page says that a pool owns it; the pools and the return path of one machine agree on these. */
export interface SignatureRule {
  readonly signature: number;
  /** v3 added a word for it; what landed borrows the low bits of word 1. */
  readonly ownWord: boolean;
  /** Bits that are compared; a too exact comparison is the pfmemalloc leak of 5.14. */
  readonly mask: number;
}

export const SIGNATURE_V3: SignatureRule = { signature: PP_SIGNATURE_V3, ownWord: true, mask: ~0 };
/** 5.14: compared exactly, so a page with the pfmemalloc bit set was not recognised. */
export const SIGNATURE_EXACT: SignatureRule = { signature: PP_SIGNATURE, ownWord: false, mask: ~0 };
export const SIGNATURE_MASKED: SignatureRule = { signature: PP_SIGNATURE, ownWord: false, mask: PP_MAGIC_MASK };

/** @kernel netmem_is_pp (net/core/netmem_priv.h); the signature check of page_pool_return_skb_page */
function isSigned(netmem: Netmem, rule: SignatureRule): boolean {
  return ((rule.ownWord ? netmem.signature : netmem.ppMagic) & rule.mask) === rule.signature;
}

function counted(owner: MemModel | null, netmem: Netmem): boolean {
  if (owner === null) return false;
  owner.refSkbNetmem(netmem);
  return true;
}

/**
 * Before the series: an skb cannot recycle, so handing a page to one takes it from its pool.
 * @kernel page_pool_release_page in the drivers, up to 5.13
 */
export class ReleaseOnMark implements NetmemReturn {
  readonly needsSkb = false;
  private readonly table: MemModelTable;

  constructor(table: MemModelTable) {
    this.table = table;
  }

  storeMemInfo(netmem: Netmem, mem: MemInfo): boolean {
    this.table.peek(mem.type, mem.id)?.releaseNetmem(netmem);
    return false;
  }

  tryReturn(_netmem: Netmem, _napiSafe: boolean): boolean {
    return false;
  }

  tryRef(_netmem: Netmem): boolean {
    return false;
  }

  enterSkb(_memType: number, _memId: number): void {}
}

/** {type, id} in the page: the driver writes them, every free resolves them through the registry. */
export class MemInfoInPage implements NetmemReturn {
  readonly needsSkb = false;
  private readonly table: MemModelTable;
  private readonly rule: SignatureRule;
  private readonly clearsOnReturn: boolean;
  private readonly reports: ReportSink;

  /** `clearsOnReturn`: a page is marked anew on each trip, so one that a driver forgot is seen. Only where no further holder may need it. */
  constructor(table: MemModelTable, rule: SignatureRule, clearsOnReturn: boolean, reports: ReportSink) {
    this.table = table;
    this.rule = rule;
    this.clearsOnReturn = clearsOnReturn;
    this.reports = reports;
  }

  storeMemInfo(netmem: Netmem, mem: MemInfo): boolean {
    netmem.memType = mem.type;
    netmem.memId = mem.id;
    return true;
  }

  tryReturn(netmem: Netmem, napiSafe: boolean): boolean {
    const head = netmemCompoundHead(netmem);
    if (!isSigned(head, this.rule)) return false;
    const model = head.memId === 0 ? null : this.table.lookup(head.memType, head.memId);
    if (model === null) {
      this.reports.report("xdp-unknown-mem-id", "warn", netmemName(head), `mem type ${head.memType} id ${head.memId}`, "signed by a pool, but no memory model is registered under this id");
      return false;
    }
    if (this.clearsOnReturn) {
      head.memType = 0;
      head.memId = 0;
    }
    model.returnSkbNetmem(head, napiSafe);
    return true;
  }

  tryRef(netmem: Netmem): boolean {
    const head = netmemCompoundHead(netmem);
    return isSigned(head, this.rule) && counted(this.table.peek(head.memType, head.memId), head);
  }

  enterSkb(_memType: number, _memId: number): void {}
}

/** The owner's pointer in the page. */
export class PoolPointer implements NetmemReturn {
  readonly needsSkb = false;
  private readonly rule: SignatureRule;

  constructor(rule: SignatureRule) {
    this.rule = rule;
  }

  storeMemInfo(_netmem: Netmem, _mem: MemInfo): boolean {
    return true;
  }

  tryReturn(netmem: Netmem, napiSafe: boolean): boolean {
    const head = netmemCompoundHead(netmem);
    if (!isSigned(head, this.rule)) return false;
    (head.pp as MemModel).returnSkbNetmem(head, napiSafe);
    return true;
  }

  tryRef(netmem: Netmem): boolean {
    const head = netmemCompoundHead(netmem);
    return isSigned(head, this.rule) && counted(head.pp as MemModel, head);
  }

  enterSkb(_memType: number, _memId: number): void {}
}

/**
 * The pointer written when a driver marks the page instead of when its pool allocates it.
 * @kernel page_pool_store_mem_info and page_pool_return_skb_page of 5.14
 */
export class PoolPointerAtMark implements NetmemReturn {
  readonly needsSkb = false;
  private readonly table: MemModelTable;
  private readonly rule: SignatureRule;
  private readonly clearsOnReturn: boolean;
  private readonly reports: ReportSink;

  /** `clearsOnReturn`: a page is marked anew on each trip, so one that a driver forgot is seen. Only where no further holder may need it. */
  constructor(table: MemModelTable, rule: SignatureRule, clearsOnReturn: boolean, reports: ReportSink) {
    this.table = table;
    this.rule = rule;
    this.clearsOnReturn = clearsOnReturn;
    this.reports = reports;
  }

  storeMemInfo(netmem: Netmem, mem: MemInfo): boolean {
    // Not a look-up: a 5.14 driver passes the pointer itself.
    netmem.pp = this.table.peek(mem.type, mem.id);
    return true;
  }

  tryReturn(netmem: Netmem, napiSafe: boolean): boolean {
    const head = netmemCompoundHead(netmem);
    if (!isSigned(head, this.rule)) return false;
    const owner = head.pp as MemModel | null;
    if (owner === null) {
      this.reports.report("pp-null-owner", "bug", netmemName(head), "none", "signed by a pool, but never marked by its driver: a NULL pool in 5.14");
      return false;
    }
    if (this.clearsOnReturn) head.pp = null;
    owner.returnSkbNetmem(head, napiSafe);
    return true;
  }

  tryRef(netmem: Netmem): boolean {
    const head = netmemCompoundHead(netmem);
    return isSigned(head, this.rule) && counted(head.pp as MemModel | null, head);
  }

  enterSkb(_memType: number, _memId: number): void {}
}

/**
 * One {type, id} for a whole skb, wherever its pages come from: an skb whose pages have different owners gives all of
 * them to one.
 */
export class MemInfoInSkb implements NetmemReturn {
  readonly needsSkb = true;
  private readonly table: MemModelTable;
  private readonly rule: SignatureRule;
  private readonly reports: ReportSink;
  private memType = 0;
  private memId = 0;

  constructor(table: MemModelTable, rule: SignatureRule, reports: ReportSink) {
    this.table = table;
    this.rule = rule;
    this.reports = reports;
  }

  storeMemInfo(_netmem: Netmem, _mem: MemInfo): boolean {
    return true;
  }

  tryReturn(netmem: Netmem, napiSafe: boolean): boolean {
    const head = netmemCompoundHead(netmem);
    if (!isSigned(head, this.rule)) return false;
    const model = this.table.lookup(this.memType, this.memId);
    if (model === null) return false;
    if (head.pp !== null && head.pp !== model) {
      this.reports.report("wrong-memory-model", "warn", netmemName(head), `mem type ${head.pp.memType} id ${head.pp.memId}`, `returned to mem type ${this.memType} id ${this.memId}, which the skb names`);
    }
    model.returnSkbNetmem(head, napiSafe);
    return true;
  }

  tryRef(netmem: Netmem): boolean {
    const head = netmemCompoundHead(netmem);
    return isSigned(head, this.rule) && counted(this.table.peek(this.memType, this.memId), head);
  }

  enterSkb(memType: number, memId: number): void {
    this.memType = memType;
    this.memId = memId;
  }
}
