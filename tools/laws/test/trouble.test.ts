import { describe, expect, it } from "vitest";
import { checkTrouble } from "../src/trouble.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

const CAPTURE_ERROR = { "packages/pcap/src/api/errors.ts": "export class CaptureError extends Error {}\nclass HiddenError extends Error {}" };

function judge(text: string, path: string = "packages/pcap/src/x.ts"): string[] {
  return found(checkTrouble(treeOf({ ...CAPTURE_ERROR, [path]: text })));
}

describe("law 7, trouble: this repository", () => {
  it("throws what its headers export, and catches nothing below the apps", () => {
    const verdict = checkTrouble(repository());
    expect(verdict.looked.files).toBeGreaterThanOrEqual(115);
    expect(verdict.looked.throws).toBeGreaterThanOrEqual(35);
    expect(verdict.looked.errors).toBeGreaterThanOrEqual(2);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 7, trouble: planted violations", () => {
  it.each([
    ['export function f() { throw new Error("no page"); }', "packages/pcap/src/x.ts:1: throws new Error(\"no page\")"],
    ['export function f() { throw "no page"; }', 'packages/pcap/src/x.ts:1: throws "no page"'],
    ["export function f(error: unknown) { throw error; }", "packages/pcap/src/x.ts:1: throws error"],
    ['export function f() { throw UsageError("pcap"); }', 'packages/pcap/src/x.ts:1: throws UsageError("pcap")'],
    ["export function f() { throw new HiddenError(); }", "packages/pcap/src/x.ts:1: throws new HiddenError()"],
    ["export function f(g: () => void) {\n  try { g(); } catch { return; }\n}", "packages/pcap/src/x.ts:2: try"],
    ["export function f(g: () => void) {\n  try { g(); } finally { g(); }\n}", "packages/pcap/src/x.ts:2: try"],
  ])("%j", (text, expected) => {
    expect(judge(text)).toEqual([expected]);
  });

  it("lets the one place that runs users' programs catch, and throw what it caught", () => {
    const text = "export function f(g: () => void) {\n  try { g(); } catch (error) { throw error; }\n}";
    expect(judge(text, "packages/xdp/src/programs.ts")).toEqual([]);
    expect(judge(text, "packages/xdp/src/redirect.ts").length).toBe(2);
  });

  it("finds an error class of somebody else's header", () => {
    expect(judge("export function f() { throw new CaptureError(); }", "packages/mm/src/x.ts")).toEqual(["packages/mm/src/x.ts:1: throws new CaptureError()"]);
  });

  it.each([
    'export function f() { throw new UsageError("pcap", "path", "", "give one"); }',
    'export function f() { throw new KernelPanic("double-put", "page 1"); }',
    "export function f() { throw new CaptureError(); }",
  ])("permits %j", (text) => {
    expect(judge(text)).toEqual([]);
  });
});
