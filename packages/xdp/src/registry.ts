import { EINVAL, ENOSPC, EOPNOTSUPP, UsageError, type Kernel } from "@netmem/kernel/api";
import {
  MEM_ID_MAX, MEM_ID_MIN, MEM_TYPE_PAGE_POOL,
  type MemInfo, type MemModel, type MemRegistry, type MemRegistryStats, type XdpProbe,
} from "./api/index.ts";

/** By id, a plain array: the kernel's hash table, with the id as its hash. */
export class MemModelTable implements MemRegistry {
  readonly stats: MemRegistryStats = { lookups: 0 };
  readonly #byId: (MemModel | null)[] = [null];
  /** Given up, but a reader may still hold what they stood for: not to be issued until a grace period is over. */
  readonly #inGrace = new Set<number>();
  /** By type: `undefined` unknown, null known but only with an id. */
  readonly #byType: (MemModel | null | undefined)[] = [];
  readonly #kernel: Pick<Kernel, "reports" | "rcu">;
  readonly #probe: XdpProbe | null;
  #nextId = MEM_ID_MIN;
  #used = 0;

  constructor(kernel: Pick<Kernel, "reports" | "rcu">, probe: XdpProbe | null) {
    this.#kernel = kernel;
    this.#probe = probe;
  }

  registerMemType(type: number, model: MemModel | null): void {
    if (!Number.isInteger(type) || type < 0 || type > 0xffff) throw new UsageError("xdp", "memory type", type, "give a whole number from 0 to 65535");
    if (this.#byType[type] !== undefined) throw new UsageError("xdp", "memory type", type, "another model registered it; choose a free number");
    this.#byType[type] = model;
  }

  registerMemModel(type: number, model: MemModel | null): number {
    if (this.#byType[type] === undefined) return -EOPNOTSUPP;
    if (model === null) return type === MEM_TYPE_PAGE_POOL ? -EINVAL : 0;
    const id = this.#takeId();
    if (id === 0) return -ENOSPC;
    this.#byId[id] = model;
    model.useXdpMem(id, () => this.#disconnect(model));
    return id;
  }

  unregisterMemModel(mem: MemInfo): void {
    const { id } = mem;
    mem.id = 0;
    if (id === 0) return;
    const model = this.#byId[id] ?? null;
    if (model === null) this.#kernel.reports.report("xdp-unknown-mem-id", "warn", `mem id ${id}`, "xdp", "unregistered but not in the table");
    else model.unuseXdpMem();
  }

  lookup(type: number, id: number): MemModel | null {
    this.stats.lookups++;
    return this.peek(type, id);
  }

  /** Uncounted, for callers that in the kernel hold the pointer already. */
  peek(type: number, id: number): MemModel | null {
    return (id !== 0 ? this.#byId[id] : this.#byType[type]) ?? null;
  }

  /** Cyclic, so that an id comes back as late as possible. 0 when all are used. @kernel __mem_id_cyclic_get */
  #takeId(): number {
    if (this.#used === MEM_ID_MAX - MEM_ID_MIN) return 0;
    let id = this.#nextId;
    for (;;) {
      if (id >= MEM_ID_MAX) id = MEM_ID_MIN;
      if ((this.#byId[id] ?? null) === null && !this.#inGrace.has(id)) break;
      id++;
    }
    this.#nextId = id + 1;
    this.#used++;
    return id;
  }

  /** Every id of this model; each is free again after a grace period. @kernel mem_allocator_disconnect (net/core/xdp.c) */
  #disconnect(model: MemModel): void {
    const ids: number[] = [];
    for (let id = this.#byId.indexOf(model); id >= 0; id = this.#byId.indexOf(model, id + 1)) ids.push(id);
    for (const id of ids) {
      if (this.#probe !== null) this.#probe.memDisconnect(id, model.memType, model);
      this.#byId[id] = null;
      this.#inGrace.add(id);
    }
    if (ids.length === 0) return;
    this.#kernel.rcu.callRcu(() => {
      for (const id of ids) this.#inGrace.delete(id);
      this.#used -= ids.length;
    });
  }
}
