import { fail } from "node:assert/strict";
import { describe, test } from "node:test";
import type { NetDriver } from "@netmem/driver/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import type { ConformanceOptions } from "./conformance/report.ts";
import { driverSuite, memoryModelSuite, type SuiteRunner } from "./conformance/suite.ts";

const NODE: SuiteRunner = {
  describe: (name, body) => void describe(name, body),
  test: (name, body) => void test(name, (context) => body((reason) => context.skip(reason))),
  fail: (message) => fail(message),
};

/** Tests of a driver, one for each of the rules R1 to R13, and one for its packets. */
export function describeDriver(driver: NetDriver, options: ConformanceOptions = {}): void {
  driverSuite(NODE, driver, options);
}

/** Tests of a memory model plugin, one for each of the rules M1 to M9. */
export function describeMemoryModel(model: MemoryModel, options: ConformanceOptions = {}): void {
  memoryModelSuite(NODE, model, options);
}
