import { afterEach, expect, test } from "vitest";
import { putBacking, reserveBacking, takeBacking } from "../src/replay/backing.ts";

afterEach(() => void takeBacking(1));

test("the next machine has the last one's memory, zeroed as far as it needs it; while one has it, another has its own", () => {
  const first = takeBacking(1000);
  new Uint8Array(first.buffer).fill(7);
  putBacking(first);
  const second = takeBacking(500);
  expect(second).toBe(first);
  expect([...new Uint8Array(second.buffer, 0, 501)]).toEqual([...new Uint8Array(500), 7]);
  expect(takeBacking(500)).not.toBe(second);
});

test("one that is too small is not taken, and the largest is kept", () => {
  const small = takeBacking(1000);
  putBacking(small);
  const large = takeBacking(small.buffer.byteLength + 1);
  expect(large.buffer.byteLength).toBeGreaterThan(small.buffer.byteLength);
  putBacking(large);
  putBacking(small);
  expect(takeBacking(1)).toBe(large);
});

test("what was reserved is what comes", () => {
  reserveBacking(300_000);
  expect(takeBacking(1).buffer.byteLength).toBeGreaterThanOrEqual(300_000);
});
