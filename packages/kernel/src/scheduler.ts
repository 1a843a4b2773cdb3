import {
  CONTEXT_HARDIRQ, CONTEXT_PROCESS, CONTEXT_SOFTIRQ, NR_SOFTIRQS, TASK_AGAIN, UsageError,
  type Actor, type DelayedWork, type ExecutionContext, type Interrupts, type IrqLine, type Random, type Runnable, type Scheduler, type Softirqs, type Task,
} from "./api/index.ts";
import type { SimulatedClock } from "./clock.ts";
import { NO_CPU, type TimerBases, type WorkQueues } from "./timers.ts";

class Line implements IrqLine {
  readonly name: string;
  readonly cpu: number;
  readonly handler: () => void;
  pending = false;
  freed = false;
  /** Raised after it and waiting too. */
  next: Line | null = null;

  constructor(name: string, cpu: number, handler: () => void) {
    this.name = name;
    this.cpu = cpu;
    this.handler = handler;
  }
}

/** A task or an actor, and whether it wants to run. */
class Thread implements Runnable {
  readonly name: string;
  /** −1 for hardware. */
  readonly cpu: number;
  readonly run: () => number;
  ready = true;
  removed = false;

  constructor(name: string, cpu: number, run: () => number) {
    this.name = name;
    this.cpu = cpu;
    this.run = run;
  }
}

/** Raised and not yet handled, oldest first. Chained: to the engine an array that was just made is one of integers, and the first line in it a surprise. */
class RaisedLines {
  first: Line | null = null;
  last: Line | null = null;

  add(line: Line): void {
    line.next = null;
    if (this.last === null) this.first = line;
    else this.last.next = line;
    this.last = line;
  }

  take(): Line {
    const line = this.first!;
    this.first = line.next;
    if (this.first === null) this.last = null;
    line.next = null;
    return line;
  }

  remove(line: Line): void {
    for (let before: Line | null = null, at = this.first; at !== null; before = at, at = at.next) {
      if (at !== line) continue;
      if (before === null) this.first = line.next;
      else before.next = line.next;
      if (this.last === line) this.last = before;
      line.next = null;
      return;
    }
  }
}

class Cpu {
  readonly hardirqs: RaisedLines = new RaisedLines();
  readonly works: DelayedWork[] = [];
  readonly tasks: Thread[] = [];
  softirqPending = 0;
  busyUntilNs = 0;
  nextTask = 0;

  hasWork(): boolean {
    if (this.hardirqs.first !== null || this.softirqPending !== 0 || this.works.length > 0) return true;
    for (let i = 0; i < this.tasks.length; i++) if (this.tasks[i]!.ready) return true;
    return false;
  }
}

export class StepScheduler implements Scheduler, Softirqs, Interrupts, WorkQueues {
  readonly #cpus: Cpu[] = [];
  readonly #cpuNodes: readonly number[];
  readonly #actors: Thread[] = [];
  readonly #softirqHandlers: ((() => void) | null)[] = [];
  readonly #context: ExecutionContext;
  readonly #clock: SimulatedClock;
  readonly #timers: TimerBases;
  readonly #random: Random;
  /** CPUs by index, then actors as nrCpus + index: what may take the next step. Refilled each step. */
  #candidates: Int32Array = new Int32Array(16);
  #chargedNs = 0;
  /** How deep `localBhDisable` is nested, and whether it was the outermost that made this softirq context. */
  #bhDepth = 0;
  #bhRaised = false;

  constructor(cpuNodes: readonly number[], context: ExecutionContext, clock: SimulatedClock, timers: TimerBases, random: Random) {
    for (let i = 0; i < cpuNodes.length; i++) this.#cpus.push(new Cpu());
    this.#cpuNodes = cpuNodes;
    for (let i = 0; i < NR_SOFTIRQS; i++) this.#softirqHandlers.push(null);
    this.#context = context;
    this.#clock = clock;
    this.#timers = timers;
    this.#random = random;
  }

  spawn(task: Task): Runnable {
    const thread = new Thread(task.name, task.cpu, () => task.run());
    this.#cpu(task.cpu, `task ${task.name}`).tasks.push(thread);
    return thread;
  }

  addActor(actor: Actor): Runnable {
    const thread = new Thread(actor.name, -1, () => actor.run());
    this.#actors.push(thread);
    return thread;
  }

  wake(runnable: Runnable): void {
    const thread = runnable as Thread;
    if (!thread.removed) thread.ready = true;
  }

  remove(runnable: Runnable): boolean {
    const thread = runnable as Thread;
    const list = thread.cpu < 0 ? this.#actors : this.#cpus[thread.cpu]!.tasks;
    const index = list.indexOf(thread);
    thread.ready = false;
    thread.removed = true;
    if (index < 0) return false;
    list.splice(index, 1);
    // Those behind it move up by one, and so does the turn.
    if (thread.cpu >= 0 && index < this.#cpus[thread.cpu]!.nextTask) this.#cpus[thread.cpu]!.nextTask--;
    return true;
  }

  enqueueWork(cpu: number, work: DelayedWork): void {
    work.queued = true;
    this.#cpus[cpu]!.works.push(work);
  }

  dequeueWork(cpu: number, work: DelayedWork): void {
    const { works } = this.#cpus[cpu]!;
    const index = works.indexOf(work);
    if (index >= 0) works.splice(index, 1);
    work.queued = false;
  }

  openSoftirq(nr: number, handler: () => void): void {
    if (!(nr in this.#softirqHandlers)) throw new UsageError("kernel", "softirq", nr, `give a number from 0 to ${NR_SOFTIRQS - 1}`);
    this.#softirqHandlers[nr] = handler;
  }

  raiseSoftirq(cpu: number, nr: number): void {
    this.#cpu(cpu, "softirq").softirqPending |= 1 << nr;
  }

  localBhDisable(): void {
    this.#bhDepth++;
    if (this.#context.level !== CONTEXT_PROCESS) return;
    this.#context.level = CONTEXT_SOFTIRQ;
    this.#bhRaised = true;
  }

  localBhEnable(): void {
    if (this.#bhDepth === 0) throw new UsageError("kernel", "localBhEnable", this.#bhDepth, "bottom halves are enabled: disable them first");
    this.#bhDepth--;
    if (this.#bhDepth > 0 || this.#bhRaised === false) return;
    this.#context.level = CONTEXT_PROCESS;
    this.#bhRaised = false;
  }

  sleepForSoftirq(cpu: number, work: () => void): void {
    this.#cpu(cpu, "softirq");
    const { cpu: own, level, node, taskFlags } = this.#context;
    if (level !== CONTEXT_PROCESS) throw new UsageError("kernel", "sleepForSoftirq", level, "only a process sleeps: call it from one");
    this.#in(cpu, CONTEXT_SOFTIRQ, work);
    // Others have run meanwhile: it is another stretch of its own code.
    this.#context.cpu = own;
    this.#context.node = node;
    this.#context.taskFlags = taskFlags;
    this.#context.epoch = (this.#context.epoch + 1) & 0x3fffffff;
  }

  requestIrq(name: string, cpu: number, handler: () => void): IrqLine {
    this.#cpu(cpu, `irq ${name}`);
    return new Line(name, cpu, handler);
  }

  freeIrq(irq: IrqLine): void {
    const line = irq as Line;
    line.pending = false;
    line.freed = true;
    this.#cpus[line.cpu]!.hardirqs.remove(line);
  }

  withIrqsOff(work: () => void): void {
    const { level } = this.#context;
    this.#context.level = CONTEXT_HARDIRQ;
    work();
    this.#context.level = level;
  }

  raise(irq: IrqLine): void {
    const line = irq as Line;
    if (line.pending === true || line.freed === true) return;
    line.pending = true;
    this.#cpus[line.cpu]!.hardirqs.add(line);
  }

  charge(costNs: number): void {
    this.#chargedNs += costNs;
  }

  runUntil(done: () => boolean): boolean {
    while (!done()) if (!this.step()) return done();
    return true;
  }

  runFor(durationNs: number): void {
    if (!Number.isInteger(durationNs) || durationNs < 0) throw new UsageError("kernel", "runFor durationNs", durationNs, "give a whole number of nanoseconds, 0 or more");
    const end = this.#clock.nowNs + durationNs;
    while (this.nextMomentNs() <= end && this.step());
    if (this.#clock.nowNs < end) this.#clock.moveTo(end);
  }

  step(): boolean {
    const moment = this.nextMomentNs();
    if (moment === Infinity) return false;
    if (moment > this.#clock.nowNs) this.#clock.moveTo(moment);
    this.#expireDeviceTimers();
    const found = this.#collect();
    if (found === 0) return true;
    const pick = this.#candidates[found === 1 ? 0 : this.#random.below(found)]!;
    if (pick < this.#cpus.length) this.#runCpu(pick);
    else {
      const actor = this.#actors[pick - this.#cpus.length]!;
      actor.ready = false;
      if (actor.run() === TASK_AGAIN && !actor.removed) actor.ready = true;
    }
    return true;
  }

  nextMomentNs(): number {
    // Hardware that is ready waits for no CPU; while traffic runs some nearly always is.
    for (let i = 0; i < this.#actors.length; i++) if (this.#actors[i]!.ready) return this.#clock.nowNs;
    let moment = this.#timers.nextExpiryNs(NO_CPU);
    for (let i = 0; i < this.#cpus.length; i++) {
      const cpu = this.#cpus[i]!;
      const due = cpu.hasWork() ? 0 : this.#timers.nextExpiryNs(i);
      moment = Math.min(moment, Math.max(due, cpu.busyUntilNs));
    }
    return moment;
  }

  /** Fills `#candidates` with what is ready now; answers how many. */
  #collect(): number {
    const most = this.#cpus.length + this.#actors.length;
    if (most > this.#candidates.length) this.#candidates = new Int32Array(2 * most);
    const candidates = this.#candidates;
    const now = this.#clock.nowNs;
    let found = 0;
    for (let i = 0; i < this.#cpus.length; i++) {
      const cpu = this.#cpus[i]!;
      if (cpu.busyUntilNs <= now && (cpu.hasWork() || this.#timers.nextExpiryNs(i) <= now)) candidates[found++] = i;
    }
    for (let i = 0; i < this.#actors.length; i++) if (this.#actors[i]!.ready) candidates[found++] = this.#cpus.length + i;
    return found;
  }

  /** Device clocks first: what they announce is there for the CPUs of the same moment. */
  #expireDeviceTimers(): void {
    const armed = this.#timers.nextSequence();
    for (let timer = this.#timers.takeDue(NO_CPU, armed); timer !== null; timer = this.#timers.takeDue(NO_CPU, armed)) timer.callback();
  }

  /** All timers of a CPU that are due; one that a callback arms for this very moment waits for the next step. @kernel run_timer_softirq */
  #runTimers(cpu: number): boolean {
    const armed = this.#timers.nextSequence();
    let ran = false;
    for (let timer = this.#timers.takeDue(cpu, armed); timer !== null; timer = this.#timers.takeDue(cpu, armed)) {
      this.#in(cpu, CONTEXT_SOFTIRQ, timer.callback);
      ran = true;
    }
    return ran;
  }

  #runCpu(index: number): void {
    const cpu = this.#cpus[index]!;
    this.#chargedNs = 0;
    if (cpu.hardirqs.first !== null) {
      const line = cpu.hardirqs.take();
      line.pending = false;
      this.#in(index, CONTEXT_HARDIRQ, line.handler);
    } else if (this.#runTimers(index)) {
      // The timer softirq has a lower number than NET_TX and NET_RX, so it goes first.
    } else if (cpu.softirqPending !== 0) {
      const nr = 31 - Math.clz32(cpu.softirqPending & -cpu.softirqPending);
      cpu.softirqPending &= ~(1 << nr);
      const handler = this.#softirqHandlers[nr] ?? null;
      if (handler !== null) this.#in(index, CONTEXT_SOFTIRQ, handler);
    } else if (cpu.works.length > 0) {
      const delayed = cpu.works.shift()!;
      delayed.queued = false;
      this.#in(index, CONTEXT_PROCESS, delayed.work);
    } else {
      this.#runTask(index, cpu);
    }
    cpu.busyUntilNs = this.#clock.nowNs + this.#chargedNs;
  }

  /** Round robin among the ready tasks of a CPU. */
  #runTask(index: number, cpu: Cpu): void {
    for (let tried = 0; tried < cpu.tasks.length; tried++) {
      if (cpu.nextTask >= cpu.tasks.length) cpu.nextTask = 0;
      const thread = cpu.tasks[cpu.nextTask++]!;
      if (!thread.ready) continue;
      thread.ready = false;
      this.#enter(index, CONTEXT_PROCESS);
      const again = thread.run() === TASK_AGAIN;
      this.#leave();
      if (again && !thread.removed) thread.ready = true;
      return;
    }
  }

  #in(cpu: number, level: number, work: () => void): void {
    this.#enter(cpu, level);
    work();
    this.#leave();
  }

  #enter(cpu: number, level: number): void {
    this.#context.cpu = cpu;
    this.#context.node = this.#cpuNodes[cpu]!;
    this.#context.level = level;
    this.#context.taskFlags = 0;
    this.#context.epoch = (this.#context.epoch + 1) & 0x3fffffff;
  }

  #leave(): void {
    this.#bhDepth = 0;
    this.#bhRaised = false;
    this.#context.cpu = 0;
    this.#context.node = this.#cpuNodes[0]!;
    this.#context.level = CONTEXT_PROCESS;
    this.#context.taskFlags = 0;
  }

  #cpu(index: number, what: string): Cpu {
    const cpu = this.#cpus[index];
    if (cpu === undefined) throw new UsageError("kernel", `cpu of ${what}`, index, `this machine has CPUs 0 to ${this.#cpus.length - 1}`);
    return cpu;
  }
}
