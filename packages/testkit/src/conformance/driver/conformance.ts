import type { NetDriver } from "@netmem/driver/api";
import { createMachine } from "@netmem/machine";
import { NETDEV_XDP_ACT_RX_SG } from "@netmem/xdp/api";
import { runCampaign } from "../campaign.ts";
import { Findings } from "../findings.ts";
import { thrownBy } from "../outcome.ts";
import type { ConformanceOptions, ConformanceReport } from "../report.ts";
import { DRIVER_RULES } from "../rules.ts";
import { arbitraryCase, caseInWords, longestFrame, simplerCases, type DriverAbilities, type DriverCase } from "./case.ts";
import { plannedCases } from "./plan.ts";
import { judgeCase } from "./run.ts";
import { CaseSupplies } from "./supplies.ts";
import { DriverWatch } from "./watch.ts";
import { RING_SIZE } from "./world.ts";

/** Whether a driver keeps to rules R1 to R14, and what the shortest case is that shows where it does not. Runs some hundred machines; synchronous. */
export function driverConformance(driver: NetDriver, options: ConformanceOptions = {}): ConformanceReport {
  options.onCase?.("as it is probed, opened and stopped for the first time");
  const can = abilitiesOf(driver);
  const supplies = new CaseSupplies();
  return runCampaign<DriverCase>({
    kind: "driver", name: driver.name, rules: DRIVER_RULES, planned: plannedCases(can), arbitrary: arbitraryCase(can),
    run: (driverCase, traces) => judgeCase(driver, driverCase, traces, supplies), simpler: simplerCases, inWords: caseInWords,
  }, options);
}

/** Memory beside what a driver has posted. */
const PAGES_FOR_PACKETS = 640;
const PAGES_TO_TRY = 16_384;

/** As an interface of it says, and as much memory as two of its queues take. */
function abilitiesOf(driver: NetDriver): DriverAbilities {
  const machine = createMachine({ nrPages: PAGES_TO_TRY });
  const { netif } = machine.attach(driver, { rxRingSize: RING_SIZE, rxQueueCount: Math.min(2, driver.mostRxQueues) });
  const { dev } = netif;
  const before = machine.mm.pages.freePages();
  let used = 0;
  for (const mtu of [1500, longestFrame(driver.maxFrameBytes) - 14]) {
    dev.mtu = mtu;
    // A driver that throws here does so in every case: there it is said.
    const thrown = thrownBy(() => {
      netif.open();
      used = Math.max(used, before - machine.mm.pages.freePages());
      netif.stop();
    });
    if (thrown !== null) break;
  }
  return {
    mostRxQueues: driver.mostRxQueues, maxFrameBytes: driver.maxFrameBytes, openCalls: openCallsOf(driver),
    programs: (dev.xdpOps?.xdpSetupProg ?? null) !== null, programsWithFrags: (dev.xdpFeatures & NETDEV_XDP_ACT_RX_SG) !== 0, rings: netif.setRingparam !== undefined, queueManagement: dev.queueMgmtOps !== null,
    // Of two queues one is rebuilt while it runs.
    pages: Math.min(PAGES_TO_TRY, PAGES_FOR_PACKETS + Math.ceil(1.5 * used)),
  };
}

/** Calls of an `open` with one queue that may fail. */
function openCallsOf(driver: NetDriver): number {
  const watch = new DriverWatch(createMachine({ nrPages: PAGES_TO_TRY }), new Findings(false));
  thrownBy(() => {
    const { netif } = watch.machine.attach(watch.driver(driver), { rxRingSize: RING_SIZE });
    watch.failing.arm({ nth: 1, times: 0 });
    netif.open();
  });
  return watch.failing.eligible;
}
