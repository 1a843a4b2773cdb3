import fc from "fast-check";
import { outcomesOf, type ConformanceOptions, type ConformanceReport } from "./report.ts";
import type { Finding } from "./findings.ts";
import type { Rule } from "./rules.ts";

/** Random cases after the planned ones, unless said otherwise. */
const RANDOM_CASES = 60;
const SEED = 20_210_407;

/** What one case shows. */
export interface CaseOutcome {
  readonly found: readonly Finding[];
  readonly occasions: ReadonlyMap<string, number>;
}

/** A kind of plugin: what is done with one, and how it is said. */
export interface Campaign<C> {
  readonly kind: ConformanceReport["kind"];
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly planned: readonly C[];
  readonly arbitrary: fc.Arbitrary<C>;
  /** `traces`: where a finding comes from is found out, which is slow. */
  readonly run: (one: C, traces: boolean) => CaseOutcome;
  /** The same case with one thing less in it, for each such thing. */
  readonly simpler: (one: C) => readonly C[];
  readonly inWords: (one: C) => string;
}

/** Runs planned and random cases, each once, and for each rule that is broken looks for the shortest that shows it. Synchronous. */
export function runCampaign<C>({ kind, name, rules, planned, arbitrary, run, simpler, inWords }: Campaign<C>, options: ConformanceOptions): ConformanceReport {
  const results = new Map<string, CaseOutcome>();
  const once = (one: C): CaseOutcome => {
    const key = JSON.stringify(one);
    const known = results.get(key);
    if (known !== undefined) return known;
    options.onCase?.(inWords(one));
    const result = run(one, false);
    results.set(key, result);
    return result;
  };
  const breaks = (one: C, rule: string): boolean => once(one).found.some((finding) => finding.rule === rule);
  const outcomes = outcomesOf(rules, options, (rule) => {
    const { counterexample } = fc.check(fc.property(arbitrary, (one) => !breaks(one, rule)), {
      seed: options.seed ?? SEED, numRuns: planned.length + (options.randomCases ?? RANDOM_CASES), examples: planned.map((one): [C] => [one]),
    });
    if (counterexample === null) return null;
    let shortest = counterexample[0];
    for (let next: C | undefined = shortest; next !== undefined;) {
      shortest = next;
      next = simpler(shortest).find((one) => breaks(one, rule));
    }
    const { found } = run(shortest, true);
    const finding = found.find((one) => one.rule === rule)!;
    return { also: found.map((one) => one.rule).filter((other) => other !== rule), what: finding.what, where: finding.where, sequence: inWords(shortest) };
  }, (rule) => [...results.values()].reduce((sum, { occasions }) => sum + (occasions.get(rule) ?? 0), 0));
  return { kind, name, cases: results.size, outcomes };
}
