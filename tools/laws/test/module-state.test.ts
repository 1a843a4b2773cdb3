import { describe, expect, it } from "vitest";
import { checkModuleState } from "../src/module-state.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

const TYPES = `
export interface Deep { readonly name: string; readonly run: (n: number) => void; readonly parts: readonly Part[] }
export interface Part { readonly at: number; readonly next: Part | null }
export interface Shallow { readonly list: number[] }
export interface Loose { name: string }
export interface Inherits extends Loose { readonly more: number }
export type Choice = "a" | "b";
`;

function judge(text: string): string[] {
  return found(checkModuleState(treeOf({ "packages/mm/src/types.ts": TYPES, "packages/mm/src/x.ts": text }))).map((line) => line.replace("packages/mm/src/x.ts:1: ", ""));
}

describe("law 3, module state: this repository", () => {
  it("has none", () => {
    const verdict = checkModuleState(repository());
    expect(verdict.looked.files).toBeGreaterThanOrEqual(115);
    expect(verdict.looked.constants).toBeGreaterThanOrEqual(150);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 3, module state: planted violations", () => {
  it.each([
    ["let count = 0;", "top-level let"],
    ["export let count = 0;", "top-level let"],
    ["var count = 0;", "top-level var"],
    ["const pools = new Map<string, number>();", "const pools holds an instance"],
    ["export const pools: ReadonlyMap<string, number> = new Map();", "const pools holds an instance"],
    ["const bytes = new Uint8Array(4096);", "const bytes holds an instance"],
    ["const memory = new ArrayBuffer(4096);", "const memory holds an instance"],
    ["class Pool {}\nconst pool = new Pool();", "packages/mm/src/x.ts:2: const pool holds an instance"],
    ["const list = [];", "const list holds an array that anyone can change"],
    ["const list: number[] = [1, 2];", "const list holds an array that anyone can change"],
    ["const table = { a: 1 };", "const table holds an object that anyone can change"],
    ["const table: Record<string, number> = { a: 1 };", "const table holds an object that anyone can change"],
    ['const one: Loose = { name: "x" };', "const one holds an object that anyone can change"],
    ['const one: Inherits = { name: "x", more: 1 };', "const one holds an object that anyone can change"],
    ["const one: Shallow = { list: [] };", "const one holds an object that anyone can change"],
    ["const one: Unknown = { a: 1 };", "const one holds an object that anyone can change"],
    ["const caches: Readonly<Record<string, number[]>> = { a: [] };", "const caches holds an object that anyone can change"],
    ["const caches = { all: new Set() } as const;", "const caches holds an instance"],
    ["const caches = Object.freeze({ all: [] });", "const caches holds an array that anyone can change"],
    ["const cache = Object.freeze(new Map());", "const cache holds an instance"],
    ["const next = (() => { let n = 0; return () => n++; })();", "const next holds the result of a call, which may be anything"],
    ["const words = /\\w+/g;", "const words holds a regular expression that remembers lastIndex"],
    ["const choice = flag ? [] : null;", "const choice holds an array that anyone can change"],
    ["export class Pool { static count = 0; }", "static count can be assigned"],
    ["export class Pool { static readonly all = new Set(); }", "static all holds an instance"],
    ["export const Pool = class { static readonly all: string[] = []; };", "static all holds an array that anyone can change"],
    ["export class Pool { static { register(Pool); } }", "static block"],
    ["register();", "runs when the module is imported"],
    ["globalThis.pools = 1;", "runs when the module is imported"],
    ["for (const each of [1]) register(each);", "runs when the module is imported"],
  ])("%j", (text, expected) => {
    expect(judge(text)).toEqual([expected]);
  });

  it.each([
    "const PAGE_SIZE = 1 << 12;",
    "export const PAD: number = align(PAGE_SIZE);",
    "const name = `page ${PAGE_SIZE}`;",
    "export const WORDS = /^\\w+$/;",
    "const TAG: unique symbol = Symbol();",
    "export const twice = (n: number): number => { const seen = new Set([n]); return seen.size * 2; };",
    "export function make(): number[] { return []; }",
    "export class Pool { static readonly MOST = 8; readonly all = new Map<string, number>(); }",
    "const SIZES = [8, 16] as const;",
    "const SIZES: readonly number[] = [8, 16];",
    "const PAIRS: readonly (readonly [number, string])[] = [[1, 'a']];",
    "const BOTH = { a: { b: [1] } } as const satisfies object;",
    "const NAMES: Readonly<Record<number, string>> = { 1: 'one' };",
    "const ONE: Readonly<Loose> = { name: 'x' };",
    "const FROZEN = Object.freeze([1, 2]);",
    "const DEEP: Deep = { name: 'x', run: (n) => void n, parts: [{ at: 1, next: null }] };",
    "const BASE: Deep = OTHER; const MORE: Deep = { ...BASE, name: 'y' };",
    "const CHOICE: 'a' | 'b' = pick();",
    "const CHOICES: readonly Choice[] = ['a', 'b'];",
    "declare const injected: Map<string, number>;",
  ])("permits %j", (text) => {
    expect(judge(text)).toEqual([]);
  });
});
