import { ENOBUFS, ENOSPC } from "@netmem/kernel/api";
import type { XdpDesc, XskRing } from "../api/index.ts";

/** What validates descriptors: the pool that they are of. */
export interface DescValidator {
  readonly validateDesc: (desc: XdpDesc) => boolean;
}

/** The kernel's side of a ring: indices it works with, which the user sees when they are published. @kernel struct xsk_queue (net/xdp/xsk_queue.h) */
export class XskQueue {
  readonly ring: XskRing;
  cachedProd: number;
  cachedCons: number;
  invalidDescs: number;
  queueEmptyDescs: number;

  constructor(ring: XskRing) {
    this.ring = ring;
    this.cachedProd = 0;
    this.cachedCons = 0;
    this.invalidDescs = 0;
    this.queueEmptyDescs = 0;
  }

  // As consumer: fill and tx ring.

  /** Publishes what was consumed. @kernel __xskq_cons_release */
  consPublish(): void {
    this.ring.consumer = this.cachedCons;
  }

  /** @kernel xskq_cons_get_entries */
  consRefresh(): void {
    this.consPublish();
    // The user's word, whatever it is.
    this.cachedProd = this.ring.producer >>> 0;
  }

  hasDescs(): boolean {
    return this.cachedCons !== this.cachedProd;
  }

  /** Entries there, at most `max`; asks the user's side only if it knows of too few. @kernel xskq_cons_nb_entries */
  consNbEntries(max: number): number {
    let entries = (this.cachedProd - this.cachedCons) >>> 0;
    if (entries >= max) return max;
    this.consRefresh();
    entries = (this.cachedProd - this.cachedCons) >>> 0;
    return Math.min(entries, max);
  }

  /** Slot of the next entry, or −1. @kernel xskq_cons_peek_addr_unchecked */
  consPeek(): number {
    if (!this.hasDescs()) this.consRefresh();
    return this.hasDescs() ? this.cachedCons & this.ring.mask : -1;
  }

  /** The next descriptor if it is a valid one; an invalid one is counted, and stays for the caller to release. @kernel xskq_cons_peek_desc */
  consPeekDesc(desc: XdpDesc, validator: DescValidator): boolean {
    if (!this.hasDescs()) this.consRefresh();
    if (!this.hasDescs()) {
      this.queueEmptyDescs++;
      return false;
    }
    return this.readDesc(this.cachedCons, desc, validator);
  }

  readDesc(index: number, desc: XdpDesc, validator: DescValidator): boolean {
    const { ring } = this;
    const slot = index & ring.mask;
    desc.base = ring.addr[slot]!;
    desc.offset = ring.offset[slot]!;
    desc.addr = desc.base + desc.offset;
    desc.len = ring.len[slot]!;
    desc.options = ring.options[slot]!;
    if (validator.validateDesc(desc)) return true;
    this.invalidDescs++;
    return false;
  }

  /** Of the local index alone. @kernel xskq_cons_release, xskq_cons_release_n */
  consRelease(n: number): void {
    this.cachedCons = (this.cachedCons + n) >>> 0;
  }

  /** @kernel xskq_cons_cancel_n */
  consCancel(n: number): void {
    this.cachedCons = (this.cachedCons - n) >>> 0;
  }

  /** As the user may see it. @kernel xskq_cons_present_entries */
  presentEntries(): number {
    return (this.ring.producer - this.ring.consumer) >>> 0;
  }

  // As producer: rx and completion ring.

  /** Free slots, at most `max`. @kernel xskq_prod_nb_free */
  prodNbFree(max: number): number {
    const { entries } = this.ring;
    let free = entries - ((this.cachedProd - this.cachedCons) >>> 0);
    if (free >= max) return max;
    this.cachedCons = this.ring.consumer >>> 0;
    free = entries - ((this.cachedProd - this.cachedCons) >>> 0);
    return Math.min(free, max);
  }

  /** One slot, to be written by `prodSubmitAddr`: 0 or -ENOSPC. @kernel xskq_prod_reserve */
  prodReserve(): number {
    if (this.prodNbFree(1) < 1) return -ENOSPC;
    this.cachedProd = (this.cachedProd + 1) >>> 0;
    return 0;
  }

  /** 0 or -ENOSPC. @kernel xskq_prod_reserve_addr */
  prodReserveAddr(base: number, offset: number): number {
    if (this.prodNbFree(1) < 1) return -ENOSPC;
    const slot = this.cachedProd & this.ring.mask;
    this.ring.addr[slot] = base;
    this.ring.offset[slot] = offset;
    this.cachedProd = (this.cachedProd + 1) >>> 0;
    return 0;
  }

  /** 0 or -ENOBUFS. @kernel xskq_prod_reserve_desc */
  prodReserveDesc(base: number, offset: number, len: number, options: number): number {
    if (this.prodNbFree(1) < 1) return -ENOBUFS;
    const { ring } = this;
    const slot = this.cachedProd & ring.mask;
    ring.addr[slot] = base;
    ring.offset[slot] = offset;
    ring.len[slot] = len;
    ring.options[slot] = options;
    this.cachedProd = (this.cachedProd + 1) >>> 0;
    return 0;
  }

  /** @kernel xskq_prod_cancel_n */
  prodCancel(n: number): void {
    this.cachedProd = (this.cachedProd - n) >>> 0;
  }

  /** All that is reserved. @kernel xskq_prod_submit */
  prodSubmit(): void {
    this.ring.producer = this.cachedProd;
  }

  /** The oldest `n` of what is reserved. @kernel xskq_prod_submit_n */
  prodSubmitN(n: number): void {
    this.ring.producer = (this.ring.producer + n) >>> 0;
  }

  /** Into the next published slot, whatever order they were reserved in. @kernel xskq_prod_submit_addr */
  prodSubmitAddr(base: number, offset: number): void {
    const { ring } = this;
    const slot = ring.producer & ring.mask;
    ring.addr[slot] = base;
    ring.offset[slot] = offset;
    ring.producer = (ring.producer + 1) >>> 0;
  }

  /** @kernel xskq_prod_is_empty */
  isEmpty(): boolean {
    return this.ring.consumer === this.ring.producer;
  }
}
