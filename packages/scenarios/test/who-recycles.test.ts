import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC, GFP_KERNEL } from "@netmem/mm/api";
import type { SharedRelease } from "@netmem/page-pool/api";
import { capture } from "./captured.ts";
import { POLICIES, Rig } from "./rig.ts";
import { traffic } from "./traffic.ts";

/** An expanded clone: A and B with one page between them. */
function shared(sharedRelease: SharedRelease) {
  const rig = new Rig({ preset: "5.14", sharedRelease });
  const from = rig.createPool();
  const page = rig.page(from);
  const a = rig.slabHeadSkb([{ netmem: page, mem: from.mem }]);
  const b = rig.clone(a);
  rig.machine.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL);
  return { rig, from, page, a, b };
}

function expandedJumbo(sharedRelease: SharedRelease, freeOrder: "original" | "clone") {
  const { run, pool } = traffic(capture("jumbo.pcap"), { preset: "6.18", sharedRelease, tap: true, expand: true, freeOrder, rxRingSize: 512 });
  run();
  return pool;
}

/** A page cut in two, the first fragment shared; where nobody counts that, the sharer does a plain put. */
function sharedFragment(sharedRelease: SharedRelease): string {
  const rig = new Rig({ preset: "6.18", sharedRelease });
  const { pool } = rig.createPool();
  const frag = rig.machine.pagePools.createFrag();
  const page = pool.allocFrag(frag, 2048, GFP_ATOMIC)!;
  pool.allocFrag(frag, 2048, GFP_ATOMIC);
  pool.allocFrag(frag, 2048, GFP_ATOMIC);
  pool.refNetmem(page);
  pool.putFullNetmem(page, false);
  pool.putFullNetmem(page, false);
  if (sharedRelease === "leave-pool") rig.machine.mm.pages.putPage(page);
  else pool.putFullNetmem(page, false);
  expect(rig.reportKinds()).toEqual([]);
  return pool.ringItems().includes(page) ? "recycled" : "lost";
}

function secondsToFree(sharedRelease: SharedRelease): string {
  const { rig, from, a, b } = shared(sharedRelease);
  rig.free(a);
  rig.destroyPool(from);
  const { scheduler, clock } = rig.machine.kernel;
  const began = clock.nowNs;
  for (let halves = 0; !from.pool.dead; halves++) {
    if (halves === 19) rig.free(b);
    scheduler.runFor(NSEC_PER_SEC / 2);
  }
  return `${(clock.nowNs - began) / NSEC_PER_SEC} s`;
}

function mappingBetween(sharedRelease: SharedRelease): string {
  const { rig, page, a } = shared(sharedRelease);
  rig.free(a);
  return page.dmaAddr === 0 ? "undone" : "live";
}

function plainPut(sharedRelease: SharedRelease): string {
  const rig = new Rig({ preset: "6.18", sharedRelease });
  const from = rig.createPool();
  const page = rig.page(from);
  rig.machine.mm.pages.getPage(page);
  rig.free(rig.slabHeadSkb([{ netmem: page, mem: from.mem }]));
  rig.machine.mm.pages.putPage(page);
  return rig.reportKinds().join() || "fine";
}

const ROWS: readonly ((policy: SharedRelease) => string)[] = [
  (policy) => String(expandedJumbo(policy, "original").holdCnt),
  (policy) => String(expandedJumbo(policy, "original").recycleStats.releasedRefcnt),
  (policy) => String(expandedJumbo(policy, "clone").holdCnt),
  sharedFragment,
  secondsToFree,
  mappingBetween,
  plainPut,
];

test("the table of decision 10 is what the three policies do", () => {
  const page = readFileSync(new URL("../../../docs/decisions/0010-who-recycles-a-shared-page.md", import.meta.url), "utf8");
  const [head, , ...lines] = page.split("\n").filter((line) => line.startsWith("|")).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  expect(head!.slice(1)).toEqual(POLICIES.map((policy) => `\`${policy}\``));
  expect(lines.map(([what]) => [what, ...POLICIES.map((policy) => ROWS[lines.findIndex(([other]) => other === what)]!(policy))])).toEqual(lines);
});
