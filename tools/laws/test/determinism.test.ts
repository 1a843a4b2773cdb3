import { describe, expect, it } from "vitest";
import { checkDeterminism } from "../src/determinism.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

function judge(text: string, path: string = "packages/kernel/src/x.ts"): string[] {
  return found(checkDeterminism(treeOf({ [path]: text }))).map((line) => line.replace(`${path}:1: `, ""));
}

describe("law 5, determinism: this repository", () => {
  it("reads no clock, no randomness and no environment in its packages", () => {
    const verdict = checkDeterminism(repository());
    expect(verdict.looked.files).toBeGreaterThanOrEqual(115);
    expect(verdict.looked.identifiers).toBeGreaterThanOrEqual(7000);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 5, determinism: planted violations", () => {
  it.each([
    ["export const f = () => Date.now();", "Date"],
    ["export const f = () => new Date();", "Date"],
    ["export const f = () => new globalThis.Date();", "Date"],
    ['export const f = () => (globalThis as Any)["Date"];', "Date"],
    ["export const f = () => performance.now();", "performance"],
    ["export const f = () => Math.random();", "Math.random"],
    ['export const f = () => Math["random"]();', "Math.random"],
    ["export const f = () => process.hrtime.bigint();", "process"],
    ["export const f = () => ({ process });", "process"],
    ["export const f = (g: () => void) => setTimeout(g, 1);", "setTimeout"],
    ["export const f = (g: () => void) => setInterval(g, 1);", "setInterval"],
    ["export const f = (g: () => void) => setImmediate(g);", "setImmediate"],
    ["export const f = (g: () => void) => queueMicrotask(g);", "queueMicrotask"],
    ["export const f = (b: Uint8Array) => crypto.getRandomValues(b);", "crypto"],
    ['import { randomBytes } from "node:crypto";', "imports node"],
    ['import { performance as clock } from "perf_hooks";', "imports perf_hooks"],
    ['export const f = () => import("node:timers/promises");', "imports node"],
    ["export function f(o: object) { for (const key in o) void key; }", "for … in"],
  ])("%j", (text, expected) => {
    expect(judge(text)).toEqual([expected]);
  });

  it.each([
    "export const f = (o: { readonly Date: number }) => o.Date;",
    "export const o = { process: 1, performance: 2 } as const;",
    "export const f = (list: readonly number[]) => { for (const each of list) Math.floor(each); };",
    "/** Not Date.now(), not Math.random(). */\nexport const f = () => 'process';",
  ])("permits %j", (text) => {
    expect(judge(text)).toEqual([]);
  });

  it("leaves apps alone", () => {
    expect(judge("export const f = () => Date.now();", "apps/cli/src/x.ts")).toEqual([]);
  });
});
