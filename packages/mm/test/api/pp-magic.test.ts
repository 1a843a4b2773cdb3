import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  GFP_KERNEL, NUMA_NO_NODE, PAGE_PFMEMALLOC_BIT, PP_MAGIC_32, PP_MAGIC_64, PP_SIGNATURE, ppDmaIndexBits, ppMagicMask, ppMagicWord, readPpMagicWord, type PpMagicLayout,
} from "../../src/api/index.ts";
import { memory } from "../helpers.ts";

describe("the magic word", () => {
  test.each<[string, PpMagicLayout, number]>([
    ["64-bit with poison", PP_MAGIC_64, 32],
    ["32-bit with PAGE_OFFSET 0xc0000000", PP_MAGIC_32, 23],
    ["32-bit with PAGE_OFFSET 0x80000000", { ...PP_MAGIC_32, pageOffset: 0x80000000n }, 24],
    ["32-bit with PAGE_OFFSET 0xb0000000", { ...PP_MAGIC_32, pageOffset: 0xb0000000n }, 21],
    ["32-bit with a PAGE_OFFSET too low to tell addresses apart", { ...PP_MAGIC_32, pageOffset: 0x4000n }, 0],
    ["32-bit with a PAGE_OFFSET not known when it is built", { ...PP_MAGIC_32, pageOffset: 0n }, 0],
    ["64-bit without poison", { bits: 64, poisonDelta: 0n, pageOffset: 0xffff888000000000n }, 32],
  ])("%s has %3$i bits for the DMA index", (_name, layout, bits) => {
    expect(ppDmaIndexBits(layout)).toBe(bits);
  });

  test("the mask leaves out the index and bits 0 and 1", () => {
    expect([ppMagicMask(PP_MAGIC_64).toString(16), ppMagicMask(PP_MAGIC_32).toString(16)]).toEqual(["ffffff800000007c", "c000007c"]);
  });

  test("a pool page with index 5 reads dead0000000002c0 on 64-bit and 2c0 on 32-bit", () => {
    const mm = memory();
    const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    page.ppMagic = PP_SIGNATURE;
    page.ppDmaIndex = 5;
    expect([ppMagicWord(page).toString(16), ppMagicWord(page, PP_MAGIC_32).toString(16)]).toEqual(["dead0000000002c0", "2c0"]);
  });

  test("a page that is only pfmemalloc has bit 1, and nothing of the signature", () => {
    const mm = memory();
    const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    page.ppMagic = PAGE_PFMEMALLOC_BIT;
    expect([ppMagicWord(page), readPpMagicWord(ppMagicWord(page), PP_MAGIC_64)]).toEqual([2n, { isPp: false, dmaIndex: 0, pfmemalloc: true, tail: false }]);
  });

  test("property: what is written is read back, whatever the index, and pfmemalloc does not hide the signature", () => {
    const mm = memory();
    const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    fc.assert(
      fc.property(fc.constantFrom(PP_MAGIC_32, PP_MAGIC_64), fc.integer({ min: 0, max: 2 ** 23 - 1 }), fc.boolean(), (layout, index, pfmemalloc) => {
        page.ppMagic = PP_SIGNATURE | (pfmemalloc ? PAGE_PFMEMALLOC_BIT : 0);
        page.ppDmaIndex = index;
        expect(readPpMagicWord(ppMagicWord(page, layout), layout)).toEqual({ isPp: true, dmaIndex: index, pfmemalloc, tail: false });
      }),
    );
  });

  test("property: no kernel address of a 32-bit machine reads as a pool's word, for what is beyond the index tells them apart", () => {
    fc.assert(fc.property(fc.integer({ min: 0xc0000000, max: 0xffffffff }), (address) => {
      expect(readPpMagicWord(BigInt(address), PP_MAGIC_32).isPp).toBe(false);
    }));
  });
});
