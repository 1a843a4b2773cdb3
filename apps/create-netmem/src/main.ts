#!/usr/bin/env node
import { relative } from "node:path";
import { parseArgs } from "node:util";
import { CreateError, createPlugin, version, type Template } from "./create.ts";

const USAGE = `npm create netmem <folder> -- --driver | --memory-model

  --driver         a driver model: a NIC's receive queues over page_pool
  --memory-model   where the payload of a queue lies, and how its user gets at it
  --version, --help
`;

/** Answers the exit code. */
function main(args: readonly string[], cwd: string): number {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], allowPositionals: true, options: { driver: { type: "boolean" }, "memory-model": { type: "boolean" }, help: { type: "boolean", short: "h" }, version: { type: "boolean", short: "V" } } });
  } catch (error) {
    // What Node adds is of positional arguments that begin with a dash.
    return refuse((error as Error).message.split(/\n|\. /)[0]!);
  }
  const { values, positionals } = parsed;
  if (values.help === true || values.version === true) {
    process.stdout.write(values.help === true ? USAGE : `${version()}\n`);
    return 0;
  }
  const kinds = (["driver", "memory-model"] satisfies Template[]).filter((kind) => values[kind] === true);
  if (positionals.length !== 1) return refuse(positionals.length === 0 ? "give the folder to make" : `one folder, and not ${positionals.length}`);
  if (kinds.length !== 1) return refuse(kinds.length === 0 ? "say what: --driver or --memory-model" : "--driver or --memory-model, not both");
  try {
    const folder = relative(cwd, createPlugin(positionals[0]!, kinds[0]!, cwd)) || ".";
    const option = kinds[0] === "driver" ? "--driver" : "--driver header-split --sockets 4 --model";
    process.stdout.write(`${folder}: made. It is complete and passes its suite; begin at the place in src/ that is marked BEGIN HERE.

  cd ${folder}
  npm install
  npm test                                       # builds it, and runs the conformance suite
  npx netmem replay traffic.pcap ${option} .
  npx netmem conformance .
`);
    return 0;
  } catch (error) {
    if (error instanceof CreateError) return refuse(error.message);
    const { code, path, message } = error as NodeJS.ErrnoException;
    return refuse(code === undefined ? message : `${path ?? positionals[0]!}: cannot be written (${code})`);
  }
}

function refuse(line: string): number {
  process.stderr.write(`create-netmem: ${line} (see --help)\n`);
  return 2;
}

process.exitCode = main(process.argv.slice(2), process.cwd());
