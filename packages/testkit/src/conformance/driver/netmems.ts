import { PAGE_SIZE, netmemName, type Netmem, type PayloadRegion } from "@netmem/mm/api";
import type { WatchedPool } from "./pools.ts";

/** What is known of a page, or net_iov, since the driver last got it. */
export class NetmemLog {
  readonly netmem: Netmem;
  bytes = 0;
  /** Whose it is; null: the driver's own. */
  pool: WatchedPool | null = null;
  /** Bytes of it that the CPU may read, as pairs of first and end, from the start of the page. */
  readonly #readable: number[] = [];
  /** End of what a program may have written. */
  touchedEnd = 0;
  /** Plain references that the driver took and has not given away. */
  plainRefs = 0;
  /** It takes references in advance. */
  counted = false;
  /** A device may write to it. */
  mapped = false;
  /** The stack was told whose it is. */
  told = false;
  /** Where the driver last had to do with it. */
  where = "";

  constructor(netmem: Netmem) {
    this.netmem = netmem;
  }

  /** The driver has just got it: what was known of it is the past's. */
  begin(pool: WatchedPool | null, bytes: number): void {
    // Of a page that is cut up, each part is one of several.
    this.counted = this.counted && this.pool === pool;
    this.bytes = bytes;
    this.pool = pool;
    this.#readable.length = 0;
    this.touchedEnd = 0;
    this.plainRefs = 0;
    this.mapped = false;
    this.told = false;
    this.where = "";
  }

  /** The device may write here: what the CPU may read of it is the past's. */
  posted(start: number, end: number): void {
    for (let i = this.#readable.length - 2; i >= 0; i -= 2) {
      const [from, to] = [this.#readable[i]!, this.#readable[i + 1]!];
      if (to <= start || from >= end) continue;
      const rest = [from, Math.min(to, start), Math.max(from, end), to];
      this.#readable.splice(i, 2, ...(rest[0]! < rest[1]! ? rest.slice(0, 2) : []), ...(rest[2]! < rest[3]! ? rest.slice(2) : []));
    }
    this.touchedEnd = 0;
  }

  synced(start: number, end: number): void {
    if (end > start) this.#readable.push(start, end);
  }

  /** The first byte of the range that the CPU may not read, or −1. */
  firstUnreadable(start: number, end: number): number {
    for (let at = start; at < end;) {
      let reach = at;
      for (let i = 0; i < this.#readable.length; i += 2) if (this.#readable[i]! <= at && this.#readable[i + 1]! > reach) reach = this.#readable[i + 1]!;
      if (reach === at) return at;
      at = reach;
    }
    return -1;
  }
}

/** All that the driver ever got, by struct and by device address. */
export class NetmemLogs {
  readonly #logs: Map<Netmem, NetmemLog> = new Map<Netmem, NetmemLog>();
  readonly #byAddress: Map<number, { readonly netmem: Netmem; readonly offset: number }> = new Map<number, { readonly netmem: Netmem; readonly offset: number }>();

  /** The driver has just got it. */
  got(netmem: Netmem, pool: WatchedPool | null, bytes: number): NetmemLog {
    let log = this.#logs.get(netmem);
    if (log === undefined) {
      log = new NetmemLog(netmem);
      this.#logs.set(netmem, log);
    }
    log.begin(pool, bytes);
    if (netmem.dmaAddr !== 0) this.mapped(netmem, netmem.dmaAddr, 0, bytes);
    return log;
  }

  /** It is somebody else's now, whatever it was. */
  forget(netmem: Netmem): void {
    this.#logs.delete(netmem);
  }

  mapped(netmem: Netmem, dmaAddr: number, offset: number, bytes: number): void {
    const log = this.of(netmem);
    if (log !== null) log.mapped = true;
    for (let at = 0; at < bytes; at += PAGE_SIZE) this.#placed(netmem, dmaAddr + at, offset + at);
  }

  #placed(netmem: Netmem, dmaAddr: number, offset: number): void {
    const page = Math.floor(dmaAddr / PAGE_SIZE);
    const start = offset - (dmaAddr % PAGE_SIZE);
    const known = this.#byAddress.get(page);
    if (known === undefined || known.netmem !== netmem || known.offset !== start) this.#byAddress.set(page, { netmem, offset: start });
  }

  of(netmem: Netmem | null): NetmemLog | null {
    return netmem === null ? null : (this.#logs.get(netmem) ?? this.#logs.get(netmem.isNetIov ? netmem : netmem.head) ?? null);
  }

  /** What lies at a device address. */
  netmemAt(dmaAddr: number): Netmem | null {
    const found = this.#byAddress.get(Math.floor(dmaAddr / PAGE_SIZE));
    return found === undefined ? null : (this.of(found.netmem)?.netmem ?? null);
  }

  /** The same, and which byte of it. */
  at(dmaAddr: number): { readonly log: NetmemLog; readonly offset: number } | null {
    const found = this.#byAddress.get(Math.floor(dmaAddr / PAGE_SIZE));
    const log = found === undefined ? null : this.of(found.netmem);
    return log === null ? null : { log, offset: found!.offset + (dmaAddr % PAGE_SIZE) };
  }

  /** Whose bytes lie at this place of a region. */
  in(region: PayloadRegion, offset: number): NetmemLog | null {
    for (const log of this.#logs.values()) if (log.netmem.region === region && offset >= log.netmem.base && offset < log.netmem.base + log.bytes) return log;
    return null;
  }

  named(name: string): NetmemLog | null {
    for (const log of this.#logs.values()) if (netmemName(log.netmem) === name) return log;
    return null;
  }

  all(): IterableIterator<NetmemLog> {
    return this.#logs.values();
  }
}
