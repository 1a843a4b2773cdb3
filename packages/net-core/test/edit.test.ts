import fc from "fast-check";
import { expect, test } from "vitest";
import { EFAULT, ENOMEM, KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE, type PayloadRegion } from "@netmem/mm/api";
import { skbRegion, type SkBuff } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** An skb with these parts, its bytes 1, 2, 3 …; and the bytes. */
function patterned(rig: NetRig, head: number, frags: readonly number[]): { skb: SkBuff; bytes: number[] } {
  const skb = rig.skb(head);
  const bytes: number[] = [];
  const fill = (region: PayloadRegion, at: number, length: number): void => {
    for (let i = 0; i < length; i++) {
      bytes.push((bytes.length * 7 + 1) & 0xff);
      region.bytes[at + i] = bytes.at(-1)!;
    }
  };
  fill(skbRegion(skb), skb.data, head);
  for (const size of frags) {
    const page = rig.page();
    rig.net.edit.skbAddRxFrag(skb, page, 16, size, PAGE_SIZE);
    fill(page.region, page.base + 16, size);
  }
  return { skb, bytes };
}

function readAll(rig: NetRig, skb: SkBuff, target: PayloadRegion): number[] {
  expect(rig.net.edit.skbCopyBits(skb, 0, target, 0, skb.len)).toBe(0);
  return [...target.bytes.subarray(0, skb.len)];
}

test("property: copy_bits gives any range of head and frags, before and after a clone's expansion, and nothing out of range", () => {
  const rig = new NetRig();
  const target = rig.mm.payload.addRegion("user", 65_536, true);
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 200 }), fc.array(fc.integer({ min: 1, max: 4000 }), { maxLength: 6, size: "max" }), fc.nat(30_000), fc.nat(30_000), fc.boolean(),
    (head, frags, from, length, expand) => {
      const { skb, bytes } = patterned(rig, head, frags);
      const clone = rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
      if (expand) expect(rig.net.edit.pskbExpandHead(clone, 32, 64, GFP_ATOMIC)).toBe(0);
      for (const copy of [skb, clone]) {
        const result = rig.net.edit.skbCopyBits(copy, from, target, 8, length);
        expect(result).toBe(from + length > bytes.length ? -EFAULT : 0);
        if (result === 0) expect([...target.bytes.subarray(8, 8 + length)]).toEqual(bytes.slice(from, from + length));
      }
      rig.net.lifetime.consumeSkb(skb);
      expect(readAll(rig, clone, target)).toEqual(bytes);
      rig.net.lifetime.consumeSkb(clone);
    },
  ), { numRuns: 60 });
  expect([rig.freePages(), rig.net.lifetime.stats.live, rig.kinds().length]).toEqual([512, 0, 0]);
});

test("expanding gives the room asked for, keeps the headers' places, and charges the new buffer", () => {
  const rig = new NetRig();
  const { skb } = patterned(rig, 100, []);
  rig.net.edit.ethTypeTrans(skb);
  const { truesize, data, macHeader } = skb;
  const headroom = data - skb.head;
  const size = skb.end - skb.head;
  expect(rig.net.edit.pskbExpandHead(skb, 128, 0, GFP_ATOMIC)).toBe(0);
  expect(skb.data - skb.head).toBe(headroom + 128);
  expect(skb.data - skb.macHeader).toBe(data - macHeader);
  expect(skb.truesize - truesize).toBe(skb.end - skb.head - size);
});

test("expanding without memory is -ENOMEM and leaves the skb as it was", () => {
  const rig = new NetRig();
  const { skb, bytes } = patterned(rig, 60, [100]);
  const before = { ...skb };
  while (rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1) !== null);
  expect(rig.net.edit.pskbExpandHead(skb, 0, 0, GFP_ATOMIC)).toBe(-ENOMEM);
  expect({ ...skb }).toEqual(before);
  expect(readAll(rig, skb, rig.mm.payload.addRegion("user", 4096, true))).toEqual(bytes);
});

test("an skb that was cloned but is alone again is expanded as its own: frags move, no extra reference", () => {
  const rig = new NetRig();
  const { skb } = patterned(rig, 60, [100]);
  const frag = skb.shinfo!.frags[0]!.netmem!;
  rig.net.lifetime.consumeSkb(rig.net.lifetime.skbClone(skb, GFP_ATOMIC)!);
  expect(rig.net.edit.pskbExpandHead(skb, 0, 0, GFP_ATOMIC)).toBe(0);
  expect(frag.isNetIov ? 0 : frag.refcount).toBe(1);
  rig.net.lifetime.consumeSkb(skb);
  expect(rig.freePages()).toBe(512);
});

test("headers before data are reached by a negative offset, but not beyond the head", () => {
  const rig = new NetRig();
  const { skb, bytes } = patterned(rig, 60, []);
  rig.net.edit.ethTypeTrans(skb);
  const target = rig.mm.payload.addRegion("user", 4096, true);
  expect(rig.net.edit.skbCopyBits(skb, -14, target, 0, 60)).toBe(0);
  expect([...target.bytes.subarray(0, 60)]).toEqual(bytes);
  expect(rig.net.edit.skbCopyBits(skb, -14 - 65, target, 0, 60)).toBe(-EFAULT);
});

test("eth_type_trans reads the type and pulls the header; a frame shorter than one is left alone", () => {
  const rig = new NetRig();
  const skb = rig.skb(60);
  skbRegion(skb).bytes[skb.data + 12] = 0x08;
  skbRegion(skb).bytes[skb.data + 13] = 0x06;
  expect(rig.net.edit.ethTypeTrans(skb)).toBe(0x0806);
  expect([skb.len, skb.data - skb.macHeader]).toEqual([46, 14]);
  const runt = rig.skb(13);
  expect(rig.net.edit.ethTypeTrans(runt)).toBe(0);
  expect([runt.len, runt.data - runt.macHeader]).toEqual([13, 0]);
});

test("putting beyond the end, behind frags, or an eighteenth frag stops the machine", () => {
  const rig = new NetRig();
  expect(() => rig.net.edit.skbPut(rig.skb(60), PAGE_SIZE)).toThrow(KernelPanic);
  const { skb } = patterned(rig, 10, Array.from({ length: 17 }, () => 10));
  expect(() => rig.net.edit.skbPut(skb, 1)).toThrow(KernelPanic);
  expect(() => rig.net.edit.skbAddRxFrag(skb, rig.page(), 0, 1, PAGE_SIZE)).toThrow(KernelPanic);
});

test("giving up the header of shared data is a report", () => {
  const rig = new NetRig();
  const skb = rig.skb(60);
  rig.net.edit.skbHeaderRelease(rig.skb(60));
  expect(rig.kinds()).toEqual([]);
  rig.net.lifetime.skbClone(skb, GFP_ATOMIC);
  rig.net.edit.skbHeaderRelease(skb);
  expect(rig.kinds()).toEqual(["skb-header-release-shared"]);
});

test("pulling more than the head has, or more than there is behind it, stops the machine; more than the packet has is refused", () => {
  const rig = new NetRig();
  const skb = rig.skb(60);
  rig.net.edit.skbAddRxFrag(skb, rig.page(), 0, 40, PAGE_SIZE);
  expect([rig.net.edit.skbPull(skb, 101), rig.net.edit.pskbMayPull(skb, 101), skb.len]).toEqual([false, false, 100]);
  expect(() => rig.net.edit.skbPull(skb, 61)).toThrow(KernelPanic);
  expect(() => rig.net.edit.pskbPullTail(skb, 41)).toThrow(KernelPanic);
  expect(rig.kinds()).toEqual(["skb-pull-past-head", "skb-pull-tail"]);
});
