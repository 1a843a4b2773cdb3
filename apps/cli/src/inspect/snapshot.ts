import { SKB_DATAREF_MASK, SKB_DATAREF_SHIFT, skbEndOffset, skbHeadlen, skbHeadroom, skbZcopy, type SkBuff } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import { PAGE_BAD, PAGE_SIZE } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import { fragListOf, isGone, memoryOf, type Memory, type NamedSkb, type Stage } from "./stage.ts";

/** A packet as the document has it. Offsets are in bytes. */
export interface SkbShown {
  readonly name: string;
  readonly from: string;
  /** `deferred`: given up, and waiting for the CPU that frees it; `listed`: in the frag list of those of `listOf`. */
  readonly state: "held" | "deferred" | "listed";
  readonly listOf: readonly string[];
  readonly users: number;
  readonly len: number;
  readonly dataLen: number;
  readonly truesize: number;
  /** Its headers and frags are those of these, too. */
  readonly sharesDataWith: readonly string[];
  readonly dataref: { readonly all: number; readonly payloadOnly: number };
  readonly cloned: boolean;
  readonly ppRecycle: boolean;
  readonly nohdr: boolean;
  readonly unreadable: boolean;
  /** EtherType. */
  readonly protocol: number;
  /** Where the MAC header begins, from `data`; null where there is none. */
  readonly macHeader: number | null;
  /** `data`, `tail` and `end` count from `head`, and `offset` is where that lies in its memory. */
  readonly head: { readonly memory: string; readonly offset: number; readonly data: number; readonly tail: number; readonly end: number; readonly sharedInfoBytes: number };
  readonly frags: readonly { readonly memory: string; readonly offset: number; readonly bytes: number }[];
  /** Packets that are parts of it. */
  readonly fragList: readonly string[];
  /** Packets, and the user himself, that have his memory; null: it is nobody's but the kernel's. */
  readonly userReferences: number | null;
}

/** A page, an object of a slab, or a net_iov. */
export interface MemoryShown {
  readonly name: string;
  readonly kind: "page" | "slab" | "net_iov";
  readonly pfn?: number;
  readonly bytes: number;
  /** Whose it is: the pool's id and device; null: the page allocator's, or the slab's. */
  readonly pool: { readonly id: number; readonly device: string } | null;
  readonly place: Place;
  /** A page of the process's own, which has a reference to it throughout. */
  readonly ofUser: boolean;
  /** Page references; of an object of a slab none. A net_iov has 1. */
  readonly refcount: number | null;
  /** `holderCount`, of a pool's only. */
  readonly ppRefCount: number | null;
  readonly holders: readonly { readonly skbs: readonly string[]; readonly as: string }[];
}

/**
 * `held` by a packet, the `user`'s alone, idle in its pool's `cache` or `ring`, `posted` to the device again, `free`, `withheld` by the page allocator as broken, or `lost`: nobody
 * has it, and its pool counts it as out for ever.
 */
export type Place = "held" | "user" | "cache" | "ring" | "posted" | "free" | "withheld" | "lost";

export interface Snapshot {
  /** Pool-aware holders are counted from 6.8 (0a149ab78ee2). Up to 6.6 `pp_frag_count` is of pools with PP_FLAG_PAGE_FRAG, which the driver's is not. */
  readonly holderCount: "pp_ref_count" | null;
  readonly skbs: readonly SkbShown[];
  readonly memory: readonly MemoryShown[];
}

/** What packets and their memory look like now. */
export function snapshotOf(stage: Stage): Snapshot {
  // A member of a frag list may have been replaced by a clone of it.
  for (const { name, skb } of stage.skbs.filter((named) => !isGone(named))) {
    for (const member of fragListOf(skb)) if (!stage.skbs.some((named) => named.skb === member && !isGone(named))) stage.name(member, `in the frag list of ${name}`).holders = 0;
  }
  const living = stage.skbs.filter((named) => !isGone(named));
  for (const { skb } of living) for (const memory of memoryOf(skb)) stage.memoryName(memory);
  return { holderCount: holderCountOf(stage), skbs: living.map((named) => skbShown(stage, named, living)), memory: stage.seen().map((memory) => memoryShown(stage, memory, living)) };
}

function skbShown(stage: Stage, { name, from, skb, holders }: NamedSkb, living: readonly NamedSkb[]): SkbShown {
  const info = skb.shinfo!;
  const headMemory = info.headPage ?? info.headSlab!;
  const listOf = living.filter((other) => fragListOf(other.skb).includes(skb)).map((other) => other.name);
  return {
    name, from,
    state: holders > 0 ? "held" : listOf.length > 0 ? "listed" : "deferred",
    listOf,
    users: skb.users,
    len: skb.len,
    dataLen: skb.dataLen,
    truesize: skb.truesize,
    sharesDataWith: living.filter((other) => other.skb !== skb && other.skb.shinfo === info).map((other) => other.name),
    dataref: { all: info.dataref & SKB_DATAREF_MASK, payloadOnly: info.dataref >> SKB_DATAREF_SHIFT },
    cloned: skb.cloned,
    ppRecycle: skb.ppRecycle,
    nohdr: skb.nohdr,
    unreadable: skb.unreadable,
    protocol: skb.protocol,
    macHeader: skb.macHeader < 0 ? null : skb.macHeader - skb.data,
    head: {
      memory: stage.memoryName(memoryOf(skb)[0]!),
      offset: skb.head - headMemory.base,
      data: skbHeadroom(skb),
      tail: skbHeadroom(skb) + skbHeadlen(skb),
      end: skbEndOffset(skb),
      sharedInfoBytes: SKB_SHARED_INFO_BYTES,
    },
    frags: info.frags.slice(0, info.nrFrags).map(({ netmem, offset, sizeBytes }) => ({ memory: stage.memoryName(netmem!.isNetIov ? netmem! : netmem!.head), offset, bytes: sizeBytes })),
    fragList: fragListOf(skb).map((member) => living.find((other) => other.skb === member)!.name),
    userReferences: skbZcopy(skb) && info.uarg !== null ? info.uarg.refcnt : null,
  };
}

function memoryShown(stage: Stage, memory: Memory, living: readonly NamedSkb[]): MemoryShown {
  const name = stage.memoryName(memory);
  const holders = holdersOf(memory, living);
  if (!("isNetIov" in memory)) {
    return { name, kind: "slab", bytes: memory.sizeBytes, pool: null, ofUser: false, place: memory.inUse ? "held" : "free", refcount: null, ppRefCount: null, holders };
  }
  const pool = poolOf(stage, memory);
  return {
    name,
    ...(memory.isNetIov ? { kind: "net_iov" } : { kind: "page", pfn: memory.pfn }),
    bytes: memory.isNetIov ? PAGE_SIZE : PAGE_SIZE << memory.order,
    pool: pool === null ? null : { id: pool.id, device: pool.netdev?.name ?? "none" },
    place: placeOf(stage, memory, pool, holders.length > 0),
    ofUser: isUsers(stage, memory),
    refcount: memory.isNetIov ? 1 : memory.refcount,
    ppRefCount: pool === null || holderCountOf(stage) === null ? null : memory.ppRefCount,
    holders,
  };
}

/** Clones that share their frags hold them once. */
function holdersOf(memory: Memory, living: readonly NamedSkb[]): MemoryShown["holders"] {
  const holders: MemoryShown["holders"][number][] = [];
  const seen = new Set<SkBuff["shinfo"]>();
  for (const { skb } of living) {
    const info = skb.shinfo!;
    if (seen.has(info)) continue;
    seen.add(info);
    const skbs = living.filter((other) => other.skb.shinfo === info).map((other) => other.name);
    if (memory === (info.headPage?.head ?? info.headSlab)) holders.push({ skbs, as: "head" });
    for (let i = 0; i < info.nrFrags; i++) {
      const { netmem } = info.frags[i]!;
      if (memory === (netmem!.isNetIov ? netmem! : netmem!.head)) holders.push({ skbs, as: `frag ${i}` });
    }
  }
  return holders;
}

function holderCountOf({ machine }: Stage): Snapshot["holderCount"] {
  return machine.preset.sharedRelease === "pp-ref-count" ? "pp_ref_count" : null;
}

/** The pool that has it out, or idle. */
function poolOf(stage: Stage, memory: { readonly poolState: number }): PagePool | null {
  return memory.poolState === 0 ? null : (stage.machine.pagePools.pools().find(({ id }) => id === memory.poolState >> 1) ?? null);
}

function placeOf(stage: Stage, memory: Exclude<Memory, { inUse: boolean }>, pool: PagePool | null, held: boolean): Place {
  if (pool !== null && (memory.poolState & 1) === 1) return pool.cacheItems().includes(memory) ? "cache" : "ring";
  if (held) return "held";
  if (isUsers(stage, memory)) return "user";
  if (!memory.isNetIov && memory.state === PAGE_BAD) return "withheld";
  if (memory.isNetIov) return pool === null ? "free" : "lost";
  if (memory.refcount === 0) return pool === null ? "free" : "lost";
  // Only a poll posts pages, and it posts none that somebody else has a reference to.
  return stage.polled && memory.refcount === 1 ? "posted" : "lost";
}

function isUsers(stage: Stage, memory: Exclude<Memory, { inUse: boolean }>): boolean {
  return !memory.isNetIov && stage.userPages.includes(memory);
}

/** Where it is now, in words. */
export function placeWords({ place, pool }: MemoryShown): string {
  switch (place) {
    case "cache": case "ring": return `recycled, in the ${place} of page_pool ${pool!.id}`;
    case "posted": return "posted to the device again";
    case "lost": return `lost to ${pool === null ? "all" : `page_pool ${pool.id}`}: nobody has it`;
    case "withheld": return "withheld by the page allocator";
    case "free": return "free";
    case "held": return "held";
    case "user": return "the user's alone";
  }
}
