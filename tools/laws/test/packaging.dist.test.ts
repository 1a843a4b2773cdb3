import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PACKAGES = readdirSync(join(ROOT, "packages")).filter((name) => !manifest(name).private);

function manifest(name: string): { private?: boolean } {
  return JSON.parse(readFileSync(join(ROOT, "packages", name, "package.json"), "utf8")) as { private?: boolean };
}

/** A package's public declarations without their comments, headers first: what its users compile against. */
function declarations(name: string): string {
  const dist = join(ROOT, "packages", name, "dist");
  const files = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".d.ts"));
  const api = files.filter((file) => file.startsWith("api/")).sort();
  const index = readFileSync(join(dist, "index.d.ts"), "utf8");
  const implementation = [...index.matchAll(/from "\.\/(.+?)\.ts"/g)].map((match) => `${match[1]!}.d.ts`);
  return [...api, "index.d.ts", ...new Set(implementation)].map((file) => `// ${file}\n${stripped(readFileSync(join(dist, file), "utf8"))}`).join("\n");
}

function stripped(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\/\/#.*$/gm, "").replace(/^\s*\n/gm, "");
}

test("there are packages to look at", () => {
  expect(PACKAGES.length).toBeGreaterThanOrEqual(10);
});

test.each(PACKAGES)("%s is packed so that everyone's tools can import it (publint)", async (name) => {
  const { messages } = await publint({ pkgDir: join(ROOT, "packages", name), strict: true, pack: false });
  expect(messages).toEqual([]);
});

test.each(PACKAGES)("the public declarations of %s are those of docs/api: a change of them is seen in review (UPDATE_API=1 rewrites)", (name) => {
  const page = join(ROOT, "docs/api", `${name}.md`);
  const now = `# Public declarations of @netmem/${name}\n\nGenerated from the build (UPDATE_API=1), without comments.\n\n\`\`\`ts\n${declarations(name)}\`\`\`\n`;
  if (process.env["UPDATE_API"] === "1") {
    mkdirSync(join(ROOT, "docs/api"), { recursive: true });
    writeFileSync(page, now);
  }
  expect(existsSync(page) ? readFileSync(page, "utf8") : "").toBe(now);
});
