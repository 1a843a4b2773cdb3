import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CreateError, createPlugin } from "../src/create.ts";
import { trafficCapture } from "./traffic.ts";

const TEMPLATES = fileURLToPath(new URL("../templates", import.meta.url));
let cwd = "";
beforeEach(() => void (cwd = mkdtempSync(join(tmpdir(), "create-netmem-"))));
afterEach(() => rmSync(cwd, { recursive: true }));

describe.each(["driver", "memory-model"] as const)("%s", (template) => {
  test("every file of the template is there, and nothing is called as the template is", () => {
    const folder = createPlugin("fast-nic", template, cwd);
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => statSync(join(folder, file)).isFile());
    const ofTemplate = readdirSync(join(TEMPLATES, template), { recursive: true, encoding: "utf8" }).filter((file) => statSync(join(TEMPLATES, template, file)).isFile());
    expect(files.toSorted()).toEqual(ofTemplate.map((file) => (file === "gitignore" ? ".gitignore" : file)).toSorted());
    for (const file of files) expect(readFileSync(join(folder, file), "latin1"), file).not.toMatch(/my-?(driver|model)|0\.0\.0-netmem/i);
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name: string; peerDependencies: Record<string, string>; devDependencies: Record<string, string> };
    const { version } = JSON.parse(readFileSync(fileURLToPath(new URL("../package.json", import.meta.url)), "utf8")) as { version: string };
    expect([manifest.name, new Set(Object.values(manifest.peerDependencies))]).toEqual(["fast-nic", new Set([`^${version}`])]);
    expect(readdirSync(cwd)).toEqual(["fast-nic"]);
  });

  test.each(["switch", "net", "driver", "memory"])("a package may be called %s: its code is the same but for strings", (name) => {
    const folder = createPlugin(name, template, cwd);
    const code = (from: string): string => readdirSync(join(from, "src")).map((file) => readFileSync(join(from, "src", file), "utf8").replaceAll(/"[^"]*"/g, '""')).join("");
    expect(code(folder)).toBe(code(join(TEMPLATES, template)));
  });

  test("one place says where to begin", () => {
    const source = readdirSync(join(TEMPLATES, template, "src")).map((file) => readFileSync(join(TEMPLATES, template, "src", file), "utf8")).join("");
    expect(source.split("BEGIN HERE").length).toBe(2);
  });

  test("it has the same capture to be run with (UPDATE_CAPTURE=1 writes it)", () => {
    const file = join(TEMPLATES, template, "traffic.pcap");
    if (process.env["UPDATE_CAPTURE"] !== undefined) writeFileSync(file, trafficCapture());
    expect(Buffer.compare(readFileSync(file), trafficCapture())).toBe(0);
  });
});

test.each([
  ["a name that no package can have", "Fast_NIC", /Fast_NIC: give a folder whose name can be a package's/],
  ["a file of that name", "taken", /taken: there is something already/],
  ["a folder with something in it", "full", /full: there is something already/],
  ["a folder in one that is not there", "no/such/place", /no\/such\/place: there is no folder .*such; make it first/],
])("%s is refused, and nothing is written", (_what, folder, message) => {
  writeFileSync(join(cwd, "taken"), "");
  mkdirSync(join(cwd, "full"));
  writeFileSync(join(cwd, "full", "x"), "");
  const before = readdirSync(cwd, { recursive: true });
  expect(() => createPlugin(folder, "driver", cwd)).toThrow(CreateError);
  expect(() => createPlugin(folder, "driver", cwd)).toThrow(message);
  expect(readdirSync(cwd, { recursive: true })).toEqual(before);
});

test("an option that there is not is named, in one line", () => {
  const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL("../dist/main.js", import.meta.url)), "--foo"], { cwd, encoding: "utf8" });
  expect([status, stderr]).toEqual([2, "create-netmem: Unknown option '--foo' (see --help)\n"]);
});

test("an empty folder is filled, and stays the folder that it was", () => {
  mkdirSync(join(cwd, "mine"));
  const { ino } = statSync(join(cwd, "mine"));
  const folder = createPlugin(".", "driver", join(cwd, "mine"));
  expect([existsSync(join(folder, "src/index.ts")), statSync(folder).ino === ino, readdirSync(cwd)]).toEqual([true, true, ["mine"]]);
});

test("others may read what is made, as far as the user lets them", () => {
  expect(statSync(createPlugin("shared", "driver", cwd)).mode & 0o777).toBe(0o777 & ~process.umask());
});
