// npm start: install, build, and the main job: the shipped captures under every design.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT, buildIfChanged, install, runEntry } from "./lib.mjs";

install();
buildIfChanged();
const folder = "examples/captures";
const captures = readdirSync(join(ROOT, folder)).filter((name) => /\.pcap(ng)?$/.test(name)).sort();
process.env.INIT_CWD = ROOT;
runEntry("apps/cli/dist/main.js", ["replay", ...captures.map((name) => `${folder}/${name}`), ...process.argv.slice(2)]);
