import { describe, expect, test } from "vitest";
import { ETOOMANYREFS } from "@netmem/kernel/api";
import { SKBFL_DONT_ORPHAN, SKBFL_ZEROCOPY_FRAG, type SkBuff, type UbufInfo } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** What changed, or will, beside the rules that presets differ in: a test for each side. */
describe("what came after 6.18 is off, and can be had", () => {
  function userPacket(rig: NetRig, told: boolean[]): SkBuff {
    const skb = rig.skb();
    const uarg: UbufInfo = rig.net.zerocopy.createUbufInfo({ complete: (_skb, _uarg, success) => void told.push(success) }, SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN);
    rig.net.zerocopy.skbZcopySet(skb, uarg, true);
    return skb;
  }

  test.each([[false, 0], [true, 1]] as const)("deferSkipsZcopy %j: a deferred packet of somebody else's memory tells its owner %i times at once", (deferSkipsZcopy, times) => {
    const rig = new NetRig({ deferSkipsZcopy });
    const told: boolean[] = [];
    const skb = userPacket(rig, told);
    rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(skb));
    expect(told.length).toBe(times);
  });

  test.each([false, true])("napiConsumeDefers %j: a sent packet of another CPU is freed there or here, its owner told here either way", (napiConsumeDefers) => {
    const rig = new NetRig({ napiConsumeDefers });
    const skb = rig.skb();
    let told = 0;
    skb.destructor = { destruct: () => void told++ };
    rig.softirq(1, () => rig.net.lifetime.napiConsumeSkb(skb, 64));
    expect([told, rig.freed.length]).toEqual([1, napiConsumeDefers ? 0 : 1]);
    const shared = rig.skb();
    shared.destructor = { destruct: () => void told++ };
    rig.net.lifetime.skbGet(shared);
    rig.softirq(1, () => rig.net.lifetime.napiConsumeSkb(shared, 64));
    expect([shared.users, told]).toEqual([1, 1]);
  });

  test.each([[false, 0], [true, -ETOOMANYREFS]] as const)("groRefusesZcopy %j: a packet of somebody else's memory is merged or not", (groRefusesZcopy, answer) => {
    const rig = new NetRig({ groRefusesZcopy });
    const p = rig.skb();
    p.dev = rig.dev;
    rig.net.merge.groStart(p, 40);
    rig.net.merge.groHold(p);
    const skb = userPacket(rig, []);
    rig.net.merge.groStart(skb, 40);
    expect(rig.net.merge.skbGroReceive(p, skb)).toBe(answer);
    // Nor is another merged into it.
    const held = userPacket(rig, []);
    held.dev = rig.dev;
    rig.net.merge.groStart(held, 0);
    rig.net.merge.groHold(held);
    const other = rig.skb();
    rig.net.merge.groStart(other, 40);
    expect(rig.net.merge.skbGroReceive(held, other)).toBe(answer);
  });

  test.each([[64, 16, 32], [128, 32, 32]] as const)("a CPU keeps up to %i structs, takes %i from the slab at a time, and gives %i back", (napiSkbCacheSize, napiSkbCacheBulk, napiSkbCacheFrees) => {
    const rig = new NetRig({ napiSkbCacheSize, napiSkbCacheBulk, napiSkbCacheFrees });
    const { lifetime } = rig.net;
    const kept: SkBuff[] = [];
    rig.softirq(0, () => {
      for (let i = 0; i < napiSkbCacheSize; i++) kept.push(lifetime.buildSkb(rig.page(), 4096)!);
      const { bulkFrees } = lifetime.stats;
      for (const skb of kept.slice(0, -1)) lifetime.napiConsumeSkb(skb, 64);
      expect(lifetime.stats.bulkFrees).toBe(bulkFrees);
      lifetime.napiConsumeSkb(kept.at(-1)!, 64);
      expect(lifetime.stats.bulkFrees).toBe(bulkFrees + 1);
      // What it kept are the first; the last went back, and any CPU may have them.
      const again = Array.from({ length: napiSkbCacheSize - napiSkbCacheFrees }, () => lifetime.napiBuildSkb(rig.page(), 4096)!);
      expect(again.every((skb) => kept.slice(0, napiSkbCacheSize - napiSkbCacheFrees).includes(skb))).toBe(true);
      expect(kept.slice(-napiSkbCacheFrees)).toContain(lifetime.buildSkb(rig.page(), 4096)!);
    });
    // An empty cache fills up by so many: the next that anyone else takes is the one behind them.
    const fresh = new NetRig({ napiSkbCacheSize, napiSkbCacheBulk, napiSkbCacheFrees });
    fresh.softirq(0, () => {
      const out: (SkBuff | null)[] = [];
      expect(fresh.net.lifetime.napiSkbCacheGetBulk(out, 3)).toBe(3);
      expect(new Set(out).size).toBe(3);
      const around = fresh.net.lifetime.buildSkbAround(out[0]!, fresh.page(), 2048, 1024);
      expect([around === out[0], around.head - around.shinfo!.headPage!.base, around.users]).toEqual([true, 1024, 1]);
    });
  });

  test("of structs in bulk those come first that a CPU has, filled up once, then the slab's (napi_skb_cache_get_bulk)", () => {
    const rig = new NetRig({ napiSkbCacheSize: 64, napiSkbCacheBulk: 16, napiSkbCacheFrees: 32 });
    const { lifetime } = rig.net;
    rig.softirq(0, () => {
      const kept = Array.from({ length: 3 }, () => lifetime.napiBuildSkb(rig.page(), 4096)!);
      const out: (SkBuff | null)[] = [];
      // 13 are left of the bulk that these came with; 16 more make 29, and 11 are the slab's.
      for (const skb of kept) lifetime.napiConsumeSkb(skb, 1);
      expect(lifetime.napiSkbCacheGetBulk(out, 40)).toBe(40);
      expect([new Set(out).size, kept.every((skb) => out.slice(0, 16).includes(skb))]).toEqual([40, true]);
      // What came last lies highest.
      expect(kept.map((skb) => out.indexOf(skb))).toEqual([13, 14, 15]);
      for (const skb of out) lifetime.buildSkbAround(skb!, rig.page(), 4096, 0);
      for (const skb of out) lifetime.consumeSkb(skb!);
      expect(lifetime.stats.live).toBe(0);
    });
  });

  test.each([false, true])("undeferredInSoftirq %j: what is not deferred is freed in the caller's context, or with softirqs off", (undeferredInSoftirq) => {
    const rig = new NetRig({ undeferredInSoftirq });
    const skb = rig.skb();
    const level: number[] = [];
    skb.destructor = { destruct: () => void level.push(rig.kernel.context.level) };
    const before = rig.kernel.context.level;
    rig.net.lifetime.skbAttemptDeferFree(skb);
    expect([level[0] === before, rig.kernel.context.level]).toEqual([!undeferredInSoftirq, before]);
  });
});
