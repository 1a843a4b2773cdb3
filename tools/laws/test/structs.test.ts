import { describe, expect, it } from "vitest";
import { checkStructs } from "../src/structs.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

const PAGE = `
export class Page {
  declare private readonly nominal: "Page";
  readonly pfn: number;
  next: Page | null;

  constructor(pfn: number) {
    this.pfn = pfn;
    this.next = null;
  }
}
`;

function judge(files: Readonly<Record<string, string>>): string[] {
  return found(checkStructs(treeOf({ "packages/mm/src/api/page.ts": PAGE, ...files })));
}

/** The struct above with one line changed. */
function changed(line: string, to: string): string[] {
  return judge({ "packages/mm/src/api/page.ts": PAGE.replace(line, to) });
}

describe("law 4, structs: this repository", () => {
  it("has data in its headers, and makes it where it belongs", () => {
    const verdict = checkStructs(repository());
    expect(verdict.looked.structs).toBeGreaterThanOrEqual(18);
    expect(verdict.looked.files).toBeGreaterThanOrEqual(120);
    expect(verdict.looked.signatures).toBeGreaterThanOrEqual(300);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 4, structs: planted violations", () => {
  it("finds nothing wrong with a plain struct, its owner, and an error class", () => {
    expect(judge({
      "packages/mm/src/buddy.ts": 'import { Page } from "./api/page.ts";\nexport const isPage = (x: unknown): boolean => x instanceof Page || new Page(1) === x;',
      "packages/mm/src/api/errors.ts": "export class MmError extends Error { describe(): string { return this.message; } }",
    })).toEqual([]);
  });

  const last = "    this.next = null;\n  }";
  it.each([
    ["a method", last, `${last}\n  free(): void {}`, "packages/mm/src/api/page.ts:11: Page has `free()"],
    ["an accessor", last, `${last}\n  get isFree() { return false; }`, "packages/mm/src/api/page.ts:11: Page has `get isFree() { return false; }`"],
    ["a static member", last, `${last}\n  static count = 0;`, "packages/mm/src/api/page.ts:11: Page has `static count = 0;`"],
    ["a static block", last, `${last}\n  static {}`, "packages/mm/src/api/page.ts:11: Page has `static {}`"],
    ["no brand", '  declare private readonly nominal: "Page";\n', "", 'packages/mm/src/api/page.ts:2: Page lacks `declare private readonly nominal'],
    ["a public brand", "declare private readonly", "declare readonly", 'packages/mm/src/api/page.ts:2: Page lacks `declare private readonly nominal'],
    ["another's brand", '"Page"', '"Pages"', 'packages/mm/src/api/page.ts:2: Page lacks `declare private readonly nominal'],
    ["a field that is not assigned", "    this.next = null;\n", "", "packages/mm/src/api/page.ts:5: Page.next is not assigned in the constructor"],
    ["a field that is assigned sometimes", "this.next = null;", "if (pfn > 0) this.next = null;", "packages/mm/src/api/page.ts:5: Page.next is not assigned in the constructor"],
    ["a field that is assigned where it is declared", "next: Page | null;", "next: Page | null = null;\n  extra = 0;", "packages/mm/src/api/page.ts:6: Page.extra is not assigned in the constructor"],
    ["a field that cannot be read", "  next: Page", "  #secret = 0;\n  next: Page", "packages/mm/src/api/page.ts:5: Page has a field without a plain name"],
    ["a base class", "class Page {", "class Page extends Base {", "packages/mm/src/api/page.ts:2: Page extends another class"],
  ])("finds %s", (_what, line, to, expected) => {
    expect(changed(line, to)).toEqual([expected]);
  });

  it.each([
    ["by its name", 'import { Page } from "@netmem/mm/api";\nexport const f = () => new Page(1);', "new Page"],
    ["under another name", 'import { Page as Frame } from "@netmem/mm/api";\nexport const f = () => new Frame(1);', "new Page"],
    ["through a namespace", 'import * as mm from "@netmem/mm/api";\nexport const f = () => new mm.Page(1);', "new Page"],
    ["in a cast", 'import { Page } from "@netmem/mm/api";\nexport const f = () => new (Page as new (n: number) => Page)(1);', "new Page"],
    ["by instanceof", 'import { Page } from "@netmem/mm/api";\nexport const f = (x: object) => x instanceof Page;', "instanceof Page"],
  ])("finds a struct of another layer %s", (_what, text, expected) => {
    expect(judge({ "packages/xdp/src/x.ts": text })).toEqual([`packages/xdp/src/x.ts:2: ${expected}`]);
    expect(judge({ "apps/cli/src/x.ts": text })).toEqual([`apps/cli/src/x.ts:2: ${expected}`]);
  });

  it("leaves a class of one's own alone that has the name of a struct", () => {
    expect(judge({ "packages/xdp/src/x.ts": "class Page {}\nexport const f = () => new Page();" })).toEqual([]);
  });

  it.each([
    ["a method", "export interface Port { readonly name: string; put(page: Page): void }", "put is declared as a method, and methods are bivariant"],
    ["a method in a type literal", "export type Port = { put(page: Page): void };", "put is declared as a method, and methods are bivariant"],
    ["a getter", "export interface Port { get size(): number }", "size is declared as a method, and methods are bivariant"],
    ["a function that can be replaced", "export interface Port { put: (page: Page) => void }", "put is a function that anyone may replace"],
  ])("finds %s in an interface of a header", (_what, text, expected) => {
    expect(judge({ "packages/mm/src/api/port.ts": text })).toEqual([`packages/mm/src/api/port.ts:1: ${expected}`]);
  });
});
