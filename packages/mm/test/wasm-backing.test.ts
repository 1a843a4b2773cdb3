import { expect, test } from "vitest";
import { GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE } from "../src/api/index.ts";
import { backingBytes, createWasmBacking } from "../src/index.ts";
import { memory, usageErrorOf } from "./helpers.ts";

test("a backing has the bytes asked for, rounded up to 64 KiB, zeroed", () => {
  const { buffer } = createWasmBacking(65_537);
  expect(buffer.byteLength).toBe(131_072);
  expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
});

test("copyWithin of two backings do not see each other's memory", () => {
  const [a, b] = [createWasmBacking(8), createWasmBacking(8)];
  new Uint8Array(a.buffer).fill(1, 0, 8);
  a.copyWithin!(100, 0, 8);
  expect([new Uint8Array(a.buffer)[107], new Uint8Array(b.buffer)[107]]).toEqual([1, 0]);
});

test("a machine's memory lies in the backing it is given", () => {
  const backing = createWasmBacking(backingBytes({ nrPages: 4 }));
  const mm = memory({ nrPages: 4, backing });
  const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
  page.region.bytes[page.base] = 77;
  expect(new Uint8Array(backing.buffer)[page.base]).toBe(77);
  expect(page.region.bytes.length).toBe(4 * PAGE_SIZE);
});

test.each([0, -1, 2 ** 31 + 1, Number.NaN])("a backing of %d bytes is refused", (bytes) => {
  expect(usageErrorOf(() => createWasmBacking(bytes))).toMatchObject({ package: "mm", option: "backing bytes", value: bytes });
});
