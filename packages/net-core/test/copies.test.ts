import { describe, expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE, type Netmem } from "@netmem/mm/api";
import { SKB_GSO_DODGY, SKB_GSO_TCPV4, skbHeadlen, skbRegion, skbTruesize, type SkBuff } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** What one packet knows beside its bytes, relative to where its data begins. */
function knows(skb: SkBuff): Readonly<Record<string, unknown>> {
  const { gsoSize, gsoSegs, gsoType } = skb.shinfo!;
  const offset = (at: number): number | null => (at < 0 ? null : at - skb.data);
  return {
    mac: offset(skb.macHeader), network: offset(skb.networkHeader), transport: offset(skb.transportHeader), protocol: skb.protocol, dev: skb.dev,
    rxQueue: skb.rxQueue, redirected: skb.redirected, allocCpu: skb.allocCpu, gsoSize, gsoSegs, gsoType,
  };
}

/** Everything set to something else than a new packet has. */
function packet(rig: NetRig): SkBuff {
  const skb = rig.skb(100);
  rig.net.edit.skbAddRxFrag(skb, rig.page(), 10, 50, PAGE_SIZE);
  skb.macHeader = skb.data - 14;
  skb.networkHeader = skb.data;
  skb.transportHeader = skb.data + 20;
  Object.assign(skb, { protocol: 0x0800, dev: rig.dev, rxQueue: 3, redirected: true, allocCpu: 1 });
  Object.assign(skb.shinfo!, { gsoSize: 40, gsoSegs: 4, gsoType: SKB_GSO_TCPV4 });
  return skb;
}

describe("what a packet knows beside its bytes goes with them", () => {
  test.each([
    ["a clone", (rig, skb) => rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!],
    ["a copy", (rig, skb) => rig.net.edit.skbCopy(skb, GFP_ATOMIC)!],
    ["a copy with other room", (rig, skb) => rig.net.edit.skbCopyExpand(skb, 200, 10, GFP_ATOMIC)!],
    ["a copy of the head", (rig, skb) => rig.net.edit.pskbCopy(skb, 64, GFP_ATOMIC)!],
    ["an unshared clone", (rig, skb) => rig.net.edit.skbUnshare(rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!, GFP_ATOMIC)!],
  ] as readonly (readonly [string, (rig: NetRig, skb: SkBuff) => SkBuff])[])("%s", (_what, make) => {
    const rig = new NetRig();
    const skb = packet(rig);
    const before = knows(skb);
    expect(knows(make(rig, skb))).toEqual(before);
    expect(knows(skb)).toEqual(before);
  });

  test.each([[0, 0], [64, 0], [0, 500], [128, 300]])("a private head with %i more in front and %i behind, of a packet of one's own and of a clone", (nhead, ntail) => {
    const rig = new NetRig();
    const skb = packet(rig);
    const before = knows(skb);
    const clone = rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
    for (const one of [clone, skb]) {
      rig.net.edit.pskbExpandHead(one, nhead, ntail, GFP_ATOMIC);
      expect(knows(one)).toEqual(before);
    }
  });

  test("a copy of the head with other headroom has its headers where they were, counted from the head: in the kernel, too, nobody moves them", () => {
    const rig = new NetRig();
    const skb = packet(rig);
    const copy = rig.net.edit.pskbCopy(skb, 96, GFP_ATOMIC)!;
    expect([copy.macHeader - copy.head, copy.networkHeader - copy.head, copy.data - copy.head]).toEqual([50, 64, 96]);
    copy.shinfo!.gsoSize = 0;
    expect(() => rig.net.merge.skbSegment(copy, { sg: true, gso: false })).toThrow(KernelPanic);
  });

  test("headers that are not set stay so", () => {
    const rig = new NetRig();
    const skb = rig.skb(100);
    rig.net.edit.pskbExpandHead(skb, 64, 0, GFP_ATOMIC);
    for (const one of [skb, rig.net.edit.skbCopy(skb, GFP_ATOMIC)!, rig.net.edit.skbCopyExpand(skb, 1, 1, GFP_ATOMIC)!]) expect([one.macHeader, one.networkHeader, one.transportHeader]).toEqual([-1, -1, -1]);
  });

  test("a segment knows its packet's headers, and is none of several", () => {
    const rig = new NetRig();
    const skb = packet(rig);
    const { allocCpu, protocol, rxQueue } = skb;
    const first = rig.net.merge.skbSegment(skb, { sg: true, gso: false }) as SkBuff;
    let n = 0;
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next, n++) {
      expect([segment.macHeader - segment.data, segment.networkHeader - segment.data, segment.transportHeader - segment.data, segment.allocCpu, segment.protocol, segment.rxQueue, segment.dev, segment.shinfo!.gsoSize]).toEqual([0, 14, 34, allocCpu, protocol, rxQueue, rig.dev, 0]);
    }
    expect(n).toBe(4);
  });
});

test("bytes that are stored are in the packet, whichever part they fall in, and in whoever shares it", () => {
  const rig = new NetRig();
  const { edit, lifetime } = rig.net;
  const skb = rig.skb(100);
  edit.skbAddRxFrag(skb, rig.page(), 10, 50, PAGE_SIZE);
  const member = rig.skb(30);
  skb.shinfo!.fragList = member;
  skb.len += 30;
  skb.dataLen += 30;
  const region = rig.mm.payload.addRegion("scratch", 4096, true);
  for (let i = 0; i < 180; i++) region.bytes[i] = i + 1;
  const clone = lifetime.skbClone(skb, GFP_ATOMIC)!;
  expect(edit.skbStoreBits(skb, 0, region, 0, 180)).toBe(0);
  expect(edit.skbStoreBits(skb, 90, region, 0, 80)).toBe(0);
  expect([edit.skbStoreBits(skb, 150, region, 0, 31), edit.skbStoreBits(skb, -65, region, 0, 1)]).toEqual([-14, -14]);
  expect(edit.skbCopyBits(clone, 0, region, 1000, 180)).toBe(0);
  const count = (from: number, n: number): number[] => Array.from({ length: n }, (_, i) => from + i);
  expect([...region.bytes.subarray(1000, 1180)]).toEqual([...count(1, 90), ...count(1, 80), ...count(171, 10)]);
});

describe("the truth of a trim and a pull", () => {
  function withFrags(rig: NetRig, bytes: number, frags: readonly Netmem[]): SkBuff {
    const skb = rig.skb(bytes);
    for (const netmem of frags) rig.net.edit.skbAddRxFrag(skb, netmem, 0, 50, PAGE_SIZE);
    return skb;
  }

  test("a packet that somebody is charged for is not condensed: its truesize, and its frag, stay", () => {
    const rig = new NetRig();
    const [own, charged] = [withFrags(rig, 100, [rig.page(), rig.page()]), withFrags(rig, 100, [rig.page(), rig.page()])];
    charged.destructor = { destruct: () => undefined };
    const { truesize } = charged;
    for (const skb of [own, charged]) expect(rig.net.edit.pskbTrim(skb, 120)).toBe(0);
    expect([own.dataLen, own.truesize, own.shinfo!.nrFrags]).toEqual([0, skbTruesize(PAGE_SIZE - 320), 0]);
    expect([charged.dataLen, charged.truesize, charged.shinfo!.nrFrags]).toEqual([20, truesize, 1]);
  });

  test("what a trim drops of the frag list ends for no stated reason", () => {
    const rig = new NetRig();
    const [skb, member] = [rig.skb(100), rig.skb(30)];
    skb.shinfo!.fragList = member;
    skb.len += 30;
    skb.dataLen += 30;
    rig.net.edit.pskbTrim(skb, 100);
    expect(rig.freed).toEqual(["30 2"]);
  });

  test.each([["page", 0], ["slab", SKB_GSO_DODGY]] as const)("a pull out of a member whose head is a %s's: its segments' size can be vouched for no more, %i", (kind, type) => {
    const rig = new NetRig();
    const { edit, lifetime } = rig.net;
    const skb = rig.skb(100);
    const member = kind === "page" ? rig.skb(60) : lifetime.allocSkb(60, GFP_ATOMIC)!;
    if (kind === "slab") edit.skbPut(member, 60);
    Object.assign(skb.shinfo!, { fragList: member, gsoSize: 60, gsoType: SKB_GSO_TCPV4 });
    skb.len += 60;
    skb.dataLen += 60;
    expect([edit.pskbPullTail(skb, 20), skb.shinfo!.gsoType, skbHeadlen(skb), member.len]).toEqual([true, SKB_GSO_TCPV4 | type, 120, 40]);
    // All of it: none is left.
    expect([edit.pskbPullTail(skb, 40), skb.shinfo!.fragList]).toEqual([true, null]);
  });

  test.each([[false, true], [true, false]] as const)("trimClearsUnreadable %j: with nothing left but its head a packet is unreadable %j", (trimClearsUnreadable, unreadable) => {
    const rig = new NetRig({ trimClearsUnreadable });
    const skb = withFrags(rig, 100, [rig.page(), rig.page()]);
    skb.unreadable = true;
    rig.net.edit.pskbTrim(skb, 120);
    expect(skb.unreadable).toBe(true);
    rig.net.edit.pskbTrim(skb, 100);
    expect([skb.unreadable, skbRegion(skb).cpuReadable]).toEqual([unreadable, true]);
  });
});
