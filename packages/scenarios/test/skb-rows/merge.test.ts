import { describe, expect, test } from "vitest";
import { E2BIG, EINVAL, ETOOMANYREFS, KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import {
  GSO_BY_FRAGS, NAPI_GRO_FREE, NAPI_GRO_FREE_STOLEN_HEAD, SKB_GSO_DODGY, SKB_GSO_TCPV4, SKB_STRUCT_BYTES, skbTruesize, type Coalesced, type SkBuff,
} from "@netmem/net-core/api";
import { PRESET_NAMES } from "@netmem/machine";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { refs, type RigPool } from "../rig.ts";
import { SkbBench } from "./bench.ts";

/** An skb whose head has no bytes, with room for none: what coalescing and shifting work on. */
function fragsOnly(bench: SkbBench, frags: number, from: RigPool | null = null): SkBuff {
  const skb = bench.skb(0, "slab");
  for (let i = 0; i < frags; i++) if (from === null) bench.addFrag(skb, { netmem: bench.page() }); else bench.addPoolFrag(skb, from);
  return skb;
}

/** `to` with no usable tailroom, as rows 59 to 62 have it. */
function target(bench: SkbBench, frags: number, from: RigPool | null = null): SkBuff {
  return fragsOnly(bench, frags, from);
}

function coalesce(bench: SkbBench, to: SkBuff, from: SkBuff): Coalesced | null {
  const result = { stolen: false, deltaTruesize: 0 };
  const [before, added, truesize] = [bench.bytes(to), bench.bytes(from), to.truesize];
  const merged = bench.net.merge.skbTryCoalesce(to, from, result);
  expect(bench.bytes(to)).toEqual(merged ? [...before, ...added] : before);
  expect(to.truesize - truesize).toBe(result.deltaTruesize);
  if (!merged) return null;
  bench.net.lifetime.kfreeSkbPartial(from, result.stolen);
  return result;
}

describe.each(PRESET_NAMES)("%s: packets that become one", (preset) => {
  const row = (n: number, title: string): string => `skb-mm row ${n} [${preset}]: ${title}`;
  const newBench = (): SkbBench => new SkbBench(preset);
  const { recycles, preset: rules } = newBench();
  const { clonedCoalesce } = rules.net;

  test(row(58, recycles ? "coalescing is refused when only one of the two recycles, even if the bytes would fit behind the other's tail" : "nothing recycles, and what fits behind the tail is copied there"), () => {
    const bench = newBench();
    const from = bench.pooled(bench.rig.createPool());
    const to = bench.skb(60, "slab", 500);
    if (recycles) expect(coalesce(bench, to, from)).toBeNull();
    else expect(coalesce(bench, to, from)).toEqual({ stolen: false, deltaTruesize: 0 });
  });

  test(row(59, { "page-ref": "a shared packet's frags get a page reference each, whoever owns them, up to 5.17", "into-plain": "no preset has this", refused: "a shared packet that recycles is not coalesced, from 5.18 on", "pp-ref": "of a shared packet that recycles each pool frag has one holder more, an ordinary one a page reference" }[clonedCoalesce]), () => {
    const bench = newBench();
    const pool = bench.rig.createPool();
    const to = target(bench, 1, pool);
    const from = fragsOnly(bench, 1, pool);
    const plain = bench.page();
    bench.addFrag(from, { netmem: plain });
    const frag = from.shinfo!.frags[0]!.netmem!;
    const other = bench.rig.clone(from);
    const merged = coalesce(bench, to, from);
    if (clonedCoalesce === "refused" && recycles) {
      expect([merged, refs(frag), plain.refcount]).toEqual([null, "1/1", 1]);
      return;
    }
    const counted = clonedCoalesce === "pp-ref";
    expect([merged, refs(frag), plain.refcount]).toEqual([{ stolen: false, deltaTruesize: 2 * PAGE_SIZE }, counted ? "1/2" : recycles ? "2/1" : "2/0", 2]);
    // Freed in this order the counted one comes home; with a page reference the pool loses it at the first put.
    bench.free(other, to);
    expect([plain.refcount, pool.pool.ringCount(), bench.kinds()]).toEqual([0, counted ? 2 : recycles ? 1 : 0, []]);
  });

  test(row(59, "into-plain, from 5.18 to 6.2: shared data of a recycling packet goes into one that does not, with a page reference each; the kernel that came then refuses"), () => {
    for (const [rule, mixed, both] of [["into-plain", true, false], ["refused", false, false], ["page-ref", false, true]] as const) {
      const bench = new SkbBench(preset, { clonedCoalesce: rule });
      const pool = bench.rig.createPool();
      const make = (): readonly [SkBuff, SkBuff] => {
        const from = fragsOnly(bench, 1, pool);
        return [from, bench.rig.clone(from)];
      };
      const [a, alsoA] = make();
      const [b, alsoB] = make();
      const frag = a.shinfo!.frags[0]!.netmem!;
      // Without recycling there is nothing to mix.
      expect([coalesce(bench, target(bench, 1), a) !== null, coalesce(bench, target(bench, 1, pool), b) !== null]).toEqual(recycles ? [mixed, both] : [true, true]);
      if (recycles && mixed) expect(refs(frag)).toBe("2/1");
      bench.free(alsoA, alsoB);
      // And one's own, into a packet that recycles no less, never mixes.
      expect(coalesce(bench, target(bench, 1), fragsOnly(bench, 1, pool)) === null).toBe(recycles);
      expect(coalesce(bench, target(bench, 1, pool), fragsOnly(bench, 1)) === null).toBe(recycles);
    }
  });

  test(row(60, "a shared packet with bytes in its head is not coalesced: its head is somebody else's, too"), () => {
    const bench = newBench();
    const from = bench.skb(100);
    bench.rig.clone(from);
    expect(coalesce(bench, target(bench, 1), from)).toBeNull();
  });

  test(row(61, "a packet of one's own gives its frags up: no count changes, and it has none left"), () => {
    const bench = newBench();
    const pool = bench.rig.createPool();
    const to = target(bench, 2, pool);
    const from = fragsOnly(bench, 3, pool);
    const frag = from.shinfo!.frags[0]!.netmem!;
    const before = refs(frag);
    const result = { stolen: false, deltaTruesize: 0 };
    expect(bench.net.merge.skbTryCoalesce(to, from, result)).toBe(true);
    expect([refs(frag), from.shinfo!.nrFrags, to.shinfo!.nrFrags, result]).toEqual([before, 0, 5, { stolen: false, deltaTruesize: 3 * PAGE_SIZE }]);
  });

  test(row(61, "with bytes in its head that becomes a frag: the head's reference moves, and only the struct is left"), () => {
    const bench = newBench();
    const pool = bench.rig.createPool();
    const to = target(bench, 1, pool);
    const from = bench.pooled(pool, 100);
    bench.addPoolFrag(from, pool);
    const { truesize } = from;
    const { headPage } = from.shinfo!;
    expect(coalesce(bench, to, from)).toEqual({ stolen: true, deltaTruesize: truesize - SKB_STRUCT_BYTES });
    expect([refs(headPage!), to.shinfo!.nrFrags, from.free]).toEqual([recycles ? "1/1" : "1/0", 3, true]);
    bench.free(to);
    expect([pool.pool.ringCount(), bench.net.lifetime.stats.live, bench.kinds()]).toEqual([recycles ? 3 : 0, 0, []]);
  });

  test.each([[16, 1, true, false], [16, 0, true, true], [15, 1, true, true], [17, 0, true, false], [16, 1, false, true], [16, 2, false, false]] as const)(
    `skb-mm row 62 [${preset}]: %i and %i frags, head bytes %s: coalesced %s`, (has, gets, headBytes, fits) => {
      const bench = newBench();
      const from = headBytes ? bench.skb(700) : fragsOnly(bench, 0);
      for (let i = 0; i < gets; i++) bench.addFrag(from, { netmem: bench.page(), bytes: 700 });
      expect(coalesce(bench, target(bench, has), from) !== null).toBe(fits);
    });

  test(row(63, "somebody else's memory or a frag list on either side is refused, unless the bytes could be copied"), () => {
    const bench = newBench();
    const zcopy = (): SkBuff => bench.userPacket(bench.userBuffer(), 1).skb;
    const listed = (): SkBuff => {
      const skb = bench.skb(700);
      skb.shinfo!.fragList = bench.skb(10);
      skb.len += 10;
      skb.dataLen += 10;
      return skb;
    };
    for (const make of [zcopy, listed]) {
      expect(coalesce(bench, target(bench, 1), make())).toBeNull();
      expect(coalesce(bench, make(), bench.skb(700))).toBeNull();
      // Behind a tail with room for all of it.
      const roomy = bench.skb(10, "slab", 2000);
      expect(coalesce(bench, roomy, make())).toEqual({ stolen: false, deltaTruesize: 0 });
    }
  });

  test(row(63, "a packet that others share takes nothing in; unreadable and readable do not mix"), () => {
    const bench = newBench();
    const to = target(bench, 1);
    const clone = bench.rig.clone(to);
    expect(coalesce(bench, to, bench.skb(100))).toBeNull();
    bench.free(clone, to);
    const device = bench.rig.createDevicePool(4);
    const unreadable = fragsOnly(bench, 0);
    bench.addFrag(unreadable, { netmem: device.pool.allocNetmems(0)! });
    expect(bench.net.merge.skbTryCoalesce(target(bench, 1), unreadable, { stolen: false, deltaTruesize: 0 })).toBe(false);
  });

  const refusesMixed = recycles && rules.net.groRefusesMixed;
  test(row(64, refusesMixed ? "GRO: with different recycle bits -ETOOMANYREFS, and nothing is merged" : recycles ? "GRO: before 7d2c89b32587 a pool's page is merged into a packet that does not recycle, and its pool waits for ever" : "GRO: nothing recycles, so nothing differs"), () => {
    const bench = newBench();
    const p = bench.skb(100);
    bench.net.merge.groStart(p, 40);
    bench.net.merge.groHold(p);
    const from = bench.rig.createPool();
    const skb = bench.pooled(from, 100);
    bench.net.merge.groStart(skb, 40);
    expect(bench.net.merge.skbGroReceive(p, skb)).toBe(refusesMixed ? -ETOOMANYREFS : 0);
    expect(p.len).toBe(refusesMixed ? 100 : 160);
    if (refusesMixed || !recycles) return;
    bench.rig.inPoll(() => bench.net.lifetime.napiSkbFinishMerged(skb));
    bench.free(p);
    expect([from.pool.inflight() - from.pool.cacheCount - from.pool.ringCount(), bench.net.lifetime.stats.live]).toEqual([1, 0]);
  });

  test(row(65, "GRO: a head that is a page's becomes a frag, its reference moves, and only the struct is freed"), () => {
    const bench = newBench();
    const pool = bench.rig.createPool();
    const [p, skb] = [bench.pooled(pool, 100), bench.pooled(pool, 140)];
    bench.addPoolFrag(skb, pool, { bytes: 50 });
    bench.net.merge.groStart(p, 40);
    bench.net.merge.groHold(p);
    const bytes = [...bench.bytes(p), ...bench.bytes(skb).slice(40)];
    const { truesize } = skb;
    const { headPage } = skb.shinfo!;
    const charged = p.truesize;
    bench.net.merge.groStart(skb, 40);
    expect(bench.net.merge.skbGroReceive(p, skb)).toBe(0);
    expect([skb.gro.free, p.shinfo!.nrFrags, p.gro.count, bench.bytes(p), p.truesize - charged]).toEqual([NAPI_GRO_FREE_STOLEN_HEAD, 2, 2, bytes, truesize - SKB_STRUCT_BYTES]);
    const before = refs(headPage!);
    bench.softirq(() => bench.net.lifetime.napiSkbFinishMerged(skb));
    expect([refs(headPage!), skb.free]).toEqual([before, true]);
    bench.free(p);
    expect([pool.pool.ringCount(), bench.net.lifetime.stats.live, bench.kinds()]).toEqual([recycles ? 3 : 0, 0, []]);
  });

  test("GRO: frags move when the headers are all of the head; what of the headers lies in the first frag stays out", () => {
    const bench = newBench();
    const pool = bench.rig.createPool();
    const p = bench.pooled(pool, 100);
    const skb = bench.pooled(pool, 30);
    for (const bytes of [200, 300]) bench.addPoolFrag(skb, pool, { bytes });
    bench.net.merge.groStart(p, 40);
    bench.net.merge.groHold(p);
    const bytes = [...bench.bytes(p), ...bench.bytes(skb).slice(40)];
    bench.net.merge.groStart(skb, 40);
    const charged = p.truesize;
    expect([bench.net.merge.skbGroReceive(p, skb), skb.gro.free, skb.shinfo!.nrFrags, skb.len, skb.truesize]).toEqual([0, NAPI_GRO_FREE, 0, 30, skbTruesize(skb.end - skb.head)]);
    expect([bench.bytes(p), p.truesize - charged]).toEqual([bytes, 2 * PAGE_SIZE]);
    bench.softirq(() => bench.net.lifetime.napiSkbFinishMerged(skb));
    expect(pool.pool.ringCount()).toBe(recycles ? 1 : 0);
    bench.free(p);
    expect([pool.pool.ringCount(), bench.net.lifetime.stats.live]).toEqual([recycles ? 4 : 0, 0]);
  });

  test("GRO: what cannot be merged is chained, headers off, and later packets go to the last of the chain; all of it is freed as one", () => {
    const bench = newBench();
    const p = bench.skb(100, "slab");
    bench.net.merge.groStart(p, 40);
    bench.net.merge.groHold(p);
    let bytes = bench.bytes(p);
    const packets = [bench.skb(140, "slab"), bench.skb(140, "slab"), bench.skb(90)];
    // One with its headers partly in a frag.
    const mixed = bench.skb(20, "slab");
    bench.addFrag(mixed, { netmem: bench.page(), bytes: 100 });
    for (let i = 0; i < MAX_SKB_FRAGS - 1; i++) bench.addFrag(mixed, { netmem: bench.page(), bytes: 10 });
    for (const skb of [...packets, mixed]) {
      bytes = [...bytes, ...bench.bytes(skb).slice(40)];
      bench.net.merge.groStart(skb, 40);
      const charged = p.truesize + skb.truesize;
      expect(bench.net.merge.skbGroReceive(p, skb)).toBe(0);
      if (skb.gro.free === 0) expect([p.truesize, skb.nohdr, skb.shinfo!.dataref]).toEqual([charged, true, 0x10001]);
      else bench.softirq(() => bench.net.lifetime.napiSkbFinishMerged(skb));
      expect([p.len, bench.bytes(p)]).toEqual([bytes.length, bytes]);
    }
    expect([p.gro.count, p.gro.last === mixed]).toEqual([5, true]);
    bench.free(p);
    expect([bench.net.lifetime.stats.live, bench.kinds()]).toEqual([0, []]);
  });

  test("GRO: a packet that has shifted away more truesize than its frags were charged is merged all the same, and the held one is charged less", () => {
    const bench = newBench();
    const [p, skb, tgt] = [bench.skb(100), bench.skb(0, "slab"), bench.skb(0, "slab")];
    for (const bytes of [3000, 100]) bench.addFrag(skb, { netmem: bench.page(), bytes }, 512);
    expect(bench.net.merge.skbShift(tgt, skb, 3000)).toBe(3000);
    bench.net.merge.groStart(p, 0);
    bench.net.merge.groHold(p);
    bench.net.merge.groStart(skb, 0);
    const bytes = [...bench.bytes(p), ...bench.bytes(skb)];
    const charged = p.truesize;
    expect([bench.net.merge.skbGroReceive(p, skb), skb.gro.free, p.shinfo!.nrFrags, p.shinfo!.fragList, p.truesize - charged]).toEqual([0, NAPI_GRO_FREE, 1, null, 2 * 512 - 3000]);
    bench.softirq(() => bench.net.lifetime.napiSkbFinishMerged(skb));
    expect(bench.bytes(p)).toEqual(bytes);
    bench.free(p, tgt);
    expect([bench.net.lifetime.stats.live, bench.kinds()]).toEqual([0, []]);
  });

  test("GRO: before the fix of 2026 the frags of a user's packet, which has no references to them, go to one that puts them", () => {
    const bench = newBench();
    const user = bench.userBuffer();
    const { skb, pages } = bench.userPacket(user, 1, true);
    const p = bench.skb(100);
    bench.net.merge.groStart(p, 40);
    bench.net.merge.groHold(p);
    bench.net.merge.groStart(skb, 40);
    expect(bench.net.merge.skbGroReceive(p, skb)).toBe(0);
    bench.softirq(() => bench.net.lifetime.napiSkbFinishMerged(skb));
    bench.free(p);
    // The user still has it, and it is gone.
    expect([user.told, pages[0]!.refcount]).toEqual([[true], 0]);
  });

  test("GRO: a packet becomes no larger than its device says, nor beyond 64 KiB unless TCP can say so", () => {
    const bench = newBench();
    const merge = (size: number, skb: Partial<SkBuff["gro"]>, protocol: number = 0x0800, headroom: number = 64): number => {
      const p = bench.skb(100);
      p.data = p.head + headroom;
      p.protocol = protocol;
      bench.net.merge.groStart(p, 40);
      bench.net.merge.groHold(p);
      p.len = size;
      const other = bench.skb(140);
      Object.assign(other.gro, { dataOffset: 40, flush: false, proto: 6, encapsulated: false }, skb);
      return bench.net.merge.skbGroReceive(p, other);
    };
    expect([merge(65_400, {}), merge(65_436, {}), merge(100, { flush: true })]).toEqual([0, -E2BIG, -E2BIG]);
    // IPv6 alone from 5.19 on, IPv4 with a limit of its own from 6.3.
    const { groBigTcp } = bench.preset.net;
    const yes = (when: boolean): number => (when ? 0 : -E2BIG);
    const { dev } = bench.rig;
    dev.groMaxSize = 200_000;
    expect([merge(65_436, {}), merge(65_436, {}, 0x86dd, 8), merge(65_436, {}, 0x86dd, 7), merge(199_900, {}, 0x86dd)]).toEqual([-E2BIG, yes(groBigTcp !== "none"), -E2BIG, -E2BIG]);
    dev.groIpv4MaxSize = 100_000;
    expect([merge(65_436, {}), merge(99_900, {}), merge(65_436, { proto: 17 }), merge(65_436, { encapsulated: true }), merge(99_900, {}, 0x86dd)]).toEqual([yes(groBigTcp === "any"), -E2BIG, -E2BIG, -E2BIG, yes(groBigTcp !== "none")]);
  });

  test(row(66, "a shift that cannot be done leaves both as they were, and answers 0"), () => {
    const bench = newBench();
    const { merge } = bench.net;
    const both = (tgt: SkBuff, skb: SkBuff): unknown => [bench.bytes(tgt), bench.bytes(skb), tgt.len, skb.len, tgt.truesize, skb.truesize];
    const refuse = (tgt: SkBuff, skb: SkBuff, bytes: number): void => {
      const before = both(tgt, skb);
      expect([merge.skbShift(tgt, skb, bytes), both(tgt, skb)]).toEqual([0, before]);
    };
    refuse(fragsOnly(bench, 1), bench.skb(100), 50);
    refuse(fragsOnly(bench, MAX_SKB_FRAGS - 1), fragsOnly(bench, 2), 200);
    refuse(fragsOnly(bench, MAX_SKB_FRAGS - 1), fragsOnly(bench, 3), 201);
    refuse(fragsOnly(bench, 1), bench.userPacket(bench.userBuffer(), 1).skb, 100);
    const shared = fragsOnly(bench, 2);
    const clone = bench.rig.clone(shared);
    const { failSlab } = bench.rig.machine.mm.faults;
    const tgt = fragsOnly(bench, 1);
    failSlab.arm({ nth: 1 });
    refuse(tgt, shared, 150);
    failSlab.disarm();
    expect(clone.shinfo!.dataref).toBe(2);
    expect(() => merge.skbShift(fragsOnly(bench, 1), fragsOnly(bench, 1), 101)).toThrow(KernelPanic);
  });

  test("a shift moves whole frags as they are, cuts one with a page reference, and joins what lies side by side", () => {
    const bench = newBench();
    const { merge } = bench.net;
    const [tgt, skb] = [fragsOnly(bench, 1), fragsOnly(bench, 3)];
    const bytes = [...bench.bytes(tgt), ...bench.bytes(skb)];
    const frags = skb.shinfo!.frags.slice(0, 3).map(({ netmem }) => netmem!);
    const charged = [tgt.truesize, skb.truesize];
    expect(merge.skbShift(tgt, skb, 150)).toBe(150);
    expect([tgt.shinfo!.nrFrags, skb.shinfo!.nrFrags, frags.map((frag) => refs(frag))]).toEqual([3, 2, ["1/0", "2/0", "1/0"]]);
    expect([[...bench.bytes(tgt), ...bench.bytes(skb)], tgt.truesize - charged[0]!, skb.truesize - charged[1]!]).toEqual([bytes, 150, -150]);
    // The rest of the cut frag follows its first part: part of it, then all of it, whose reference goes.
    expect([merge.skbShift(tgt, skb, 20), tgt.shinfo!.nrFrags, refs(frags[1]!)]).toEqual([20, 3, "2/0"]);
    expect([merge.skbShift(tgt, skb, 130), tgt.shinfo!.nrFrags, refs(frags[1]!), skb.shinfo!.nrFrags, skb.len]).toEqual([130, 4, "1/0", 0, 0]);
    expect(bench.bytes(tgt)).toEqual(bytes);
    bench.free(tgt, skb);
    expect([bench.net.lifetime.stats.live, frags.every((frag) => !frag.isNetIov && frag.refcount === 0)]).toEqual([0, true]);
  });

  test("a split in the head copies bytes and moves all frags; a split in a frag cuts it with a page reference", () => {
    for (const len of [30, 60, 100, 160, 260]) {
      const bench = newBench();
      const skb = bench.skb(60, "slab");
      for (let i = 0; i < 2; i++) bench.addFrag(skb, { netmem: bench.page() });
      const frags = skb.shinfo!.frags.slice(0, 2).map(({ netmem }) => netmem!);
      const skb1 = bench.net.lifetime.allocSkb(200, GFP_ATOMIC)!;
      const bytes = bench.bytes(skb);
      bench.net.merge.skbSplit(skb, skb1, len);
      expect([bench.bytes(skb), bench.bytes(skb1)]).toEqual([bytes.slice(0, len), bytes.slice(len)]);
      expect(frags.map((frag) => refs(frag))).toEqual(len === 100 ? ["2/0", "1/0"] : ["1/0", "1/0"]);
      bench.free(skb1, skb);
      expect([bench.net.lifetime.stats.live, frags.map((frag) => refs(frag))]).toEqual([0, ["0/0", "0/0"]]);
    }
  });
});

describe("a packet of several segments", () => {
  const HEADERS = 54;
  const SG = { sg: true, gso: false };

  /** Headers pulled, `payload` bytes left in the head, then `frags`, then members of the frag list. */
  function packet(bench: SkbBench, linear: number, frags: readonly number[], members: readonly SkBuff[], gsoSize: number): SkBuff {
    const skb = bench.skb(HEADERS + linear, "slab");
    for (const bytes of frags) bench.addFrag(skb, { netmem: bench.page(), bytes });
    skb.macHeader = skb.data;
    bench.net.edit.skbPull(skb, HEADERS);
    const info = skb.shinfo!;
    for (const [i, member] of members.entries()) {
      member.next = members[i + 1] ?? null;
      bench.net.edit.skbHeaderRelease(member);
      skb.len += member.len;
      skb.dataLen += member.len;
      skb.truesize += member.truesize;
    }
    info.fragList = members[0] ?? null;
    info.gsoSize = gsoSize;
    info.gsoType = SKB_GSO_TCPV4;
    return skb;
  }

  function member(bench: SkbBench, linear: number, frags: readonly number[] = [], kind: "page" | "slab" = "page"): SkBuff {
    const skb = bench.skb(linear, kind);
    for (const bytes of frags) bench.addFrag(skb, { netmem: bench.page(), bytes });
    return skb;
  }

  const SHAPES: readonly (readonly [string, (bench: SkbBench) => SkBuff])[] = [
    ["all in the head", (bench) => packet(bench, 2500, [], [], 1000)],
    ["all in frags", (bench) => packet(bench, 0, [4000, 100, 3000], [], 1000)],
    ["head and frags", (bench) => packet(bench, 700, [1200, 1300], [], 500)],
    ["members that are each a segment", (bench) => packet(bench, 1000, [], [member(bench, 1000), member(bench, 1000), member(bench, 300)], 1000)],
    ["members with frags", (bench) => packet(bench, 0, [1000], [member(bench, 0, [600, 400]), member(bench, 1000), member(bench, 200, [800])], 1000)],
    ["members that segments cross", (bench) => packet(bench, 100, [900], [member(bench, 800), member(bench, 700, [500])], 640)],
    ["less than one segment", (bench) => packet(bench, 0, [77], [], 1000)],
    ["each member, whatever its size", (bench) => packet(bench, 0, [], [member(bench, 10), member(bench, 900), member(bench, 33)], GSO_BY_FRAGS)],
  ];

  test.each(SHAPES.flatMap(([what, make]) => [[what, "pieces", make, SG] as const, [what, "one piece each", make, { sg: false, gso: false }] as const]))("%s, as %s: headers, then the bytes in order; every page freed once", (_what, _how, make, features) => {
    const bench = new SkbBench("6.18");
    const before = bench.freePages();
    const skb = make(bench);
    const payload = bench.bytes(skb);
    const { gsoSize } = skb.shinfo!;
    const sizes = gsoSize === GSO_BY_FRAGS ? [10, 900, 33] : Array.from({ length: Math.ceil(payload.length / gsoSize) }, (_, i) => Math.min(gsoSize, payload.length - i * gsoSize));
    bench.net.edit.skbPush(skb, HEADERS);
    const headers = bench.bytes(skb).slice(0, HEADERS);
    bench.net.edit.skbPull(skb, HEADERS);
    const first = bench.net.merge.skbSegment(skb, features) as SkBuff;
    const segments: SkBuff[] = [];
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) segments.push(segment);
    const got = segments.map((segment) => bench.bytes(segment));
    expect(got.map((bytes) => bytes.length)).toEqual(sizes.map((size) => size + HEADERS));
    expect(got.map((bytes) => bytes.slice(0, HEADERS))).toEqual(sizes.map(() => headers));
    expect(got.flatMap((bytes) => bytes.slice(HEADERS))).toEqual(payload);
    for (const segment of segments) expect([segment.macHeader, segment.shinfo!.gsoSize, segment.len - segment.dataLen]).toEqual([segment.data, 0, segment.tail - segment.data]);
    // The original first, then the segments, the last of them first.
    bench.free(skb);
    expect(segments.map((segment) => bench.bytes(segment))).toEqual(got);
    bench.free(...segments.toReversed());
    expect([bench.net.lifetime.stats.live, bench.freePages(), bench.kinds()]).toEqual([0, before, []]);
  });

  test("a device that segments gets several segments a packet, where the frag list falls into equal parts", () => {
    const bench = new SkbBench("6.18");
    const skb = packet(bench, 2000, [], [member(bench, 2000), member(bench, 2000), member(bench, 1500)], 1000);
    const first = bench.net.merge.skbSegment(skb, { sg: true, gso: true }) as SkBuff;
    const seen: (readonly [number, number, number])[] = [];
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) seen.push([segment.len - HEADERS, segment.shinfo!.gsoSize, segment.shinfo!.gsoSegs]);
    expect(seen).toEqual([[2000, 1000, 2], [2000, 1000, 2], [2000, 1000, 2], [1500, 1000, 2]]);
  });

  test("a size that nobody vouches for, and a member whose head is no page: it is copied; vouched for, it stops the machine", () => {
    const make = (bench: SkbBench, type: number): SkBuff => {
      const skb = packet(bench, 0, [500], [member(bench, 700, [], "slab")], 600);
      skb.shinfo!.gsoType |= type;
      return skb;
    };
    const bench = new SkbBench("6.18");
    const skb = make(bench, SKB_GSO_DODGY);
    const payload = bench.bytes(skb);
    const first = bench.net.merge.skbSegment(skb, SG) as SkBuff;
    expect([...bench.bytes(first).slice(HEADERS), ...bench.bytes(first.next!).slice(HEADERS)]).toEqual(payload);
    expect([first.dataLen, first.next!.dataLen]).toEqual([0, 0]);
    expect(() => bench.net.merge.skbSegment(make(bench, 0), SG)).toThrow(KernelPanic);
  });

  test.each<readonly [string, (bench: SkbBench) => readonly SkBuff[]]>([
    ["its head of 700 bytes begins a segment of 500", (bench) => [member(bench, 700)]],
    ["it is empty", (bench) => [member(bench, 0), member(bench, 600)]],
    ["it ends 60 bytes before the segment of 500 that it begins", (bench) => [member(bench, 400, [40]), member(bench, 600)]],
  ])("a member that a segment begins with must fit: %s", (what, members) => {
    const bench = new SkbBench("6.18");
    expect(() => bench.net.merge.skbSegment(packet(bench, 0, [500], members(bench), 500), SG)).toThrow(what);
  });

  test("too many frags for a segment, or no memory: no segment is left, and the packet is the caller's; the last one tells its owner", () => {
    const bench = new SkbBench("6.18");
    const skb = packet(bench, 0, Array.from({ length: MAX_SKB_FRAGS }, () => 10), [member(bench, 0, [10])], 10 * MAX_SKB_FRAGS + 5);
    const { live } = bench.net.lifetime.stats;
    expect([bench.net.merge.skbSegment(skb, SG), bench.net.lifetime.stats.live]).toEqual([-EINVAL, live]);
    bench.free(skb);
    const other = packet(bench, 0, [2500], [], 1000);
    let told = 0;
    other.destructor = { destruct: () => void told++ };
    const { failSlab } = bench.rig.machine.mm.faults;
    failSlab.arm({ nth: 3 });
    expect(bench.net.merge.skbSegment(other, SG)).toBe(-12);
    failSlab.disarm();
    bench.net.edit.skbPull(other, HEADERS);
    const { truesize } = other;
    const first = bench.net.merge.skbSegment(other, SG) as SkBuff;
    bench.free(other);
    expect(told).toBe(0);
    const last = first.next!.next!;
    expect(last.truesize).toBe(truesize);
    bench.free(last, first.next!, first);
    expect([told, bench.net.lifetime.stats.live]).toEqual([1, 0]);
    expect(bench.net.merge.skbSegment(bench.skb(10), SG)).toBe(-EINVAL);
  });
});
