import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { SkbWorld, type FragKind, type FreeKind, type HeadKind } from "./skb-world.ts";

type Op =
  | { readonly op: "create"; readonly kind: HeadKind; readonly n: number; readonly frags: readonly FragKind[] }
  | { readonly op: "one"; readonly what: keyof typeof ONE; readonly a: number; readonly n: number; readonly m: number }
  | { readonly op: "two"; readonly what: keyof typeof TWO; readonly a: number; readonly b: number; readonly n: number }
  | { readonly op: "free"; readonly how: FreeKind; readonly a: number; readonly cpu: number }
  | { readonly op: "flush" };

type Packet = SkbWorld["packets"][number];

/** What is done to one packet, with two numbers that mean what it makes of them. */
const ONE = {
  clone: (world, p) => world.clone(p),
  hold: (world, p) => world.hold(p),
  copy: (world, p) => world.copy(p, "copy"),
  copyExpand: (world, p) => world.copy(p, "expand"),
  pskbCopy: (world, p) => world.copy(p, "pskb"),
  unshare: (world, p) => world.copy(p, "unshare"),
  expand: (world, p, n, m) => world.ownHead(p, "expand", n, m),
  unclone: (world, p) => world.ownHead(p, "unclone", 0, 0),
  uncloneKeep: (world, p) => world.ownHead(p, "keep", 0, 0),
  cow: (world, p, n) => world.ownHead(p, "cow", n, 0),
  cowHead: (world, p, n) => world.ownHead(p, "cow-head", n, 0),
  write: (world, p, n, m) => world.write(p, n, m & 0xff),
  put: (world, p, n) => world.put(p, n),
  pull: (world, p, n) => world.pull(p, n),
  pullTail: (world, p, n) => world.pullTail(p, n),
  trim: (world, p, n) => world.trim(p, n),
  condense: (world, p) => world.condense(p),
  split: (world, p, n) => world.split(p, n),
  segment: (world, p, n, m) => world.segment(p, 50 + n, m % 3 > 0),
  zerocopy: (world, p, n) => world.zerocopy(p, n),
  shareCheck: (world, p) => world.shareCheck(p),
  linearize: (world, p) => world.linearize(p),
  splice: (world, p, n) => world.splice(p, n),
  starve: (world, p, n) => world.starve(p, n),
  orphan: (world, p) => world.orphan(p, false),
  orphanRx: (world, p) => world.orphan(p, true),
} satisfies Record<string, (world: SkbWorld, p: Packet, n: number, m: number) => void>;

const TWO = {
  coalesce: (world, a, b) => world.coalesce(a, b),
  list: (world, a, b) => world.list(a, b),
  shift: (world, a, b, n) => world.shift(a, b, n),
  gro: (world, a, b, n) => world.gro(a, [b, ...world.packets.filter((p) => p !== b).slice(0, 2)], n % 120),
} satisfies Record<string, (world: SkbWorld, a: Packet, b: Packet, n: number) => void>;

const index = fc.nat(30);
const kinds: fc.Arbitrary<FragKind> = fc.constantFrom("pool", "pool", "other-pool", "plain", "net-iov", "pool-frag");
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({
    op: fc.constant("create"), kind: fc.constantFrom("page", "slab", "pool", "pool", "pool", "napi", "netdev", "fclone", "user", "managed", "msg-zerocopy", "slab-build", "with-frags"), n: fc.constantFrom(0, 0, 30, 400, 1200), frags: fc.array(kinds, { maxLength: 6 }),
  }) },
  { weight: 12, arbitrary: fc.record({ op: fc.constant("one"), what: fc.constantFrom(...(Object.keys(ONE) as (keyof typeof ONE)[])), a: index, n: fc.nat(700), m: fc.nat(900) }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("two"), what: fc.constantFrom(...(Object.keys(TWO) as (keyof typeof TWO)[])), a: index, b: index, n: fc.nat(500) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("free"), how: fc.constantFrom("consume", "drop", "napi", "defer", "hardirq", "list"), a: index, cpu: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("flush") }) },
) as fc.Arbitrary<Op>;

function apply(world: SkbWorld, step: Op): void {
  const pick = (i: number): Packet | undefined => world.packets[i % Math.max(1, world.packets.length)];
  switch (step.op) {
    case "create": world.create(step.kind, step.n, step.frags); return;
    case "flush": world.rig.machine.flushDeferred(); return;
    case "free": {
      const p = pick(step.a);
      if (p !== undefined) world.release(p, step.how, step.cpu);
      return;
    }
    case "one": {
      const p = pick(step.a);
      if (p !== undefined) ONE[step.what](world, p, step.n, step.m);
      return;
    }
    case "two": {
      const [a, b] = [pick(step.a), pick(step.b)];
      if (a !== undefined && b !== undefined) TWO[step.what](world, a, b, step.n);
    }
  }
}

/** Of all runs. */
const done = new Set<string>();

function run(preset: PresetName, steps: readonly Op[], order: readonly number[]): void {
  const world = new SkbWorld(preset, done);
  for (const step of steps) {
    apply(world, step);
    world.check();
  }
  world.end(order);
}

/** A stem of packets that share, so that short sequences reach something. */
const STEM: readonly Op[] = [
  { op: "create", kind: "pool", n: 30, frags: ["pool", "plain", "other-pool"] }, { op: "create", kind: "slab", n: 0, frags: ["pool", "pool-frag"] },
  { op: "create", kind: "user", n: 30, frags: [] }, { op: "one", what: "clone", a: 0, n: 0, m: 0 },
];

function runMany(preset: PresetName): void {
  fc.assert(fc.property(fc.array(op, { minLength: 1, maxLength: 120, size: "max" }), fc.array(fc.nat(50), { minLength: 1, maxLength: 20 }), (steps, order) => run(preset, [...STEM, ...steps], order)), { numRuns: 100, seed: 6 });
}

test.each(PRESET_NAMES)("%s: whatever is done to packets, they hold the bytes they must, every reference is counted once, and in the end every page is home", (preset) => {
  runMany(preset);
});

test("the runs above did all that they could have done", () => {
  // Asked for alone, nothing has run.
  if (done.size === 0) for (const preset of PRESET_NAMES) runMany(preset);
  expect([...done].toSorted()).toEqual([
    "coalesce", "coalesce by copy", "coalesce, head and all", "copy of what cannot be read", "copy: copy", "copy: expand", "copy: pskb", "cow of shared data", "cow-head of shared data", "expand of shared data",
    "free: consume", "free: defer", "free: drop", "free: hardirq", "free: list", "free: napi", "gro 0", "gro 1", "gro 2", "keep of shared data", "linearize", "list",
    "no memory: clone", "no memory: copy", "no memory: cow", "no memory: expand", "no memory: orphan", "no memory: pskb copy", "no memory: pull tail", "no memory: segment", "no memory: unclone", "orphan", "pull tail",
    "segment of a frag list", "segment, copied", "segment, pieces", "share check", "shift", "splice", "split", "trim", "trim of a frag list", "unclone of shared data", "unshare", "zerocopy", "zerocopy of a head",
  ]);
});
