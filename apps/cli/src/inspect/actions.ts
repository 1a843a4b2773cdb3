import { ETOOMANYREFS, errnoName } from "@netmem/kernel/api";
import { GFP_KERNEL, PAGE_SIZE, type Page } from "@netmem/mm/api";
import type { ClonedCoalesce } from "@netmem/net-core";
import { SKBFL_DONT_ORPHAN, SKBFL_ZEROCOPY_FRAG, skbCloned, skbHeadFrag, skbHeadlen, skbHeadroom, skbTailroom, skbZcopy, type SkBuff } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { CliError } from "../terminal.ts";
import { counted } from "../words.ts";
import { isGone, type NamedSkb, type Stage } from "./stage.ts";

/**
 * What came of an operation: done; refused by the kernel, and how; not done here, since no kernel would notice what it breaks, or it cannot be drawn; or the kernel
 * stopped. A note says what this kernel does instead.
 */
export interface Outcome {
  readonly refused?: string;
  readonly notDone?: string;
  readonly panic?: string;
  readonly note?: string;
}

export const DONE: Outcome = {};
export const SHARED = "others share its data, and would lose it";

const MOST_SEGMENTS = 100;

/** A boolean or an errno. */
export function done(result: boolean | number): Outcome {
  if (result === true || result === 0) return DONE;
  return { refused: `answers ${typeof result === "number" ? errnoName(result) : "false"}` };
}

export function born(stage: Stage, from: string, skb: SkBuff | null): Outcome {
  if (skb === null) return { refused: "answers NULL" };
  stage.name(skb, from);
  return DONE;
}

export function give(a: NamedSkb, free: () => void): Outcome {
  a.holders--;
  free();
  // Whoever else holds it holds the struct.
  if (a.holders > 0 && isGone(a)) throw new CliError(`${a.name} is gone, and ${a.holders} still hold it: this is a bug of the model`);
  return DONE;
}

export function unshare(stage: Stage, a: NamedSkb): Outcome {
  const skb = stage.machine.net.edit.skbUnshare(a.skb, GFP_KERNEL);
  if (skb === a.skb) return DONE;
  a.holders--;
  return born(stage, `a copy of ${a.name}`, skb);
}

export function split(stage: Stage, a: NamedSkb, [bytes]: readonly number[]): Outcome {
  // It moves what all who share the frags look at.
  if (skbCloned(a.skb)) return { notDone: SHARED };
  if (bytes! >= a.skb.len) return { notDone: `there are ${a.skb.len} bytes, and none behind ${bytes}` };
  const rest = stage.machine.net.lifetime.allocSkb(Math.max(1, skbHeadlen(a.skb) - bytes!), GFP_KERNEL);
  if (rest === null) return { refused: "finds no memory for a second skb" };
  stage.machine.net.merge.skbSplit(a.skb, rest, bytes!);
  return born(stage, `the rest of ${a.name}`, rest);
}

export function segment(stage: Stage, a: NamedSkb, [bytes]: readonly number[]): Outcome {
  const info = a.skb.shinfo!;
  const segments = Math.ceil(a.skb.len / bytes!);
  if (segments > MOST_SEGMENTS) return { notDone: `it would make ${bytes === 0 ? "no end of" : segments} packets, more than the ${MOST_SEGMENTS} that are drawn` };
  const headers = a.skb.data - a.skb.macHeader;
  if (a.skb.macHeader < 0 || headers < 0 || headers > skbHeadroom(a.skb)) return { notDone: "it needs a MAC header in front of the data, and room for it" };
  const { gsoSize } = info;
  info.gsoSize = bytes!;
  const first = stage.machine.net.merge.skbSegment(a.skb, { sg: true, gso: false });
  info.gsoSize = gsoSize;
  if (typeof first === "number") return done(first);
  stage.machine.net.edit.skbPull(a.skb, headers);
  for (let skb: SkBuff | null = first; skb !== null;) {
    const { next }: { next: SkBuff | null } = skb;
    skb.next = null;
    stage.name(skb, `a segment of ${a.name}`);
    skb = next;
  }
  return DONE;
}

export function coalesce(stage: Stage, a: NamedSkb, _numbers: readonly number[], b: NamedSkb): Outcome {
  const result = { stolen: false, deltaTruesize: 0 };
  if (a.holders > 1 || b.holders > 1) return { notDone: "others hold one of the two" };
  const why = whyNot(a.skb, b.skb, stage.machine.preset.net.clonedCoalesce);
  if (!stage.machine.net.merge.skbTryCoalesce(a.skb, b.skb, result)) return { refused: `answers false: ${why ?? "for a reason that is not known: this is a bug of the model"}` };
  b.holders--;
  stage.machine.net.lifetime.kfreeSkbPartial(b.skb, result.stolen);
  return DONE;
}

/** Which of its refusals `skbTryCoalesce` meets first, in its order; null: none. */
function whyNot(to: SkBuff, from: SkBuff, rule: ClonedCoalesce): string | null {
  const shared = skbCloned(from);
  if (skbCloned(to)) return "others share the data of the one that is to grow";
  if (rule === "into-plain" ? to.ppRecycle !== (from.ppRecycle && !shared) : to.ppRecycle !== from.ppRecycle) return "one recycles its pages, and the other does not";
  if (rule === "refused" && from.ppRecycle && shared) return "pages that recycle and are shared are not mixed by this kernel";
  if (to.unreadable !== from.unreadable) return "the CPU can read one and not the other";
  if (from.len <= skbTailroom(to) && !from.unreadable) return null;
  const [into, out] = [to.shinfo!, from.shinfo!];
  if (into.fragList !== null || out.fragList !== null) return "one has a frag list";
  if (skbZcopy(to) || skbZcopy(from)) return "a user's memory is in one of the two";
  const head = skbHeadlen(from) > 0;
  if (into.nrFrags + out.nrFrags + (head ? 1 : 0) > MAX_SKB_FRAGS) return `together they have more than ${MAX_SKB_FRAGS} frags`;
  if (head && !skbHeadFrag(from)) return "the head that would become a frag is a slab's";
  return head && shared ? "the head that would become a frag is somebody else's, too" : null;
}

export function receive(stage: Stage): Outcome {
  const skb = stage.receiveNext();
  return skb === null ? { notDone: "the capture has no further packet" } : born(stage, "received", skb);
}

/** In the softirq that GRO runs in. */
export function gro(stage: Stage, a: NamedSkb, [headers]: readonly number[], b: NamedSkb): Outcome {
  const { merge, lifetime } = stage.machine.net;
  for (const { name, skb, holders } of [a, b]) if (holders > 1 || skbCloned(skb)) return { notDone: `GRO gets packets that nobody else has, and others have ${name}` };
  if (headers! >= b.skb.len) return { notDone: `${b.name} has ${counted(b.skb.len, "byte")}, all of them headers then` };
  return stage.inSoftirq(() => {
    if (!stage.gro.has(a.skb)) {
      merge.groStart(a.skb, Math.min(headers!, a.skb.len));
      merge.groHold(a.skb);
      stage.gro.add(a.skb);
    }
    merge.groStart(b.skb, headers!);
    const errno = merge.skbGroReceive(a.skb, b.skb);
    if (errno < 0) return { refused: `answers ${errnoName(errno)}${errno === -ETOOMANYREFS ? ": one recycles its pages, and the other does not" : ""}` };
    b.holders--;
    if (b.skb.gro.free !== 0) lifetime.napiSkbFinishMerged(b.skb);
    return DONE;
  });
}

export function zerocopy(stage: Stage, a: NamedSkb): Outcome {
  const { zerocopy: user, lifetime } = stage.machine.net;
  const headBytes = user.skbZerocopyHeadlen(a.skb);
  const to = lifetime.allocSkb(Math.max(1, headBytes), GFP_KERNEL);
  if (to === null) return { refused: "finds no memory for a second skb" };
  const errno = user.skbZerocopy(to, a.skb, a.skb.len, headBytes);
  if (errno < 0) {
    lifetime.consumeSkb(to);
    return done(errno);
  }
  return born(stage, `over the pages of ${a.name}`, to);
}

export function splice(stage: Stage, a: NamedSkb, [bytes]: readonly number[]): Outcome {
  const page = pageFor(stage, a, bytes!);
  if (typeof page === "string") return { notDone: page };
  const iter = { pages: [{ page, offset: 0, sizeBytes: bytes! }], position: 0 };
  const taken = stage.machine.net.zerocopy.skbSpliceFromIter(a.skb, iter, bytes!);
  return taken < 0 ? done(taken) : DONE;
}

/** A page of his as a frag, which he has a reference to, and is told of. */
export function lend(stage: Stage, a: NamedSkb, [bytes]: readonly number[]): Outcome {
  const { zerocopy: user, edit } = stage.machine.net;
  if (skbZcopy(a.skb)) return { refused: "is for one user's memory, and there is some already" };
  const page = pageFor(stage, a, bytes!);
  if (typeof page === "string") return { notDone: page };
  stage.machine.mm.pages.getPage(page);
  edit.skbAddRxFrag(a.skb, page, 0, bytes!, bytes!);
  const uarg = user.createUbufInfo({ complete: (_skb, info, success) => {
    if (--info.refcnt === 0) stage.told.push(success);
  } }, SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN);
  user.skbZcopySet(a.skb, uarg, true);
  return DONE;
}

/** One that can be a frag of the packet's; or why not. */
function pageFor(stage: Stage, { skb }: NamedSkb, bytes: number): Page | string {
  if (skbCloned(skb)) return SHARED;
  if (skb.shinfo!.fragList !== null) return "its bytes would come before those of its frag list";
  if (bytes < 1 || bytes > PAGE_SIZE) return `it takes 1 to ${PAGE_SIZE} bytes, one page`;
  if (skb.shinfo!.nrFrags >= MAX_SKB_FRAGS) return `it has ${MAX_SKB_FRAGS} frags, and no more fit`;
  return stage.userPage() ?? "there is no memory for his page";
}

/** Before 5.19. */
export function withoutDeferral({ machine }: Stage, instead: string): Outcome {
  return machine.preset.net.defersFrees ? DONE : { note: `this kernel does not defer: ${instead}` };
}
