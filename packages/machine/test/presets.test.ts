import { expect, test } from "vitest";
import { PRESETS, type PresetName } from "../src/index.ts";

/** The release that each preset stands for, as 100 × major + minor; the series of 2021 was written on 5.12. */
const RELEASE: Readonly<Record<PresetName, number>> = { stock: 512, "v3-2021": 512, "5.14": 514, "6.1": 601, "6.8": 608, "6.18": 618 };

type Facts = Readonly<Record<string, unknown>>;

/** Rule, its value before and after, and the release that changed it. */
const CHANGES: readonly (readonly [string, unknown, unknown, number])[] = [
  ["returnPath", "mem-info", "pool-pointer", 514],
  ["net.releaseClearsRecycle", false, true, 514],
  ["signature", "exact", "masked", 515],
  ["stampsOwnerAtMark", true, false, 515],
  ["net.defersFrees", false, true, 519],
  ["net.smallHeads", false, true, 603],
  ["net.smallHeadsByEnd", false, true, 603],
  ["net.framesRecycle", false, true, 604],
  ["net.undeferredInSoftirq", false, true, 610],
  ["net.allocatesSmallHeads", false, true, 614],
  ["net.releaseKeepsReason", false, true, 602],
  ["net.listsFreeInBulk", false, true, 603],
  ["net.withFragsCountsBlocks", false, true, 606],
  ["net.polledInSameSoftirq", false, true, 604],
  ["net.udpNeverBeyondRcvbuf", false, true, 618],
  ["net.udpDefersFrees", false, true, 618],
  // In stable trees of 6.1.
  ["net.groRefusesMixed", false, true, 601],
  ["net.tcpCloseDefersFrees", false, true, 618],
  ["net.tcpTakesBareFin", false, true, 610],
  ["net.tcpPrunesBehind", false, true, 602],
  ["net.ipSaysMartian", false, true, 613],
  ["net.groComparesCwr", false, true, 615],
  ["net.tcpCountsSegment", false, true, 618],
  ["net.tcpScalesRoom", false, true, 606],
  ["net.tcpMakesRoomFirst", false, true, 606],
  ["net.tcpFirstRatio", 65, 128, 610],
  ["net.tcpMeasuresAhead", false, true, 617],
  ["net.groComparesUdpsIp", false, true, 609],
  ["net.groTakesFixedIds", false, true, 618],
  ["net.framesTakeNapiStructs", false, true, 615],
  ["net.deferLists", "cpu", "node", 618],
  ["xdp.hasBroadcast", false, true, 514],
  ["xdp.devmapRunsAtFlush", false, true, 514],
  ["xdp.hasMultiBuffer", false, true, 518],
  ["xdp.framesFollowPointer", false, true, 603],
  ["xdp.asksFeatures", false, true, 603],
  ["xdp.xskHasMultiBuffer", false, true, 606],
  ["xdp.metalenMax", 32, 255, 608],
  ["xdp.redirectEndsWithContext", false, true, 611],
  ["xdp.cpumapFlushesNoDirect", false, true, 617],
  ["xdp.cpumapRunsEverySkb", false, true, 615],
  ["xdp.cpumapTellsFirst", false, true, 612],
  ["xdp.cpumapMerges", false, true, 615],
  ["sharedRelease", "leave-pool", "pp-ref-count", 608],
  ["mm.coherentRefusesComp", false, true, 602],
  ["mm.pcpAutoTunes", false, true, 607],
  ["mm.checksPoolSignature", false, true, 608],
  ["mm.skipsSyncs", false, true, 610],
  ["mm.fragsAscend", false, true, 613],
  ["mm.slabHasNoRefs", false, true, 614],
  // Not found when, but after 6.8 as far as the presets tell.
  ["mm.fragRefillReclaims", true, false, 609],
  ["pagePool.allocatesInBulk", false, true, 513],
  ["pagePool.hasFragments", false, true, 515],
  ["pagePool.bulkOnPoolNode", false, true, 600],
  ["pagePool.listsToUsers", false, true, 608],
  ["pagePool.hasSystemPools", false, true, 609],
  ["pagePool.directNeedsSoftirq", true, false, 610],
  ["pagePool.bulkMixesPools", false, true, 614],
  ["pagePool.stopsAtNegative", false, true, 615],
  ["pagePool.dmaIndexBits", 0, 32, 616],
  ["pagePool.atomicNeverWarns", false, true, 618],
  ["pagePool.clampsRing", false, true, 618],
];

function valueOf(preset: Facts, rule: string): unknown {
  return rule.split(".").reduce<unknown>((facts, name) => (facts as Facts)[name], preset);
}

test.each(CHANGES)("%s: %j before, %j from %i on", (rule, before, after, since) => {
  const values = Object.entries(PRESETS).map(([name, preset]) => [name, valueOf(preset as unknown as Facts, rule)]);
  // Before the pool's mark was in the mainline, it was v3's.
  const expected = Object.entries(RELEASE).map(([name, release]) => [name, release >= since ? after : rule === "signature" && release < 514 ? "v3" : before]);
  expect(values).toEqual(expected);
});

test("who finds a local put: nobody up to 6.3, an skb that is freed up to 6.9, the pool since", () => {
  expect(Object.values(PRESETS).map(({ pagePool }) => pagePool.napiLocal)).toEqual(["nobody", "nobody", "nobody", "nobody", "skb-free", "pool"]);
});

test("fragments count as fast from 5.19 to 6.12, and netlink shows the NAPI of creation from 6.8 on for a while", () => {
  expect(Object.values(PRESETS).map(({ pagePool }) => [pagePool.fragsCountAsFast, pagePool.listsNapiOfCreation])).toEqual([
    [false, false], [false, false], [false, false], [true, false], [true, true], [false, false],
  ]);
});

test("fragments that a shared packet and the one it is coalesced into hold: a page reference each up to 5.17, none up to 6.7, a holder more since", () => {
  expect(Object.values(PRESETS).map(({ net }) => net.clonedCoalesce)).toEqual(["page-ref", "page-ref", "page-ref", "refused", "pp-ref", "pp-ref"]);
});

test("GRO makes packets of more than 64 KiB for IPv6 from 5.19 on, and for IPv4 from 6.3", () => {
  expect(Object.values(PRESETS).map(({ net }) => net.groBigTcp)).toEqual(["none", "none", "none", "ipv6", "any", "any"]);
});

test("a poll's small heads are quarters of pages from 6.1 to 6.13", () => {
  expect(Object.values(PRESETS).map(({ net }) => net.napiCutsQuarters)).toEqual([false, false, false, true, true, false]);
});

/** What came after 6.18, or was in no release for long. */
const OFF: Readonly<Record<string, unknown>> = {
  "net.skbDeferMax": 64, "net.napiSkbCacheSize": 64, "net.napiSkbCacheBulk": 16, "net.napiSkbCacheFrees": 32,
  "net.napiConsumeDefers": false, "net.deferSkipsZcopy": false, "net.groRefusesZcopy": false, "net.trimClearsUnreadable": false, "net.fragRefsCountHolders": false,
};

test.each(Object.entries(OFF))("%s is %j in every preset", (rule, value) => {
  expect(new Set(Object.values(PRESETS).map((preset) => valueOf(preset as unknown as Facts, rule)))).toEqual(new Set([value]));
});

test("the series alone lets skbs recycle; before, nothing does", () => {
  expect(Object.values(PRESETS).map(({ recyclesSkbPages }) => recyclesSkbPages)).toEqual([false, true, true, true, true, true]);
});

test("every rule of every layer is in one of these tests", () => {
  const covered = new Set([...CHANGES.map(([rule]) => rule), "pagePool.napiLocal", "pagePool.fragsCountAsFast", "pagePool.listsNapiOfCreation", "net.clonedCoalesce", "net.napiCutsQuarters", "net.groBigTcp", "recyclesSkbPages", ...Object.keys(OFF)]);
  const rules = Object.entries(PRESETS["6.18"]).flatMap(([name, value]) => (typeof value === "object" ? Object.keys(value as object).map((inner) => `${name}.${inner}`) : [name]));
  expect(rules.toSorted()).toEqual([...covered].toSorted());
});
