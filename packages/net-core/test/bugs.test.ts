import { expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { SKBFL_ZEROCOPY_FRAG } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** The kind of the BUG that stops the machine. */
function kindOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof KernelPanic) return error.kind;
    throw error;
  }
  return "none";
}

test.each<[string, (rig: NetRig) => void]>([
  ["skb-bad-expand", (rig) => void rig.net.edit.pskbExpandHead(rig.net.lifetime.skbGet(rig.skb()), 0, 0, GFP_ATOMIC)],
  ["skb-bad-expand", (rig) => void rig.net.edit.pskbExpandHead(rig.skb(), -1, 0, GFP_ATOMIC)],
  ["skb-bad-expand", (rig) => void rig.net.edit.pskbExpandHead(rig.skb(3000), 0, -PAGE_SIZE, GFP_ATOMIC)],
  ["skb-bad-frag-size", (rig) => void rig.net.lifetime.napiBuildSkb(rig.page(), PAGE_SIZE + 1)],
  ["skb-bad-frag-size", (rig) => void rig.net.lifetime.buildSkb(rig.page(), 64)],
  ["skb-too-many-frags", (rig) => {
    const skb = rig.skb();
    for (let i = 0; i <= MAX_SKB_FRAGS; i++) rig.net.edit.skbAddRxFrag(skb, rig.page(), 0, 10, PAGE_SIZE);
  }],
  ["skb-shift-too-far", (rig) => void rig.net.merge.skbShift(rig.skb(), rig.skb(60), 61)],
  ["skb-zerocopy-head", (rig) => void rig.net.zerocopy.skbZerocopy(rig.skb(), rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!, 0, 0)],
  ["zcopy-set-cloned", (rig) => {
    const skb = rig.skb();
    rig.net.lifetime.skbClone(skb, GFP_ATOMIC);
    rig.net.zerocopy.skbZcopySet(skb, rig.net.zerocopy.createUbufInfo({ complete: () => undefined }, SKBFL_ZEROCOPY_FRAG), true);
  }],
])("%s stops the machine, under that name", (kind, misuse) => {
  const rig = new NetRig();
  expect([kindOf(() => misuse(rig)), rig.kinds()]).toEqual([kind, [kind]]);
});

test("skb-shift-recycle: two packets of which one recycles its pages, the other does not, are told of, and shifted", () => {
  const rig = new NetRig();
  const [to, from] = [rig.skb(60), rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!];
  rig.net.edit.skbAddRxFrag(from, rig.page(), 0, 500, PAGE_SIZE);
  from.ppRecycle = true;
  expect([rig.net.merge.skbShift(to, from, 500), rig.kinds()]).toEqual([500, ["skb-shift-recycle"]]);
});
