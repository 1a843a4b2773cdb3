import { NSEC_PER_SEC } from "@netmem/kernel/api";
import type { MachineOptions, PresetName } from "@netmem/machine";
import { GFP_ATOMIC, NUMA_NO_NODE, netmemName, type Netmem, type Page } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import { MemInfo, XDP_BULK_QUEUE_SIZE } from "@netmem/xdp/api";
import { PoolBench } from "./pp-rows/pool-bench.ts";

/** One thing that happens; the numbers pick among what there is at that moment. */
export interface Step {
  readonly op: "alloc" | "frag" | "free" | "share" | "pin" | "unpin" | "bulk" | "nid" | "napi" | "create" | "destroy" | "time";
  readonly pool: number;
  readonly holder: number;
  /** 0, 1: softirq on that CPU; 2: process context. */
  readonly where: number;
  readonly direct: boolean;
  readonly sizeBytes: number;
}

/** Whose one netmem is, and nothing else: the oracle knows no cache, no ring, no order. */
interface Owned {
  /** Null once it has left, while somebody still has a reference. */
  pool: PagePool | null;
  /** Holders that its pool counts; of the open page, fragments that are out. */
  counted: number;
  /** Page references beyond the pool's own; once it left, all of them. */
  references: number;
  /** The page that its pool is cutting up. */
  open: boolean;
  idle: boolean;
}

/** What the statistics must add up to. */
class Tally {
  handedOut = 0;
  furtherFrags = 0;
  reusedInPlace = 0;
  becameIdle = 0;
  leftShared = 0;
  leftForRoom = 0;
  batchesWithoutRoom = 0;
}

const MOST_POOLS = 4;
const NIOVS = 6;
const RING_SIZES = [1, 2, 5, 32];

/** A machine with several pools, CPUs and holders, and beside it the oracle; anything that differs is an error with the step's number. */
export class OracleRun {
  readonly bench: PoolBench;
  readonly #owned = new Map<Netmem, Owned>();
  /** One entry a holder, who will free its netmem once. */
  readonly #holders: Netmem[] = [];
  /** References of those who know of no pool. */
  readonly #pins: Page[] = [];
  readonly #pools: PagePool[] = [];
  /** What each pool is registered under. */
  readonly #mems = new Map<PagePool, MemInfo>();
  readonly #tallies = new Map<PagePool, Tally>();
  readonly #freeAtStart: number;
  readonly #counts: boolean;
  readonly #waits: boolean;
  #nextQueue = 0;

  constructor(preset: PresetName, options: MachineOptions = {}) {
    this.bench = new PoolBench(preset, { traceEntries: 0, ...options });
    this.#freeAtStart = this.bench.freePages();
    const { sharedRelease } = this.bench.machine.preset;
    this.#counts = sharedRelease === "pp-ref-count";
    this.#waits = sharedRelease === "last-reference";
  }

  run(steps: readonly Step[]): void {
    const first: Step = { op: "create", pool: 0, holder: 3, where: 0, direct: false, sizeBytes: 0 };
    for (const [i, step] of [first, { ...first, holder: 1 }, ...steps].entries()) {
      this.#do(step);
      this.#check(`step ${i} ${JSON.stringify(step)}`);
    }
    this.#finish();
  }

  #do(step: Step): void {
    const pool = this.#pools[step.pool % Math.max(1, this.#pools.length)];
    switch (step.op) {
      case "create": return this.#create(step);
      case "napi": return void (this.bench.napi.listOwner = (step.holder % 3) - 1);
      case "time": return this.#pass(NSEC_PER_SEC);
      case "free": return this.#free(step.holder, step);
      case "share": return this.#share(step.holder);
      case "pin": return this.#pin(step.holder);
      case "unpin": return this.#unpin(step.holder);
      case "bulk": return this.#bulk(step);
    }
    if (pool === undefined || pool.destroyCnt > 0) return;
    switch (step.op) {
      case "alloc": return this.#alloc(pool, step);
      case "frag": return this.#frag(pool, step);
      case "nid": return this.#updateNid(pool, step);
      case "destroy": return this.#destroy(pool);
    }
  }

  #in<T>(where: number, work: () => T): T {
    return where < 2 ? this.bench.softirq(where, work) : work();
  }

  #create({ holder, pool: nid, direct }: Step): void {
    if (this.#pools.filter(({ dead }) => !dead).length >= MOST_POOLS) return;
    const poolSize = RING_SIZES[holder % RING_SIZES.length]!;
    const created = direct && this.#nextQueue < this.bench.dev.rxQueues.length
      ? this.bench.bind(this.bench.provider(NIOVS), { poolSize }, this.#nextQueue++) as PagePool
      : this.bench.create({ poolSize, nid: [NUMA_NO_NODE, 0, 1][nid % 3]! }, (holder % 3) - 1);
    const mem = Object.assign(new MemInfo(), { type: created.memType, id: this.bench.machine.xdp.registry.registerMemModel(created.memType, created) });
    this.#mems.set(created, mem);
    this.#pools.push(created);
    this.#tallies.set(created, new Tally());
  }

  #alloc(pool: PagePool, { where }: Step): void {
    const netmem = this.#in(where, () => pool.allocNetmems(GFP_ATOMIC));
    this.#reconcile(pool);
    if (netmem !== null) this.#handOut(pool, netmem);
  }

  /** It was idle here, or nobody's. */
  #handOut(pool: PagePool, netmem: Netmem): void {
    const before = this.#owned.get(netmem);
    if (before !== undefined && !(before.pool === pool && before.idle)) throw new Error(`${netmemName(netmem)} handed out while ${before.pool === null ? "somebody has it" : `page_pool ${before.pool.id} has it${before.idle ? "" : " out"}`}`);
    this.#owned.set(netmem, { pool, counted: 1, references: 0, open: false, idle: false });
    this.#holders.push(netmem);
    this.#tally(pool).handedOut++;
  }

  /** Brings in what a refill or bulk laid idle, and lets go of what the pool gave up. */
  #reconcile(pool: PagePool): void {
    const idle = new Set([...pool.cacheItems(), ...pool.ringItems()]);
    for (const netmem of idle) if (!this.#owned.has(netmem)) this.#owned.set(netmem, { pool, counted: 0, references: 0, open: false, idle: true });
    for (const [netmem, owned] of this.#owned) if (owned.pool === pool && owned.idle && !idle.has(netmem) && netmem.poolState === 0) this.#owned.delete(netmem);
  }

  #frag(pool: PagePool, { where, sizeBytes }: Step): void {
    if (!this.bench.pagePools.hasFragments) return;
    const frag = this.bench.pagePools.createFrag();
    const open = pool.fragPage;
    const before = open === null ? null : this.#owned.get(open)!;
    const netmem = this.#in(where, () => pool.allocFragNetmem(frag, sizeBytes, GFP_ATOMIC));
    this.#reconcile(pool);
    const tally = this.#tally(pool);
    if (before !== null && netmem === open && frag.offset > 0) {
      before.counted++;
      tally.furtherFrags++;
      this.#holders.push(netmem!);
      return;
    }
    if (before !== null && netmem === open) {
      if (before.counted > 0 || before.references > 0) throw new Error("a page with holders was used again in place");
      before.counted = 1;
      tally.reusedInPlace++;
      this.#holders.push(netmem!);
      return;
    }
    if (before !== null) this.#close(open!, before);
    if (netmem === null) return;
    this.#handOut(pool, netmem);
    this.#owned.get(netmem)!.open = true;
  }

  /** No more fragments of it: those who have some have the page now. */
  #close(netmem: Netmem, owned: Owned): void {
    owned.open = false;
    if (owned.counted > 0) return;
    if (owned.references > 0 && this.#waits) {
      owned.references--;
      owned.counted = 1;
    } else this.#left(netmem, owned);
  }

  #left(netmem: Netmem, owned: Owned): void {
    owned.pool = null;
    owned.counted = 0;
    if (owned.references === 0) this.#owned.delete(netmem);
  }

  #share(which: number): void {
    const netmem = this.#holders[which % Math.max(1, this.#holders.length)];
    if (netmem === undefined) return;
    const owned = this.#owned.get(netmem)!;
    if (owned.pool === null) {
      this.#pin(which);
      return;
    }
    owned.pool.refNetmem(netmem);
    if (this.#counts || netmem.isNetIov) owned.counted++;
    else owned.references++;
    // Where nobody counts, one holder goes through the pool, and all others do a plain put, as skbs from 5.14 on.
    if (this.#counts || this.#waits || netmem.isNetIov) this.#holders.push(netmem);
    else this.#pins.push(netmem);
  }

  /** Where the last reference recycles, everyone must go through the pool: a plain holder is that design's leak. */
  #pin(which: number): void {
    const netmem = this.#holders[which % Math.max(1, this.#holders.length)];
    if (netmem === undefined || netmem.isNetIov || (this.#waits && this.#owned.get(netmem)!.pool !== null)) return;
    this.bench.machine.mm.pages.getPage(netmem);
    this.#owned.get(netmem)!.references++;
    this.#pins.push(netmem);
  }

  #unpin(which: number): void {
    if (this.#pins.length === 0) return;
    this.#putReference(this.#pins.splice(which % this.#pins.length, 1)[0]!);
  }

  #putReference(page: Page): void {
    const owned = this.#owned.get(page)!;
    this.bench.machine.mm.pages.putPage(page);
    owned.references--;
    if (owned.pool === null && owned.references === 0) this.#owned.delete(page);
  }

  #free(which: number, { where, direct }: Pick<Step, "where" | "direct">): void {
    if (this.#holders.length === 0) return;
    const netmem = this.#holders.splice(which % this.#holders.length, 1)[0]!;
    const owned = this.#owned.get(netmem)!;
    const { pool } = owned;
    if (pool === null) {
      this.#putReference(netmem as Page);
      return;
    }
    const asConsumer = direct && pool.destroyCnt === 0 && where < 2;
    this.#in(where, () => {
      if (asConsumer || !this.bench.machine.preset.recyclesSkbPages) pool.putFullNetmem(netmem, asConsumer);
      else this.#freeAsSkb(pool, netmem);
    });
    if (this.#lastHolder(owned)) this.#cameHome(pool, netmem, owned, () => this.#tally(pool).leftForRoom++);
  }

  /** By whatever the page or the skb says, as a freed skb does; the driver has marked the page. */
  #freeAsSkb(pool: PagePool, netmem: Netmem): void {
    const { netmemReturn } = this.bench.machine.xdp;
    const mem = this.#mems.get(pool)!;
    netmemReturn.storeMemInfo(netmem, mem);
    netmemReturn.enterSkb(mem.type, mem.id);
    if (!netmemReturn.tryReturn(netmem, false)) throw new Error(`${netmemName(netmem)} of page_pool ${pool.id} is not recognised when it is freed`);
  }

  /** One holder fewer; true if it was the last, so that the netmem goes home. */
  #lastHolder(owned: Owned): boolean {
    if (this.#waits && owned.references > 0) {
      owned.references--;
      return false;
    }
    owned.counted--;
    return !owned.open && owned.counted === 0;
  }

  #cameHome(pool: PagePool, netmem: Netmem, owned: Owned, noRoom: () => void): void {
    const tally = this.#tally(pool);
    if (owned.references > 0) {
      tally.leftShared++;
      this.#left(netmem, owned);
    } else if (netmem.poolState === 0) {
      noRoom();
      this.#left(netmem, owned);
    } else {
      owned.idle = true;
      tally.becameIdle++;
    }
  }

  #bulk({ holder, pool: count, where }: Step): void {
    const { bulkMixesPools } = this.bench.machine.preset.pagePool;
    const picked: number[] = [];
    const seen = new Set<Netmem>();
    let from: PagePool | null = null;
    for (let i = 0; i < this.#holders.length && picked.length < 1 + (count % XDP_BULK_QUEUE_SIZE); i++) {
      const at = (holder + i * 7) % this.#holders.length;
      const netmem = this.#holders[at]!;
      const owned = this.#owned.get(netmem)!;
      if (picked.includes(at) || owned.pool === null || (from !== null && !bulkMixesPools && owned.pool !== from)) continue;
      // Two shares of one page in one bulk are two puts only where they are counted.
      if (seen.has(netmem) && owned.references > 0) continue;
      from ??= owned.pool;
      seen.add(netmem);
      picked.push(at);
    }
    if (from === null) return;
    const netmems = picked.map((at) => this.#holders[at]!);
    for (const at of picked.toSorted((a, b) => b - a)) this.#holders.splice(at, 1);
    const pool = from;
    this.#in(where, () => pool.putNetmemBulk([...netmems], netmems.length));
    const full = new Set<PagePool>();
    for (const netmem of netmems) {
      const owned = this.#owned.get(netmem)!;
      if (!this.#lastHolder(owned)) continue;
      const home = owned.pool!;
      this.#cameHome(home, netmem, owned, () => full.add(home));
    }
    for (const without of full) this.#tally(without).batchesWithoutRoom++;
  }

  #updateNid(pool: PagePool, { holder }: Step): void {
    const cached = pool.cacheItems();
    pool.updateNid([NUMA_NO_NODE, 0, 1][holder % 3]!);
    for (const netmem of cached) this.#owned.delete(netmem);
  }

  #destroy(pool: PagePool): void {
    this.bench.napi.listOwner = -1;
    const open = pool.fragPage;
    const idle = [...pool.cacheItems(), ...pool.ringItems()];
    pool.destroy();
    // The last of its users; what its pages say stays true until the last of them is home.
    this.bench.machine.xdp.registry.unregisterMemModel(Object.assign(new MemInfo(), this.#mems.get(pool)!));
    for (const netmem of idle) this.#owned.delete(netmem);
    if (open !== null) this.#close(open, this.#owned.get(open)!);
  }

  #pass(ns: number): void {
    this.bench.machine.kernel.scheduler.runFor(ns);
    for (const pool of this.#pools) if (pool.destroyCnt > 0) this.#reconcile(pool);
  }

  #tally(pool: PagePool): Tally {
    return this.#tallies.get(pool)!;
  }

  #check(when: string): void {
    const faults: string[] = [];
    const must = (holds: boolean, what: string): void => void (holds || faults.push(what));
    for (const pool of this.#pools) this.#checkPool(pool, must);
    for (const [netmem, owned] of this.#owned) {
      const name = netmemName(netmem);
      const state = owned.pool === null ? 0 : owned.pool.id * 2 + (owned.idle ? 1 : 0);
      must(netmem.poolState === state, `${name}: pool state ${netmem.poolState}, not ${state}`);
      if (!netmem.isNetIov) must(netmem.refcount === owned.references + (owned.pool === null ? 0 : 1), `${name}: ${netmem.refcount} references, not ${owned.references} beside the pool's`);
      if (owned.pool !== null && !owned.idle && !owned.open) must(netmem.ppRefCount === owned.counted, `${name}: pp_ref_count ${netmem.ppRefCount}, not ${owned.counted}`);
    }
    const { reports } = this.bench.machine.kernel.reports;
    must(reports.length === 0, `reported: ${reports[0]?.kind} ${reports[0]?.message}`);
    const mapped = this.#mappings();
    must(this.bench.dma.liveMappings() === mapped, `${this.bench.dma.liveMappings()} live mappings, not ${mapped}`);
    if (faults.length > 0) throw new Error(`${when}: ${faults.join("; ")}`);
  }

  #checkPool(pool: PagePool, must: (holds: boolean, what: string) => void): void {
    const name = `page_pool ${pool.id}`;
    const idle = [...pool.cacheItems(), ...pool.ringItems()];
    must(new Set(idle).size === idle.length, `${name}: something lies there twice`);
    for (const netmem of idle) must(this.#owned.get(netmem)?.pool === pool && this.#owned.get(netmem)!.idle, `${name}: ${netmemName(netmem)} lies there, but is not its own`);
    let mine = 0;
    let mineIdle = 0;
    for (const owned of this.#owned.values()) {
      if (owned.pool !== pool) continue;
      mine++;
      if (owned.idle) mineIdle++;
    }
    const inflight = (pool.holdCnt - pool.releaseCnt) | 0;
    must(mineIdle === idle.length, `${name}: ${idle.length} lie there, not ${mineIdle}`);
    must(inflight === mine, `${name}: hold - release = ${inflight}, but ${mine} are its own`);
    must(!pool.dead || mine === 0, `${name}: freed with ${mine} of its own out`);
    const { allocStats, recycleStats } = pool;
    const tally = this.#tally(pool);
    const { fragsCountAsFast } = this.bench.machine.preset.pagePool;
    const served = allocStats.fast + allocStats.refill + allocStats.slow + allocStats.slowHighOrder - tally.reusedInPlace - (fragsCountAsFast ? tally.furtherFrags : 0);
    // A provider's are counted when the cache or a refill serves them, and not when it does.
    must(pool.memoryProvider === null ? served === tally.handedOut : served <= tally.handedOut, `${name}: ${served} served by the statistics, ${tally.handedOut} handed out`);
    const kept = recycleStats.cached + recycleStats.ring - (fragsCountAsFast ? 0 : tally.reusedInPlace);
    must(kept === tally.becameIdle, `${name}: ${kept} recycled by the statistics, ${tally.becameIdle} came to lie there`);
    must(recycleStats.releasedRefcnt === tally.leftShared, `${name}: released_refcnt ${recycleStats.releasedRefcnt}, not ${tally.leftShared}`);
    must(recycleStats.ringFull === tally.leftForRoom + tally.batchesWithoutRoom, `${name}: ring_full ${recycleStats.ringFull}, not ${tally.leftForRoom} and ${tally.batchesWithoutRoom} batches`);
  }

  /** One for each page of a pool that has not unmapped all at its end, and a provider's area. */
  #mappings(): number {
    const tracks = this.bench.machine.preset.pagePool.dmaIndexBits > 0;
    let mapped = this.#pools.filter(({ memoryProvider, dead }) => memoryProvider !== null && !dead).length * NIOVS;
    for (const [netmem, { pool }] of this.#owned) if (pool !== null && !netmem.isNetIov && !(tracks && pool.destroyCnt > 0)) mapped++;
    return mapped;
  }

  #finish(): void {
    while (this.#holders.length > 0) this.#free(this.#holders.length * 13, { where: this.#holders.length % 3, direct: false });
    while (this.#pins.length > 0) this.#unpin(0);
    for (const pool of this.#pools) if (pool.destroyCnt === 0) this.#destroy(pool);
    this.#pass(3 * NSEC_PER_SEC);
    this.#check("at the end");
    const alive = this.#pools.filter(({ dead }) => !dead);
    if (alive.length > 0) throw new Error(`page_pool ${alive[0]!.id} is not freed with everything back`);
    if (this.bench.freePages() !== this.#freeAtStart) throw new Error(`${this.#freeAtStart - this.bench.freePages()} pages are missing`);
  }
}
