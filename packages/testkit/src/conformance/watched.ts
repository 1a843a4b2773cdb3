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

/** The same object with some members watched, for the plugin in its place: it behaves as before. */
export function watched<T extends object>(target: T, findings: Findings, watches: Watches<T>, reported: () => void): T {
  const members = new Map<PropertyKey, unknown>();
  return new Proxy(target, {
    get: (_target, name): unknown => {
      const known = members.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const watch = (watches as Readonly<Record<PropertyKey, Watch<unknown[], unknown>>>)[name];
      const member = wrap(target, value, watch ?? {}, findings, reported);
      members.set(name, member);
      return member;
    },
  });
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
