import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CannotRecord, Peer, run, tryRun } from "./commands.ts";
import { xdpVerdictObject } from "./xdp-object.ts";

const TRACEFS: readonly string[] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/** By the verdicts of include/uapi/linux/bpf.h. */
const XDP_DROP = 1;
const XDP_PASS = 2;
const ADDRESS = { a: "10.77.0.1", b: "10.77.0.2" } as const;
const PORT = 7700;
const SECOND_PORT = 7702;
const BUFFER_KB = "8192";
/** Longest wait for the last pages of a pool of ours. */
const SETTLE_SECONDS = 8;

/** One capture: what is done between the program's coming and going. */
interface Script {
  readonly name: string;
  readonly verdict: number;
  readonly run: (recording: Recording) => Promise<void>;
}

const SCRIPTS: readonly Script[] = [
  {
    name: "b-udp-late", verdict: XDP_PASS,
    run: async (recording) => {
      const receiver = await recording.receiver(PORT);
      recording.note("send", await recording.send(PORT, 120, 1000));
      await recording.step(receiver, "read 70", 2);
      await recording.step(receiver, "read 50", 3);
      await recording.step(receiver, "close", 4);
      recording.note("receiver", receiver.said);
      recording.xdpOff();
    },
  },
  {
    name: "d-xdp-drop", verdict: XDP_DROP,
    run: async (recording) => {
      recording.note("send", await recording.send(PORT, 400, 700));
      recording.xdpOff();
    },
  },
  {
    name: "g-leak-socket-holds", verdict: XDP_PASS,
    run: async (recording) => {
      const [first, second] = [await recording.receiver(PORT), await recording.receiver(SECOND_PORT)];
      recording.note("send", await recording.send(PORT, 30, 900));
      recording.note("send2", await recording.send(SECOND_PORT, 14, 1700));
      await pause(0.3);
      recording.note("link_deleted", monotonic());
      recording.deleteLink();
      await pause(1.5);
      await recording.step(first, "read 8", 2);
      await pause(1.5);
      await recording.step(second, "close", 2);
      await pause(1.5);
      await recording.step(first, "close", 3);
      await pause(1.5);
      recording.note(`receiver${PORT}`, first.said);
      recording.note(`receiver${SECOND_PORT}`, second.said);
    },
  },
];

/**
 * Records captures on this machine into `folder`, as the scripts of the captures that were shipped did: on a veth pair, in two network namespaces and a trace instance of its own, all of which are gone
 * afterwards. Throws `CannotRecord` if the machine does not allow it. `progress` is told of each.
 */
export async function recordHere(folder: string, progress: (text: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new CannotRecord("it takes root");
  const tracefs = TRACEFS.find((path) => existsSync(join(path, "events/page_pool")));
  if (tracefs === undefined) throw new CannotRecord("there is no tracefs with events of page_pool (mount -t tracefs nodev /sys/kernel/tracing)");
  mkdirSync(folder, { recursive: true });
  for (const script of SCRIPTS) {
    progress(`recording ${script.name}`);
    const recording = new Recording(tracefs, folder, script);
    try {
      await recording.record();
    } finally {
      recording.clearUp();
    }
  }
}

class Recording {
  readonly #folder: string;
  readonly #script: Script;
  readonly #instance: string;
  readonly #namespaces: { readonly a: string; readonly b: string };
  readonly #work: string;
  readonly #peers: Peer[] = [];
  readonly #truth: Record<string, unknown>;

  constructor(tracefs: string, folder: string, script: Script) {
    const name = `netmem-${process.pid}`;
    this.#folder = folder;
    this.#script = script;
    this.#instance = join(tracefs, "instances", name);
    this.#namespaces = { a: `${name}-a`, b: `${name}-b` };
    this.#work = mkdtempSync(join(tmpdir(), "netmem-xdp-"));
    this.#truth = { scenario: script.name, kernel: release(), cpus: availableParallelism(), clock: "mono" };
  }

  async record(): Promise<void> {
    const { a, b } = this.#namespaces;
    run("ip", "netns", "add", a);
    run("ip", "netns", "add", b);
    run("ip", "link", "add", "kca0", "netns", a, "type", "veth", "peer", "name", "kcb0", "netns", b);
    for (const [namespace, device, address] of [[a, "kca0", ADDRESS.a], [b, "kcb0", ADDRESS.b]] as const) {
      run("ip", "-n", namespace, "link", "set", "lo", "up");
      tryRun("ip", "netns", "exec", namespace, "sh", "-c", `echo 1 > /proc/sys/net/ipv6/conf/${device}/disable_ipv6`);
      run("ip", "-n", namespace, "addr", "add", `${address}/24`, "dev", device);
      run("ip", "-n", namespace, "link", "set", device, "up");
    }
    this.#neighbour(a, "kca0", ADDRESS.b, this.#mac(b, "kcb0"));
    this.#neighbour(b, "kcb0", ADDRESS.a, this.#mac(a, "kca0"));
    this.#traceOn();
    const object = join(this.#work, "xdp.o");
    writeFileSync(object, xdpVerdictObject(this.#script.verdict));
    run("ip", "-n", b, "link", "set", "dev", "kcb0", "xdpdrv", "obj", object, "sec", "xdp");
    await this.#script.run(this);
    await this.#settle();
    this.#traceOff();
  }

  note(name: string, value: unknown): void {
    this.#truth[name] = value;
  }

  async receiver(port: number): Promise<Peer> {
    const peer = this.#peer(this.#namespaces.b, "receive", String(port));
    await peer.until(1);
    return peer;
  }

  /** What it says of itself. */
  async send(port: number, count: number, bytes: number): Promise<unknown> {
    const peer = this.#peer(this.#namespaces.a, "send", ADDRESS.b, String(port), String(count), String(bytes));
    await peer.until(1);
    await pause(0.2);
    return peer.said[0];
  }

  async step(peer: Peer, line: string, said: number): Promise<void> {
    peer.tell(line);
    await peer.until(said);
    await pause(0.3);
  }

  xdpOff(): void {
    run("ip", "-n", this.#namespaces.b, "link", "set", "dev", "kcb0", "xdpdrv", "off");
  }

  deleteLink(): void {
    run("ip", "-n", this.#namespaces.a, "link", "del", "kca0");
  }

  clearUp(): void {
    for (const peer of this.#peers) peer.kill();
    for (const namespace of Object.values(this.#namespaces)) tryRun("ip", "netns", "del", namespace);
    if (existsSync(this.#instance)) {
      this.#set("tracing_on", "0");
      this.#set("events/enable", "0");
      rmdirSync(this.#instance);
    }
    rmSync(this.#work, { recursive: true, force: true });
  }

  #peer(namespace: string, ...args: readonly string[]): Peer {
    // On one CPU, so that nothing that was read waits for another.
    const peer = new Peer("ip", ["netns", "exec", namespace, "taskset", "-c", "0", process.execPath, fileURLToPath(new URL("./peer.js", import.meta.url)), ...args]);
    this.#peers.push(peer);
    return peer;
  }

  #mac(namespace: string, device: string): string {
    const match = /link\/ether (\S+)/.exec(run("ip", "-n", namespace, "link", "show", device));
    if (match === null) throw new CannotRecord(`${device} has no MAC address`);
    return match[1]!;
  }

  /** So that nobody asks for it meanwhile. */
  #neighbour(namespace: string, device: string, address: string, mac: string): void {
    run("ip", "-n", namespace, "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent");
  }

  #traceOn(): void {
    try {
      mkdirSync(this.#instance);
      this.#set("tracing_on", "0");
      this.#set("trace_clock", "mono");
      this.#set("buffer_size_kb", BUFFER_KB);
      this.#set("events/page_pool/enable", "1");
      this.#set("events/napi/napi_poll/filter", 'dev_name ~ "kc*"');
      this.#set("events/napi/napi_poll/enable", "1");
      this.#set("events/net/netif_receive_skb/filter", 'name ~ "kc*"');
      this.#set("events/net/netif_receive_skb/enable", "1");
      this.#truth["t0"] = monotonic();
      this.#set("tracing_on", "1");
    } catch (error) {
      throw new CannotRecord(`a trace instance cannot be set up (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
    }
  }

  #traceOff(): void {
    this.#set("tracing_on", "0");
    writeFileSync(join(this.#folder, `${this.#script.name}.trace`), readFileSync(join(this.#instance, "trace")));
    this.#truth["lost_events"] = this.#lost();
    writeFileSync(join(this.#folder, `${this.#script.name}.truth.json`), `${JSON.stringify(this.#truth)}\n`);
  }

  #lost(): number {
    const cpus = readdirSync(join(this.#instance, "per_cpu"));
    const stats = cpus.map((cpu) => readFileSync(join(this.#instance, "per_cpu", cpu, "stats"), "utf8"));
    return stats.flatMap((text) => [...text.matchAll(/^(?:overrun|dropped events): (\d+)/gm)]).reduce((sum, match) => sum + Number(match[1]), 0);
  }

  /** Until every pool that was destroyed here is freed, or has had its time. */
  async #settle(): Promise<void> {
    for (let waited = 0; waited < SETTLE_SECONDS; waited += 0.5) {
      await pause(0.5);
      const last = new Map<string, string>();
      for (const match of readFileSync(join(this.#instance, "trace"), "utf8").matchAll(/page_pool_release: page_pool=(\S+) inflight=(-?\d+)/g)) last.set(match[1]!, match[2]!);
      if (last.size > 0 && [...last.values()].every((inflight) => inflight === "0")) return;
    }
  }

  #set(file: string, value: string): void {
    writeFileSync(join(this.#instance, file), value);
  }
}

/** On the clock of the trace. */
function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, seconds * 1000));
}
