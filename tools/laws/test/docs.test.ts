import { describe, expect, it } from "vitest";
import { checkReadmes, checkSources } from "../src/docs.ts";
import { treeOf } from "../src/tree.ts";
import { found, lines, repository } from "./judged.ts";

describe("docs: this repository", () => {
  it("has a README with an example for every package", () => {
    const verdict = checkReadmes(repository());
    expect(verdict.looked.packages).toBeGreaterThanOrEqual(10);
    expect(lines(verdict)).toEqual([]);
  });

  it("has sources of a readable size, without anything left for later", () => {
    const verdict = checkSources(repository());
    expect(verdict.looked.files).toBeGreaterThanOrEqual(115);
    expect(verdict.looked.lines).toBeGreaterThanOrEqual(6500);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("docs: planted violations", () => {
  const readme = (text: string): string[] => found(checkReadmes(treeOf({ "packages/mm/package.json": "{}", "packages/mm/README.md": text })));

  it("finds a package without a README", () => {
    expect(found(checkReadmes(treeOf({ "packages/mm/package.json": "{}" })))).toEqual(["packages/mm/README.md:1: missing"]);
  });

  it("finds a README without an example", () => {
    expect(readme("# mm\n\n```sh\nnpm i\n```\n")).toEqual(["packages/mm/README.md:1: no ```ts block"]);
    expect(readme("# mm\n\nSee ```ts in the source.\n")).toEqual(["packages/mm/README.md:1: no ```ts block"]);
    expect(readme("# mm\n\n```ts\ncreateMm();\n```\n")).toEqual([]);
  });

  const source = (text: string): string[] => found(checkSources(treeOf({ "packages/mm/src/x.ts": text })));

  it("finds a file that is too long", () => {
    expect(source("\n".repeat(400))).toEqual([]);
    expect(source("\n".repeat(401))).toEqual(["packages/mm/src/x.ts:401: 401 lines, and 400 is the most"]);
  });

  it.each([
    ["\n// TODO", "packages/mm/src/x.ts:2: TODO"],
    ["/** FIXME later */", "packages/mm/src/x.ts:1: FIXME"],
    ["// XXX", "packages/mm/src/x.ts:1: XXX"],
    ["// @ts-ignore\nexport {};", "packages/mm/src/x.ts:1: @ts-ignore"],
    ["export const f = (x: unknown) => (x as any).y;", "packages/mm/src/x.ts:1: as any"],
    ["export const f = (x: unknown) => (<any>x).y;", "packages/mm/src/x.ts:1: as any"],
  ])("finds %j", (text, expected) => {
    expect(source(text)).toEqual([expected]);
  });

  it("permits prose", () => {
    expect(source("/** A memory model, as any other; XXXL pages. */")).toEqual([]);
  });
});
