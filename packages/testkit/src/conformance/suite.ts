import type { NetDriver } from "@netmem/driver/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import { driverConformance } from "./driver/conformance.ts";
import { memModelConformance, type MemModelSubject } from "./mem-model/conformance.ts";
import { memoryModelConformance } from "./model/conformance.ts";
import { memoryProviderConformance, type MemoryProviderSubject } from "./provider/conformance.ts";
import { returnPathConformance, type ReturnPathSubject } from "./return-path/conformance.ts";
import { breachInWords, type ConformanceOptions, type ConformanceReport } from "./report.ts";
import { DRIVER_RULES, MEMORY_MODEL_RULES, MEMORY_PROVIDER_RULES, MEM_MODEL_RULES, RETURN_PATH_RULES, type Rule } from "./rules.ts";

/** What a suite needs of a test runner. */
export interface SuiteRunner {
  readonly describe: (name: string, body: () => void) => void;
  /** `skip`: this one has not been judged, and why. */
  readonly test: (name: string, body: (skip: (reason: string) => void) => void) => void;
  readonly fail: (message: string) => void;
}

/** A test for each rule; the plugin is run when the first of them is. */
export function suiteOf({ describe, test, fail }: SuiteRunner, title: string, all: readonly Rule[], only: readonly string[] | undefined, judge: () => ConformanceReport): void {
  const rules = all.filter(({ id }) => only === undefined || only.includes(id));
  describe(title, () => {
    let report: ConformanceReport | null = null;
    for (const rule of rules) {
      test(`${rule.id}: ${rule.demands}`, (skip) => {
        report ??= judge();
        const { status, breach, waiver } = report.outcomes.find(({ id }) => id === rule.id)!;
        if (status === "broken") fail(breachInWords(rule, breach!));
        if (status === "waived") skip(`waived: ${waiver!}`);
        if (status === "no occasion") skip("the plugin never does what this is about");
      });
    }
  });
}

export function driverSuite(runner: SuiteRunner, driver: NetDriver, options: ConformanceOptions): void {
  suiteOf(runner, `driver ${driver.name}`, DRIVER_RULES, options.rules, () => driverConformance(driver, options));
}

export function memoryModelSuite(runner: SuiteRunner, model: MemoryModel, options: ConformanceOptions): void {
  suiteOf(runner, `memory model ${model.name}`, MEMORY_MODEL_RULES, options.rules, () => memoryModelConformance(model, options));
}

export function memoryProviderSuite(runner: SuiteRunner, subject: MemoryProviderSubject, options: ConformanceOptions): void {
  suiteOf(runner, `memory provider ${subject.name}`, MEMORY_PROVIDER_RULES, options.rules, () => memoryProviderConformance(subject, options));
}

export function memModelSuite(runner: SuiteRunner, subject: MemModelSubject, options: ConformanceOptions): void {
  suiteOf(runner, `memory model of XDP ${subject.name}`, MEM_MODEL_RULES, options.rules, () => memModelConformance(subject, options));
}

export function returnPathSuite(runner: SuiteRunner, subject: ReturnPathSubject, options: ConformanceOptions): void {
  suiteOf(runner, `return path ${subject.name}`, RETURN_PATH_RULES, options.rules, () => returnPathConformance(subject, options));
}
