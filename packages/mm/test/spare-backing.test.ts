import { expect, test } from "vitest";
import { SpareBacking, backingBytes } from "../src/index.ts";
import { memory, usageErrorOf } from "./helpers.ts";

test("the next machine has the last one's memory, zeroed as far as it needs it; while one has it, another has its own", () => {
  const spare = new SpareBacking();
  const first = spare.take(1000);
  new Uint8Array(first.buffer).fill(7);
  spare.put(first);
  const second = spare.take(500);
  expect(second).toBe(first);
  expect([...new Uint8Array(second.buffer, 0, 501)]).toEqual([...new Uint8Array(500), 7]);
  expect(spare.take(500)).not.toBe(second);
});

test("one that is too small is not taken, and the largest is kept", () => {
  const spare = new SpareBacking();
  const small = spare.take(1000);
  spare.put(small);
  const large = spare.take(small.buffer.byteLength + 1);
  expect(large.buffer.byteLength).toBeGreaterThan(small.buffer.byteLength);
  spare.put(large);
  spare.put(small);
  expect(spare.take(1)).toBe(large);
});

test("a machine has what it asked for, whatever the one before it had: not a byte of that is its", () => {
  const spare = new SpareBacking();
  const small = { nrPages: 4, extraBytes: 64 };
  const large = memory({ nrPages: 64, extraBytes: 64, backing: spare.take(backingBytes({ nrPages: 64, extraBytes: 64 })) });
  large.payload.addRegion("all", 64, true).bytes.fill(7);
  const whole = spare.take(1 << 20);
  new Uint8Array(whole.buffer).fill(7);
  spare.put(whole);
  const next = memory({ ...small, backing: spare.take(backingBytes(small)) });
  expect([...next.payload.addRegion("all", 64, true).bytes].every((byte) => byte === 0)).toBe(true);
  expect(usageErrorOf(() => next.payload.addRegion("more", 8, true)).message).toMatch(/the machine has 0 bytes left: create the machine with more/);
});
