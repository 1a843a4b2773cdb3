import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const PROGRAM = fileURLToPath(new URL("garbage-program.mjs", import.meta.url));

/** In a process of its own: the test runner makes garbage as it goes. */
const { status, stdout, stderr } = spawnSync(process.execPath, ["--expose-gc", "--max-inlined-bytecode-size-cumulative=20000", PROGRAM], { encoding: "utf8" });
const trips = status === 0 ? (JSON.parse(stdout) as { name: string; operations: number; collections: number; bytes: number }[]) : [];

test("the program ran", () => {
  expect([status, stderr]).toEqual([0, ""]);
  expect(trips.map(({ name }) => name)).toEqual(["direct", "ring", "page allocator", "bulk of two pools", "fragments", "shared", "xdp drop", "xdp redirect through a devmap", "xdp tx", "xdp pass", "frame to skb", "af_xdp copy", "packet cloned", "packet expanded, pulled and trimmed", "packet coalesced", "packet of a driver's allocation, copied",
    "packet of 1500 bytes, its head released to its clone", "packet segmented", "packets merged by GRO", "packet split, and shifted back", "packet of a user's memory", "packet deferred to the CPU that built it", "datagram into a socket, and read", "segments through GRO into a stream, and read", "packet over veth, with a program", "packet freed in hardirq", "net_iov"]);
});

test.each(trips)("two million operations ($name): no garbage collection, no heap growth", ({ operations, collections, bytes }) => {
  expect(operations).toBeGreaterThanOrEqual(2_000_000);
  expect(collections).toBe(0);
  // Below a byte an operation is the engine's own, for code it compiled meanwhile; the smallest object each would be 24 MB.
  expect(bytes).toBeLessThan(operations);
});
