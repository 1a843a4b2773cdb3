import { UsageError } from "@netmem/kernel/api";
import type { Rule } from "./rules.ts";

export interface ConformanceOptions {
  /** By rule: why this plugin need not keep to it. It is said so in every report. */
  readonly waive?: Readonly<Record<string, string>>;
  /** Judges these rules only: quicker, while one of them is being mended. Default all. */
  readonly rules?: readonly string[];
  /** Cases by chance, beside those that are planned. */
  readonly randomCases?: number;
  /** Of those. */
  readonly seed?: number;
  /** Told of each case before it is run: of one that hangs it is the last. */
  readonly onCase?: (inWords: string) => void;
}

/** Where a rule was broken, and how to see it. */
export interface Breach {
  /** Other rules that are broken in the same sequence. */
  readonly also: readonly string[];
  readonly what: string;
  /** Function, file, line and column of the plugin; "" where nobody knows. */
  readonly where: string;
  /** What was done, as short as it could be made. */
  readonly sequence: string;
}

/** `no occasion`: the plugin never did what the rule is about. */
export type RuleStatus = "holds" | "broken" | "waived" | "no occasion";

export interface RuleOutcome extends Rule {
  readonly status: RuleStatus;
  /** How many times there was something to judge. */
  readonly occasions: number;
  readonly breach: Breach | null;
  /** Why it is waived. */
  readonly waiver: string | null;
}

/** What a suite says of a plugin. Plain data. */
export interface ConformanceReport {
  readonly kind: "driver" | "memory model" | "memory provider" | "memory model of XDP" | "return path";
  readonly name: string;
  /** Runs that it took. */
  readonly cases: number;
  readonly outcomes: readonly RuleOutcome[];
}

/** Throws for a waiver of a rule that there is not, or without a reason; `rules` are all that it could mean. */
export function checkWaivers(waive: unknown, rules: readonly Rule[]): void {
  if (typeof waive !== "object" || waive === null || Array.isArray(waive)) throw new UsageError("testkit", "waive", waive, 'give an object with a reason for each rule, { "R13": "why" }');
  for (const [rule, why] of Object.entries(waive)) {
    if (!rules.some(({ id }) => id === rule)) throw new UsageError("testkit", "waive", rule, `there is no such rule; they are ${rules.map(({ id }) => id).join(", ")}`);
    if (typeof why !== "string" || why === "") throw new UsageError("testkit", `waive.${rule}`, why, "give the reason");
  }
}

/** Judges each rule in turn; `occasions` is asked when all have been. */
export function outcomesOf(all: readonly Rule[], { waive = {}, rules: only }: ConformanceOptions, breachOf: (rule: string) => Breach | null, occasions: (rule: string) => number): RuleOutcome[] {
  checkWaivers(waive, all);
  const unknown = only?.find((rule) => !all.some(({ id }) => id === rule));
  if (unknown !== undefined) throw new UsageError("testkit", "rules", unknown, `there is no such rule; they are ${all.map(({ id }) => id).join(", ")}`);
  const rules = all.filter(({ id }) => only === undefined || only.includes(id));
  const breaches = rules.map(({ id }) => breachOf(id));
  return rules.map((rule, i) => {
    const breach = breaches[i]!;
    const count = occasions(rule.id);
    const waiver = Object.hasOwn(waive, rule.id) ? waive[rule.id]! : null;
    const status: RuleStatus = breach !== null ? (waiver === null ? "broken" : "waived") : count === 0 ? "no occasion" : "holds";
    return { ...rule, status, occasions: count, breach, waiver };
  });
}

/** Of a rule that does not hold: what, where, and how to see it. */
export function breachInWords({ id, demands }: Rule, { what, where, sequence }: Breach): string {
  return `${id}: ${demands}\n  ${what}\n  where     ${where === "" ? "outside its own code" : where}\n  shown by  ${sequence}`;
}
