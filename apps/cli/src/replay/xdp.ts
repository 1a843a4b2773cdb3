import { EOPNOTSUPP, errnoName } from "@netmem/kernel/api";
import { PRESETS, type Device, type Machine, type PresetName } from "@netmem/machine";
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE } from "@netmem/net-core/api";
import { ETH_HLEN, XDP_ACTION_NAMES, XDP_REDIRECT, type XdpMd, type XdpProg } from "@netmem/xdp/api";
import { CliError } from "../terminal.ts";
import type { XdpEnvironment } from "../xdp-module.ts";
import { saidBy, type ProgramInstance } from "./program.ts";

/** Where a program runs: in the driver, before an skb is built, or on skbs. */
export type XdpMode = "driver" | "generic";
export const XDP_MODES: readonly XdpMode[] = ["driver", "generic"];

/** A run without a verdict of the kernel's. */
export interface ProgramFault {
  /** The attached one by its path, one of a map's entry by its name. */
  readonly program: string;
  /** The how-manieth that the program saw. */
  readonly packet: number;
  readonly reason: string;
}

/** What a program said, and what came of it. */
export interface XdpRun {
  readonly program: string;
  readonly mode: XdpMode;
  /** One for each packet it saw. `invalid`: a number that is no verdict. `none`: it threw, or answered no number. */
  readonly verdicts: {
    readonly aborted: number; readonly drop: number; readonly pass: number; readonly tx: number; readonly redirect: number; readonly invalid: number; readonly none: number;
  };
  /** Frames that left: back out of eth0, and out of eth1. */
  readonly sent: { readonly eth0: number; readonly eth1: number };
  /** Made for a broadcast: each is sent or dropped in its own right. */
  readonly copies: number;
  /** Redirected packets that got lost, and why. */
  readonly lost: { readonly redirect: readonly { readonly errno: string; readonly count: number }[]; readonly devmap: number; readonly cpumap: number };
  /** Pages that copies of skbs took from the system's own pools; only on skbs, from 6.9. */
  readonly systemPoolPages: number;
  /** The first of them, of all programs. */
  readonly faults: readonly ProgramFault[];
}

/** Said with the packet they are about. */
export const PROGRAM_REPORTS: readonly string[] = ["xdp-program-fault", "xdp-invalid-action"];
/** Details kept of a program that fails on every packet. */
const FAULTS_KEPT = 10;

export interface AttachOptions {
  readonly design: PresetName;
  /** All that this command runs: what it says when one of them cannot. */
  readonly designs: readonly PresetName[];
  readonly mode: XdpMode;
  /** Of the largest packet that will come. */
  readonly mtu: number;
}

/** One program on one machine, counted. */
export class AttachedProgram {
  readonly #machine: Machine;
  readonly #instance: ProgramInstance;
  readonly #options: AttachOptions;
  readonly #prog: XdpProg;
  readonly #eth0: Device;
  readonly #eth1: Device;
  readonly #acts: number[] = XDP_ACTION_NAMES.map(() => 0);
  /** Of the first packets that it threw on. */
  readonly #places = new Map<number, string | null>();

  /** Loads and attaches it, before the devices are up; throws what a user can do something about. */
  constructor(machine: Machine, instance: ProgramInstance, eth0: Device, eth1: Device, options: AttachOptions) {
    this.#machine = machine;
    this.#instance = instance;
    this.#options = options;
    this.#eth0 = eth0;
    this.#eth1 = eth1;
    const { path, frags } = instance;
    const { hasMultiBuffer } = machine.preset.xdp;
    const { design, mode, mtu } = options;
    const prog = machine.xdp.programs.bpfProgLoad(path, (ctx) => this.#run(ctx), frags && hasMultiBuffer);
    if (typeof prog === "number") throw new CliError(`--xdp ${path}: ${design} does not load it (${errnoName(prog)})`);
    this.#prog = prog;
    for (const { netif } of [eth0, eth1]) netif.dev.mtu = mtu;
    if (instance.setup !== null) this.#setUp(instance.setup!);
    const errno = machine.net.xdpAttachment.devXdpAttach(eth0.netif.dev, prog, mode === "generic" ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, null);
    if (errno === -EOPNOTSUPP && mode === "driver") throw new CliError(`--xdp ${path}: ${this.#whyNot()}`);
    if (errno < 0) throw new CliError(`--xdp ${path}: ${design}: not attached (${errnoName(errno)})`);
  }

  /** After the traffic. */
  result(): XdpRun {
    const [aborted, drop, pass, tx, redirect] = this.#acts as [number, number, number, number, number];
    const { runCnt, faults } = this.#prog;
    const { reports } = this.#machine.kernel.reports;
    const { stats } = this.#machine.xdp.redirect;
    return {
      program: this.#instance.path,
      mode: this.#options.mode,
      verdicts: { aborted, drop, pass, tx, redirect, invalid: runCnt - faults - (aborted + drop + pass + tx + redirect), none: faults },
      sent: { eth0: this.#eth0.nic.stats.sentFrames, eth1: this.#eth1.nic.stats.sentFrames },
      copies: stats.copies,
      lost: { redirect: [...stats.errors].map(([errno, count]) => ({ errno: errnoName(errno), count })), devmap: stats.devmapDrops, cpumap: stats.cpumapDrops },
      systemPoolPages: this.#machine.systemPools.reduce((sum, pool) => sum + (pool.holdCnt >>> 0), 0),
      faults: reports.filter(({ kind }) => PROGRAM_REPORTS.includes(kind)).slice(0, FAULTS_KEPT).map(({ object, message }) => this.#fault(object, message)),
    };
  }

  #run(ctx: XdpMd): number {
    let act: unknown;
    try {
      act = this.#instance.run(ctx);
    } catch (error) {
      if (this.#places.size < FAULTS_KEPT) this.#places.set(this.#prog.runCnt, this.#instance.placeOf(error));
      throw error;
    }
    if ((act as number) >= 0 && (act as number) <= XDP_REDIRECT && Number.isInteger(act)) this.#acts[act as number]!++;
    // Whatever becomes of it, the packet does not wait for it.
    else if (act instanceof Promise) act.catch(() => {});
    return act as number;
  }

  #fault(object: string, reason: string): ProgramFault {
    const { program, packet } = /^xdp prog (?<program>.*) packet (?<packet>\d+)$/s.exec(object)!.groups!;
    const place = program === this.#prog.name ? (this.#places.get(Number(packet)) ?? null) : null;
    return { program: program!, packet: Number(packet), reason: place === null ? reason : `${reason} (${place})` };
  }

  #setUp(setup: (environment: XdpEnvironment) => unknown): void {
    const { path, placeOf } = this.#instance;
    let answer: unknown;
    try {
      answer = setup(this.#environment());
    } catch (error) {
      throw new CliError(`--xdp ${path}: its setup threw ${saidBy(error, placeOf)}`);
    }
    if (!(answer instanceof Promise)) return;
    answer.catch(() => {});
    throw new CliError(`--xdp ${path}: its setup is asynchronous, and the packets do not wait: what takes time belongs before the exports`);
  }

  #environment(): XdpEnvironment {
    const { xdp, kernel } = this.#machine;
    const { maps } = xdp;
    return {
      ifindex: { eth0: this.#eth0.netif.dev.ifindex, eth1: this.#eth1.netif.dev.ifindex },
      cpus: kernel.nrCpus,
      maps: {
        createDevMap: (maxEntries) => made(`createDevMap(${maxEntries})`, maps.createDevMap(maxEntries)),
        createDevMapHash: (maxEntries) => made(`createDevMapHash(${maxEntries})`, maps.createDevMapHash(maxEntries)),
        createCpuMap: (maxEntries) => made(`createCpuMap(${maxEntries})`, maps.createCpuMap(maxEntries)),
      },
      bpfProgLoad: (name, run, frags = false) => made(`bpfProgLoad(${JSON.stringify(name)})`, xdp.programs.bpfProgLoad(name, run, frags)),
    };
  }

  /** Why the driver refuses this program, and what would do. */
  #whyNot(): string {
    const { design, designs, mtu } = this.#options;
    if (this.#eth0.netif.dev.xdpOps === null) return `${design}: this driver runs no programs; give --xdp-mode generic`;
    if (this.#instance.frags && this.#machine.preset.xdp.hasMultiBuffer) return `${design}: this driver runs no program where packets may have ${mtu + ETH_HLEN} bytes; give --xdp-mode generic`;
    const able = designs.filter((name) => PRESETS[name].xdp.hasMultiBuffer);
    const inDriver = [
      ...(this.#instance.frags ? [] : ["export const frags = true"]),
      ...(able.length === designs.length ? [] : [`give --design ${able.join(",")}`]),
    ].join(" and ");
    const why = this.#machine.preset.xdp.hasMultiBuffer ? "this program does not say that it takes such" : "no program of kernels before 5.18 takes such";
    return `${design}: packets of up to ${mtu + ETH_HLEN} bytes come in several buffers, and ${why}: ${able.length === 0 ? "" : `${inDriver}, or `}give --xdp-mode generic`;
  }
}

/** What a kernel answers with an errno, a module's setup is stopped by. */
function made<T extends object>(what: string, answer: T | number): T {
  if (typeof answer === "number") throw new Error(`${what}: ${errnoName(answer)}`);
  return answer;
}
