import { expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { GSO_BY_FRAGS, SKB_GSO_TCPV4, skbEndOffset, skbTruesize, type SkBuff } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

const SG = { sg: true, gso: false };

function segmentsOf(first: SkBuff | number): SkBuff[] {
  const segments: SkBuff[] = [];
  for (let segment = first as SkBuff | null; segment !== null; segment = segment.next) segments.push(segment);
  return segments;
}

/** 54 bytes of headers, pulled, and so many of payload in the head. */
function packet(rig: NetRig, payload: number, gsoSize: number): SkBuff {
  const skb = rig.skb(54 + payload);
  skb.macHeader = skb.data;
  rig.net.edit.skbPull(skb, 54);
  skb.shinfo!.gsoSize = gsoSize;
  skb.shinfo!.gsoType = SKB_GSO_TCPV4;
  return skb;
}

test.each([[SG, [0, 300, 1000, 200]], [{ sg: false, gso: false }, [0, 0, 0, 0]]] as const)("a segment is charged for its head and for each byte in frags", (features, behind) => {
  const rig = new NetRig();
  const skb = packet(rig, 1700, 1000);
  rig.net.edit.skbAddRxFrag(skb, rig.page(), 0, 1500, PAGE_SIZE);
  const segments = segmentsOf(rig.net.merge.skbSegment(skb, features));
  expect(segments.map(({ dataLen }) => dataLen)).toEqual(behind);
  expect(segments.map((segment) => segment.truesize - skbTruesize(skbEndOffset(segment)))).toEqual(behind);
});

test("a segment that is a clone of a member is charged for what its head has grown by, twice, as in the kernel", () => {
  const rig = new NetRig();
  const { lifetime, edit, merge } = rig.net;
  const skb = packet(rig, 100, 100);
  // A head with no room for the headers: it must grow.
  const member = lifetime.allocSkb(1000, GFP_ATOMIC)!;
  edit.skbPut(member, 100);
  const { truesize } = member;
  const end = skbEndOffset(member);
  skb.shinfo!.fragList = member;
  skb.len += 100;
  skb.dataLen += 100;
  const clone = segmentsOf(merge.skbSegment(skb, SG))[1]!;
  const grown = skbEndOffset(clone) - end;
  expect([grown > 0, clone.truesize - truesize]).toEqual([true, 2 * grown]);
});

test("a packet without payload is one segment, of its headers", () => {
  const rig = new NetRig();
  const segments = segmentsOf(rig.net.merge.skbSegment(packet(rig, 0, 1000), SG));
  expect(segments.map(({ len }) => len)).toEqual([54]);
});

test("segments of no size, or headers behind the data: the machine stops", () => {
  const rig = new NetRig();
  expect(() => rig.net.merge.skbSegment(packet(rig, 10, 0), SG)).toThrow(/skb-segment-size/);
  const skb = packet(rig, 10, 5);
  skb.macHeader = skb.data + 1;
  expect(() => rig.net.merge.skbSegment(skb, SG)).toThrow(/skb-segment-headers/);
});

test("members that are to be the segments, and bytes in the head behind the headers: the machine stops", () => {
  const rig = new NetRig();
  expect(() => rig.net.merge.skbSegment(packet(rig, 10, GSO_BY_FRAGS), SG)).toThrow(KernelPanic);
});
