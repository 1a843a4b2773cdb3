import type { NetDriver } from "@netmem/driver/api";
import { EOPNOTSUPP } from "@netmem/kernel/api";
import type { Wire } from "@netmem/machine";
import type { CaseOutcome } from "../campaign.ts";
import { CaseMemory } from "../case-memory.ts";
import { Findings } from "../findings.ts";
import { thrownBy, type Thrown } from "../outcome.ts";
import type { DriverCase, Failing, Reconfiguration, Step } from "./case.ts";
import { ruleOfReport } from "./reports.ts";
import { CaseSupplies } from "./supplies.ts";
import { DriverWorld } from "./world.ts";

/** Slices that a step may take before it counts as hung. */
const MOST_SLICES = 60_000;
const MOST_IDLE_SLICES = 2000;
/** Simulated time that a machine is given to settle, in ns: timers that try again are shorter. */
const SETTLE_NS = 20_000_000;
const DAMAGE_PERCENT = 30;
const LONGEST_TO_BELIE = 16_000;
/** The one whose pools have memory providers. */
const NEWEST_PRESET = "6.18";

/** Runs one case on a machine of its own, and says of each rule that it breaks where. Synchronous: what never returns hangs. */
export function runDriverCase(driver: NetDriver, driverCase: DriverCase): CaseOutcome {
  return judgeCase(driver, driverCase, true, new CaseSupplies());
}

/** `traces`: findings also say where a page that is missing in the end was last seen; slow. */
export function judgeCase(driver: NetDriver, driverCase: DriverCase, traces: boolean, supplies: CaseSupplies): CaseOutcome {
  const findings = new Findings(traces);
  const memory = new CaseMemory(supplies.memory);
  const runner = new CaseRunner(driver, driverCase, findings, supplies, memory);
  const thrown = thrownBy(() => runner.run());
  if (thrown !== null) runner.threw(thrown);
  memory.giveBack();
  return { found: findings.found, occasions: findings.occasions };
}

class CaseRunner {
  readonly #driver: NetDriver;
  readonly #case: DriverCase;
  readonly #findings: Findings;
  readonly #supplies: CaseSupplies;
  readonly #memory: CaseMemory;
  #world: DriverWorld | null = null;
  /** Something failed since frames last came up in full. */
  #disturbed = false;

  constructor(driver: NetDriver, driverCase: DriverCase, findings: Findings, supplies: CaseSupplies, memory: CaseMemory) {
    this.#supplies = supplies;
    this.#memory = memory;
    this.#driver = driver;
    this.#case = driverCase;
    this.#findings = findings;
  }

  run(): void {
    const bytes = this.#case.steps.reduce((sum, step) => sum + (step.do === "send" ? step.frames * (step.bytes + 32) : 0), 0);
    const world = new DriverWorld(this.#driver, this.#case, (bytes + 64) & ~7, this.#findings, this.#supplies.frames, this.#memory);
    this.#world = world;
    for (const [i, step] of this.#case.steps.entries()) {
      this.#do(world, step, i);
      this.#judge(world);
    }
    world.holding = false;
    world.release();
    this.#stop(world);
    world.end();
    this.#judge(world);
  }

  /** A throw of the plugin's, or a machine that a BUG has stopped. */
  threw({ reason, where, panic }: Thrown): void {
    const injected = this.#world?.watch.failing.injected ?? [];
    const at = this.#findings.here() || where;
    if (panic !== "") this.#findings.consequence(ruleOfReport(panic), reason, at);
    else if (injected.length > 0) this.#findings.consequence("R7", `threw ${reason} after ${injected.at(-1)!} had failed: look at what it answers`, where || at);
    else this.#findings.consequence("traffic", `threw ${reason}`, where || at);
  }

  #do(world: DriverWorld, step: Step, index: number): void {
    switch (step.do) {
      case "open":
        this.#armed(world, step.failing, () => this.#open(world));
        return;
      case "stop":
        this.#stop(world);
        return;
      case "send":
        this.#send(world, step, index);
        return;
      case "hold":
        world.holding = true;
        return;
      case "release":
        world.holding = false;
        world.release();
        return;
      default: this.#reconfigure(world, step);
    }
  }

  #reconfigure(world: DriverWorld, step: Reconfiguration): void {
    const { netif } = world.device;
    const failing = "failing" in step ? step.failing : undefined;
    switch (step.do) {
      case "restart":
        this.#stop(world);
        this.#armed(world, failing, () => this.#open(world));
        return;
      case "resize":
        this.#armed(world, failing, () => this.#answers(world, "set_ringparam", netif.setRingparam!(step.ring)));
        return;
      case "program":
        this.#armed(world, failing, () => {
          const { up } = world.dev;
          const errno = world.attach(step.kind, step.frags === true);
          if (errno === 0 && up && !world.dev.up) this.#findings.consequence("traffic", `the program is attached, and ${world.dev.name} is down`, "");
        });
        return;
      case "netpoll":
        if (world.dev.up) this.#netpoll(world);
        return;
      case "no program":
        world.attach(null);
        return;
      case "restart queue":
        if (world.dev.up) this.#armed(world, failing, () => this.#answers(world, "netdev_rx_queue_restart", world.machine.pagePools.providers.restartRxq(world.dev, world.dev.rxQueues.length - 1)));
        return;
      case "bind memory":
        // What device memory is bounced through there is not.
        if (world.dev.up && !world.hasProgram && this.#case.dma !== "bounce" && this.#case.preset === NEWEST_PRESET) this.#answers(world, "binding a memory provider", world.bind());
        return;
      case "unbind memory":
        world.unbind();
    }
  }

  /** As things are; and after a packet of the stack's is sent, before its interrupt. */
  #netpoll(world: DriverWorld): void {
    const { netpoll } = world.machine.net;
    this.#answers(world, "netpoll_poll_dev", netpoll.netpollPollDev(world.dev));
    // Behind a program's frame it may stay.
    if (world.hasProgram || !world.dev.up || !world.transmit()) return;
    netpoll.netpollPollDev(world.dev);
    if (world.watch.txRing!.inRing().skbs.length > 0) this.#findings.consequence("R14", "a poll with a budget of 0 takes back no packet of the stack's that was sent", "");
  }

  /** With some of the calls in it failing. */
  #armed(world: DriverWorld, failing: Failing | undefined, run: () => void): void {
    const { failing: calls } = world.watch;
    if (failing !== undefined) calls.arm(failing);
    run();
    if (failing === undefined) return;
    if (calls.injected.length > 0) this.#disturbed = true;
    calls.disarm();
    calls.injected.length = 0;
  }

  #open(world: DriverWorld): void {
    const { netif } = world.device;
    if (netif.dev.up) return;
    const errno = netif.open();
    this.#answers(world, "open", errno);
    if (errno < 0) {
      if (netif.dev.up) this.#findings.consequence("traffic", `open answers ${errno}, and the device says that it is up`, "");
      this.#nothingLeft(world, "open has failed");
    } else if (!netif.dev.up) this.#findings.consequence("traffic", "open answers 0, and the device does not say that it is up", "");
  }

  /** A negative errno needs a reason; 0 needs that what was made works. */
  #answers(world: DriverWorld, what: string, errno: number): void {
    const { injected } = world.watch.failing;
    const { bounceFull } = world.device.dma.stats;
    // Memory that is not there is nobody's fault; nor is a kernel that is older than what the driver is for.
    const explained = injected.length > 0 || bounceFull > 0 || world.machine.mm.pages.stats.failures > world.failuresAtStart || (errno === -EOPNOTSUPP && this.#case.preset !== NEWEST_PRESET);
    if (errno !== 0 && !explained) this.#findings.consequence("traffic", `${what} answers ${errno}, and nothing has failed`, "");
    const ignored = errno === 0 ? injected.find((name) => name.startsWith("page_pool_create") || name.startsWith("xdp_rxq_info_reg")) : undefined;
    if (ignored !== undefined && what === "open") this.#findings.consequence("R7", `${what} answers 0, and ${ignored} has failed`, "");
  }

  #stop(world: DriverWorld): void {
    const { netif } = world.device;
    if (!netif.dev.up) return;
    netif.stop();
    if (netif.dev.up) this.#findings.consequence("traffic", "stopped, and the device says that it is up", "");
    this.#nothingLeft(world, "it was stopped");
  }

  /** Pools, registrations, rings and running hardware of an interface that is down. */
  #nothingLeft({ watch }: DriverWorld, since: string): void {
    const findings = this.#findings;
    const running = watch.posted!.queues.findIndex((queue) => queue.running);
    findings.occasion("R8");
    if (running >= 0) findings.consequence("R8", `receive queue ${running} still runs after ${since}`, "");
    findings.occasion("R7");
    const pool = watch.pools.find(({ destroyed }) => !destroyed);
    const [registration] = watch.registered.values();
    if (registration !== undefined) findings.consequence("R7", `${watch.registered.size} registration${watch.registered.size === 1 ? " is" : "s are"} left after ${since}`, registration.where);
    else if (pool !== undefined) findings.consequence("R7", `page_pool ${pool.real.id} is left after ${since}: nobody has destroyed it`, pool.where);
    const [ring] = watch.coherent.keys();
    if (ring !== undefined) findings.consequence("R7", `${watch.coherent.size} ring${watch.coherent.size === 1 ? " is" : "s are"} not freed after ${since}`, watch.ringWhere.get(ring) ?? "");
    for (const [timer, where] of watch.timers) if (timer.pending) findings.consequence("traffic", `a timer is still armed after ${since}`, where);
    if (watch.enabled.size > 0) findings.consequence("traffic", `${watch.enabled.size} NAPI instance${watch.enabled.size === 1 ? " is" : "s are"} still enabled after ${since}`, "");
  }

  #send(world: DriverWorld, step: Extract<Step, { do: "send" }>, index: number): void {
    if (!world.dev.up) return;
    const bytes = Math.min(step.bytes, world.dev.mtu + 14);
    const wire = world.wire(world.frames(step.frames, bytes, index));
    const faults = world.machine.mm.faults;
    // A length that wraps around its 16 bits is one that a driver cannot tell from the truth.
    const damage = step.damage === "nicFrameLength" && bytes > LONGEST_TO_BELIE ? undefined : step.damage;
    const point = damage === undefined ? null : faults.failFunction(damage);
    point?.arm({ probability: DAMAGE_PERCENT, seed: index + 1 });
    if (step.damage === "nicDuplicate") world.mayRepeat = true;
    let disturbed = this.#disturbed || (step.midway !== undefined && step.midway.do !== "netpoll") || world.hasProgram || this.#case.earlyDrop === true;
    this.#armed(world, step.failing, () => this.#slices(world, wire, step));
    if (point !== null) {
      disturbed ||= point.injected() > 0;
      point.disarm();
    }
    // What failed is over: now all must come.
    this.#slices(world, wire, { do: "send", frames: step.frames, bytes: step.bytes });
    disturbed ||= this.#disturbed;
    world.machine.kernel.scheduler.runFor(SETTLE_NS);
    this.#findings.occasion("traffic");
    const lostInterrupt = step.damage === "nicInterrupt";
    if (!wire.finished() && world.dev.up && !lostInterrupt) this.#findings.consequence("traffic", `hung: the device takes no more after ${wire.sent()} of ${step.frames} frames, and nothing fails any more`, "");
    const came = world.came[index] ?? 0;
    if (!disturbed && came !== step.frames) this.#findings.consequence("traffic", `${came} of ${step.frames} frames came up`, "");
    // From here on a step without failures is one that must be whole.
    this.#disturbed = !wire.finished();
  }

  #slices(world: DriverWorld, wire: Wire, { frames, midway }: Extract<Step, { do: "send" }>): void {
    const { scheduler } = world.machine.kernel;
    let pending = midway;
    let sent = wire.sent();
    let idle = 0;
    for (let slices = 0; world.dev.up && !wire.finished() && slices < MOST_SLICES && idle < MOST_IDLE_SLICES; slices++) {
      if (!scheduler.step()) break;
      // Nothing moves any more while calls fail.
      idle = wire.sent() === sent ? idle + 1 : 0;
      sent = wire.sent();
      if (pending === undefined || sent * 2 < frames) continue;
      const now = pending;
      // It changes nothing, so that it may come at any time.
      if (now.do !== "netpoll") pending = undefined;
      this.#reconfigure(world, now);
    }
    scheduler.runFor(0);
  }

  #judge(world: DriverWorld): void {
    world.watch.reported();
    if (world.wrongFrame === null) return;
    const { dma } = this.#case;
    // The device's bytes are right in memory that needs no syncs: what is missing then is a sync for the device.
    this.#findings.consequence(dma === "coherent" || dma === "bounce" ? "traffic" : this.#isRightWhereCoherent() ? "R5" : "traffic", world.wrongFrame, world.wrongWhere);
  }

  #isRightWhereCoherent(): boolean {
    return !judgeCase(this.#driver, { ...this.#case, dma: "coherent" }, false, this.#supplies).found.some(({ rule }) => rule === "traffic");
  }
}
