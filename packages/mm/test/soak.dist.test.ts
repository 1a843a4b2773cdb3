import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import type { Kernel } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import {
  __GFP_COMP, __GFP_MEMALLOC, __GFP_MOVABLE, __GFP_NOWARN, DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_BUDDY, PAGE_SIZE,
  type CoherentMemory, type DeviceBus, type DmaDevice, type Mm, type Page, type PageFragCache, type PayloadRegion, type SlabObject,
} from "@netmem/mm/api";
import { audit } from "./page-alloc/audit.ts";

/** Thirty seconds in CI, a few elsewhere; NETMEM_SOAK_SECONDS for as long as one likes, NETMEM_SOAK_SEED to see one again. */
const SECONDS = Number(process.env["NETMEM_SOAK_SECONDS"] ?? (process.env["CI"] === undefined ? 4 : 30));
const FIRST_SEED = Number(process.env["NETMEM_SOAK_SEED"] ?? 1);
const STEPS = 6000;
const AUDIT_EVERY = 500;

/** mulberry32: all a soak needs of randomness. */
function randomOf(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

interface Mapping {
  readonly device: number;
  readonly dmaAddr: number;
  readonly bytes: number;
  readonly direction: number;
  /** Whose memory; freed with the mapping. */
  readonly page: Page;
  readonly offset: number;
  readonly attrs: number;
}

/** A machine under random load, and a note of everything that is out. */
class Soak {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly #random: (bound: number) => number;
  readonly #devices: { readonly dma: DmaDevice; readonly bus: DeviceBus }[];
  readonly #staging: PayloadRegion;
  readonly #caches: PageFragCache[];
  readonly #blocks: { readonly page: Page; readonly order: number; readonly isCompound: boolean }[] = [];
  readonly #frags: Page[] = [];
  readonly #objects: SlabObject[] = [];
  readonly #mappings: Mapping[] = [];
  readonly #coherent: { readonly device: number; readonly memory: CoherentMemory }[] = [];

  constructor(seed: number) {
    const random = randomOf(seed);
    this.#random = random;
    this.kernel = createKernel({ nrCpus: 4, cpuNodes: [0, 0, 1, 1], seed: seed >>> 0, reports: "collect" });
    const node = { zones: [{ name: "DMA32" as const, pages: 256 + random(256) }, { name: "Normal" as const, pages: 1024 + random(2048) }] };
    // Now and then one so large that pageblocks are reserved for atomic requests.
    const large = { zones: [{ name: "Normal" as const, pages: 53_000 + random(2000) }] };
    this.mm = createMm(this.kernel, {
      nodes: [seed % 8 === 3 ? large : node, node], extraBytes: 65_536, swiotlb: { slots: 256, areas: 2, dynamic: random(2) === 0 }, cpuCache: random(3) === 0,
      ...(random(3) === 0 ? { pcp: { batch: 1 + random(16), high: random(100) } } : {}), rules: { fragsAscend: random(2) === 0, pcpAutoTunes: random(2) === 0 },
    });
    this.#devices = [
      this.mm.attachDevice({ name: "strict", coherent: false }),
      this.mm.attachDevice({ name: "deferred", coherent: true, iommu: "deferred" }),
      this.mm.attachDevice({ name: "direct", coherent: false, iommu: "off" }),
      this.mm.attachDevice({ name: "bounce", coherent: true, iommu: "off", forceBounce: true }),
      this.mm.attachDevice({ name: "untrusted", coherent: false, untrusted: true }),
    ];
    this.#staging = this.mm.payload.addRegion("staging", 65_536, true);
    this.#caches = this.kernel.cpuNodes.map(() => this.mm.frags.createCache());
    if (random(2) === 0) this.mm.faults.failPageAlloc.arm({ probability: 5, seed });
    if (random(2) === 0) this.mm.faults.failSlab.arm({ probability: 5, seed });
    if (random(2) === 0) this.mm.faults.failDmaMap.arm({ probability: 5, seed });
  }

  step(): void {
    const random = this.#random;
    const { context } = this.kernel;
    context.cpu = random(4);
    context.node = this.kernel.cpuNodes[context.cpu]!;
    const gfp = [GFP_ATOMIC, GFP_KERNEL, GFP_ATOMIC | __GFP_MEMALLOC, GFP_KERNEL | __GFP_MOVABLE][random(4)]! | __GFP_NOWARN;
    switch (random(16)) {
      case 0: case 1: this.#alloc(gfp, random(4)); break;
      case 2: this.#alloc(gfp, random(11)); break;
      case 3: case 4: this.#freeBlock(); break;
      case 5: this.#bulk(gfp); break;
      case 6: case 7: this.#fragment(gfp); break;
      case 8: case 9: this.#object(gfp); break;
      case 10: case 11: case 12: this.#map(gfp); break;
      case 13: this.#unmap(); break;
      case 14: this.#ring(); break;
      default: this.#shake();
    }
    context.cpu = 0;
    context.node = this.kernel.cpuNodes[0]!;
  }

  #alloc(gfp: number, order: number): void {
    const { pages } = this.mm;
    const isCompound = this.#random(2) === 0;
    const page = pages.allocPages(isCompound ? gfp | __GFP_COMP : gfp, order, this.#random(3) - 1);
    if (page === null) return;
    if (isCompound || order > 5 || this.#random(3) > 0) {
      this.#blocks.push({ page, order, isCompound });
      return;
    }
    pages.splitPage(page, order);
    for (let i = 0; i < 1 << order; i++) this.#blocks.push({ page: pages.pages[page.pfn - pages.pages[0]!.pfn + i]!, order: 0, isCompound: false });
  }

  #freeBlock(): void {
    const block = this.#pick(this.#blocks);
    if (block === null) return;
    const { page, order, isCompound } = block;
    const isHeld = !isCompound && order > 0 && this.#random(3) === 0;
    // Of a plain block that somebody else holds, the first page stays behind.
    if (isHeld) this.mm.pages.getPage(page);
    this.mm.pages.freePagesOrder(page, order);
    if (isHeld) this.#blocks.push({ page, order: 0, isCompound });
  }

  #bulk(gfp: number): void {
    const out: (Page | null)[] = [];
    this.mm.pages.allocPagesBulk(gfp, NUMA_NO_NODE, 1 + this.#random(64), out);
    for (const page of out) if (page) this.#blocks.push({ page, order: 0, isCompound: false });
  }

  #fragment(gfp: number): void {
    if (this.#random(5) < 2) {
      const page = this.#pick(this.#frags);
      if (page !== null) this.mm.frags.pageFragFree(page);
      return;
    }
    const cache = this.#caches[this.kernel.context.cpu]!;
    const offset = this.mm.frags.pageFragAllocAlign(cache, 1 + this.#random(this.#random(4) === 0 ? 9000 : 1500), gfp, 1 << this.#random(7));
    if (offset >= 0) this.#frags.push(cache.page!);
    if (this.#random(50) === 0) this.mm.frags.pageFragCacheDrain(cache);
  }

  #object(gfp: number): void {
    if (this.#random(2) === 0) {
      const object = this.#pick(this.#objects);
      if (object !== null) this.mm.slab.kfree(object);
      return;
    }
    const object = this.mm.slab.kmallocNode(1 + this.#random(this.#random(8) === 0 ? 20_000 : 2500), gfp, this.#random(3) - 1);
    if (object !== null) this.#objects.push(object);
  }

  #map(gfp: number): void {
    const page = this.mm.pages.allocPages(gfp, 0, NUMA_NO_NODE);
    if (page === null) return;
    const device = this.#random(this.#devices.length);
    const { dma, bus } = this.#devices[device]!;
    const offset = this.#random(PAGE_SIZE - 1);
    const bytes = 1 + this.#random(PAGE_SIZE - offset);
    const direction = [DMA_FROM_DEVICE, DMA_TO_DEVICE, DMA_BIDIRECTIONAL][this.#random(3)]!;
    const attrs = this.#random(2) === 0 ? 0 : DMA_ATTR_SKIP_CPU_SYNC;
    const dmaAddr = dma.mapPage(page, offset, bytes, direction, attrs);
    if (dma.mappingError(dmaAddr)) {
      this.mm.pages.putPage(page);
      return;
    }
    if (direction !== DMA_TO_DEVICE) expect(bus.write(dmaAddr, this.#staging, 0, bytes)).toBe(true);
    if (direction !== DMA_FROM_DEVICE) expect(bus.read(dmaAddr, this.#staging, 8192, bytes)).toBe(true);
    const from = this.#random(bytes);
    dma.syncForCpu(dmaAddr, from, bytes - from, direction);
    dma.syncForDevice(dmaAddr, from, bytes - from, direction);
    this.#mappings.push({ device, dmaAddr, bytes, direction, page, offset, attrs });
  }

  #unmap(): void {
    for (let i = this.#random(4); i >= 0; i--) {
      const mapping = this.#pick(this.#mappings);
      if (mapping === null) return;
      const { dma } = this.#devices[mapping.device]!;
      if (mapping.direction !== DMA_TO_DEVICE) this.#checkReceived(mapping, dma);
      dma.unmapPage(mapping.dmaAddr, mapping.bytes, mapping.direction, mapping.attrs);
      this.mm.pages.putPage(mapping.page);
    }
  }

  /** What the device writes last is what the CPU reads, through whatever lies between them. */
  #checkReceived({ device, dmaAddr, bytes, direction, page, offset }: Mapping, dma: DmaDevice): void {
    const tag = this.#random(256);
    this.#staging.bytes.fill(tag, 0, bytes);
    this.#devices[device]!.bus.write(dmaAddr, this.#staging, 0, bytes);
    dma.syncForCpu(dmaAddr, 0, bytes, direction);
    const start = page.base + offset;
    for (const at of [0, bytes >> 1, bytes - 1]) if (page.region.bytes[start + at] !== tag) throw new Error(`device ${device}: byte ${at} of ${bytes} is not what it wrote`);
  }

  #ring(): void {
    const device = this.#random(this.#devices.length);
    if (this.#random(2) === 0) {
      const ring = this.#pick(this.#coherent);
      if (ring !== null) this.#devices[ring.device]!.dma.freeCoherent(ring.memory);
      return;
    }
    const memory = this.#devices[device]!.dma.allocCoherent(1 + this.#random(40_000), GFP_KERNEL | __GFP_NOWARN);
    if (memory !== null) this.#coherent.push({ device, memory });
  }

  /** What happens now and then: pressure and its end, time, a drain, a shrink. */
  #shake(): void {
    const random = this.#random;
    switch (random(8)) {
      case 0: this.mm.ballast.leaveFree(random(600), NUMA_NO_NODE); break;
      case 1: this.mm.ballast.release(); break;
      case 2: this.mm.pages.drainAllPages(); break;
      case 3: this.mm.slab.shrink(); break;
      default: this.kernel.scheduler.runFor(random(5_000_000));
    }
  }

  #pick<T>(from: T[]): T | null {
    if (from.length === 0) return null;
    const at = this.#random(from.length);
    const picked = from[at]!;
    from[at] = from.at(-1)!;
    from.pop();
    return picked;
  }

  /** Everything goes home. */
  end(): void {
    while (this.#mappings.length > 0) this.#unmap();
    while (this.#blocks.length > 0) this.#freeBlock();
    for (const page of this.#frags.splice(0)) this.mm.frags.pageFragFree(page);
    for (const cache of this.#caches) this.mm.frags.pageFragCacheDrain(cache);
    for (const object of this.#objects.splice(0)) this.mm.slab.kfree(object);
    for (const { device, memory } of this.#coherent.splice(0)) this.#devices[device]!.dma.freeCoherent(memory);
    for (const { dma } of this.#devices) dma.unbind();
    this.mm.ballast.release();
    this.mm.slab.shrink();
    this.mm.pages.drainAllPages();
  }
}

function blocks(mm: Mm): string {
  return mm.pages.pages.filter((page) => page.state === PAGE_BUDDY).map((page) => `${page.pfn}:${page.order}`).join();
}

test(`soak: for ${SECONDS} seconds of random load from seed ${FIRST_SEED} on, everything conserves, and all memory comes home`, () => {
  const until = Date.now() + SECONDS * 1000;
  let seed = FIRST_SEED;
  for (; seed === FIRST_SEED || Date.now() < until; seed++) {
    const soak = new Soak(seed);
    const fresh = blocks(soak.mm);
    const again = `NETMEM_SOAK_SEED=${seed} NETMEM_SOAK_SECONDS=0 repeats it`;
    for (let step = 0; step < STEPS; step++) {
      try {
        soak.step();
      } catch (error) {
        throw new Error(`step ${step} (${again})`, { cause: error });
      }
      if (step % AUDIT_EVERY === 0) expect(audit(soak.mm.pages), `step ${step}: ${again}`).toEqual([]);
    }
    soak.end();
    // A pageblock still reserved does not merge with others.
    const isWhole = soak.mm.pages.zones.some((zone) => zone.reservedHighatomic > 0) ? soak.mm.pages.freePages() === soak.mm.pages.nrPages : blocks(soak.mm) === fresh;
    expect([soak.kernel.reports.reports.slice(0, 3), audit(soak.mm.pages), soak.mm.slab.objectsInUse(), isWhole], again).toEqual([[], [], 0, true]);
  }
  process.stdout.write(`soak: ${seed - FIRST_SEED} machines of ${STEPS} steps each\n`);
}, (SECONDS + 120) * 1000);
