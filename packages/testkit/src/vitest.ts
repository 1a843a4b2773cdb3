import { assert, describe, test } from "vitest";
import type { NetDriver } from "@netmem/driver/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import type { ConformanceOptions } from "./conformance/report.ts";
import { driverSuite, memoryModelSuite, type SuiteRunner } from "./conformance/suite.ts";

/** Longer than a suite's runs take on a slow machine, in ms. */
const TIMEOUT_MS = 600_000;

const VITEST: SuiteRunner = {
  describe: (name, body) => void describe(name, body),
  test: (name, body) => void test(name, { timeout: TIMEOUT_MS }, (context) => body((reason) => context.skip(reason))),
  fail: (message) => assert.fail(message),
};

/** Tests of a driver, one for each of the rules R1 to R13, and one for its packets. */
export function describeDriver(driver: NetDriver, options: ConformanceOptions = {}): void {
  driverSuite(VITEST, driver, options);
}

/** Tests of a memory model plugin, one for each of the rules M1 to M9. */
export function describeMemoryModel(model: MemoryModel, options: ConformanceOptions = {}): void {
  memoryModelSuite(VITEST, model, options);
}
