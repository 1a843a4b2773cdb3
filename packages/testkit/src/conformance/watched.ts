import type { Findings, Frame } from "./findings.ts";

/** What is told of a call of one member: what it is about to do, and what came of it. */
export interface Watch<A extends readonly never[] | readonly unknown[], R> {
  readonly before?: (...args: A) => void;
  /** Answers in the member's place, given the member itself. */
  readonly instead?: (call: (...args: A) => R, ...args: A) => R;
  readonly after?: (answer: R, ...args: A) => void;
}

/** Watches of some members of an interface. */
export type Watches<T> = { readonly [K in keyof T]?: T[K] extends (...args: infer A) => infer R ? Watch<A, R> : never };

/**
 * The same object with some members watched, for the plugin in its place: it behaves as before. It is an object with members of its own, and no Proxy: a plugin calls them
 * thousands of times a case.
 */
export function watched<T extends object>(target: T, findings: Findings, watches: Watches<T>, reported: () => void): T {
  const given = {};
  for (const name of membersOf(target)) Object.defineProperty(given, name, { enumerable: true, configurable: true, ...memberOf(target, name, findings, (watches as AnyWatches)[name] ?? {}, reported) });
  return given as T;
}

type AnyWatches = Readonly<Record<PropertyKey, Watch<unknown[], unknown>>>;
type AnyObject = Record<PropertyKey, unknown>;

/** Its own and its classes'. */
function membersOf(target: object): ReadonlySet<PropertyKey> {
  const names = new Set<PropertyKey>();
  for (let at: object | null = target; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at) as object | null) for (const name of Reflect.ownKeys(at)) names.add(name);
  names.delete("constructor");
  return names;
}

/** What can be called is found once; all else is asked of the target each time, which may change it. */
function memberOf(target: object, name: PropertyKey, findings: Findings, watch: Watch<unknown[], unknown>, reported: () => void): PropertyDescriptor {
  const value: unknown = Reflect.get(target, name);
  if (typeof value === "function") return { writable: true, value: wrap(target, value, watch, findings, reported) };
  return { get: () => (target as AnyObject)[name], set: (to: unknown) => void ((target as AnyObject)[name] = to) };
}

function wrap(target: object, value: Function, { before, instead, after }: Watch<unknown[], unknown>, findings: Findings, reported: () => void): Frame {
  const call = (...args: unknown[]): unknown => Reflect.apply(value, target, args);
  const member = (...args: unknown[]): unknown => {
    const outer = findings.frame;
    findings.frame = member;
    if (before !== undefined) before(...args);
    const answer: unknown = instead === undefined ? Reflect.apply(value, target, args) : instead(call, ...args);
    if (after !== undefined) after(answer, ...args);
    reported();
    findings.frame = outer;
    return answer;
  };
  return member;
}
