import { KernelPanic } from "@netmem/kernel/api";
import { GFP_KERNEL } from "@netmem/mm/api";
import { skbCloned, skbHeadroom } from "@netmem/net-core/api";
import { CliError } from "../terminal.ts";
import { DONE, SHARED, born, coalesce, done, give, gro, lend, receive, segment, splice, split, unshare, withoutDeferral, zerocopy, type Outcome } from "./actions.ts";
import type { NamedSkb, Stage } from "./stage.ts";

/** One step of `--after`, as written: what, on which packets, with which numbers. */
export interface Operation {
  readonly text: string;
  readonly kind: OperationKind;
  /** Letters; none: the newest packet, or what its name says. */
  readonly targets: readonly string[];
  readonly numbers: readonly number[];
}

interface OperationKind {
  readonly name: string;
  /** The kernel's. */
  readonly kernel: string;
  readonly help: string;
  /** Numbers it must have and may have, all in bytes. */
  readonly least: number;
  readonly most: number;
  /** Two packets, the second of them the newest unless both are named. */
  readonly pair?: true;
  /** Whom it is for, if no letter says so. */
  readonly on?: "original" | "clone";
  /** It sees to its own context; all others run in the process that reads. */
  readonly ownContext?: true;
  /** It is for no packet. */
  readonly global?: true;
  readonly apply: (stage: Stage, on: NamedSkb, numbers: readonly number[], other: NamedSkb) => Outcome;
}

const LARGEST = 65_536;

/** Of what `--after` knows. */
export const OPERATIONS: readonly OperationKind[] = [
  { name: "clone", kernel: "skb_clone", help: "another skb over the same data", least: 0, most: 0, apply: (stage, a) => born(stage, `a clone of ${a.name}`, stage.machine.net.lifetime.skbClone(a.skb, GFP_KERNEL)) },
  { name: "get", kernel: "skb_get", help: "one more holder of the struct", least: 0, most: 0, apply: (stage, a) => {
    stage.machine.net.lifetime.skbGet(a.skb);
    a.holders++;
    return DONE;
  } },
  { name: "copy", kernel: "skb_copy", help: "a copy of all bytes", least: 0, most: 0, apply: (stage, a) => born(stage, `a copy of ${a.name}`, stage.machine.net.edit.skbCopy(a.skb, GFP_KERNEL)) },
  { name: "pskb-copy", kernel: "__pskb_copy", help: "a copy of the head over the same frags", least: 0, most: 1, apply: (stage, a, [headroom = skbHeadroom(a.skb)]) => born(stage, `a copy over the frags of ${a.name}`, stage.machine.net.edit.pskbCopy(a.skb, headroom, GFP_KERNEL)) },
  { name: "expand", kernel: "pskb_expand_head", help: "a private head with more room", least: 0, most: 2, apply: (stage, a, [head = 0, tail = 0]) => done(stage.machine.net.edit.pskbExpandHead(a.skb, head, tail, GFP_KERNEL)) },
  { name: "unclone", kernel: "skb_unclone", help: "a private head, if the data is shared", least: 0, most: 0, apply: (stage, a) => done(stage.machine.net.edit.skbUnclone(a.skb, GFP_KERNEL)) },
  { name: "unshare", kernel: "skb_unshare", help: "itself, or a copy of it if the data is shared", least: 0, most: 0, apply: unshare },
  { name: "cow", kernel: "skb_cow", help: "a private head with HEADROOM", least: 0, most: 1, apply: (stage, a, [headroom = 0]) => done(stage.machine.net.edit.skbCow(a.skb, headroom)) },
  { name: "cow-head", kernel: "skb_cow_head", help: "the same for who writes headers only", least: 0, most: 1, apply: (stage, a, [headroom = 0]) => done(stage.machine.net.edit.skbCowHead(a.skb, headroom)) },
  { name: "header-release", kernel: "__skb_header_release", help: "promises to touch payload only", least: 0, most: 0, apply: (stage, a) => {
    // It sets dataref to that of one packet alone, whoever else there is.
    if (skbCloned(a.skb)) return { notDone: SHARED };
    if (a.skb.nohdr) return { notDone: "it was done before, and would count twice" };
    stage.machine.net.edit.skbHeaderRelease(a.skb);
    return DONE;
  } },
  { name: "push", kernel: "skb_push", help: "BYTES more in front", least: 1, most: 1, apply: (stage, a, [bytes]) => {
    stage.machine.net.edit.skbPush(a.skb, bytes!);
    return DONE;
  } },
  { name: "put", kernel: "skb_put", help: "BYTES more behind", least: 1, most: 1, apply: (stage, a, [bytes]) => {
    stage.machine.net.edit.skbPut(a.skb, bytes!);
    return DONE;
  } },
  { name: "pull", kernel: "pskb_pull", help: "BYTES less in front", least: 1, most: 1, apply: (stage, a, [bytes]) => done(stage.machine.net.edit.pskbPull(a.skb, bytes!)) },
  { name: "trim", kernel: "pskb_trim", help: "ends after BYTES", least: 1, most: 1, apply: (stage, a, [bytes]) => done(stage.machine.net.edit.pskbTrim(a.skb, bytes!)) },
  { name: "linearize", kernel: "skb_linearize", help: "all bytes into the head", least: 0, most: 0, apply: (stage, a) => done(stage.machine.net.edit.skbLinearize(a.skb)) },
  { name: "condense", kernel: "skb_condense", help: "the same, if there is room", least: 0, most: 0, apply: (stage, a) => {
    stage.machine.net.edit.skbCondense(a.skb);
    return DONE;
  } },
  { name: "split", kernel: "skb_split", help: "what is behind BYTES goes to a new skb", least: 1, most: 1, apply: split },
  { name: "segment", kernel: "skb_segment", help: "into skbs of BYTES of payload each", least: 1, most: 1, apply: segment },
  { name: "gro", kernel: "skb_gro_receive", help: "A.B: B's bytes behind its first BYTES, which are headers, to A", least: 1, most: 1, pair: true, ownContext: true, apply: gro },
  { name: "coalesce", kernel: "skb_try_coalesce", help: "A.B: B's bytes to the end of A", least: 0, most: 0, pair: true, apply: coalesce },
  { name: "shift", kernel: "skb_shift", help: "A.B: B's first BYTES to the end of A", least: 1, most: 1, pair: true, apply: (stage, a, [bytes], b) => (stage.machine.net.merge.skbShift(a.skb, b.skb, bytes!) > 0 ? DONE : { refused: "answers 0, nothing has moved" }) },
  { name: "zerocopy", kernel: "skb_zerocopy", help: "another skb over the same pages, as for a netlink queue", least: 0, most: 0, apply: zerocopy },
  { name: "splice", kernel: "skb_splice_from_iter", help: "BYTES of a page of the process's behind", least: 1, most: 1, apply: splice },
  { name: "user", kernel: "skb_zcopy_set", help: "the same as MSG_ZEROCOPY does it: he is told when he has it back", least: 1, most: 1, apply: lend },
  { name: "orphan", kernel: "skb_orphan_frags_rx", help: "copies what is a user's", least: 0, most: 0, apply: (stage, a) => done(stage.machine.net.zerocopy.skbOrphanFragsRx(a.skb, GFP_KERNEL)) },
  ...["", "-original", "-clone"].map((suffix): OperationKind => ({
    name: `free${suffix}`, kernel: "consume_skb", help: suffix === "" ? "by the process that reads" : `the same, of ${suffix === "-original" ? "A" : "the last clone"}`, least: 0, most: 0,
    ...(suffix === "" ? {} : { on: suffix === "-original" ? "original" : "clone" }),
    ownContext: true, apply: (stage, a) => give(a, () => stage.inProcess(() => stage.machine.net.lifetime.consumeSkb(a.skb))),
  })),
  { name: "free-in-poll", kernel: "consume_skb", help: "in the device's NAPI poll, which receives a further packet", least: 0, most: 0, ownContext: true, apply: (stage, a) => give(a, () => stage.inPoll(() => stage.machine.net.lifetime.consumeSkb(a.skb))) },
  { name: "free-in-irq", kernel: "dev_consume_skb_any", help: "in hardirq", least: 0, most: 0, ownContext: true, apply: (stage, a) => give(a, () => stage.inHardirq(() => stage.machine.net.lifetime.devConsumeSkbAny(a.skb))) },
  { name: "defer-free", kernel: "skb_attempt_defer_free", help: "leaves it to the CPU that built it", least: 0, most: 0, ownContext: true, apply: (stage, a) => ({ ...withoutDeferral(stage, "it is freed here and now, by consume_skb"), ...give(a, () => stage.inProcess(() => stage.machine.net.lifetime.skbAttemptDeferFree(a.skb))) }) },
  { name: "flush", kernel: "skb_defer_free_flush", help: "a receive softirq on every CPU", least: 0, most: 0, ownContext: true, global: true, apply: (stage) => {
    stage.machine.flushDeferred();
    return withoutDeferral(stage, "its receive softirqs have nothing to free");
  } },
  { name: "receive", kernel: "napi_gro_receive", help: "the next packet of the capture", least: 0, most: 0, ownContext: true, global: true, apply: receive },
];

/** How an operation is written. */
export function usageOf({ name, least, most, pair, on, global }: OperationKind): string {
  const target = on !== undefined || global === true ? "" : pair === true ? "[:A.B]" : "[:A]";
  return `${name}${target}${least === 1 ? "=BYTES" : most === 2 ? "[=HEAD[+TAIL]]" : most === 1 ? "[=HEADROOM]" : ""}`;
}

const MOST_OPERATIONS = 100;

/** `clone,expand:B=64+0,free-original`. */
export function parseOperations(text: string): readonly Operation[] {
  const all = text.split(",");
  if (all.length > MOST_OPERATIONS) throw new CliError(`--after: ${all.length} operations, more than the ${MOST_OPERATIONS} whose outcome can be looked at`);
  return all.map((written, i) => {
    const step = written.trim();
    const match = /^([a-z-]+)(?::([A-Z]\d*)(?:\.([A-Z]\d*))?)?(?:=(.*))?$/.exec(step);
    const where = `--after: operation ${i + 1}, ${step === "" ? "nothing" : step}`;
    const kind = OPERATIONS.find(({ name }) => name === match?.[1]);
    if (match === null || kind === undefined) throw new CliError(`${where}: ${match === null ? "write name, name:A, name=bytes or name:A=bytes, names in small letters and packets in capitals, separated by commas" : `no such operation; choose from ${OPERATIONS.map(({ name }) => name).join(", ")}`}`);
    const targets = [match[2], match[3]].filter((letter) => letter !== undefined);
    if (kind.on !== undefined && targets.length > 0) throw new CliError(`${where}: ${kind.name} says whom it frees; write free:${targets[0]} for another`);
    if (kind.global === true && targets.length > 0) throw new CliError(`${where}: it is for no packet; write ${kind.name}`);
    if (kind.pair === undefined && targets.length > 1) throw new CliError(`${where}: it is for one packet`);
    if (kind.pair !== undefined && targets.length === 1) throw new CliError(`${where}: it is for two packets; write ${kind.name}:A.B`);
    return { text: step, kind, targets, numbers: numbersOf(match[4], kind, where) };
  });
}

function numbersOf(text: string | undefined, kind: OperationKind, where: string): number[] {
  const { least, most } = kind;
  const parts = text === undefined ? [] : text.split("+");
  if (parts.length < least || parts.length > most) throw new CliError(`${where}: ${most === 0 ? "it takes no number" : `it takes ${least === most ? "a number" : "at most two numbers"} of bytes; write ${usageOf(kind)}`}`);
  return parts.map((part) => {
    const value = Number(part);
    if (!/^\d+$/.test(part) || value > LARGEST) throw new CliError(`${where}: ${part === "" ? "a number is missing" : `${part} is no number of bytes`}; give 0 to ${LARGEST}`);
    return value;
  });
}

/** Does it. What was refused has changed nothing; after a panic the machine does nothing more. */
export function applyOperation(stage: Stage, operation: Operation, position: number): Outcome {
  const { kind, targets, numbers, text } = operation;
  const where = `--after: operation ${position}, ${text}`;
  const find = (letter: string): NamedSkb => {
    const named = stage.skbs.find(({ name }) => name === letter);
    if (named === undefined) throw new CliError(`${where}: there is no packet ${letter}; there ${stage.skbs.length === 1 ? "is" : "are"} ${stage.skbs.map(({ name }) => name).join(", ")}`);
    return named;
  };
  const held = stage.skbs.filter(({ holders }) => holders > 0);
  const newest = held.at(-1);
  const pick = (): NamedSkb | undefined => {
    if (targets[0] !== undefined) return find(targets[0]);
    if (kind.on === "original") return stage.skbs[0]!;
    if (kind.on === "clone") return stage.skbs.findLast(({ from }) => from.startsWith("a clone")) ?? newest;
    return kind.pair === true ? held.at(-2) : newest;
  };
  if (kind.global === true) return kind.apply(stage, stage.skbs[0]!, numbers, stage.skbs[0]!);
  const on = pick();
  if (kind.on === "clone" && !on?.from.startsWith("a clone")) throw new CliError(`${where}: nothing was cloned`);
  const other = targets[1] === undefined ? newest : find(targets[1]);
  if (on === undefined || other === undefined) throw new CliError(`${where}: ${kind.pair === true && newest !== undefined ? "it takes two packets, and there is one" : "every packet was freed"}`);
  for (const named of kind.pair === true ? [on, other] : [on]) if (named.holders === 0) throw new CliError(`${where}: ${named.name} was given up before`);
  if (kind.pair === true && on === other) throw new CliError(`${where}: it takes two packets`);
  try {
    return kind.ownContext === true ? kind.apply(stage, on, numbers, other) : stage.inProcess(() => kind.apply(stage, on, numbers, other));
  } catch (error) {
    if (error instanceof KernelPanic) return { panic: error.message };
    throw error;
  }
}
