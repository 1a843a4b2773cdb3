import { resolve } from "node:path";
import { formatViolation, readTree, type Tree, type Verdict } from "../src/tree.ts";

export const ROOT: string = resolve(import.meta.dirname, "../../..");

/** This checkout, read anew by each test file. */
export function repository(): Tree {
  return readTree(ROOT);
}

/** One line a violation: an empty list is a clean tree, and a failing test prints what to mend. */
export function lines(verdict: Verdict<string>): string[] {
  return verdict.violations.map(formatViolation);
}

/** The same without the advice, for planted violations: `file:line: what …`. */
export function found(verdict: Verdict<string>): string[] {
  return verdict.violations.map(({ file, line, message }) => `${file}:${line}: ${message.split(":")[0]}`);
}
