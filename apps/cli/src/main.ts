#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";

// The hot paths cross several packages; V8's default budget stops inlining halfway. Set before they are loaded.
setFlagsFromString("--max-inlined-bytecode-size-cumulative=20000");

const { runCli } = await import("./program.ts");
process.exitCode = await runCli(process.argv.slice(2));
