import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ReportSink } from "@netmem/kernel/api";
import type { PayloadBacking, PayloadMemory } from "../src/api/index.ts";
import { createWasmBacking } from "../src/index.ts";
import { BackedPayload } from "../src/payload.ts";
import { kernel, kinds, usageErrorOf } from "./helpers.ts";

function payloadOf(backing: PayloadBacking): { readonly payload: PayloadMemory; readonly reports: ReportSink } {
  const { reports } = kernel();
  return { payload: new BackedPayload(backing, backing.buffer.byteLength, reports), reports };
}

function plain(bytes: number): PayloadBacking {
  return { buffer: new ArrayBuffer(bytes) };
}

/** Every byte different from its neighbours, and from the same place of another run. */
function scramble(bytes: Uint8Array, salt: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8) + salt) & 255;
}

const REGION = 4096;
/** Offset and length of a copy, within a region. */
const place = fc.record({ from: fc.nat(2096), to: fc.nat(2096), length: fc.oneof(fc.nat(70), fc.nat(2000)), salt: fc.nat(255) });

describe.each([["an ArrayBuffer", plain(65_536)], ["a WebAssembly memory", createWasmBacking(65_536)]])("over %s", (_name, backing) => {
  const { payload, reports } = payloadOf(backing);
  const [a, b] = [payload.addRegion("a", REGION, true), payload.addRegion("b", REGION, true)];
  const whole = new Uint8Array(backing.buffer);

  test("property: a copy is byte for byte what Uint8Array.set does, and touches nothing outside its range", () => {
    fc.assert(
      fc.property(place, fc.boolean(), ({ from, to, length, salt }, forwards) => {
        scramble(whole, salt);
        const [target, source] = forwards ? [b, a] : [a, b];
        const expected = whole.slice();
        expected.set(whole.subarray(source.base + from, source.base + from + length), target.base + to);
        expect(payload.copy(target, to, source, from, length)).toBe(true);
        expect(Buffer.compare(whole, expected)).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("property: a copy out of an adopted region and back into it is exact, at any alignment of its bytes", () => {
    fc.assert(
      fc.property(place, fc.nat(7), ({ from, to, length, salt }, shift) => {
        const callers = new Uint8Array(REGION + 8).subarray(shift, shift + REGION);
        scramble(callers, salt);
        scramble(whole, salt + 1);
        const adopted = payload.adoptRegion("adopted", callers, true);
        const inside = whole.slice();
        inside.set(callers.subarray(from, from + length), b.base + to);
        expect(payload.copy(b, to, adopted, from, length)).toBe(true);
        expect(Buffer.compare(whole, inside)).toBe(0);
        const outside = callers.slice();
        outside.set(whole.subarray(a.base + from, a.base + from + length), to);
        expect(payload.copy(adopted, to, a, from, length)).toBe(true);
        expect(Buffer.compare(callers, outside)).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("every length from 0 to 2000 is copied exactly", () => {
    for (let length = 0; length <= 2000; length++) {
      whole.fill(0);
      scramble(a.bytes, length);
      payload.copy(b, 1, a, 3, length);
      expect(Buffer.compare(b.bytes.subarray(1, 1 + length), a.bytes.subarray(3, 3 + length))).toBe(0);
      expect([b.bytes[0], b.bytes[1 + length]]).toEqual([0, 0]);
    }
  });

  test("none of these copies was a report", () => {
    expect(reports.total).toBe(0);
  });
});

test("regions lie one behind the other in the backing, their words over the same bytes", () => {
  const { payload } = payloadOf(plain(64));
  const [a, b] = [payload.addRegion("a", 24, true), payload.addRegion("b", 40, true)];
  expect([a.base, a.bytes.length, a.words.length, b.base, b.bytes.length]).toEqual([0, 24, 6, 24, 40]);
  b.words[1] = 0x01020304;
  expect([...b.bytes.subarray(4, 8)]).toEqual([4, 3, 2, 1]);
});

test("an adopted region is over the caller's bytes, not over a copy, whatever their alignment; only aligned ones have words", () => {
  const { payload } = payloadOf(plain(8));
  for (const shift of [0, 1, 2, 4, 7]) {
    const callers = new Uint8Array(32).subarray(shift, shift + 16);
    const region = payload.adoptRegion("adopted", callers, true);
    region.bytes[3] = 9;
    callers[5] = 7;
    expect([callers[3], region.bytes[5], region.base]).toEqual([9, 7, -1]);
    expect(region.words.length).toBe(shift % 4 === 0 ? 4 : 0);
  }
});

test("a region of more bytes than the backing has left is refused, with what is left", () => {
  const { payload } = payloadOf(plain(64));
  payload.addRegion("host", 40, true);
  const error = usageErrorOf(() => payload.addRegion("wire", 32, true));
  expect(error).toMatchObject({ package: "mm", option: "region wire bytes", value: 32 });
  expect(error.message).toContain("24 bytes left");
});

test("a refused region takes nothing: a smaller one still fits", () => {
  const { payload } = payloadOf(plain(64));
  usageErrorOf(() => payload.addRegion("wire", 72, true));
  expect(payload.addRegion("wire", 64, true).bytes.length).toBe(64);
});

test.each([12, -8, 8.5])("a region of %d bytes, no multiple of 8, is refused", (bytes) => {
  expect(usageErrorOf(() => payloadOf(plain(64)).payload.addRegion("odd", bytes, true)).option).toBe("region odd bytes");
});

describe("memory that the CPU may not read", () => {
  const setUp = () => {
    const { payload, reports } = payloadOf(plain(64));
    const [host, vram] = [payload.addRegion("host", 32, true), payload.addRegion("vram", 32, false)];
    host.bytes.fill(1);
    vram.bytes.fill(2);
    return { payload, reports, host, vram };
  };

  test("a CPU copy out of it or into it is a report, and nothing is copied", () => {
    const { payload, reports, host, vram } = setUp();
    expect([payload.copy(host, 0, vram, 0, 8), payload.copy(vram, 0, host, 0, 8)]).toEqual([false, false]);
    expect([host.bytes.every((byte) => byte === 1), vram.bytes.every((byte) => byte === 2)]).toEqual([true, true]);
    expect(reports.reports).toMatchObject(["warn", "warn"].map((severity) => ({ kind: "unreadable-access", severity, object: "region vram" })));
  });

  test("a CPU read of it is a report and −1; of readable memory it is the byte", () => {
    const { payload, reports, host, vram } = setUp();
    expect([payload.readByte(host, 31), payload.readByte(vram, 0)]).toEqual([1, -1]);
    expect(kinds(reports)).toEqual(["unreadable-access"]);
  });

  test("an adopted region may be unreadable too", () => {
    const { payload, reports, host } = setUp();
    expect(payload.copy(host, 0, payload.adoptRegion("vram", new Uint8Array(8), false), 0, 8)).toBe(false);
    expect(kinds(reports)).toEqual(["unreadable-access"]);
  });

  test("a DMA engine reaches it in both directions", () => {
    const { payload, reports, host, vram } = setUp();
    payload.dmaCopy(host, 0, vram, 0, 4);
    payload.dmaCopy(vram, 8, host, 8, 4);
    expect([host.bytes[3], host.bytes[4], vram.bytes[8], vram.bytes[12]]).toEqual([2, 1, 1, 2]);
    expect(reports.total).toBe(0);
  });
});
