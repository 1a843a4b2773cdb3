import { describe, expect, test } from "vitest";
import type { NetDriver } from "@netmem/driver/api";
import { DRIVER_RULES, driverConformance, testFrame } from "@netmem/testkit";
import { NOTHING_LEFT, asText, frameOf, driverRig, wire } from "../drivers/driver-rig.ts";
import { DRIVER_MUTANTS } from "./driver-mutants.ts";
import { judge, withoutSubtle } from "./judge.ts";
import { loadMutant } from "./mutant.ts";
import { compareOrUpdate, type Score } from "./scores.ts";

/** What one would test first: packets of common sizes come up as they were sent, and nothing is left. */
function passesOrdinaryTest(driver: NetDriver): boolean {
  const rig = driverRig(driver, { mtu: Math.min(9000, driver.maxFrameBytes - 14) });
  const frames = Array.from({ length: 300 }, (_, i) => testFrame([60, 128, 590, 1514, Math.min(4000, driver.maxFrameBytes)][i % 5]!, i));
  const got: string[] = [];
  rig.machine.net.receive.setProtocol({ packetRcv: (skb) => {
    got.push(frameOf(rig.machine, skb));
    rig.machine.net.lifetime.consumeSkb(skb);
  } });
  rig.send(wire(frames));
  const left = rig.end();
  return got.length === frames.length && frames.every((frame, i) => asText(frame) === got[i]) && JSON.stringify(left) === JSON.stringify(NOTHING_LEFT);
}

describe("mutants of drivers", () => {
  const scores: Score[] = [];

  test.each(DRIVER_MUTANTS.map((mutant) => [mutant.plugin, mutant.mistake, mutant.rule, mutant] as const))("%s %s: %s says so", async (_plugin, _mistake, _rule, mutant) => {
    const driver = await loadMutant<NetDriver>(mutant);
    expect(passesOrdinaryTest(driver), "an ordinary test").toBe(mutant.subtle);
    scores.push(judge(mutant, driverConformance(driver, { randomCases: 0, rules: [mutant.rule] })));
  });

  test("there is a subtle one for each rule, and the docs have how each was caught", () => {
    expect(withoutSubtle(DRIVER_RULES, DRIVER_MUTANTS)).toEqual([]);
    compareOrUpdate("driver mutants", scores);
  });
});
