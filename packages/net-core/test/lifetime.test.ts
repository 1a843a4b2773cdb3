import { expect, test } from "vitest";
import { KernelPanic, NET_RX_SOFTIRQ } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { NAPI_GRO_FREE, SKB_CONSUMED, SKB_DROP_REASON_NO_SOCKET, SKB_FREED, SKB_FREED_UNTRACED, skbHeadFrag, skbHeadroom, skbTailroom, type SkBuff } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

test("an skb over a page has the figures of a real kernel: the buffer without shared info, plus 256 and 320 bytes", () => {
  const rig = new NetRig();
  const skb = rig.net.lifetime.napiBuildSkb(rig.page(), PAGE_SIZE)!;
  expect([skbHeadFrag(skb), skb.end - skb.head, skb.truesize]).toEqual([true, PAGE_SIZE - 320, PAGE_SIZE + 256]);
});

test("every user must let go before the last frees; the reason of the last is the one traced", () => {
  const rig = new NetRig();
  const skb = rig.net.lifetime.skbGet(rig.skb(60));
  rig.net.lifetime.consumeSkb(skb);
  expect(rig.freed).toEqual([]);
  rig.net.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NO_SOCKET);
  expect(rig.freed).toEqual([`60 ${SKB_DROP_REASON_NO_SOCKET}`]);
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test("freeing an skb again after its last user is a report and frees nothing", () => {
  const rig = new NetRig();
  const skb = rig.skb();
  rig.net.lifetime.consumeSkb(skb);
  const free = rig.freePages();
  rig.net.lifetime.consumeSkb(skb);
  expect(rig.kinds()).toEqual(["skb-use-after-free"]);
  expect([rig.freePages(), rig.net.lifetime.stats.live]).toEqual([free, 0]);
});

test("share_check gives the skb itself when alone, and a clone in exchange for a share", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const skb = rig.skb();
  expect(lifetime.skbShareCheck(skb, GFP_ATOMIC)).toBe(skb);
  lifetime.skbGet(skb);
  const clone = lifetime.skbShareCheck(skb, GFP_ATOMIC)!;
  expect(clone).not.toBe(skb);
  expect([skb.users, clone.users, skb.shinfo!.dataref]).toEqual([1, 1, 2]);
});

test("a slab head: ksize bounds it, kfree gets it back, no page counter moves", () => {
  const rig = new NetRig();
  const before = rig.mm.slab.objectsInUse();
  const skb = rig.net.lifetime.allocSkb(300, GFP_ATOMIC)!;
  expect([skbHeadFrag(skb), skb.end - skb.head, skbTailroom(skb), skbHeadroom(skb)]).toEqual([false, 640 - 320, 320, 0]);
  rig.net.lifetime.consumeSkb(skb);
  expect(rig.mm.slab.objectsInUse()).toBe(before);
  expect(rig.freed).toEqual([`0 ${SKB_CONSUMED}`]);
});

test("no memory for a slab head: null, and nothing is lost", () => {
  const rig = new NetRig();
  while (rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1) !== null);
  expect(rig.net.lifetime.allocSkb(300, GFP_ATOMIC)).toBeNull();
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test.each([
  ["cpu", 8, 5, [0, 0, 0, 0, 5]], ["node", 8, 5, [0, 0, 0, 0, 5]], ["cpu", 1, 1, [1]], ["node", 2, 2, [0, 1]],
] as const)("one list a %s, of %i at most: a packet read on another CPU waits for the CPU that built it, which is woken when one comes that finds half of so many", (deferLists, skbDeferMax, n, freed) => {
  const rig = new NetRig({ deferLists, skbDeferMax });
  const seen: number[] = [];
  for (const skb of Array.from({ length: n }, () => rig.skb())) {
    rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(skb));
    rig.kernel.scheduler.runFor(0);
    seen.push(rig.freed.length);
  }
  expect(seen).toEqual(freed);
});

test.each([["cpu", [0, 0, 1, 2]], ["node", [0, 1, 2, 3]]] as const)("one list a %s: a full one frees here; a node's has one place less", (deferLists, freed) => {
  const rig = new NetRig({ deferLists, skbDeferMax: 2 });
  const skbs = Array.from({ length: 4 }, () => rig.skb());
  const seen: number[] = [];
  rig.softirq(1, () => {
    for (const skb of skbs) {
      rig.net.lifetime.skbAttemptDeferFree(skb);
      seen.push(rig.freed.length);
    }
  });
  expect(seen).toEqual(freed);
});

test.each([["cpu", 4], ["node", 0]] as const)("one list a %s, of six: two packets each from CPUs of two nodes are half of one list, and less of two, so that %i are freed at once", (deferLists, freed) => {
  const rig = new NetRig({ deferLists, skbDeferMax: 6 }, 0, [0, 0, 1]);
  const skbs = Array.from({ length: 4 }, () => rig.skb());
  for (const cpu of [1, 2]) rig.softirq(cpu, () => {
    for (const skb of skbs.splice(0, 2)) rig.net.lifetime.skbAttemptDeferFree(skb);
  });
  rig.kernel.scheduler.runFor(0);
  expect(rig.freed.length).toBe(freed);
  rig.kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  rig.kernel.scheduler.runFor(0);
  expect(rig.freed.length).toBe(4);
});

test("what waits goes home last in, first out, by the CPU that built it", () => {
  const rig = new NetRig();
  const skbs = [10, 20, 30].map((bytes) => rig.skb(bytes));
  rig.softirq(1, () => {
    for (const skb of skbs) rig.net.lifetime.skbAttemptDeferFree(skb);
  });
  expect(rig.freed).toEqual([]);
  rig.kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  rig.kernel.scheduler.runFor(0);
  expect(rig.freed).toEqual([30, 20, 10].map((bytes) => `${bytes} ${SKB_CONSUMED}`));
});

test("a list that was flushed has room again", () => {
  const rig = new NetRig({ skbDeferMax: 8 });
  for (let round = 0; round < 4; round++) {
    const skbs = [rig.skb(), rig.skb(), rig.skb()];
    rig.softirq(1, () => {
      for (const skb of skbs) rig.net.lifetime.skbAttemptDeferFree(skb);
    });
    rig.kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
    // Not by CPU 1: all three wait.
    expect(rig.freed.length).toBe(3 * round);
    rig.kernel.scheduler.runFor(0);
  }
});

test("the same CPU, a second user or an older kernel: freed here and now", () => {
  const here = new NetRig();
  here.net.lifetime.skbAttemptDeferFree(here.skb());
  const held = here.net.lifetime.skbGet(here.skb());
  here.softirq(1, () => here.net.lifetime.skbAttemptDeferFree(held));
  const old = new NetRig({ defersFrees: false });
  const skb = old.skb();
  old.softirq(1, () => old.net.lifetime.skbAttemptDeferFree(skb));
  expect([here.freed.length, held.users, old.freed.length]).toEqual([1, 1, 1]);
});

test("a packet that is deferred with its destructor is a report; freed on its own CPU it is none", () => {
  const rig = new NetRig();
  const make = (): SkBuff => Object.assign(rig.skb(), { destructor: { destruct: () => undefined } });
  const [here, there] = [make(), make()];
  rig.net.lifetime.skbAttemptDeferFree(here);
  expect(rig.kinds()).toEqual([]);
  rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(there));
  expect(rig.kinds()).toEqual(["skb-defer-destructor"]);
});

test("napi_consume_skb with a budget outside softirq is a report; without one it may come from anywhere", () => {
  const rig = new NetRig();
  rig.net.lifetime.napiConsumeSkb(rig.skb(), 0);
  rig.softirq(0, () => rig.net.lifetime.napiConsumeSkb(rig.skb(), 64));
  expect(rig.kinds()).toEqual([]);
  rig.net.lifetime.napiConsumeSkb(rig.skb(), 64);
  expect([rig.kinds(), rig.freed.length]).toEqual([["skb-napi-consume-context"], 3]);
});

test("a freed skb cannot be cloned or held: both are reports that name it, with its history when traced", () => {
  const rig = new NetRig();
  const skb = rig.skb();
  rig.net.lifetime.consumeSkb(skb);
  expect(rig.net.lifetime.skbClone(skb, GFP_ATOMIC)).toBeNull();
  rig.net.lifetime.skbGet(skb);
  expect(skb.users).toBe(1);
  expect(rig.kernel.reports.reports.map(({ kind, object }) => [kind, object])).toEqual([["skb-use-after-free", "sk_buff 1"], ["skb-use-after-free", "sk_buff 1"]]);
});

test.each([320, 100, PAGE_SIZE + 1])("building an skb over %i bytes of a page stops the machine", (bytes) => {
  const rig = new NetRig();
  expect(() => rig.net.lifetime.napiBuildSkb(rig.page(), bytes)).toThrow(KernelPanic);
});

test("expanding into less room than the data needs stops the machine", () => {
  const rig = new NetRig();
  expect(() => rig.net.edit.pskbExpandHead(rig.skb(1000), 0, -PAGE_SIZE + 400, GFP_ATOMIC)).toThrow(KernelPanic);
});

test("a freed packet that is deferred, or in a list, is reported, and no free struct is lost for it", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const gone = rig.skb();
  lifetime.consumeSkb(gone);
  lifetime.skbAttemptDeferFree(gone);
  const [first, second] = [rig.skb(), rig.skb()];
  lifetime.consumeSkb(second);
  first.next = second;
  lifetime.kfreeSkbList(first, SKB_DROP_REASON_NO_SOCKET);
  expect([rig.kinds(), rig.kernel.reports.total, lifetime.stats.live]).toEqual([["skb-use-after-free", "skb-use-after-free"], 2, 0]);
});

test("what GRO has merged, and nothing of which is needed any more, ends without an event (gro_skb_finish)", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const [merged, delivered] = [rig.skb(), rig.skb()];
  merged.gro.free = NAPI_GRO_FREE;
  rig.softirq(0, () => {
    lifetime.napiSkbFinishMerged(merged);
    lifetime.consumeSkb(delivered);
  });
  expect([rig.freedHow, lifetime.stats.live]).toEqual([[SKB_FREED_UNTRACED, SKB_FREED], 0]);
});

test("a packet that GRO has chained is its holder's: finishing it frees nothing", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const skb = rig.skb();
  skb.gro.free = 0;
  lifetime.napiSkbFinishMerged(skb);
  expect([skb.free, lifetime.stats.live]).toEqual([false, 1]);
  lifetime.consumeSkb(skb);
});

test("packets in another's frag list, and those that its end frees, end with an event of their own, however that one does", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const nested = (): SkBuff => {
    const [whole, member, other] = [rig.skb(61), rig.skb(62), rig.skb(63)];
    whole.shinfo!.fragList = member;
    whole.len += 62;
    whole.dataLen += 62;
    whole.destructor = { destruct: () => lifetime.kfreeSkb(other, SKB_DROP_REASON_NO_SOCKET) };
    return whole;
  };
  lifetime.kfreeSkbPartial(nested(), false);
  rig.softirq(0, () => {
    const merged = nested();
    merged.gro.free = NAPI_GRO_FREE;
    lifetime.napiSkbFinishMerged(merged);
  });
  expect([rig.freedHow, rig.freed.map((line) => line.split(" ")[0]), lifetime.stats.live]).toEqual([
    [SKB_FREED_UNTRACED, SKB_FREED, SKB_FREED, SKB_FREED_UNTRACED, SKB_FREED, SKB_FREED], ["123", "63", "62", "123", "63", "62"], 0,
  ]);
});
