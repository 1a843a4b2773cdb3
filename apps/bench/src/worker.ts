// One workload in a process of its own: for each line "ops" on stdin it answers the nanoseconds that so many took.
import { createInterface } from "node:readline";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

// As the command line sets it: the hot paths cross several packages. Before they are loaded.
setFlagsFromString("--max-inlined-bytecode-size-cumulative=20000");
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const { WORKLOADS } = await import("./workloads.ts");
const name = process.argv[2];
const workload = WORKLOADS.find((candidate) => candidate.name === name);
if (workload === undefined) throw new Error(`no workload ${name}`);
const run = workload.prepare();
let isWarm = false;

for await (const line of createInterface({ input: process.stdin })) {
  const ops = Number(line);
  const began = process.hrtime.bigint();
  run(ops);
  process.stdout.write(`${process.hrtime.bigint() - began}\n`);
  if (isWarm) continue;
  // All that lasts, and was made by now, is old, as in a process that has run for a while: neither is every store into it cheaper, nor every store of it dearer.
  collectGarbage();
  isWarm = true;
}
