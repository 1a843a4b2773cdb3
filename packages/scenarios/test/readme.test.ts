import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const PACKAGES = new URL("../../", import.meta.url);
const FOLDER = new URL("./readme-examples/", import.meta.url);
const ROOT = fileURLToPath(new URL("../", PACKAGES));

/** Each ```ts block of a package's README. */
function examples(): { name: string; code: string }[] {
  return readdirSync(PACKAGES).flatMap((name) => {
    const text = readFileSync(new URL(`${name}/README.md`, PACKAGES), "utf8");
    return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match, i) => ({ name: `${name}-${i + 1}`, code: match[1]! }));
  });
}

const found = examples();
const before = process.cwd();

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true });
  process.chdir(ROOT);
});
afterAll(() => {
  process.chdir(before);
  rmSync(FOLDER, { recursive: true, force: true });
});

test("every package has an example", () => {
  expect(new Set(found.map(({ name }) => name.replace(/-\d+$/, "")))).toEqual(new Set(readdirSync(PACKAGES)));
});

test.each(found)("the example of $name runs as written", async ({ name, code }) => {
  const file = new URL(`${name}.ts`, FOLDER);
  writeFileSync(file, code);
  await import(/* @vite-ignore */ fileURLToPath(file));
});
