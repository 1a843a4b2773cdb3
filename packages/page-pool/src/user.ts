import { ENOENT, EOPNOTSUPP, NSEC_PER_SEC, type Clock } from "@netmem/kernel/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { LOOPBACK_IFINDEX, MIN_NAPI_ID, NETDEV_UNREGISTER, type NetDevice, type NetdeviceNotifier } from "@netmem/xdp/api";
import { PagePoolStats, type PagePoolEvent, type PagePoolInfo, type PagePoolListener, type PagePoolNetlink, type PagePoolStatsInfo } from "./api/index.ts";
import { inflight } from "./inflight.ts";
import type { Pool } from "./pool.ts";
import { callNlFill } from "./provider-calls.ts";
import type { PagePoolRules } from "./rules.ts";

/**
 * Which pools there are, and which of them a user can see: those linked to a device. When the device goes, loopback inherits
 * them; when that goes, nobody finds them any more.
 * @kernel net/core/page_pool_user.c
 */
export class PoolLists implements PagePoolNetlink, NetdeviceNotifier {
  readonly #clock: Clock;
  /** Up to 6.7 there is nothing to ask. */
  readonly #hasNetlink: boolean;
  readonly #showsNapiOfCreation: boolean;
  /** By id; null for one that is gone. A bulk put looks here on the packet path. */
  readonly #pools: (Pool | null)[] = [null];
  /** By device, the newest pool first. */
  readonly #visible = new Map<NetDevice, Pool[]>();
  readonly #listeners: PagePoolListener[] = [];

  constructor(clock: Clock, rules: Pick<PagePoolRules, "listsToUsers" | "listsNapiOfCreation">) {
    this.#clock = clock;
    this.#hasNetlink = rules.listsToUsers;
    this.#showsNapiOfCreation = rules.listsNapiOfCreation;
  }

  /** The id of the pool that is listed next. */
  nextId(): number {
    return this.#pools.length;
  }

  find(id: number): Pool | null {
    return this.#pools[id] ?? null;
  }

  all(): Pool[] {
    return this.#pools.filter((pool) => pool !== null);
  }

  /** Pools linked to this device, the newest first. */
  of(dev: NetDevice): readonly Pool[] {
    return this.#visible.get(dev) ?? [];
  }

  /** @kernel page_pool_list */
  list(pool: Pool): void {
    this.#pools.push(pool);
    if (pool.netdev === null) return;
    this.#visible.set(pool.netdev, [pool, ...this.of(pool.netdev)]);
    pool.listedNapiId = napiIdOf(pool);
    this.#event("page-pool-add-ntf", pool);
  }

  /** @kernel page_pool_detached */
  detached(pool: Pool): void {
    pool.detachTime = Math.floor(this.#clock.nowNs / NSEC_PER_SEC);
    this.#event("page-pool-change-ntf", pool);
  }

  /** @kernel page_pool_unlist */
  unlist(pool: Pool): void {
    this.#event("page-pool-del-ntf", pool);
    this.#pools[pool.id] = null;
    if (pool.netdev !== null) this.#visible.set(pool.netdev, this.of(pool.netdev).filter((other) => other !== pool));
  }

  /** @kernel page_pool_netdevice_event */
  netdeviceEvent(event: number, dev: NetDevice): void {
    if (event !== NETDEV_UNREGISTER) return;
    const pools = this.of(dev);
    this.#visible.delete(dev);
    const heir = dev.loopback;
    // Null stands for both: no device ever, and NET_PTR_POISON.
    for (const pool of pools) pool.netdev = heir;
    if (heir === null || pools.length === 0) return;
    this.#visible.set(heir, [...pools, ...this.of(heir)]);
    for (const pool of pools) this.#event("page-pool-change-ntf", pool);
  }

  get(id: number): PagePoolInfo | number {
    return this.#ask(id, (pool) => this.#info(pool));
  }

  dump(): PagePoolInfo[] {
    return this.#askAll((pool) => this.#info(pool));
  }

  statsGet(id: number): PagePoolStatsInfo | number {
    return this.#ask(id, statsInfo);
  }

  statsDump(): PagePoolStatsInfo[] {
    return this.#askAll(statsInfo);
  }

  subscribe(listener: PagePoolListener): void {
    this.#listeners.push(listener);
  }

  unsubscribe(listener: PagePoolListener): void {
    const index = this.#listeners.indexOf(listener);
    if (index >= 0) this.#listeners.splice(index, 1);
  }

  #isVisible(pool: Pool): boolean {
    return this.#hasNetlink && pool.netdev !== null;
  }

  #ask<T>(id: number, fill: (pool: Pool) => T): T | number {
    if (!this.#hasNetlink) return -EOPNOTSUPP;
    const pool = this.find(id);
    return pool === null || !this.#isVisible(pool) ? -ENOENT : fill(pool);
  }

  #askAll<T>(fill: (pool: Pool) => T): T[] {
    if (!this.#hasNetlink) return [];
    const devices = [...this.#visible.keys()].toSorted((a, b) => a.ifindex - b.ifindex);
    return devices.flatMap((dev) => this.of(dev).map(fill));
  }

  #info(pool: Pool): PagePoolInfo {
    const out = inflight(pool, false);
    const napiId = this.#showsNapiOfCreation ? pool.listedNapiId : napiIdOf(pool);
    return {
      id: pool.id,
      ...ifindexOf(pool),
      ...(napiId >= MIN_NAPI_ID ? { napiId } : {}),
      inflight: out,
      inflightMem: out * (PAGE_SIZE << pool.order),
      ...(pool.detachTime > 0 ? { detachTime: pool.detachTime } : {}),
      ...(pool.memoryProvider === null ? {} : callNlFill(pool, pool.memoryProvider)),
    };
  }

  #event(event: PagePoolEvent, pool: Pool): void {
    if (this.#listeners.length === 0 || !this.#isVisible(pool)) return;
    const what = this.#info(pool);
    for (const listener of this.#listeners) listener.notify(event, what);
  }
}

/** Loopback's number says nothing about a pool. */
function ifindexOf(pool: Pool): { readonly ifindex?: number } {
  const { ifindex } = pool.netdev!;
  return ifindex === LOOPBACK_IFINDEX ? {} : { ifindex };
}

function napiIdOf(pool: Pool): number {
  return pool.napi?.napiId ?? 0;
}

function statsInfo(pool: Pool): PagePoolStatsInfo {
  return { info: { id: pool.id, ...ifindexOf(pool) }, stats: pool.getStats(new PagePoolStats()) };
}
