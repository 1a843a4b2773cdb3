import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { SP_BIAS_MAX } from "../src/constants.ts";
import { SplitBuffer, allocMappedPage, canReuse, drain, flip, getRxBuffer, reuseInto, type SplitParts } from "../src/split-buffer.ts";

function setUp(): { readonly parts: SplitParts; readonly mm: ReturnType<typeof createMm>; readonly buffer: SplitBuffer; setNode: (node: number) => void } {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: 1024, minFreePages: 0 });
  const { dma } = mm.attachDevice({ name: "eth0", coherent: true });
  let node = 0;
  const parts: SplitParts = { dma, pages: mm.pages, node: () => node };
  const buffer = new SplitBuffer();
  if (!allocMappedPage(parts, buffer, GFP_ATOMIC)) throw new Error("no page");
  return { parts, mm, buffer, setNode: (to) => void (node = to) };
}

test("the count of the driver's references is one less a packet; at the last one it takes as many as at first, and the page goes on", () => {
  const { parts, mm, buffer } = setUp();
  const page = buffer.page!;
  let lowest = SP_BIAS_MAX;
  for (let packet = 0; packet < 2 * SP_BIAS_MAX; packet++) {
    getRxBuffer(parts, buffer, 60);
    flip(buffer);
    lowest = Math.min(lowest, buffer.bias);
    if (!canReuse(parts, buffer)) throw new Error(`not used again after packet ${packet}`);
    mm.pages.putPage(page);
  }
  expect([lowest, page.refcount === buffer.bias, buffer.page === page]).toEqual([1, true, true]);
  drain(parts, buffer);
  expect([mm.pages.freePages(), buffer.page]).toEqual([1024, null]);
});

test("not used again: the other half is held, the page is another node's", () => {
  const { parts, buffer, mm, setNode } = setUp();
  const page = buffer.page!;
  getRxBuffer(parts, buffer, 60);
  expect(canReuse(parts, buffer)).toBe(true);
  getRxBuffer(parts, buffer, 60);
  expect(canReuse(parts, buffer)).toBe(false);
  mm.pages.putPage(page);
  mm.pages.putPage(page);
  getRxBuffer(parts, buffer, 60);
  setNode(1);
  expect(canReuse(parts, buffer)).toBe(false);
  const next = new SplitBuffer();
  reuseInto(buffer, next);
  drain(parts, next);
  expect([page.refcount, mm.pages.freePages()]).toEqual([1, 1023]);
  mm.pages.putPage(page);
  expect(mm.pages.freePages()).toBe(1024);
});
