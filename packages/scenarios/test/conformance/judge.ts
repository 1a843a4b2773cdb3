import { expect } from "vitest";
import { breachInWords, type ConformanceReport } from "@netmem/testkit";
import type { Mutant } from "./mutant.ts";
import type { Score } from "./scores.ts";

/** Its rule is broken, with those that go with it, and no other; how it was caught. */
export function judge(mutant: Mutant, report: ConformanceReport): Score {
  const { breach } = report.outcomes.find(({ id }) => id === mutant.rule)!;
  const broken = report.outcomes.filter(({ status }) => status === "broken");
  const said = broken.map((outcome) => breachInWords(outcome, outcome.breach!)).join("\n");
  const expected = report.outcomes.map(({ id }) => id).filter((id) => id === mutant.rule || mutant.also?.includes(id));
  expect(broken.map(({ id }) => id), `${mutant.mistake}\n${said}`).toEqual(expected);
  return { plugin: mutant.plugin, mistake: mutant.mistake, rule: mutant.rule, also: mutant.also ?? [], subtle: mutant.subtle, what: breach!.what, where: breach!.where, sequence: breach!.sequence };
}

/** Rules that no subtle mutant breaks. */
export function withoutSubtle(rules: readonly { readonly id: string }[], mutants: readonly Mutant[]): string[] {
  return rules.map(({ id }) => id).filter((id) => !mutants.some((mutant) => mutant.subtle && mutant.rule === id));
}
