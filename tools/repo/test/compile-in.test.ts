import { expect, test } from "vitest";
import { CompiledIn } from "../compile-in.mjs";

/** The text of `main` among modules that import each other by name. */
function compiledIn(modules: Readonly<Record<string, string>>, main: string = "main"): string {
  return new CompiledIn((path) => modules[path]!, (_from, specifier) => (specifier in modules ? specifier : null)).of(main);
}

const HEADER = "export const PAGE_SHIFT = 12;\nexport const PAGE_SIZE = 1 << PAGE_SHIFT;\nexport const MASK = ~(PAGE_SIZE - 1);\nexport const HALF = 0.5;\nexport const NAME = 'x';\nexport let counter = 1;\nexport const at = () => 4;\n";

test("numbers of other modules are written where they are used, with their names; what is no number, or may change, stays an import", () => {
  expect(compiledIn({ header: HEADER, main: 'import { PAGE_SIZE, MASK, HALF, NAME, counter, at } from "header";\nf(PAGE_SIZE, -PAGE_SIZE, MASK, HALF, NAME, counter, at());\n' }))
    .toBe('import { PAGE_SIZE, MASK, HALF, NAME, counter, at } from "header";\nf(4096 /* PAGE_SIZE */, -4096 /* PAGE_SIZE */, (-4096 /* =MASK */), 0.5 /* HALF */, NAME, counter, at());\n');
});

test("through modules that export again, under other names, and all there is; by other names here; in a module's own code, too", () => {
  const modules = {
    header: HEADER, renamed: 'import { PAGE_SIZE } from "header";\nexport { PAGE_SHIFT as SHIFT } from "header";\nexport const TWO = PAGE_SIZE * 2;\nconst own = 3;\nexport { own as OWN };\n', all: 'export * from "renamed";\nexport * from "gone";\n',
    main: 'import { SHIFT, TWO as two, OWN } from "all";\nexport const LIMIT = two + 1;\nexport const f = () => SHIFT + two + OWN + LIMIT;\n',
  };
  expect(compiledIn(modules)).toBe('import { SHIFT, TWO as two, OWN } from "all";\nexport const LIMIT = 8192 /* two */ + 1;\nexport const f = () => 12 /* SHIFT */ + 8192 /* two */ + 3 /* OWN */ + 8193 /* LIMIT */;\n');
});

test("a constant that a function computes of constants is one; not so what a function does more, or calls", () => {
  const header = `${HEADER}export function align(bytes, to) { return (bytes + to - 1) & -to; }\nexport function logged(x) { log(x); return x; }\nexport function again(x) { return again(x); }\nexport function both(x, { y }) { return x + y; }\n`;
  const derived = 'import { PAGE_SIZE, align, again, both, logged } from "header";\nexport const ROOM = PAGE_SIZE - align(320, 64) - align(1, PAGE_SIZE >> 8);\nexport const LOGGED = logged(1);\nexport const AGAIN = again(1);\nexport const FEW = align(1);\nexport const BOTH = both(1, 2);\nexport const UNKNOWN = align(1, x);\n';
  expect(compiledIn({ header, derived, main: 'import { ROOM, LOGGED, AGAIN, FEW, BOTH, UNKNOWN } from "derived";\nf(ROOM, LOGGED, AGAIN, FEW, BOTH, UNKNOWN);\n' }))
    .toBe('import { ROOM, LOGGED, AGAIN, FEW, BOTH, UNKNOWN } from "derived";\nf(3760 /* ROOM */, LOGGED, AGAIN, FEW, BOTH, UNKNOWN);\n');
});

test("a member of that name is none of it; where it stands for a member's value, or has members, it is written so that it is still a program", () => {
  expect(compiledIn({ header: HEADER, main: 'import { PAGE_SIZE } from "header";\nconst o = { PAGE_SIZE, [PAGE_SIZE]: 1, PAGE_SIZE: 2 };\no.PAGE_SIZE = o[PAGE_SIZE] + PAGE_SIZE.toString(16);\nclass C { PAGE_SIZE = PAGE_SIZE; }\n' }))
    .toBe('import { PAGE_SIZE } from "header";\nconst o = { PAGE_SIZE: 4096 /* PAGE_SIZE */, [4096 /* PAGE_SIZE */]: 1, PAGE_SIZE: 2 };\no.PAGE_SIZE = o[4096 /* PAGE_SIZE */] + (4096 /* =PAGE_SIZE */).toString(16);\nclass C { PAGE_SIZE = 4096 /* PAGE_SIZE */; }\n');
});

test.each([
  "function f(PAGE_SIZE) { return PAGE_SIZE; }", "const f = ({ PAGE_SIZE }) => PAGE_SIZE;", "const f = ([a, PAGE_SIZE = 2]) => PAGE_SIZE;", "{ const PAGE_SIZE = 1; g(PAGE_SIZE); }", "const f = (...PAGE_SIZE) => PAGE_SIZE;",
  "const f = ({ a: PAGE_SIZE }) => PAGE_SIZE;", "try { g(); } catch (PAGE_SIZE) { g(PAGE_SIZE); }", "class PAGE_SIZE {}", "for (const PAGE_SIZE of all) g(PAGE_SIZE);",
])("a name that somebody declares once more is left alone: %s", (text) => {
  const main = `import { PAGE_SIZE } from "header";\n${text}\n`;
  expect(compiledIn({ header: HEADER, main })).toBe(main);
});

test("once more is the same, and a constant that has changed since is written anew", () => {
  const main = 'import { MASK, PAGE_SIZE } from "header";\nexport const OWN = 7;\nf(-PAGE_SIZE, MASK, -MASK, PAGE_SIZE.x, 3 /* pages */, OWN, { OWN });\n';
  const once = compiledIn({ header: HEADER, main });
  expect(compiledIn({ header: HEADER, main: once })).toBe(once);
  const larger = HEADER.replace("12", "14");
  expect(compiledIn({ header: larger, main: once })).toBe(compiledIn({ header: larger, main }));
  expect(compiledIn({ header: larger, main: once })).toContain("f(-16384 /* PAGE_SIZE */, (-16384 /* =MASK */), -(-16384 /* =MASK */), (16384 /* =PAGE_SIZE */).x, 3 /* pages */, 7 /* OWN */");
});

test("functions, its own and imported ones, are held in constants in front of the first statement: a function may be assigned to, for all that the engine knows", () => {
  const modules = { other: "export function far() {}\nexport class Far {}\nexport { near as by } from \"nearer\";\n", nearer: "export function near() {}\n" };
  const main = '#!/usr/bin/env node\n// About it.\nimport { far, Far, by } from "other";\nexport function own(x) { return far(x) + by(x); }\nfunction inner() { return own({ far, own: own, x: { inner: inner(1, 2) } }, new Far().far, o.own); }\n';
  const once = compiledIn({ ...modules, main });
  expect(once).toBe(
    '#!/usr/bin/env node\n// About it.\n/* compiled in */ const $far = far, $by = by, $own = own, $inner = inner; import { far, Far, by } from "other";\n'
    + "export function own(x) { return $far(x) + $by(x); }\nfunction inner() { return $own({ far: $far, own: $own, x: { inner: $inner(1, 2) } }, new Far().far, o.own); }\n",
  );
  expect(compiledIn({ ...modules, main: once })).toBe(once);
  // One that has become a class since is left alone.
  expect(compiledIn({ ...modules, other: modules.other.replace("function far() {}", "class far {}"), main: once })).toContain('return far(x) + $by(x)');
});

test.each(["function f(far) { return far(); }", "{ function far() {} far(); }", "const f = ({ far }) => far();"])("a function's name that somebody declares once more is left alone: %s", (text) => {
  const main = `import { far } from "other";\nexport const g = () => far;\n${text}\n`;
  expect(compiledIn({ other: "export function far() {}\n", main })).not.toContain("$far");
});
