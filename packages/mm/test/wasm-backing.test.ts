import { expect, test } from "vitest";
import { GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE } from "../src/api/index.ts";
import { backingBytes, createWasmBacking } from "../src/index.ts";
import { copyModule } from "../src/wasm/copy-module.ts";
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

/** What `copyModule` makes, over a memory of its own. */
function copyOf(vectors: boolean): { readonly bytes: Uint8Array; readonly copy: (to: number, from: number, length: number) => void } {
  const { Module, Instance, Memory } = (globalThis as unknown as { WebAssembly: Record<"Module" | "Instance" | "Memory", new (...args: readonly unknown[]) => never> }).WebAssembly;
  const memory = new Memory({ initial: 1, maximum: 1 }) as { readonly buffer: ArrayBuffer };
  const { exports } = new Instance(new Module(copyModule(vectors)), { m: { m: memory } }) as { readonly exports: { readonly copy: (to: number, from: number, length: number) => void } };
  return { bytes: new Uint8Array(memory.buffer), copy: exports.copy };
}

test.each([[true], [false]])("vectors %s: each length up to 300 lands where it must, from apart and from memory that overlaps", (vectors) => {
  const { bytes, copy } = copyOf(vectors);
  for (let length = 0; length <= 300; length++) {
    for (const [to, from] of [[1000, 5003], [1000, 1001], [1001, 1000], [1000, 1017], [1040, 1000], [1000, 1000 + length]] as const) {
      for (let i = 0; i < 8192; i++) bytes[i] = (i * 31 + length) & 0xff;
      const expected = bytes.slice(0, 8192).copyWithin(to, from, from + length);
      copy(to, from, length);
      expect(Buffer.compare(bytes.subarray(0, 8192), expected), `${length} bytes from ${from} to ${to}`).toBe(0);
    }
  }
});

test.each([[true], [false]])("vectors %s: past the end of memory traps and copies nothing", (vectors) => {
  const { bytes, copy } = copyOf(vectors);
  for (const length of [16, 48, 100, 400]) {
    bytes.fill(1, 0, 1000);
    expect(() => copy(0, 65_536 - length + 1, length), `${length} bytes`).toThrow("memory access out of bounds");
    expect(() => copy(65_536 - length + 1, 0, length), `${length} bytes`).toThrow("memory access out of bounds");
    expect(bytes.subarray(0, 1000).every((byte) => byte === 1)).toBe(true);
  }
});

/** Of 16-bit words in network order, added one by one. */
function plainChecksum(bytes: Uint8Array, offset: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += bytes[offset + i]! * ((i & 1) === 0 ? 256 : 1);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

test("a backing's checksum is that of its bytes, at each length up to 200 and each place in a vector", () => {
  const { payload } = memory({ nrPages: 1, backing: createWasmBacking(backingBytes({ nrPages: 1, extraBytes: 4096 })), extraBytes: 4096 });
  const region = payload.addRegion("bytes", 4096, true);
  for (let i = 0; i < region.bytes.length; i++) region.bytes[i] = (i * 2_654_435_761) >>> 23;
  for (let length = 0; length <= 200; length++) {
    for (let offset = 0; offset < 17; offset++) {
      expect(payload.checksum(region, offset, length), `${length} bytes from ${offset}`).toBe(plainChecksum(region.bytes, offset, length));
    }
  }
});

test.each([65_535, 65_536, 65_537, 200_001, 1 << 20])("a backing's checksum of %d bytes that are all ones does not overflow", (length) => {
  const { payload } = memory({ nrPages: 1, backing: createWasmBacking(backingBytes({ nrPages: 1, extraBytes: 1 << 20 })), extraBytes: 1 << 20 });
  const region = payload.addRegion("ones", 1 << 20, true);
  region.bytes.fill(0xff);
  expect(payload.checksum(region, 0, length)).toBe(plainChecksum(region.bytes, 0, length));
});
