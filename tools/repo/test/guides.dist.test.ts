import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guideBlocks } from "./guide.ts";
import { LocalRegistry } from "../local-registry.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const GUIDES = [["write-a-driver", "driver"], ["write-a-memory-model", "memory-model"]] as const;
const MINUTES_MS = 60_000;

/** Whether the usual registry answers, which has the compiler that a package is built with. */
function registryAnswers(): boolean {
  return spawnSync("npm", ["view", "typescript@7.0.2", "version"], { cwd: ROOT, timeout: MINUTES_MS }).status === 0;
}

const reachable = registryAnswers();
if (!reachable) process.stderr.write("guides: skipped, no npm registry answers\n");

describe.skipIf(!reachable)("the guides, followed literally in an empty folder, on packed tarballs", () => {
  const home = mkdtempSync(join(tmpdir(), "netmem-guides-"));
  let registry: LocalRegistry;
  const env: NodeJS.ProcessEnv = {};
  beforeAll(async () => {
    registry = new LocalRegistry(join(home, "packed"));
    const url = await registry.listen();
    // Nothing of this checkout, of its package manager, or of a user's home is there.
    for (const [name, value] of Object.entries(process.env)) if (!/^(npm_|NODE_|VITEST|INIT_CWD|PNPM)/i.test(name)) env[name] = value;
    Object.assign(env, { HOME: join(home, "home"), npm_config_registry: url, npm_config_cache: join(home, "cache"), npm_config_audit: "false", npm_config_fund: "false", npm_config_update_notifier: "false", npm_config_yes: "true" });
    mkdirSync(join(home, "home"));
  }, 3 * MINUTES_MS);
  afterAll(() => {
    registry.close();
    rmSync(home, { recursive: true, force: true });
  });

  test("what is packed is what is published: every package of ours, and no path into this checkout", () => {
    expect(registry.names).toContain("create-netmem");
    expect(registry.names).toContain("@netmem/testkit");
    for (const file of readdirSync(join(home, "packed"))) expect(execFileSync("tar", ["-xzOf", join(home, "packed", file), "package/package.json"], { encoding: "utf8" }), file).not.toMatch(/workspace:|file:/);
  });

  test.each(GUIDES)("%s", { timeout: 5 * MINUTES_MS }, async (guide, template) => {
    let cwd = mkdtempSync(join(home, `${guide}-`));
    let output = "";
    for (const block of guideBlocks(readFileSync(join(ROOT, `docs/guide/${guide}.md`), "utf8"))) {
      switch (block.kind) {
        case "commands":
          output = "";
          for (const line of block.lines) {
            if (line.startsWith("cd ")) cwd = resolve(cwd, line.slice(3));
            else output += await run(line, cwd, env);
          }
          break;
        case "file":
          mkdirSync(dirname(join(cwd, block.path)), { recursive: true });
          writeFileSync(join(cwd, block.path), block.text);
          break;
        case "output":
          for (const line of block.lines) expect(output).toContain(line);
          break;
        default: expect(readdirSync(join(cwd, "src")).map((file) => readFileSync(join(cwd, "src", file), "utf8")).join("\n")).toContain(block.text);
      }
    }
    // The page and the template are one and the same.
    const sources = (folder: string): string[] => readdirSync(join(folder, "src")).map((file) => `${file}\n${readFileSync(join(folder, "src", file), "utf8")}`);
    expect(sources(cwd)).toEqual(sources(join(ROOT, "apps/create-netmem/templates", template)));
  });
});

/** What a command prints, which must succeed. Beside this process, whose registry it asks. */
function run(command: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((answer, refuse) => {
    const child = spawn("bash", ["-c", command], { cwd, env });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => void (text += chunk.toString()));
    child.on("error", refuse);
    child.on("close", (code) => (code === 0 ? answer(text) : refuse(new Error(`${command}: exit code ${code}\n${text}`))));
  });
}
