import { describe, expect, it } from "vitest";
import { checkOwnership } from "../src/ownership.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

function judge(text: string, path: string = "packages/xdp/src/api/x.ts"): string[] {
  return found(checkOwnership(treeOf({ [path]: text })));
}

describe("law 6, ownership: this repository", () => {
  it("says who owns what its headers take", () => {
    const verdict = checkOwnership(repository());
    expect(verdict.looked.interfaces).toBeGreaterThanOrEqual(70);
    expect(verdict.looked.members).toBeGreaterThanOrEqual(300);
    expect(verdict.looked.takers).toBeGreaterThanOrEqual(40);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 6, ownership: planted violations", () => {
  it.each([
    ["no comment", "export interface Port {\n  readonly put: (page: Page) => void;\n}", "packages/xdp/src/api/x.ts:2: Port.put takes Page and does not say who owns it afterwards"],
    ["a comment that does not say", "export interface Port {\n  /** Puts it. */\n  readonly put: (n: Netmem, direct: boolean) => void;\n}", "packages/xdp/src/api/x.ts:3: Port.put takes Netmem and does not say who owns it afterwards"],
    ["a comment that is no doc comment", "export interface Port {\n  // Consumes.\n  readonly put: (frame: XdpFrame) => void;\n}", "packages/xdp/src/api/x.ts:3: Port.put takes XdpFrame and does not say who owns it afterwards"],
    ["the comment of its neighbour", "export interface Port {\n  /** Consumes. */\n  readonly id: number;\n  readonly put: (skb: SkBuff) => void;\n}", "packages/xdp/src/api/x.ts:4: Port.put takes SkBuff and does not say who owns it afterwards"],
    ["an array of memory", "export interface Port { readonly putBulk: (list: readonly (Page | null)[], n: number) => void }", "packages/xdp/src/api/x.ts:1: Port.putBulk takes Page and does not say who owns it afterwards"],
    ["a function or null", "export interface Port { readonly put: ((niov: NetIov) => void) | null }", "packages/xdp/src/api/x.ts:1: Port.put takes NetIov and does not say who owns it afterwards"],
    ["a method", "export interface Port { put(buff: XdpBuff): void }", "packages/xdp/src/api/x.ts:1: Port.put takes XdpBuff and does not say who owns it afterwards"],
    ["an interface that is called", "export interface Put { (memory: CoherentMemory): void }", "packages/xdp/src/api/x.ts:1: Put takes CoherentMemory and does not say who owns it afterwards"],
    ["slab objects", "export interface Slab { readonly kfree: (object: SlabObject) => void }", "packages/xdp/src/api/x.ts:1: Slab.kfree takes SlabObject and does not say who owns it afterwards"],
  ])("finds %s", (_what, text, expected) => {
    expect(judge(text)).toEqual([expected]);
  });

  it.each(["Keeps it.", "Shares.", "Drops a reference; consumes.", "The mark stays, and so does the reference.", "It is the caller's afterwards."])("is content with: %s", (comment) => {
    expect(judge(`export interface Port {\n  /** ${comment} */\n  readonly put: (page: Page) => void;\n}`)).toEqual([]);
  });

  it.each([
    ["probes", "export interface PortProbe { readonly put: (page: Page) => void }"],
    ["exported functions", "export function isFree(page: Page): boolean { return page.free; }"],
    ["what is only answered", "export interface Port { readonly take: () => Page }"],
  ])("leaves out %s", (_what, text) => {
    expect(judge(text)).toEqual([]);
  });

  it("is about headers", () => {
    expect(judge("interface Inner { readonly put: (page: Page) => void }", "packages/xdp/src/x.ts")).toEqual([]);
  });
});
