import { PF_MEMALLOC, type ExecutionContext } from "@netmem/kernel/api";
import { __GFP_DIRECT_RECLAIM, __GFP_NOMEMALLOC, __GFP_RECLAIM, __GFP_MEMALLOC, __GFP_NORETRY, __GFP_NOWARN, NUMA_NO_NODE, PAGE_SIZE, type KmemCache, type SlabObject } from "../api/index.ts";
import { getOrder } from "../get-order.ts";
import { PartialList, type Slab } from "./slab-page.ts";

/** Largest slab, as an order. @kernel slub_max_order */
const SLUB_MAX_ORDER = 3;

/** What a CPU allocates from. @kernel struct kmem_cache_cpu (mm/slub.c) */
class CpuSlab {
  freelist: SlabObject | null = null;
  slab: Slab | null = null;
  /** More slabs it froze when it freed into them, newest last. */
  readonly partial: Slab[] = [];
}

/** Gets slabs from the page allocator and gives them back. */
export interface SlabPages {
  readonly allocSlab: (cache: ObjectCache, gfp: number, nid: number, order: number) => Slab | null;
  readonly freeSlab: (slab: Slab) => void;
}

/**
 * Objects of one size. A CPU allocates from one slab and frees into it without looking further; an object of another slab goes to
 * that slab's own list, and the slab to the freeing CPU or to its node.
 * @kernel mm/slub.c
 */
export class ObjectCache implements KmemCache {
  readonly name: string;
  readonly objectBytes: number;
  readonly order: number;
  /** Smallest order that holds an object: what is tried when memory is short. */
  private readonly minOrder: number;
  private readonly cpus: CpuSlab[] = [];
  private readonly nodes: PartialList[] = [];
  private readonly pages: SlabPages;
  private readonly context: ExecutionContext;
  /** Slabs a CPU keeps among its partial ones. @kernel cpu_partial_slabs */
  private readonly cpuPartialSlabs: number;
  /** Empty slabs a node keeps. @kernel min_partial */
  private readonly minPartial: number;
  private inUse = 0;
  private slabCount = 0;

  constructor(name: string, objectBytes: number, nrCpus: number, nrNodes: number, context: ExecutionContext, pages: SlabPages) {
    this.name = name;
    this.objectBytes = objectBytes;
    this.order = slabOrder(objectBytes, nrCpus);
    this.minOrder = getOrder(objectBytes);
    this.context = context;
    this.pages = pages;
    const objects = Math.floor((PAGE_SIZE << this.order) / objectBytes);
    this.cpuPartialSlabs = Math.ceil((cpuPartialObjects(objectBytes) * 2) / objects);
    this.minPartial = Math.min(10, Math.max(5, Math.floor(Math.log2(objectBytes)) >> 1));
    for (let i = 0; i < nrCpus; i++) this.cpus.push(new CpuSlab());
    for (let i = 0; i < nrNodes; i++) this.nodes.push(new PartialList());
  }

  objectsInUse(): number {
    return this.inUse;
  }

  slabs(): number {
    return this.slabCount;
  }

  /** @kernel slab_alloc_node, ___slab_alloc (mm/slub.c) */
  alloc(gfp: number, nid: number): SlabObject | null {
    const cpu = this.cpus[this.context.cpu]!;
    let object = cpu.freelist;
    // Memory of the reserves is for those who may use them; and a node that was asked for is not traded for a near one.
    if (object === null || object.pfmemalloc || nid !== NUMA_NO_NODE) {
      object = this.allocSlow(cpu, gfp, nid);
      if (object === null) return null;
    }
    cpu.freelist = object.next;
    object.next = null;
    object.inUse = true;
    this.inUse++;
    return object;
  }

  /** The first object of a slab that suits, which the CPU then has. */
  private allocSlow(cpu: CpuSlab, gfp: number, nid: number): SlabObject | null {
    if (cpu.slab !== null && (!suits(cpu.slab, nid) || !this.mayUse(cpu.slab, gfp))) this.deactivate(cpu);
    if (cpu.slab !== null) {
      if (cpu.freelist !== null) return cpu.freelist;
      if (this.takeFreelist(cpu)) return cpu.freelist;
      cpu.slab.frozen = false;
      cpu.slab = null;
    }
    const slab = this.cpuPartial(cpu, gfp, nid) ?? this.nodePartial(gfp, nid) ?? this.newSlab(gfp, nid);
    if (slab === null) return null;
    slab.frozen = true;
    cpu.slab = slab;
    this.takeFreelist(cpu);
    return cpu.freelist;
  }

  /** All that others freed into the CPU's slab. @kernel get_freelist */
  private takeFreelist(cpu: CpuSlab): boolean {
    const slab = cpu.slab!;
    cpu.freelist = slab.freelist;
    slab.freelist = null;
    slab.inUse = slab.objects.length;
    return cpu.freelist !== null;
  }

  private cpuPartial(cpu: CpuSlab, gfp: number, nid: number): Slab | null {
    const { partial } = cpu;
    for (let i = partial.length - 1; i >= 0; i--) {
      const slab = partial[i]!;
      if (!suits(slab, nid) || !this.mayUse(slab, gfp)) continue;
      // Closed up by hand: splice would make an array for what it takes out.
      for (let later = i + 1; later < partial.length; later++) partial[later - 1] = partial[later]!;
      partial.pop();
      return slab;
    }
    return null;
  }

  /** Before new pages of this node come slabs of another that keeps more than it must: by number here, by distance there. @kernel get_partial, get_any_partial */
  private nodePartial(gfp: number, nid: number): Slab | null {
    const local = nid === NUMA_NO_NODE ? this.context.node : nid;
    const slab = this.takePartial(this.nodes[local]!, gfp);
    if (slab !== null || nid !== NUMA_NO_NODE) return slab;
    for (let other = 0; other < this.nodes.length; other++) {
      const list = this.nodes[other]!;
      if (other === local || list.count <= this.minPartial) continue;
      const remote = this.takePartial(list, gfp);
      if (remote !== null) return remote;
    }
    return null;
  }

  /** @kernel get_partial_node */
  private takePartial(list: PartialList, gfp: number): Slab | null {
    for (let slab = list.head; slab !== null; slab = slab.next) {
      if (!this.mayUse(slab, gfp)) continue;
      list.remove(slab);
      return slab;
    }
    return null;
  }

  /** @kernel allocate_slab: the order wanted without pressing for it, then the least that will do */
  private newSlab(gfp: number, nid: number): Slab | null {
    let eager = gfp | __GFP_NOWARN | __GFP_NORETRY;
    if ((gfp & __GFP_DIRECT_RECLAIM) !== 0 && this.order > this.minOrder) eager = (eager | __GFP_NOMEMALLOC) & ~__GFP_RECLAIM;
    const slab = this.pages.allocSlab(this, eager, nid, this.order) ?? this.pages.allocSlab(this, gfp, nid, this.minOrder);
    if (slab === null) return null;
    this.slabCount++;
    return slab;
  }

  /** Gives an object back that is in use. @kernel do_slab_free, __slab_free (mm/slub.c) */
  free(object: SlabObject, slab: Slab): void {
    this.inUse--;
    object.inUse = false;
    const cpu = this.cpus[this.context.cpu]!;
    if (slab === cpu.slab) {
      object.next = cpu.freelist;
      cpu.freelist = object;
      return;
    }
    const wasFull = slab.freelist === null;
    object.next = slab.freelist;
    slab.freelist = object;
    slab.inUse--;
    if (slab.frozen) return;
    if (wasFull && slab.inUse > 0) {
      this.putCpuPartial(cpu, slab);
      return;
    }
    this.putNode(slab);
  }

  /** @kernel put_cpu_partial */
  private putCpuPartial(cpu: CpuSlab, slab: Slab): void {
    if (cpu.partial.length >= this.cpuPartialSlabs) {
      for (let other = cpu.partial.pop(); other !== undefined; other = cpu.partial.pop()) {
        other.frozen = false;
        this.putNode(other);
      }
    }
    slab.frozen = true;
    cpu.partial.push(slab);
  }

  /** A slab with free objects that no CPU has: kept, or given back if it is empty and the node has enough. */
  private putNode(slab: Slab): void {
    const list = this.nodes[slab.page.nid]!;
    if (slab.inUse === 0 && list.count >= this.minPartial) {
      if (slab.listed) list.remove(slab);
      this.discard(slab);
    } else if (!slab.listed && slab.freelist !== null) list.push(slab);
  }

  /** The CPU lets go of its slab. @kernel deactivate_slab */
  private deactivate(cpu: CpuSlab): void {
    const slab = cpu.slab!;
    while (cpu.freelist !== null) {
      const object = cpu.freelist;
      cpu.freelist = object.next;
      object.next = slab.freelist;
      slab.freelist = object;
      slab.inUse--;
    }
    cpu.slab = null;
    slab.frozen = false;
    this.putNode(slab);
  }

  /** Takes everything from the CPUs and gives back what is empty; pages. @kernel __kmem_cache_shrink */
  shrink(): number {
    for (const cpu of this.cpus) {
      if (cpu.slab !== null) this.deactivate(cpu);
      for (const slab of cpu.partial.splice(0)) {
        slab.frozen = false;
        this.putNode(slab);
      }
    }
    let pages = 0;
    for (const list of this.nodes) {
      for (let slab = list.head; slab !== null;) {
        const { next } = slab;
        if (slab.inUse === 0) {
          pages += 1 << slab.order;
          list.remove(slab);
          this.discard(slab);
        }
        slab = next;
      }
    }
    return pages;
  }

  private discard(slab: Slab): void {
    this.slabCount--;
    this.pages.freeSlab(slab);
  }

  /** @kernel pfmemalloc_match */
  private mayUse(slab: Slab, gfp: number): boolean {
    if (!slab.objects[0]!.pfmemalloc) return true;
    if ((gfp & __GFP_NOMEMALLOC) !== 0) return false;
    return (gfp & __GFP_MEMALLOC) !== 0 || (this.context.taskFlags & PF_MEMALLOC) !== 0;
  }
}

/** @kernel node_match */
function suits(slab: Slab, nid: number): boolean {
  return nid === NUMA_NO_NODE || slab.page.nid === nid;
}

/** @kernel set_cpu_partial */
function cpuPartialObjects(objectBytes: number): number {
  if (objectBytes >= PAGE_SIZE) return 6;
  if (objectBytes >= 1024) return 24;
  return objectBytes >= 256 ? 52 : 120;
}

/**
 * The smallest order with enough objects (more the more CPUs there are) that leaves at most a sixteenth unused; with less
 * of both where that cannot be had. @kernel calculate_order, calc_slab_order (mm/slub.c)
 */
export function slabOrder(objectBytes: number, nrCpus: number): number {
  const most = Math.floor((PAGE_SIZE << SLUB_MAX_ORDER) / objectBytes);
  const wanted = Math.max(1, Math.min(4 * (32 - Math.clz32(nrCpus) + 1), most));
  for (let fraction = 16; fraction > 1; fraction >>= 1) {
    for (let order = Math.min(getOrder(wanted * objectBytes), SLUB_MAX_ORDER); order <= SLUB_MAX_ORDER; order++) {
      const bytes = PAGE_SIZE << order;
      if (bytes % objectBytes <= Math.floor(bytes / fraction)) return order;
    }
  }
  return getOrder(objectBytes);
}

