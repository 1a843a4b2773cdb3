import { describe, expect, it } from "vitest";
import { Source, treeOf } from "../src/tree.ts";
import { repository } from "./judged.ts";

describe("the tree", () => {
  it("holds the sources, tests, manifests and pages of this repository, and nothing that was built", () => {
    const { paths } = repository();
    expect(paths).toContain("packages/kernel/src/api/kernel.ts");
    expect(paths).toContain("packages/kernel/package.json");
    expect(paths).toContain("docs/layers.md");
    expect(paths.filter((path) => /(^|\/)(node_modules|dist)\//.test(path))).toEqual([]);
  });

  it("refuses a file that does not parse, instead of finding nothing in it", () => {
    expect(() => treeOf({ "packages/mm/src/bad.ts": "export const = 1;" }).sources(/^packages\//)).toThrow(/^packages\/mm\/src\/bad\.ts does not parse: /);
  });

  it("counts lines by characters, not bytes", () => {
    const source = new Source("a.ts", "/** 2⁶⁴ … */\nexport const a = 1;\n");
    expect(source.line(source.program.body[0]!.start)).toBe(2);
    expect(source.docBefore(source.program.body[0]!.start)?.value).toBe("* 2⁶⁴ … ");
  });
});
