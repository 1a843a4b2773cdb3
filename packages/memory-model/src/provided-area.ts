import { E2BIG, EINVAL, ENOMEM, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { DMA_FROM_DEVICE, PAGE_SIZE, type Mm, type NetIov, type NetIovArea } from "@netmem/mm/api";
import type { ProviderPool } from "@netmem/page-pool/api";
import type { ProvidedArea, ProvidedAreas } from "./api/index.ts";

class UserArea implements ProvidedArea {
  readonly area: NetIovArea;
  /** The last goes first; and where in it each one is, −1 for those that somebody has. */
  readonly #free: NetIov[];
  readonly #freeAt: Int32Array;
  /** By index. @kernel io_zcrx_area.user_refs */
  readonly #userRefs: Int32Array;
  readonly #pools: ProviderPool[] = [];
  readonly #dmaAddrs: number[] = [];
  /** For which it is mapped; null: for none. */
  #mappedFor: ProviderPool["params"] | null = null;
  #held = 0;

  constructor(area: NetIovArea) {
    this.area = area;
    this.#free = [...area.niovs];
    this.#freeAt = Int32Array.from(area.niovs, ({ index }) => index);
    this.#userRefs = new Int32Array(area.niovs.length);
  }

  addPool(pool: ProviderPool): number {
    if (pool.params.order !== 0) return -E2BIG;
    if (pool.params.dmaDir !== DMA_FROM_DEVICE) return -EOPNOTSUPP;
    if (this.#mappedFor !== null && this.#mappedFor.dev !== pool.params.dev) return -EINVAL;
    if (this.#mappedFor === null && !this.#map(pool)) return -ENOMEM;
    this.#pools.push(pool);
    // Memory of the device's own is never synced.
    if (!this.area.region.cpuReadable) {
      pool.dmaSync = false;
      pool.dmaSyncCpu = false;
    }
    return 0;
  }

  removePool(pool: ProviderPool): void {
    const at = this.#pools.indexOf(pool);
    if (at < 0) return;
    this.#pools.splice(at, 1);
    if (this.#pools.length === 0) this.unmap();
  }

  unmap(): void {
    if (this.#mappedFor === null) return;
    const { dev, dmaDir } = this.#mappedFor;
    this.#mappedFor = null;
    // What comes back later is nothing a device has to see.
    for (const pool of this.#pools) {
      pool.dmaSync = false;
      pool.dmaSyncCpu = false;
    }
    for (const dmaAddr of this.#dmaAddrs.splice(0)) dev!.unmapPage(dmaAddr, PAGE_SIZE, dmaDir, 0);
    for (const niov of this.area.niovs) niov.dmaAddr = 0;
  }

  takeFree(pool: ProviderPool): NetIov | null {
    const { length } = this.#free;
    if (length === 0) return null;
    const niov = this.#free[length - 1]!;
    this.take(pool, niov);
    return niov;
  }

  take(pool: ProviderPool, niov: NetIov): boolean {
    const at = this.#freeAt[niov.index]!;
    if (niov !== this.area.niovs[niov.index] || at < 0) return false;
    // The last one takes its place.
    const last = this.#free.pop()!;
    if (last !== niov) {
      this.#free[at] = last;
      this.#freeAt[last.index] = at;
    }
    this.#freeAt[niov.index] = -1;
    pool.niovSetPagePool(niov);
    if (pool.dmaSync) pool.dmaSyncForDevice(niov, -1);
    return true;
  }

  release(pool: ProviderPool, niov: NetIov): void {
    pool.niovClearPagePool(niov);
    this.#putFree(niov);
  }

  hasOut(niov: NetIov): boolean {
    return this.#ownerOf(niov) !== null;
  }

  giveToUser(niov: NetIov): void {
    niov.ppRefCount++;
    if (this.#userRefs[niov.index]!++ === 0) this.#held++;
  }

  takeForUser(): NetIov | null {
    const niov = this.#free.pop() ?? null;
    if (niov === null) return null;
    this.#freeAt[niov.index] = -1;
    this.#userRefs[niov.index] = 1;
    this.#held++;
    return niov;
  }

  userRefs(niov: NetIov): number {
    return this.#userRefs[niov.index]!;
  }

  reclaim(pool: ProviderPool, niov: NetIov): boolean {
    if (!this.#takeFromUser(niov)) return false;
    const owner = this.#ownerOf(niov);
    if (owner === null || owner.unrefNetmem(niov, 1) !== 0) return false;
    if (owner !== pool) {
      owner.putUnrefedNetmem(niov, -1, false);
      return false;
    }
    if (pool.dmaSync) pool.dmaSyncForDevice(niov, -1);
    return true;
  }

  putUser(niov: NetIov): boolean {
    if (!this.#takeFromUser(niov)) return false;
    const owner = this.#ownerOf(niov);
    if (owner !== null && owner.unrefNetmem(niov, 1) === 0) owner.putUnrefedNetmem(niov, -1, false);
    return true;
  }

  free(): number {
    return this.#free.length;
  }

  held(): number {
    return this.#held;
  }

  /** False: no user has it. What no pool counts is free with its last user. */
  #takeFromUser(niov: NetIov): boolean {
    if (niov !== this.area.niovs[niov.index] || this.#userRefs[niov.index] === 0) return false;
    if (--this.#userRefs[niov.index]! > 0) return true;
    this.#held--;
    if (this.#ownerOf(niov) === null) this.#putFree(niov);
    return true;
  }

  #putFree(niov: NetIov): void {
    this.#freeAt[niov.index] = this.#free.length;
    this.#free.push(niov);
  }

  #ownerOf(niov: NetIov): ProviderPool | null {
    for (let i = 0; i < this.#pools.length; i++) if (this.#pools[i]!.hasOut(niov)) return this.#pools[i]!;
    return null;
  }

  #map(pool: ProviderPool): boolean {
    const dev = pool.params.dev!;
    this.#mappedFor = pool.params;
    for (const niov of this.area.niovs) {
      const dmaAddr = dev.mapNetIov(niov, PAGE_SIZE, pool.params.dmaDir, 0);
      const mapped = !dev.mappingError(dmaAddr);
      if (mapped) this.#dmaAddrs.push(dmaAddr);
      if (!mapped || pool.niovSetDmaAddr(niov, dmaAddr)) {
        this.unmap();
        return false;
      }
    }
    return true;
  }
}

export function createProvidedAreas({ createNetIovArea }: Pick<Mm, "createNetIovArea">): ProvidedAreas {
  return {
    create: (name: string, type: number, buffers: number, cpuReadable: boolean): ProvidedArea => {
      if (!Number.isInteger(buffers) || buffers < 1) throw new UsageError("memory-model", `buffers of ${name}`, buffers, "give 1 or more");
      return new UserArea(createNetIovArea(name, type, buffers, cpuReadable));
    },
  };
}
