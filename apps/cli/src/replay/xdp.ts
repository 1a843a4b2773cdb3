import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createJiti } from "jiti";
import { EOPNOTSUPP, errnoName } from "@netmem/kernel/api";
import type { Device, Machine, PresetName } from "@netmem/machine";
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE } from "@netmem/net-core/api";
import { XDP_ACTION_NAMES, type XdpMaps, type XdpProg, type XdpProgram } from "@netmem/xdp/api";
import { CliError } from "../terminal.ts";
import { readError } from "./load.ts";

/** Where a program runs: in the driver, before an skb is built, or on skbs. */
export type XdpMode = "driver" | "generic";
export const XDP_MODES: readonly XdpMode[] = ["driver", "generic"];

/** What a module's `setup` is given, anew for each run. */
export interface XdpEnvironment {
  /** ifindex of the device that receives, and of a second one that packets may be redirected to. */
  readonly ifindex: { readonly eth0: number; readonly eth1: number };
  readonly maps: XdpMaps;
  readonly cpus: number;
}

/** A user's module, once evaluated. */
export interface ProgramInstance {
  readonly run: XdpProgram;
  /** It says that it can take packets in several buffers. */
  readonly hasFrags: boolean;
  readonly setup: ((environment: XdpEnvironment) => void) | null;
}

/** A user's module. Each run gets an instance of its own, so that what a program remembers of packets is of this run's. */
export interface ProgramModule {
  /** As the user wrote it. */
  readonly path: string;
  readonly instantiate: () => Promise<ProgramInstance>;
}

export interface ProgramFault {
  /** The how-manieth that the program saw. */
  readonly packet: number;
  readonly reason: string;
}

/** What a program said, and what came of it. */
export interface XdpRun {
  readonly program: string;
  readonly mode: XdpMode;
  readonly verdicts: { readonly aborted: number; readonly drop: number; readonly pass: number; readonly tx: number; readonly redirect: number; readonly invalid: number };
  /** Frames that left: back out of eth0, and out of eth1. */
  readonly sent: { readonly eth0: number; readonly eth1: number };
  /** Runs without a verdict of the kernel's, and the first of them. */
  readonly faulty: number;
  readonly faults: readonly ProgramFault[];
}

/** Details kept of a program that fails on every packet. */
const FAULTS_KEPT = 10;

export function loadProgram(path: string, cwd: string): ProgramModule {
  const file = resolve(cwd, path);
  try {
    if (statSync(file).isDirectory()) throw new CliError(`--xdp ${path}: a folder; name the program's file in it`);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`--xdp ${path}: ${readError(error as NodeJS.ErrnoException)}`);
  }
  // The constants are ours, wherever the program lies.
  const alias = { "@netmem/xdp/api": createRequire(import.meta.url).resolve("@netmem/xdp/api") };
  return {
    path,
    instantiate: async () => {
      const jiti = createJiti(import.meta.url, { fsCache: false, moduleCache: false, tryNative: false, interopDefault: false, alias });
      let exported: Record<string, unknown>;
      try {
        exported = await jiti.import<Record<string, unknown>>(file);
      } catch (error) {
        throw new CliError(`--xdp ${path}: cannot be loaded: ${firstLine(error)}`);
      }
      return instanceOf(path, exported);
    },
  };
}

function instanceOf(path: string, exported: Record<string, unknown>): ProgramInstance {
  const { default: run, setup = null, frags = false } = exported;
  if (typeof run !== "function") throw new CliError(`--xdp ${path}: exports no program: give it a function of the packet as its default export`);
  if (setup !== null && typeof setup !== "function") throw new CliError(`--xdp ${path}: its export "setup" is no function`);
  if (typeof frags !== "boolean") throw new CliError(`--xdp ${path}: its export "frags" says whether it takes packets in several buffers: true or false`);
  return { run: run as XdpProgram, hasFrags: frags, setup: setup as ProgramInstance["setup"] };
}

/** One program on one machine, counted. */
export class AttachedProgram {
  readonly #machine: Machine;
  readonly #path: string;
  readonly #mode: XdpMode;
  readonly #prog: XdpProg;
  readonly #eth0: Device;
  readonly #eth1: Device;
  readonly #acts: number[] = XDP_ACTION_NAMES.map(() => 0);
  #invalid = 0;

  /** Loads and attaches it, before the device is up; throws what a user can do something about. `mtu`: of the largest packet that will come. */
  constructor(machine: Machine, design: PresetName, path: string, instance: ProgramInstance, mode: XdpMode, eth0: Device, eth1: Device, mtu: number) {
    this.#machine = machine;
    this.#path = path;
    this.#mode = mode;
    this.#eth0 = eth0;
    this.#eth1 = eth1;
    const { hasMultiBuffer } = machine.preset.xdp;
    const prog = machine.xdp.programs.bpfProgLoad(path, (ctx) => this.#count(instance.run(ctx)), instance.hasFrags && hasMultiBuffer);
    if (typeof prog === "number") throw new CliError(`--xdp ${path}: ${design} does not load it (${errnoName(prog)})`);
    this.#prog = prog;
    for (const { netif } of [eth0, eth1]) netif.dev.mtu = mtu;
    if (instance.setup !== null) this.#setUp(instance.setup);
    const errno = machine.net.xdpAttachment.devXdpAttach(eth0.netif.dev, prog, mode === "generic" ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, null);
    if (errno === -EOPNOTSUPP && mode === "driver") {
      throw new CliError(`--xdp ${path}: ${design}: packets of up to ${mtu + 14} bytes come in several buffers, and ${hasMultiBuffer
        ? "this program does not say that it takes such: export const frags = true, or give --xdp-mode generic"
        : "no program of kernels before 5.18 takes such: leave the design out, or give --xdp-mode generic"}`);
    }
    if (errno < 0) throw new CliError(`--xdp ${path}: ${design}: not attached (${errnoName(errno)})`);
  }

  /** After the traffic. */
  result(): XdpRun {
    const [aborted, drop, pass, tx, redirect] = this.#acts as [number, number, number, number, number];
    const told = this.#machine.kernel.reports.reports.filter(({ kind }) => kind === "xdp-program-fault" || kind === "xdp-invalid-action");
    return {
      program: this.#path,
      mode: this.#mode,
      verdicts: { aborted, drop, pass, tx, redirect, invalid: this.#invalid },
      sent: { eth0: this.#eth0.nic.stats.sentFrames, eth1: this.#eth1.nic.stats.sentFrames },
      faulty: this.#prog.faults + this.#invalid,
      faults: told.slice(0, FAULTS_KEPT).map(({ object, message }) => ({ packet: Number(/packet (\d+)$/.exec(object)![1]), reason: message })),
    };
  }

  #count(act: number): number {
    if (act >= 0 && act <= 4 && Number.isInteger(act)) this.#acts[act]!++;
    else if (Number.isInteger(act)) this.#invalid++;
    return act;
  }

  #setUp(setup: NonNullable<ProgramInstance["setup"]>): void {
    const environment: XdpEnvironment = {
      ifindex: { eth0: this.#eth0.netif.dev.ifindex, eth1: this.#eth1.netif.dev.ifindex }, maps: this.#machine.xdp.maps, cpus: this.#machine.kernel.nrCpus,
    };
    try {
      setup(environment);
    } catch (error) {
      throw new CliError(`--xdp ${this.#path}: its setup threw ${firstLine(error)}`);
    }
  }
}

function firstLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // What cannot be parsed is followed by where.
  const [what, where = ""] = error.message.split("\n").map((line) => line.trim());
  const place = /:(\d+):(\d+)$/.exec(where);
  return `${error.name === "Error" ? "" : `${error.name}: `}${what}${place === null ? "" : ` in line ${place[1]}, column ${place[2]}`}`;
}

