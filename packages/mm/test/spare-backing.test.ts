import { expect, test } from "vitest";
import { SpareBacking } from "../src/index.ts";

test("the next machine has the last one's memory, zeroed as far as it needs it; while one has it, another has its own", () => {
  const memory = new SpareBacking();
  const first = memory.take(1000);
  new Uint8Array(first.buffer).fill(7);
  memory.put(first);
  const second = memory.take(500);
  expect(second).toBe(first);
  expect([...new Uint8Array(second.buffer, 0, 501)]).toEqual([...new Uint8Array(500), 7]);
  expect(memory.take(500)).not.toBe(second);
});

test("one that is too small is not taken, and the largest is kept", () => {
  const memory = new SpareBacking();
  const small = memory.take(1000);
  memory.put(small);
  const large = memory.take(small.buffer.byteLength + 1);
  expect(large.buffer.byteLength).toBeGreaterThan(small.buffer.byteLength);
  memory.put(large);
  memory.put(small);
  expect(memory.take(1)).toBe(large);
});
