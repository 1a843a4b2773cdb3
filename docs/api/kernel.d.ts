// api/context.d.ts
export declare const CONTEXT_PROCESS = 0;
export declare const CONTEXT_SOFTIRQ = 1;
export declare const CONTEXT_HARDIRQ = 2;
export declare class ExecutionContext {
    private readonly nominal;
    cpu: number;
    level: number;
    node: number;
    constructor();
}
export declare function inSoftirq(context: ExecutionContext): boolean;
export declare function inHardirq(context: ExecutionContext): boolean;

// api/errno.d.ts
export declare const ENOENT = 2;
export declare const EIO = 5;
export declare const E2BIG = 7;
export declare const EAGAIN = 11;
export declare const ENOMEM = 12;
export declare const EFAULT = 14;
export declare const EBUSY = 16;
export declare const EEXIST = 17;
export declare const ENODEV = 19;
export declare const EINVAL = 22;
export declare const ENOSPC = 28;
export declare const EOPNOTSUPP = 95;
export declare const ENOBUFS = 105;
export declare function errnoName(negativeErrno: number): string;

// api/errors.d.ts
export declare class UsageError extends Error {
    readonly package: string;
    readonly option: string;
    readonly value: unknown;
    constructor(speaker: string, option: string, value: unknown, whatToDo: string);
}
export declare class KernelPanic extends Error {
    readonly kind: string;
    constructor(kind: string, message: string);
}

// api/index.d.ts
export * from "./context.ts";
export * from "./errno.ts";
export * from "./errors.ts";
export * from "./kernel.ts";
export * from "./ptr-ring.ts";
export * from "./random.ts";
export * from "./report.ts";
export * from "./scheduler.ts";
export * from "./time.ts";
export * from "./trace.ts";

// api/kernel.d.ts
import type { ExecutionContext } from "./context.ts";
import type { PtrRings } from "./ptr-ring.ts";
import type { Random } from "./random.ts";
import type { ReportSink } from "./report.ts";
import type { Interrupts, Scheduler, Softirqs } from "./scheduler.ts";
import type { Clock, Timers, Workqueue } from "./time.ts";
import type { TraceRing } from "./trace.ts";
export interface Kernel {
    readonly nrCpus: number;
    readonly hz: number;
    readonly context: ExecutionContext;
    readonly clock: Clock;
    readonly timers: Timers;
    readonly workqueue: Workqueue;
    readonly scheduler: Scheduler;
    readonly softirqs: Softirqs;
    readonly irqs: Interrupts;
    readonly random: Random;
    readonly rings: PtrRings;
    readonly reports: ReportSink;
    readonly trace: TraceRing | null;
}
export declare const NSEC_PER_SEC = 1000000000;
export declare const NSEC_PER_MSEC = 1000000;

// api/ptr-ring.d.ts
export interface PtrRing<T> {
    readonly size: number;
    readonly produce: (item: T) => boolean;
    readonly consume: () => T | null;
    readonly isEmpty: () => boolean;
    readonly isFull: () => boolean;
    readonly count: () => number;
}
export interface PtrRings {
    readonly create: <T>(size: number) => PtrRing<T>;
}
export declare const PTR_RING_BATCH = 16;

// api/random.d.ts
export interface Random {
    readonly u32: () => number;
    readonly below: (bound: number) => number;
}

// api/report.d.ts
export type ReportMode = "off" | "collect" | "panic";
export type ReportSeverity = "warn" | "bug";
export interface Report {
    readonly kind: string;
    readonly severity: ReportSeverity;
    readonly object: string;
    readonly owner: string;
    readonly message: string;
    readonly timeNs: number;
    readonly cpu: number;
    readonly history: readonly string[];
}
export interface ReportHistory {
    readonly of: (object: string) => readonly string[];
}
export interface ReportSink {
    readonly mode: ReportMode;
    readonly total: number;
    readonly reports: readonly Report[];
    readonly counts: () => readonly {
        readonly kind: string;
        readonly count: number;
    }[];
    readonly report: (kind: string, severity: ReportSeverity, object: string, owner: string, message: string) => void;
}
export declare const REPORTS_KEPT = 1000;

// api/scheduler.d.ts
export declare const TASK_SLEEP = 0;
export declare const TASK_AGAIN = 1;
export interface Task {
    readonly name: string;
    readonly cpu: number;
    readonly run: () => number;
}
export interface Actor {
    readonly name: string;
    readonly run: () => number;
}
export interface Runnable {
    readonly name: string;
}
export declare const TIMER_SOFTIRQ = 1;
export declare const NET_TX_SOFTIRQ = 2;
export declare const NET_RX_SOFTIRQ = 3;
export declare const NR_SOFTIRQS = 10;
export interface Softirqs {
    readonly openSoftirq: (nr: number, handler: () => void) => void;
    readonly raiseSoftirq: (cpu: number, nr: number) => void;
}
export interface IrqLine {
    readonly name: string;
    readonly cpu: number;
}
export interface Interrupts {
    readonly requestIrq: (name: string, cpu: number, handler: () => void) => IrqLine;
    readonly freeIrq: (line: IrqLine) => void;
    readonly raise: (line: IrqLine) => void;
}
export interface Scheduler {
    readonly spawn: (task: Task) => Runnable;
    readonly addActor: (actor: Actor) => Runnable;
    readonly wake: (runnable: Runnable) => void;
    readonly remove: (runnable: Runnable) => boolean;
    readonly charge: (costNs: number) => void;
    readonly step: () => boolean;
    readonly runUntil: (done: () => boolean) => boolean;
    readonly runFor: (durationNs: number) => void;
}

// api/time.d.ts
export interface Clock {
    readonly nowNs: number;
    readonly jiffies: number;
}
export declare class Timer {
    private readonly nominal;
    readonly callback: () => void;
    readonly cpu: number;
    expiresNs: number;
    pending: boolean;
    sequence: number;
    constructor(callback: () => void, cpu: number);
}
export interface Timers {
    readonly timerSetup: (callback: () => void, cpu: number) => Timer;
    readonly modTimer: (timer: Timer, delayNs: number) => void;
    readonly timerDelete: (timer: Timer) => boolean;
}
export declare class DelayedWork {
    private readonly nominal;
    readonly work: () => void;
    readonly timer: Timer;
    queued: boolean;
    constructor(work: () => void, timer: Timer);
}
export interface Workqueue {
    readonly initDelayedWork: (work: () => void) => DelayedWork;
    readonly queueDelayedWork: (work: DelayedWork, delayNs: number) => void;
    readonly cancelDelayedWork: (work: DelayedWork) => boolean;
}

// api/trace.d.ts
export interface TraceEventKind {
    readonly id: number;
    readonly name: string;
    readonly fields: readonly string[];
}
export interface TraceRing {
    readonly define: (name: string, fields: readonly string[]) => TraceEventKind;
    readonly record: (kind: number, a: number, b: number, c: number, d: number, e: number) => void;
    readonly overwritten: () => number;
    readonly length: () => number;
    readonly lines: () => string[];
    readonly linesWhere: (field: string, value: number, most: number) => string[];
}

// index.d.ts
export { createKernel, type KernelOptions } from "./kernel.ts";
export { createPtrRings } from "./ptr-ring.ts";

// kernel.d.ts
import { type Kernel, type ReportMode } from "./api/index.ts";
export interface KernelOptions {
    readonly nrCpus: number;
    readonly seed: number;
    readonly reports: ReportMode;
    readonly hz?: number;
    readonly traceEntries?: number;
}
export declare function createKernel(options: KernelOptions): Kernel;

// ptr-ring.d.ts
import { type PtrRings } from "./api/index.ts";
export declare function createPtrRings(): PtrRings;
