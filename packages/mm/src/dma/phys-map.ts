import { PAGE_SHIFT, PAGE_SIZE, type PayloadRegion } from "../api/index.ts";
import { FIRST_PFN } from "../page-alloc/mem-map.ts";

/** Page 0 has no physical address that a device could be given. */
const BOUNCE_BASE = PAGE_SIZE;
/** What fits below the first page frame: the bounce buffer is reserved there, where every device reaches it. */
export const BOUNCE_BYTES: number = (FIRST_PFN << PAGE_SHIFT) - BOUNCE_BASE;

/**
 * Physical addresses: the bounce buffer from 4 KiB, host pages from 4 MiB, and behind them, in the order they came, whatever
 * a device is given that is not host memory.
 */
export class PhysMap {
  readonly host: PayloadRegion;
  readonly hostBase: number = FIRST_PFN << PAGE_SHIFT;
  readonly #bases: number[] = [];
  readonly #regions: PayloadRegion[] = [];
  #end: number;

  constructor(host: PayloadRegion, bounce: PayloadRegion | null) {
    this.host = host;
    this.#end = this.hostBase + host.bytes.length;
    if (bounce !== null) this.#add(BOUNCE_BASE, bounce);
  }

  /** Physical address of a byte, or −1 in a region that no device was given yet. */
  addressOf(region: PayloadRegion, offset: number): number {
    if (region === this.host) return this.hostBase + offset;
    const index = this.#regions.indexOf(region);
    return index < 0 ? -1 : this.#bases[index]! + offset;
  }

  /** The same, and gives the region its place if it has none. */
  register(region: PayloadRegion, offset: number): number {
    const known = this.addressOf(region, offset);
    if (known >= 0) return known;
    const base = this.#end;
    this.#add(base, region);
    this.#end = base + Math.ceil(region.bytes.length / PAGE_SIZE) * PAGE_SIZE;
    return base + offset;
  }

  /** The memory that holds all of these bytes, or null. */
  regionAt(address: number, lengthBytes: number): PayloadRegion | null {
    const offset = address - this.hostBase;
    if (offset >= 0 && offset + lengthBytes <= this.host.bytes.length) return this.host;
    for (let i = 0; i < this.#regions.length; i++) {
      const within = address - this.#bases[i]!;
      if (within >= 0 && within + lengthBytes <= this.#regions[i]!.bytes.length) return this.#regions[i]!;
    }
    return null;
  }

  /** Byte offset in that region. */
  offsetIn(region: PayloadRegion, address: number): number {
    return region === this.host ? address - this.hostBase : address - this.#bases[this.#regions.indexOf(region)]!;
  }

  #add(base: number, region: PayloadRegion): void {
    this.#bases.push(base);
    this.#regions.push(region);
  }
}
