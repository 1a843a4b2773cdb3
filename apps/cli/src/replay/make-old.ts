import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (options: { readonly type: "minor" }) => void;

let collect: Collect | null = null;

/**
 * Makes what lives old to the engine, which notes each store of a young object into an old one, some 200 instructions a
 * packet. A run on pooled structures makes no garbage, so that nothing ages by itself. What survives two
 * collections is old. The nanoseconds that it took.
 */
export function makeOld(): bigint {
  const began = process.hrtime.bigint();
  collect ??= exposedCollector();
  collect({ type: "minor" });
  collect({ type: "minor" });
  return process.hrtime.bigint() - began;
}

/** What `--expose-gc` gives to contexts that are made after it. */
function exposedCollector(): Collect {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as Collect;
}
