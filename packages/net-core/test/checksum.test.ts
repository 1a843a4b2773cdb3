import fc from "fast-check";
import { expect, test } from "vitest";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { skbRegion, type SkBuff } from "../src/api/index.ts";
import { ipHeaderHolds, skbChecksum } from "../src/inet/checksum.ts";
import { NetRig } from "./rig.ts";

/** Of 16-bit words in network order, added one by one. */
function plainSum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += (i & 1) === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

const piece = fc.uint8Array({ maxLength: 300 });
const pieces = fc.record({ head: piece, frags: fc.array(fc.record({ bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }), at: fc.nat(9) }), { maxLength: 3 }) });

function build(rig: NetRig, { head, frags }: { head: Uint8Array; frags: readonly { bytes: Uint8Array; at: number }[] }, reserve: number): SkBuff {
  const skb = rig.net.lifetime.allocSkb(512, GFP_ATOMIC)!;
  rig.net.edit.skbReserve(skb, reserve);
  rig.net.edit.skbPut(skb, head.length);
  skbRegion(skb).bytes.set(head, skb.data);
  for (const { bytes, at } of frags) {
    const page = rig.page();
    page.region.bytes.set(bytes, page.base + at);
    rig.net.edit.skbAddRxFrag(skb, page, at, bytes.length, PAGE_SIZE);
  }
  return skb;
}

test("the checksum of any part of a packet is that of its bytes, wherever they lie: head, frags, members of its frag list, odd places", () => {
  const rig = new NetRig();
  fc.assert(fc.property(pieces, fc.array(pieces, { maxLength: 2 }), fc.nat(9), fc.nat(), fc.nat(), (own, others, reserve, from, to) => {
    const skb = build(rig, own, reserve);
    const bytes = [own, ...others].flatMap(({ head, frags }) => [...head, ...frags.flatMap((frag) => [...frag.bytes])]);
    let last: SkBuff | null = null;
    for (const other of others) {
      const member = build(rig, other, 1);
      if (last === null) skb.shinfo!.fragList = member;
      else last.next = member;
      last = member;
      skb.len += member.len;
      skb.dataLen += member.len;
    }
    const [start, end] = [from % (bytes.length + 1), to % (bytes.length + 1)].sort((a, b) => a - b) as [number, number];
    const sum = skbChecksum(skb, start, end - start, rig.mm.payload);
    // Both are 0 to one's complement.
    expect(sum % 0xffff).toBe(plainSum(bytes.slice(start, end)) % 0xffff);
    rig.net.lifetime.consumeSkb(skb);
  }), { numRuns: 300 });
  expect([rig.net.lifetime.stats.live, rig.kinds()]).toEqual([0, []]);
});

test("an IP header holds where its sum is all ones, with options and without, on a word and off it; with any one bit turned it does not", () => {
  const rig = new NetRig();
  const page = rig.page();
  const { bytes } = page.region;
  fc.assert(fc.property(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.integer({ min: 5, max: 15 }), fc.nat(9), fc.nat(), (header, words, at, turned) => {
    const ip = page.base + at;
    const length = 4 * words;
    bytes.set(header.subarray(0, length), ip);
    bytes.fill(0, ip + 10, ip + 12);
    const check = ~plainSum([...bytes.subarray(ip, ip + length)]) & 0xffff;
    bytes.set([check >> 8, check & 0xff], ip + 10);
    const bit = turned % (8 * length);
    // All zero it has no sum of ones.
    const isSomething = check !== 0xffff;
    expect(ipHeaderHolds(page.region, ip, length, rig.mm.payload)).toBe(isSomething || header.subarray(0, length).some((byte, i) => byte !== 0 && i !== 10 && i !== 11));
    bytes[ip + (bit >> 3)]! ^= 1 << (bit & 7);
    expect(ipHeaderHolds(page.region, ip, length, rig.mm.payload)).toBe(false);
  }), { numRuns: 500 });
  bytes.fill(0, page.base, page.base + 60);
  expect([4, 8, 2].map((at) => ipHeaderHolds(page.region, page.base + at, 20, rig.mm.payload))).toEqual([false, false, false]);
});

test("a long run of large words does not overflow", () => {
  const rig = new NetRig();
  const region = rig.mm.payload.adoptRegion("ones", new Uint8Array(1 << 20).fill(0xff), true);
  expect([rig.mm.payload.checksum(region, 0, 1 << 20), rig.mm.payload.checksum(region, 1, (1 << 20) - 1), rig.mm.payload.checksum(region, 0, 0)]).toEqual([0xffff, plainSum(Array.from({ length: (1 << 20) - 1 }, () => 255)), 0]);
});

test("memory that the CPU cannot read has no checksum: a report", () => {
  const rig = new NetRig();
  const region = rig.mm.payload.addRegion("device", 64, false);
  expect([rig.mm.payload.checksum(region, 0, 64), rig.kinds()]).toEqual([0, ["unreadable-access"]]);
});
