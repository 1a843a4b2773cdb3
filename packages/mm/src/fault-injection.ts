import { UsageError } from "@netmem/kernel/api";
import type { FaultAttr, FaultGate, FaultInjection, FaultPoint } from "./api/index.ts";

const FOREVER = -1;
/** Frames looked at for a call site. */
const STACK_FRAMES = 64;

/** V8's stack, of which the ES library of TypeScript does not know. */
interface StackError {
  stackTraceLimit: number;
  readonly captureStackTrace: (target: object, below: unknown) => void;
}

/** @kernel should_fail_ex (lib/fault-inject.c) */
export class Point implements FaultPoint, FaultGate {
  readonly name: string;
  armed = false;
  #attr: FaultAttr = {};
  #eligible = 0;
  #injected = 0;
  #left = FOREVER;
  #space = 0;
  #random = 1;

  constructor(name: string) {
    this.name = name;
  }

  arm(attr: FaultAttr): void {
    this.#check("probability", attr.probability, 0, 100);
    for (const option of ["interval", "nth"] as const) this.#check(option, attr[option], 1, 2 ** 31);
    for (const option of ["times", "space", "minOrder", "seed"] as const) this.#check(option, attr[option], 0, 2 ** 32 - 1);
    if (attr.site !== undefined && !/^[\w$#.]+$/.test(attr.site)) throw new UsageError("mm", `site of ${this.name}`, attr.site, "give the name of a function, as a stack trace prints it");
    this.armed = true;
    this.#attr = attr;
    this.#eligible = 0;
    this.#injected = 0;
    this.#left = attr.times ?? FOREVER;
    this.#space = attr.space ?? 0;
    this.#random = ((attr.seed ?? 1) ^ 0x9e3779b9) | 1;
  }

  disarm(): void {
    this.armed = false;
  }

  eligible(): number {
    return this.#eligible;
  }

  injected(): number {
    return this.#injected;
  }

  shouldFail(order: number, bytes: number): boolean {
    const { probability = 100, interval = 1, nth, minOrder = 0, site } = this.#attr;
    if (order < minOrder || this.#left === 0) return false;
    if (site !== undefined && !calledFrom(site, this)) return false;
    if (this.#space >= bytes && bytes > 0) {
      this.#space -= bytes;
      return false;
    }
    this.#eligible++;
    if (nth !== undefined && this.#eligible !== nth) return false;
    if (this.#eligible % interval !== 0) return false;
    if (probability < 100 && this.#below100() >= probability) return false;
    if (this.#left !== FOREVER) this.#left--;
    this.#injected++;
    return true;
  }

  /** xorshift32: a stream of its own, so that arming a point does not reorder the machine. */
  #below100(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) % 100;
  }

  #check(option: string, value: number | undefined, least: number, most: number): void {
    if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most)) {
      throw new UsageError("mm", `${option} of ${this.name}`, value, `give a whole number from ${least} to ${most}`);
    }
  }
}

/** Whether a function of this name is among the callers. @kernel fail_stacktrace (lib/fault-inject.c) */
function calledFrom(site: string, point: Point): boolean {
  const errors = Error as unknown as StackError;
  const before = errors.stackTraceLimit;
  errors.stackTraceLimit = STACK_FRAMES;
  const holder: { stack?: string } = {};
  errors.captureStackTrace(holder, point.shouldFail);
  errors.stackTraceLimit = before;
  const wanted = site.split(".").join("\\.").replaceAll("$", "\\$");
  return new RegExp(`^\\s*at (?:new )?(?:[\\w$#<>]+\\.)*${wanted} \\(`, "m").test(holder.stack ?? "");
}

export class Faults implements FaultInjection {
  readonly failPageAlloc: Point = new Point("fail_page_alloc");
  readonly failSlab: Point = new Point("failslab");
  readonly failDmaMap: Point = new Point("fail_dma_map");
  readonly #functions = new Map<string, Point>();

  failFunction(name: string): Point {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const point = new Point(name);
    this.#functions.set(name, point);
    return point;
  }
}
