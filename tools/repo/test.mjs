// npm test: everything that CI runs. Arguments go to vitest.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, build, clean, install, pnpm } from "./lib.mjs";

function step(name, work) {
  const began = Date.now();
  process.stdout.write(`\n── ${name}\n`);
  work();
  process.stdout.write(`── ${name}: ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
}

step("install", install);
step("clean build", () => {
  clean();
  build(["--force"]);
});
step("types of tests", () => pnpm(["exec", "tsc", "-p", "tsconfig.test.json"]));
step("lint", () => pnpm(["exec", "oxlint", "--deny-warnings"]));
const report = join(ROOT, "node_modules/.cache/netmem/vitest.json");
mkdirSync(join(report, ".."), { recursive: true });
let status = 0;
step("tests", () => {
  const vitest = ["exec", "vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...process.argv.slice(2)];
  status = pnpm(vitest, { allowFailure: true }).status ?? 1;
});
const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(report, "utf8"));
process.stdout.write(`\n${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped\n`);
process.exit(status);
