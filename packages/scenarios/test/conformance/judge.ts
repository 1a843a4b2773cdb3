import { expect } from "vitest";
import { breachInWords, type ConformanceReport } from "@netmem/testkit";
import type { Mutant } from "./mutant.ts";
import type { Score } from "./scores.ts";

/** Its rule is broken; in the shortest sequence that shows it so are those that go with it, and no other. How it was caught. */
export function judge(mutant: Mutant, { outcomes: [outcome] }: ConformanceReport): Score {
  const { breach } = outcome!;
  expect([outcome!.id, outcome!.status], mutant.mistake).toEqual([mutant.rule, "broken"]);
  expect(breach!.also.toSorted(), `${mutant.mistake}\n${breachInWords(outcome!, breach!)}`).toEqual([...(mutant.also ?? [])].toSorted());
  return { plugin: mutant.plugin, mistake: mutant.mistake, rule: mutant.rule, also: breach!.also, subtle: mutant.subtle, what: breach!.what, where: breach!.where, sequence: breach!.sequence };
}

/** Rules that no subtle mutant breaks. */
export function withoutSubtle(rules: readonly { readonly id: string }[], mutants: readonly Mutant[]): string[] {
  return rules.map(({ id }) => id).filter((id) => !mutants.some((mutant) => mutant.subtle && mutant.rule === id));
}
