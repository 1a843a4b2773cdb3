#!/usr/bin/env node
import { writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

// The hot paths cross several packages; V8's default budget stops inlining halfway. Set before they are loaded.
setFlagsFromString("--max-inlined-bytecode-size-cumulative=20000");

let isDone = false;
// What nobody has caught is told by the engine.
process.on("uncaughtExceptionMonitor", () => void (isDone = true));
// A user's program or plugin may call process.exit: that is no success, and no fault that was found.
process.on("exit", () => {
  if (isDone) return;
  writeSync(2, "netmem: process.exit was called before the command was done, by a program or plugin that it ran; let it return or throw\n");
  process.exitCode = 2;
});

// A reader that has seen enough closes the pipe; that is no fault of the model.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  isDone = true;
  if (error.code !== "EPIPE") process.stderr.write(`netmem: standard output: ${error.message}\n`);
  process.exit(error.code === "EPIPE" ? 0 : 2);
});

const { runCli } = await import("./program.ts");
const code = await runCli(process.argv.slice(2));
isDone = true;
// A user's program may have left a timer behind, and what is written must be out first.
process.stdout.write("", (error) => {
  // What could not be written is told by the listener above.
  if (error) process.exitCode = 2;
  else process.stderr.write("", () => process.exit(code));
});
