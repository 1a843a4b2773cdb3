import { expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { SKB_CONSUMED, SKB_DROP_REASON_NO_SOCKET, skbCloned, skbHeadFrag, skbHeaderCloned, skbHeadroom, skbShared, skbTailroom } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

test("skb-mm row 37: a fresh skb has users 1, dataref 1, and neither cloned nor recycling", () => {
  const rig = new NetRig();
  const skb = rig.net.lifetime.napiBuildSkb(rig.page(), PAGE_SIZE)!;
  expect([skb.users, skb.shinfo!.dataref, skb.cloned, skb.ppRecycle, skbHeadFrag(skb)]).toEqual([1, 1, false, false, true]);
  expect(skb.end - skb.head).toBe(PAGE_SIZE - 320);
  // The figures of a real kernel: buffer without shared info, plus 256 and 320 bytes.
  expect(skb.truesize).toBe(PAGE_SIZE + 256);
});

test("skb-mm row 42: header_release, then clone: dataref 0x10002, the header is the clone's, the data is not", () => {
  const rig = new NetRig();
  const skb = rig.skb();
  rig.net.edit.skbHeaderRelease(skb);
  const clone = rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
  expect(skb.shinfo!.dataref).toBe(0x10002);
  expect([skbHeaderCloned(clone), skbCloned(clone)]).toEqual([false, true]);
});

test("skb-mm row 43: freeing the payload-only original first leaves dataref 1 and the data alive", () => {
  const rig = new NetRig();
  const skb = rig.skb();
  const page = skb.shinfo!.headPage!;
  rig.net.edit.skbHeaderRelease(skb);
  const clone = rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
  rig.net.lifetime.consumeSkb(skb);
  expect([clone.shinfo!.dataref, page.refcount]).toEqual([1, 1]);
  rig.net.lifetime.consumeSkb(clone);
  expect(page.refcount).toBe(0);
});

test("skb-mm row 49: expanding an skb with two users stops the machine", () => {
  const rig = new NetRig();
  const skb = rig.net.lifetime.skbGet(rig.skb());
  expect(skbShared(skb)).toBe(true);
  expect(() => rig.net.edit.pskbExpandHead(skb, 0, 0, GFP_ATOMIC)).toThrow(KernelPanic);
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

test("a packet read on another CPU waits for the CPU that built it; at half of the limit that CPU is woken", () => {
  const rig = new NetRig({ skbDeferMax: 8 });
  const skbs = Array.from({ length: 4 }, () => rig.skb());
  rig.softirq(1, () => {
    for (const skb of skbs.slice(0, 3)) rig.net.lifetime.skbAttemptDeferFree(skb);
  });
  expect(rig.freed.length).toBe(0);
  rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(skbs[3]!));
  rig.kernel.scheduler.runFor(0);
  expect(rig.freed.length).toBe(4);
});

test("a full list, the same CPU, a second user or an older kernel: freed here and now", () => {
  const full = new NetRig({ skbDeferMax: 2 });
  const skbs = Array.from({ length: 3 }, () => full.skb());
  full.softirq(1, () => {
    for (const skb of skbs) full.net.lifetime.skbAttemptDeferFree(skb);
    expect(full.freed.length).toBe(1);
  });
  const here = new NetRig();
  here.net.lifetime.skbAttemptDeferFree(here.skb());
  const old = new NetRig({ defersFrees: false });
  const skb = old.skb();
  old.softirq(1, () => old.net.lifetime.skbAttemptDeferFree(skb));
  expect([here.freed.length, old.freed.length]).toEqual([1, 1]);
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

test("a packet that GRO has chained is its holder's: finishing it frees nothing", () => {
  const rig = new NetRig();
  const { lifetime } = rig.net;
  const skb = rig.skb();
  skb.gro.free = 0;
  lifetime.napiSkbFinishMerged(skb);
  expect([skb.free, lifetime.stats.live]).toEqual([false, 1]);
  lifetime.consumeSkb(skb);
});
