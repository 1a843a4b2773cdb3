import { assert, describe, test } from "vitest";
import type { NetDriver } from "@netmem/driver/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import type { MemModelSubject } from "./conformance/mem-model/conformance.ts";
import type { MemoryProviderSubject } from "./conformance/provider/conformance.ts";
import type { ConformanceOptions } from "./conformance/report.ts";
import type { ReturnPathSubject } from "./conformance/return-path/conformance.ts";
import { driverSuite, memModelSuite, memoryModelSuite, memoryProviderSuite, returnPathSuite, type SuiteRunner } from "./conformance/suite.ts";

/** Longer than a suite's runs take on a slow machine, in ms. */
const TIMEOUT_MS = 600_000;

const VITEST: SuiteRunner = {
  describe: (name, body) => void describe(name, body),
  test: (name, body) => void test(name, { timeout: TIMEOUT_MS }, (context) => body((reason) => context.skip(reason))),
  fail: (message) => assert.fail(message),
};

/** Tests of a driver, one for each of the rules R1 to R14, and one for its packets. */
export function describeDriver(driver: NetDriver, options: ConformanceOptions = {}): void {
  driverSuite(VITEST, driver, options);
}

/** Tests of a memory model plugin, one for each of the rules M1 to M9. */
export function describeMemoryModel(model: MemoryModel, options: ConformanceOptions = {}): void {
  memoryModelSuite(VITEST, model, options);
}

/** Tests of what stands behind a page_pool in place of the page allocator, one for each of the rules P1 to P7. */
export function describeMemoryProvider(subject: MemoryProviderSubject, options: ConformanceOptions = {}): void {
  memoryProviderSuite(VITEST, subject, options);
}

/** Tests of an allocator that XDP knows by an id, as it knows page_pool, one for each of the rules A1 to A5. */
export function describeMemModel(subject: MemModelSubject, options: ConformanceOptions = {}): void {
  memModelSuite(VITEST, subject, options);
}

/** Tests of a way from a freed netmem to its owner, one for each of the rules T1 to T4. */
export function describeReturnPath(subject: ReturnPathSubject, options: ConformanceOptions = {}): void {
  returnPathSuite(VITEST, subject, options);
}
