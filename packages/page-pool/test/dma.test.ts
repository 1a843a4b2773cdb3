import fc from "fast-check";
import { expect, test } from "vitest";
import { DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING, DMA_FROM_DEVICE, GFP_ATOMIC, NET_IOV_DMABUF, PP_MAGIC_32, ppDmaIndexBits, type DmaDevice, type Page } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP, type ProviderPool } from "../src/api/index.ts";
import { DmaIndexTable } from "../src/dma-index.ts";
import { PoolRig } from "./rig.ts";

test("indexes start at 1, and each page has the lowest that is free", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const pages = rig.take(pool, 64).toSorted((a, b) => a.ppDmaIndex - b.ppDmaIndex);
  expect(pages.map(({ ppDmaIndex }) => ppDmaIndex)).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
  for (const i of [40, 2, 7]) {
    rig.mm.pages.getPage(pages[i]!);
    pool.putFullNetmem(pages[i]!, false);
  }
  expect(pool.dmaMapped()).toBe(61);
  const next = [...rig.take(pool, 1), ...(pool.cacheItems() as Page[])].map(({ ppDmaIndex }) => ppDmaIndex).toSorted((a, b) => a - b);
  expect(next).toEqual([3, 8, 41, ...Array.from({ length: 61 }, (_, i) => 65 + i)]);
});

test("property: the table is a map from the lowest free index to its page", () => {
  fc.assert(fc.property(fc.array(fc.nat({ max: 3 }), { maxLength: 400, size: "max" }), fc.integer({ min: 2, max: 9 }), (steps, bits) => {
    const table = new DmaIndexTable(bits);
    const model = new Map<number, Page>();
    const rig: Page[] = [];
    for (const [i, step] of steps.entries()) {
      if (step > 0) {
        const page = { ppDmaIndex: 0 } as Page;
        let lowest = 1;
        while (model.has(lowest)) lowest++;
        const fits = lowest < 2 ** bits;
        expect(table.add(page)).toBe(fits);
        if (!fits) continue;
        expect(page.ppDmaIndex).toBe(lowest);
        model.set(lowest, page);
        rig.push(page);
      } else if (rig.length > 0) {
        const page = rig.splice((i * 7) % rig.length, 1)[0]!;
        expect([table.take(page), table.take(page)]).toEqual([true, false]);
        model.delete(page.ppDmaIndex);
      }
      expect(table.count).toBe(model.size);
    }
    const drained: number[] = [];
    table.drain((page) => void drained.push(page.ppDmaIndex));
    expect(drained).toEqual([...model.keys()].toSorted((a, b) => a - b));
  }), { numRuns: 60, seed: 20_211_108 });
});

test("with no index left a mapping is undone, the page put, and it is said once", () => {
  const rig = new PoolRig({ dmaIndexBits: 2 });
  const pool = rig.create();
  const free = rig.mm.pages.freePages();
  rig.take(pool, 3);
  expect([pool.holdCnt, pool.dmaMapped(), rig.dma.liveMappings(), free - rig.mm.pages.freePages(), rig.kinds()]).toEqual([3, 3, 3, 3, ["pp-dma-untracked"]]);
  expect(pool.allocPages(GFP_ATOMIC)).toBeNull();
  expect([rig.kinds().length, pool.allocStats.slow]).toEqual([1, 1]);
});

test("a 32-bit layout has 23 bits for indexes, and a machine without any does not track, nor unmap at destroy", () => {
  expect(ppDmaIndexBits(PP_MAGIC_32)).toBe(23);
  const rig = new PoolRig({ dmaIndexBits: 0 });
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  pool.destroy();
  expect([page.ppDmaIndex, pool.dmaMapped(), rig.dma.liveMappings()]).toEqual([0, 0, 1]);
});

test("an address that does not fit into the word is undone and said once: 32 bits that count in pages", () => {
  const rig = new PoolRig({ dmaAddrInPages: true });
  const shifted: DmaDevice = new Proxy(rig.dma, {
    get: (target, name: keyof DmaDevice) => {
      if (name === "mapPage") return (page: Page, offset: number, bytes: number, direction: number, attrs: number) => target.mapPage(page, offset, bytes, direction, attrs) + 2048;
      if (name === "mappingError") return (addr: number) => target.mappingError(addr - 2048);
      if (name === "unmapPage") return (addr: number, bytes: number, direction: number, attrs: number) => target.unmapPage(addr - 2048, bytes, direction, attrs);
      const member = target[name];
      return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
  const free = rig.mm.pages.freePages();
  expect(rig.create({ dev: shifted }).allocPages(GFP_ATOMIC)).toBeNull();
  expect([rig.kinds(), rig.dma.liveMappings(), rig.mm.pages.freePages()]).toEqual([["pp-dma-addr"], 0, free]);
  expect(rig.take(rig.create(), 1)[0]!.dmaAddr).toBeGreaterThan(0);
});

/** The device, and what it was asked: name of the call, then its numbers. */
function listening(rig: PoolRig): { readonly dev: DmaDevice; readonly calls: (readonly [string, ...number[]])[] } {
  const calls: (readonly [string, ...number[]])[] = [];
  const dev = new Proxy(rig.dma, {
    get: (target, name: keyof DmaDevice) => {
      const member = target[name];
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (/^(map|unmap|sync)[A-Z]/.test(name)) calls.push([name, ...args.filter((arg) => typeof arg === "number")]);
        return (member as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  return { dev, calls };
}

test("a block is mapped whole, without cache work, and unmapped the same way; synced from the offset for max_len", () => {
  const rig = new PoolRig();
  const { dev, calls } = listening(rig);
  const pool = rig.create({ dev, order: 1, offset: 64, maxLen: 1000 });
  const page = rig.take(pool, 1)[0]!;
  const { dmaAddr } = page;
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  const attrs = DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING;
  expect(calls).toEqual([
    ["mapPage", 0, 8192, DMA_FROM_DEVICE, attrs], ["syncForDevice", dmaAddr, 64, 1000, DMA_FROM_DEVICE], ["unmapPage", dmaAddr, 8192, DMA_FROM_DEVICE, attrs],
  ]);
});

test("sync for the CPU: from the pool's offset, whatever its flags", () => {
  const rig = new PoolRig();
  const { dev, calls } = listening(rig);
  const pool = rig.create({ dev, flags: PP_FLAG_DMA_MAP, offset: 64, maxLen: 1000 });
  const page = rig.take(pool, 1)[0]!;
  calls.length = 0;
  pool.dmaSyncForCpu(page, 8, 100);
  pool.dmaSyncNetmemForCpu(page, 16, 200);
  expect(calls).toEqual([["syncForCpu", page.dmaAddr, 72, 100, DMA_FROM_DEVICE], ["syncForCpu", page.dmaAddr, 80, 200, DMA_FROM_DEVICE]]);
});


test("an address that does not fit and an index that is not left are each said once, whichever came first", () => {
  const rig = new PoolRig({ dmaIndexBits: 2, dmaAddrInPages: true }, { extraBytes: 4096 });
  const pool = rig.create();
  const niov = rig.mm.createNetIovArea("odd", NET_IOV_DMABUF, 1, false).niovs[0]!;
  for (let i = 0; i < 2; i++) expect((pool as unknown as ProviderPool).niovSetDmaAddr(niov, 0x1234)).toBe(true);
  rig.take(pool, 3);
  expect(rig.kinds()).toEqual(["pp-dma-addr", "pp-dma-untracked"]);
});
