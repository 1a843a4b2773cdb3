import type { Machine } from "@netmem/machine";
import { writeTracefs } from "@netmem/trace";
import { OutputFile } from "../output-file.ts";
import type { RunWatcher } from "./run.ts";

/** Events that are kept: those of some tens of thousands of packets. Older ones are lost, as in the kernel, and the file says how many. */
const TRACE_ENTRIES: number = 1 << 19;

/** The model's trace of one run, for `--trace`. */
export class TracedRun {
  readonly #file: OutputFile;
  #text = "";

  /** `taken`: files that must not be written over. */
  constructor(path: string, cwd: string, taken: readonly string[]) {
    this.#file = new OutputFile("--trace", path, cwd, taken);
  }

  watcher(): Pick<RunWatcher, "traceEntries" | "ended"> {
    return { traceEntries: TRACE_ENTRIES, ended: (machine) => void (this.#text = textOf(machine)) };
  }

  write(): void {
    this.#file.write(this.#text);
    this.#file.commit();
  }

  discard(): void {
    this.#file.discard();
  }
}

function textOf(machine: Machine): string {
  const devices = machine.interfaces().map(({ dev }) => dev);
  return writeTracefs(machine.kernel.trace!, {
    device: (ifindex) => devices.find((dev) => dev.ifindex === ifindex)?.name ?? (ifindex === machine.net.loopback.ifindex ? "lo" : `if${ifindex}`),
    dropReason: (reason) => machine.net.dropReasons.reasonName(reason),
    nrCpus: machine.kernel.nrCpus,
  });
}
