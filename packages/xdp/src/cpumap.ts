import { E2BIG, EEXIST, EINVAL, ENODEV, EOVERFLOW } from "@netmem/kernel/api";
import { BPF_EXIST, BPF_MAP_TYPE_CPUMAP, BPF_NOEXIST, CPU_MAP_MAX_QSIZE, checkXdpProg, type CpuMap, type XdpProg } from "./api/index.ts";
import { CpuMapEntry, type CpuMapParts } from "./cpumap-entry.ts";
import type { TargetMap } from "./target-map.ts";

/** @kernel kernel/bpf/cpumap.c */
export class CpuMapTable implements CpuMap, TargetMap {
  readonly mapType: number = BPF_MAP_TYPE_CPUMAP;
  readonly mapId: number;
  readonly maxEntries: number;
  private readonly parts: CpuMapParts;
  private readonly entries: (CpuMapEntry | null)[];

  constructor(parts: CpuMapParts, mapId: number, maxEntries: number) {
    this.mapId = mapId;
    this.maxEntries = maxEntries;
    this.parts = parts;
    this.entries = Array.from({ length: maxEntries }, () => null);
  }

  mapUpdateElem(cpu: number, qsize: number, prog: XdpProg | null, flags: number): number {
    checkXdpProg("cpumap entry", prog);
    if (!(flags >= 0 && flags <= BPF_EXIST)) return -EINVAL;
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < this.maxEntries)) return -E2BIG;
    if (flags === BPF_NOEXIST) return -EEXIST;
    if (!(Number.isInteger(qsize) && qsize >= 0 && qsize <= CPU_MAP_MAX_QSIZE)) return -EOVERFLOW;
    if (cpu >= this.parts.kernel.nrCpus) return -ENODEV;
    this.replace(cpu, qsize === 0 ? null : new CpuMapEntry(this.parts, this.mapId, cpu, qsize, prog));
    return 0;
  }

  mapDeleteElem(cpu: number): number {
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < this.maxEntries)) return -EINVAL;
    this.replace(cpu, null);
    return 0;
  }

  mapLookupElem(cpu: number): { readonly qsize: number; readonly prog: XdpProg | null; readonly waiting: number } | null {
    const entry = this.target(cpu);
    return entry === null ? null : { qsize: entry.qsize, prog: entry.prog, waiting: entry.waiting() };
  }

  target(cpu: number): CpuMapEntry | null {
    return this.entries[cpu] ?? null;
  }

  private replace(cpu: number, entry: CpuMapEntry | null): void {
    const old = this.entries[cpu]!;
    this.entries[cpu] = entry;
    if (old !== null) old.free();
  }
}
