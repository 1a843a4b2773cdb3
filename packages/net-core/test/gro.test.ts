import { expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { SKB_GSO_DODGY, SKB_GSO_TCPV4, SKB_GSO_TCPV6, SKB_GSO_UDP_L4 } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** What another packet may have left in the struct. */
const STALE = { dataOffset: 99, count: 7, last: null, sameFlow: true, flush: true, free: 2, proto: 17, encapsulated: true, fixedId: true, age: 5 };

test("GRO knows nothing of a packet that has come in, whatever its struct was before", () => {
  const rig = new NetRig();
  const skb = rig.skb();
  Object.assign(skb.gro, STALE, { last: skb });
  rig.net.merge.groStart(skb, 40);
  expect({ ...skb.gro }).toEqual({ dataOffset: 40, count: 1, last: null, sameFlow: false, flush: false, free: 0, proto: 0, encapsulated: false, fixedId: false, age: 0 });
  rig.net.merge.groHold(skb);
  expect([skb.gro.last === skb, skb.shinfo!.gsoSize]).toEqual([true, 20]);
});

test.each([
  ["several segments of TCP", 500, SKB_GSO_TCPV4, 3, false], ["the same, from somebody who is not trusted", 500, SKB_GSO_TCPV4 | SKB_GSO_DODGY, 3, true], ["several of UDP", 500, SKB_GSO_UDP_L4, 3, true], ["one", 0, 0, 1, false],
] as const)("%s: counted as so many, and kept apart if they must be", (_what, gsoSize, gsoType, count, flush) => {
  const rig = new NetRig();
  const skb = rig.skb(1000);
  Object.assign(skb.shinfo!, { gsoSize, gsoType, gsoSegs: 3 });
  rig.net.merge.groStart(skb, 40);
  expect([skb.gro.count, skb.gro.flush]).toEqual([count, flush]);
  const p = rig.skb(100);
  p.dev = rig.dev;
  rig.net.merge.groStart(p, 40);
  rig.net.merge.groHold(p);
  expect(rig.net.merge.skbGroReceive(p, skb)).toBe(flush ? -7 : 0);
  expect(p.gro.count).toBe(flush ? 1 : 1 + count);
});

test("a packet that is several segments keeps their size when it is held", () => {
  const rig = new NetRig();
  const skb = rig.skb(3000);
  Object.assign(skb.shinfo!, { gsoSize: 1000, gsoSegs: 3, gsoType: SKB_GSO_TCPV6 });
  rig.net.merge.groStart(skb, 40);
  rig.net.merge.groHold(skb);
  expect([skb.shinfo!.gsoSize, skb.gro.count, skb.gro.flush]).toEqual([1000, 3, false]);
});

test("merging into what is not held, or has no device, stops the machine; shared data is reported, and not merged", () => {
  const rig = new NetRig();
  const { merge, lifetime } = rig.net;
  const [p, skb] = [rig.skb(100), rig.skb(100)];
  for (const one of [p, skb]) merge.groStart(one, 40);
  expect(() => merge.skbGroReceive(p, skb)).toThrow(KernelPanic);
  merge.groHold(p);
  expect(() => merge.skbGroReceive(p, skb)).toThrow(KernelPanic);
  p.dev = rig.dev;
  lifetime.skbClone(skb, GFP_ATOMIC);
  expect([merge.skbGroReceive(p, skb), p.len, rig.kinds()]).toEqual([-109, 100, ["skb-gro-not-held", "skb-gro-not-held", "skb-gro-shared"]]);
});

test("a packet with a frag list is merged with none", () => {
  const rig = new NetRig();
  const skb = rig.skb(100);
  skb.shinfo!.fragList = rig.net.lifetime.allocSkb(10, GFP_ATOMIC);
  rig.net.merge.groStart(skb, 40);
  expect(skb.gro.flush).toBe(true);
});
