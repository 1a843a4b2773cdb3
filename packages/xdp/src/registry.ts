import { EINVAL, ENOSPC, EOPNOTSUPP, UsageError, type ReportSink } from "@netmem/kernel/api";
import {
  MEM_ID_MAX, MEM_ID_MIN, MEM_TYPE_PAGE_POOL,
  type MemInfo, type MemModel, type MemRegistry, type MemRegistryStats,
} from "./api/index.ts";

/** By id, a plain array: the kernel's hash table, with the id as its hash. */
export class MemModelTable implements MemRegistry {
  readonly stats: MemRegistryStats = { lookups: 0 };
  readonly #byId: (MemModel | null)[] = [null];
  /** By type: `undefined` unknown, null known but only with an id. */
  readonly #byType: (MemModel | null | undefined)[] = [];
  readonly #reports: ReportSink;
  #nextId = MEM_ID_MIN;
  #used = 0;

  constructor(reports: ReportSink) {
    this.#reports = reports;
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
    if (model === null) this.#reports.report("xdp-unknown-mem-id", "warn", `mem id ${id}`, "xdp", "unregistered but not in the table");
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
      if ((this.#byId[id] ?? null) === null) break;
      id++;
    }
    this.#nextId = id + 1;
    this.#used++;
    return id;
  }

  /** Every id of the model's. @kernel mem_allocator_disconnect */
  #disconnect(model: MemModel): void {
    for (let id = this.#byId.indexOf(model); id >= 0; id = this.#byId.indexOf(model, id)) {
      this.#byId[id] = null;
      this.#used--;
    }
  }
}
