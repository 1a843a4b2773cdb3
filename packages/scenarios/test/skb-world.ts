import { EFAULT, EMSGSIZE } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import {
  SKBFL_DONT_ORPHAN, SKBFL_MANAGED_FRAG_REFS, SKBFL_ZEROCOPY_FRAG, SKB_DATAREF_MASK, SKB_DATAREF_SHIFT, SKB_DROP_REASON_NO_SOCKET, skbCloned, skbEndOffset, skbHeadFrag, skbHeadlen, skbHeadroom, skbRegion, skbTailroom, skbTruesize, skbZcopy, skbZcopyManaged, type SkBuff, type SkbSharedInfo, type UbufInfo, type ZerocopySocket,
} from "@netmem/net-core/api";
import { PP_FRAG_BIAS, type PagePoolFrag } from "@netmem/page-pool/api";
import type { PresetName } from "@netmem/machine";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import type { RigPool } from "./rig.ts";
import { SkbBench } from "./skb-rows/bench.ts";

/** A byte that the CPU cannot read is null. */
type Bytes = readonly (number | null)[];

/** A packet, what it must hold, and how many hold its struct. */
interface Packet {
  readonly skb: SkBuff;
  readonly id: number;
  bytes: Bytes;
  users: number;
}

interface User {
  readonly uarg: UbufInfo;
  readonly pages: readonly Page[];
  /** References to it that he has himself. */
  readonly own: number;
}

export type HeadKind = "page" | "slab" | "slab-build" | "with-frags" | "pool" | "napi" | "netdev" | "fclone" | "user" | "managed" | "msg-zerocopy";
export type FragKind = "pool" | "other-pool" | "plain" | "net-iov" | "pool-frag";
export type FreeKind = "consume" | "drop" | "napi" | "defer" | "hardirq" | "list";

const HEADERS = 20;

/**
 * Packets of one machine beside a reference that knows plain arrays of bytes and who holds what, nothing of how it is done. Every operation says what it
 * must have done; `check` counts all references anew.
 */
export class SkbWorld extends SkbBench {
  readonly packets: Packet[] = [];
  /** What was done, and not only asked for. */
  readonly #done: Set<string>;
  /** Given up, but perhaps not freed yet. */
  readonly #waiting: Packet[] = [];
  readonly #pools: readonly [RigPool, RigPool];
  readonly #device: RigPool;
  readonly #frag: PagePoolFrag;
  readonly #users: User[] = [];
  readonly #sends: ZerocopySocket;
  #sendCalls = 0;
  /** Pages that several fragments of a pool share, and of each how many were cut since it was opened last. */
  readonly #fragmented: Map<Netmem, number> = new Map();
  #openFragPage: Netmem | null = null;
  /** Pages that a poll's small heads are quarters of, and of each how many were cut. */
  readonly #quartered: Map<Netmem, number> = new Map();
  /** Heads that are a frag of another packet, too. Nobody asks about what is written there, so nothing is, and their tails stay where they are. */
  readonly #lentHeads: Set<Page> = new Set();
  readonly #freeAtStart: number;

  constructor(preset: PresetName, done: Set<string> = new Set()) {
    // Where these are mixed pages are lost, as skb-mm row 64 has it.
    super(preset, { groRefusesMixed: true });
    this.#done = done;
    const { rig } = this;
    // So that each CPU's caches hold their blocks already.
    for (const bytes of [2000, 100]) for (const cpu of [0, 1]) this.softirq(() => this.free(this.net.lifetime.napiAllocSkb(rig.dev, bytes)!), cpu);
    this.hardirq(() => this.net.lifetime.devConsumeSkbAny(this.net.lifetime.netdevAllocSkb(rig.dev, 2000, GFP_ATOMIC)!));
    this.#freeAtStart = this.freePages();
    this.#pools = [rig.createPool(), rig.createPool()];
    this.#device = rig.createDevicePool(32);
    this.#frag = rig.machine.pagePools.createFrag();
    this.#sends = this.net.zerocopy.openZerocopySocket(1000);
  }

  /** Before 5.14 an expanded clone keeps its bit, and gives back what it has a page reference to: the bug that 2cc3aeb5eccc mended. */
  get #mayLeaveSharedData(): boolean {
    return !this.recycles || this.preset.net.releaseClearsRecycle;
  }

  create(kind: HeadKind, linear: number, frags: readonly FragKind[]): void {
    const skb = this.#head(kind, linear);
    for (const frag of frags) this.#addFrag(skb, frag);
    this.#add(skb, read(skb));
  }

  clone(p: Packet): void {
    const clone = this.net.lifetime.skbClone(p.skb, GFP_ATOMIC);
    // A user's memory would have to be copied first, which another holder of the struct forbids.
    if (p.users > 1 && skbZcopy(p.skb) && (p.skb.shinfo!.flags & SKBFL_DONT_ORPHAN) === 0) {
      expectSame("clone of what cannot be copied", clone, null);
      return;
    }
    expectSame("truesize of a clone", clone!.truesize, p.skb.truesize);
    this.#add(clone!, p.bytes);
  }

  /** In the place of a share of it. */
  shareCheck(p: Packet): void {
    if (p.users > 1 && skbZcopy(p.skb) && (p.skb.shinfo!.flags & SKBFL_DONT_ORPHAN) === 0) return;
    const own = this.net.lifetime.skbShareCheck(p.skb, GFP_ATOMIC)!;
    expectSame("itself, if nobody shares it", own === p.skb, p.users === 1);
    if (own === p.skb) return;
    p.users--;
    this.#add(own, p.bytes);
    this.#done.add("share check");
  }

  /** Without memory nothing happens, unless none was needed; either way the packet is as it was. */
  starve(p: Packet, n: number): void {
    if (p.users > 1 || (skbCloned(p.skb) && !this.#mayLeaveSharedData)) return;
    const { skb } = p;
    const { lifetime, edit, zerocopy } = this.net;
    const { faults } = this.rig.machine.mm;
    const points = [faults.failSlab, faults.failPageAlloc, faults.failFunction("skbuffAlloc")];
    const truesize = skb.truesize;
    let made: SkBuff | null = null;
    const ways: Readonly<Record<string, () => boolean>> = {
      clone: () => (made = lifetime.skbClone(skb, GFP_ATOMIC)) !== null,
      copy: () => (made = edit.skbCopy(skb, GFP_ATOMIC)) !== null,
      "pskb copy": () => (made = edit.pskbCopy(skb, skbHeadroom(skb), GFP_ATOMIC)) !== null,
      expand: () => edit.pskbExpandHead(skb, 100, 100, GFP_ATOMIC) === 0,
      unclone: () => edit.skbUnclone(skb, GFP_ATOMIC) === 0,
      cow: () => edit.skbCow(skb, 200) === 0,
      "pull tail": () => skb.dataLen === 0 || edit.pskbPullTail(skb, skb.dataLen) || skb.unreadable,
      orphan: () => zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) === 0,
      segment: () => {
        if (skb.macHeader < 0 || skb.data - skb.macHeader > skbHeadroom(skb) || skb.dataLen === 0 || skb.shinfo!.fragList !== null) return true;
        const headers = skb.data - skb.macHeader;
        skb.shinfo!.gsoSize = 100;
        const answer = this.softirq(() => this.net.merge.skbSegment(skb, { sg: true, gso: false }));
        skb.shinfo!.gsoSize = 0;
        this.net.edit.skbPull(skb, headers);
        return typeof answer !== "number";
      },
    };
    const names = Object.keys(ways);
    const name = names[n % names.length]!;
    for (const point of points) point.arm({});
    const enough = ways[name]!();
    for (const point of points) point.disarm();
    if (made !== null) this.#add(made, p.bytes);
    if (enough) return;
    expectSame(`truesize after no memory for ${name}`, skb.truesize, truesize);
    this.#done.add(`no memory: ${name}`);
  }

  linearize(p: Packet): void {
    if (p.users > 1 || (skbCloned(p.skb) && !this.#mayLeaveSharedData)) return;
    const errno = this.net.edit.skbLinearize(p.skb);
    expectSame("linearized", errno, p.skb.unreadable && p.skb.dataLen > 0 ? -EFAULT : 0);
    if (errno < 0) return;
    expectSame("in one piece", p.skb.dataLen, 0);
    this.#done.add("linearize");
  }

  splice(p: Packet, n: number): void {
    const { skb } = p;
    if (p.users > 1 || skbCloned(skb) || skb.shinfo!.fragList !== null || this.#isLent(p) || skb.unreadable) return;
    const pages = [this.page(), this.page()];
    for (const page of pages) this.fill(page.region, page.base, 400);
    const iter = { pages: pages.map((page) => ({ page, offset: 100, sizeBytes: 300 })), position: 0 };
    const truesize = skb.truesize;
    const taken = this.net.zerocopy.skbSpliceFromIter(skb, iter, n + 1);
    for (const page of pages) this.rig.machine.mm.pages.putPage(page);
    if (taken < 0) {
      expectSame("no room to splice", taken, -EMSGSIZE);
      return;
    }
    expectSame("truesize of what was spliced", skb.truesize - truesize, taken);
    p.bytes = [...p.bytes, ...read(skb).slice(-taken)];
    expectSame("spliced", taken === Math.min(n + 1, 600) || skb.shinfo!.nrFrags === MAX_SKB_FRAGS, true);
    this.#done.add("splice");
  }

  hold(p: Packet): void {
    this.net.lifetime.skbGet(p.skb);
    p.users++;
  }

  copy(p: Packet, how: "copy" | "expand" | "pskb" | "unshare"): void {
    const { edit } = this.net;
    if (how === "unshare") {
      if (p.users > 1 || (skbCloned(p.skb) && p.bytes.includes(null))) return;
      const own = edit.skbUnshare(p.skb, GFP_ATOMIC)!;
      if (own === p.skb) return;
      this.#remove(p);
      this.#add(own, p.bytes);
      this.#done.add("unshare");
      return;
    }
    if (how === "pskb" && p.users > 1) return;
    const copy = how === "copy" ? edit.skbCopy(p.skb, GFP_ATOMIC) : how === "expand" ? edit.skbCopyExpand(p.skb, 50, 70, GFP_ATOMIC) : edit.pskbCopy(p.skb, skbHeadroom(p.skb), GFP_ATOMIC);
    this.#done.add(copy === null ? "copy of what cannot be read" : `copy: ${how}`);
    if (how !== "pskb" && p.skb.unreadable) expectSame("copy of what cannot be read", copy, null);
    else {
      expectSame("truesize of a copy", copy!.truesize, skbTruesize(skbEndOffset(copy!)) + copy!.dataLen);
      this.#add(copy!, p.bytes);
    }
  }

  ownHead(p: Packet, how: "expand" | "unclone" | "keep" | "cow" | "cow-head", nhead: number, ntail: number): void {
    const { skb } = p;
    if (p.users > 1 || (skbCloned(skb) && !this.#mayLeaveSharedData)) return;
    const { edit } = this.net;
    const shared = skbCloned(skb);
    const [end, truesize] = [skbEndOffset(skb), skb.truesize];
    const errno = how === "expand" ? edit.pskbExpandHead(skb, nhead, ntail, GFP_ATOMIC) : how === "unclone" ? edit.skbUnclone(skb, GFP_ATOMIC)
      : how === "keep" ? edit.skbUncloneKeeptruesize(skb, GFP_ATOMIC) : how === "cow" ? edit.skbCow(skb, nhead) : edit.skbCowHead(skb, nhead);
    expectSame("private head", errno, 0);
    if (shared) this.#done.add(`${how} of shared data`);
    expectSame("truesize of a private head", skb.truesize - truesize, how === "keep" ? 0 : skbEndOffset(skb) - end);
    if (how === "cow" || how === "cow-head") expectSame("headroom", skbHeadroom(skb) >= nhead, true);
    if (how !== "cow-head") expectSame("alone", skbCloned(skb), false);
  }

  /** Whoever has the packet for himself may write its head; nobody else may see it. */
  write(p: Packet, at: number, value: number): void {
    const headlen = skbHeadlen(p.skb);
    if (headlen === 0 || skbCloned(p.skb) || this.#isLent(p)) return;
    const offset = at % headlen;
    skbRegion(p.skb).bytes[p.skb.data + offset] = value;
    p.bytes = p.bytes.map((byte, i) => (i === offset ? value : byte));
  }

  put(p: Packet, n: number): void {
    const bytes = Math.min(n, skbTailroom(p.skb));
    if (bytes === 0 || skbCloned(p.skb) || p.users > 1) return;
    const { tail } = p.skb;
    this.net.edit.skbPut(p.skb, bytes);
    this.fill(skbRegion(p.skb), tail, bytes);
    p.bytes = read(p.skb);
  }

  pull(p: Packet, n: number): void {
    if (p.users > 1) return;
    const { skb } = p;
    const enough = n <= p.bytes.length;
    const mayMove = n <= skbHeadlen(skb) || (!skb.unreadable && (!skbCloned(skb) || this.#mayLeaveSharedData));
    if (enough && n > skbHeadlen(skb) && skbCloned(skb) && !this.#mayLeaveSharedData) return;
    expectSame("pulled", this.net.edit.pskbPull(skb, n), enough && mayMove);
    if (enough && mayMove) p.bytes = p.bytes.slice(n);
  }

  pullTail(p: Packet, n: number): void {
    const { skb } = p;
    if (p.users > 1 || skb.dataLen === 0 || (skbCloned(skb) && !this.#mayLeaveSharedData)) return;
    const [end, truesize, headlen] = [skbEndOffset(skb), skb.truesize, skbHeadlen(skb)];
    const delta = (n % skb.dataLen) + 1;
    const done = this.net.edit.pskbPullTail(skb, delta);
    expectSame("pulled behind the head", done, !skb.unreadable);
    if (!done) return;
    this.#done.add("pull tail");
    expectSame("bytes in the head", skbHeadlen(skb), headlen + delta);
    expectSame("truesize after a pull", skb.truesize - truesize, skbEndOffset(skb) - end);
  }

  trim(p: Packet, len: number): void {
    if (p.users > 1 || this.#isLent(p) || (skbCloned(p.skb) && p.skb.dataLen > 0 && !this.#mayLeaveSharedData)) return;
    if (len < p.bytes.length) this.#done.add(p.skb.shinfo!.fragList === null ? "trim" : "trim of a frag list");
    expectSame("trimmed", this.net.edit.pskbTrim(p.skb, len), 0);
    p.bytes = p.bytes.slice(0, len);
  }

  condense(p: Packet): void {
    if (p.users > 1) return;
    this.net.edit.skbCondense(p.skb);
    if (p.skb.dataLen === 0) expectSame("truesize of a condensed packet", p.skb.truesize, skbTruesize(skbEndOffset(p.skb)));
  }

  coalesce(to: Packet, from: Packet): void {
    if (to === from || to.users > 1 || from.users > 1) return;
    const result = { stolen: false, deltaTruesize: 0 };
    const truesize = to.skb.truesize;
    if (!this.net.merge.skbTryCoalesce(to.skb, from.skb, result)) return;
    this.#done.add(result.stolen ? "coalesce, head and all" : result.deltaTruesize > 0 ? "coalesce" : "coalesce by copy");
    expectSame("truesize of a coalesced packet", to.skb.truesize - truesize, result.deltaTruesize);
    to.bytes = [...to.bytes, ...from.bytes];
    this.net.lifetime.kfreeSkbPartial(from.skb, result.stolen);
    this.#remove(from);
  }

  shift(tgt: Packet, p: Packet, n: number): void {
    const plain = [tgt, p].every(({ skb, users }) => users === 1 && skb.shinfo!.fragList === null && (!skbCloned(skb) || this.#mayLeaveSharedData));
    // Clones of each other lose their bits one after the other.
    if (!plain || tgt === p || tgt.skb.ppRecycle !== p.skb.ppRecycle || (tgt.skb.ppRecycle && (skbCloned(tgt.skb) || skbCloned(p.skb))) || tgt.skb.unreadable !== p.skb.unreadable || p.bytes.length === 0) return;
    // A frag cut in two has one holder and two who give it back: it is for transmission, where nothing recycles. A whole page then leaves its pool; a part of one would not.
    if (p.skb.shinfo!.frags.slice(0, p.skb.shinfo!.nrFrags).some(({ netmem }) => p.skb.ppRecycle && (netmem!.isNetIov || this.#fragmented.has(netmem!)))) return;
    const bytes = (n % p.bytes.length) + 1;
    const moved = this.net.merge.skbShift(tgt.skb, p.skb, bytes);
    expectSame("shifted", moved === 0 || moved === bytes, true);
    if (moved > 0) this.#done.add("shift");
    tgt.bytes = [...tgt.bytes, ...p.bytes.slice(0, moved)];
    p.bytes = p.bytes.slice(moved);
  }

  split(p: Packet, n: number): void {
    const { skb } = p;
    // For transmission: the second part does not recycle.
    if (p.users > 1 || this.#isLent(p) || skb.ppRecycle || skbCloned(skb) || skb.shinfo!.fragList !== null || p.bytes.length === 0) return;
    const len = n % p.bytes.length;
    const skb1 = this.net.lifetime.allocSkb(skbHeadlen(skb), GFP_ATOMIC)!;
    this.net.merge.skbSplit(skb, skb1, len);
    this.#done.add("split");
    this.#add(skb1, p.bytes.slice(len));
    p.bytes = p.bytes.slice(0, len);
  }

  segment(p: Packet, gsoSize: number, sg: boolean): void {
    const { skb } = p;
    if (p.users > 1 || skb.macHeader < 0 || p.bytes.length === 0 || (skb.unreadable && !sg)) return;
    if (skb.shinfo!.fragList !== null && sg) {
      // What the kernel panics on: heads that are no pages, or that a segment begins with and does not end with.
      for (let member: SkBuff | null = skb.shinfo!.fragList; member !== null; member = member.next) if (skbHeadlen(member) > 0 && (!skbHeadFrag(member) || skbHeadlen(member) > gsoSize || (member.next !== null && member.len < gsoSize))) return;
    }
    const headers = skb.data - skb.macHeader;
    // skb_copy_expand leaves out what lies further in front than the room asked for.
    if (headers > skbHeadroom(skb)) return;
    const front = [...skbRegion(skb).bytes.subarray(skb.macHeader, skb.data)];
    skb.shinfo!.gsoSize = gsoSize;
    skb.shinfo!.gsoType = 1;
    const first = this.softirq(() => this.net.merge.skbSegment(skb, { sg, gso: false }));
    if (skbCloned(skb)) skb.shinfo!.gsoSize = 0;
    this.net.edit.skbPull(skb, headers);
    if (typeof first === "number") return;
    this.#done.add(skb.shinfo!.fragList === null ? `segment, ${sg ? "pieces" : "copied"}` : "segment of a frag list");
    let at = 0;
    for (let segment: SkBuff | null = first; segment !== null;) {
      const { next }: { next: SkBuff | null } = segment;
      segment.next = null;
      this.#add(segment, [...front, ...p.bytes.slice(at, at + gsoSize)]);
      at += gsoSize;
      segment = next;
    }
    expectSame("segmented", at >= p.bytes.length && at - gsoSize < p.bytes.length, true);
  }

  gro(p: Packet, others: readonly Packet[], offset: number): void {
    if (p.users > 1 || skbCloned(p.skb) || p.skb.shinfo!.fragList !== null) return;
    this.net.merge.groStart(p.skb, 0);
    this.net.merge.groHold(p.skb);
    for (const other of others) {
      const { skb } = other;
      if (other === p || other.users > 1 || skbCloned(skb) || skb.shinfo!.fragList !== null || skb.unreadable !== p.skb.unreadable || !this.packets.includes(other)) continue;
      // Until 2026 frags without references of their own were merged into packets that put them: found here, too.
      if (skbZcopy(skb) || skbZcopy(p.skb)) continue;
      // What lies in front is headers, some of them perhaps in the first frag; and those have been looked at.
      const { nrFrags, frags } = skb.shinfo!;
      const skip = Math.min(offset, skbHeadlen(skb) + (nrFrags === 0 ? 0 : frags[0]!.sizeBytes - 1));
      if (other.bytes.length <= skip) continue;
      this.net.merge.groStart(skb, skip);
      skb.gro.proto = 6;
      const errno = this.net.merge.skbGroReceive(p.skb, skb);
      if (errno < 0) continue;
      p.bytes = [...p.bytes, ...other.bytes.slice(skip)];
      this.#remove(other);
      this.#done.add(`gro ${skb.gro.free}`);
      if (skb.gro.free !== 0) this.softirq(() => this.net.lifetime.napiSkbFinishMerged(skb));
    }
  }

  /** A packet in the frag list of another, as reassembly makes them: none is empty. */
  list(p: Packet, member: Packet): void {
    const { skb } = p;
    const info = skb.shinfo!;
    if (p === member || p.users > 1 || member.users > 1 || skbCloned(skb) || member.skb.shinfo!.fragList !== null || member.bytes.length === 0) return;
    // Neither a user's memory nor a device's is received with the other.
    if (skbZcopy(skb) && member.skb.unreadable) return;
    // Nor does reassembly meet what must be copied before it is cloned: a list with two holders could be neither pulled nor trimmed.
    if (skbZcopy(member.skb) && (member.skb.shinfo!.flags & SKBFL_DONT_ORPHAN) === 0) return;
    for (let one = info.fragList; one !== null; one = one.next) if (one.users > 1) return;
    if (!skbCloned(member.skb)) this.net.edit.skbHeaderRelease(member.skb);
    let last = info.fragList;
    while (last !== null && last.next !== null) last = last.next;
    if (last === null) info.fragList = member.skb;
    else last.next = member.skb;
    skb.len += member.skb.len;
    skb.dataLen += member.skb.len;
    skb.truesize += member.skb.truesize;
    if (member.skb.unreadable) skb.unreadable = true;
    p.bytes = [...p.bytes, ...member.bytes];
    this.#remove(member);
    this.#done.add("list");
  }

  zerocopy(from: Packet, n: number): void {
    if (from.users > 1 || from.bytes.length === 0 || from.skb.unreadable) return;
    const len = (n % from.bytes.length) + 1;
    const { zerocopy, lifetime, edit } = this.net;
    const hlen = zerocopy.skbZerocopyHeadlen(from.skb);
    if (hlen > len) return;
    const to = lifetime.allocSkb(hlen + 4, GFP_ATOMIC)!;
    edit.skbReserve(to, skbTailroom(to) - hlen);
    expectSame("referenced", zerocopy.skbZerocopy(to, from.skb, len, hlen), 0);
    if (hlen === 0 && from.skb.shinfo!.headPage !== null) this.#lentHeads.add(from.skb.shinfo!.headPage);
    this.#add(to, from.bytes.slice(0, len));
    this.#done.add(hlen === 0 ? "zerocopy of a head" : "zerocopy");
  }

  orphan(p: Packet, rx: boolean): void {
    const { skb } = p;
    if (p.users > 1 || !skbZcopy(skb) || (skbCloned(skb) && !this.#mayLeaveSharedData)) return;
    const kept = !rx && (skb.shinfo!.flags & SKBFL_DONT_ORPHAN) !== 0;
    const errno = rx ? this.net.zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) : this.net.zerocopy.skbOrphanFrags(skb, GFP_ATOMIC);
    if (!kept) this.#done.add("orphan");
    expectSame("orphaned", [errno, skbZcopy(skb)].join(), [0, kept].join());
  }

  release(p: Packet, how: FreeKind, cpu: number): void {
    const { lifetime } = this.net;
    if (p.users > 1) {
      lifetime.consumeSkb(p.skb);
      p.users--;
      return;
    }
    this.#remove(p);
    this.#done.add(`free: ${how}`);
    switch (how) {
      case "consume": this.softirq(() => lifetime.consumeSkb(p.skb), cpu); return;
      case "drop": lifetime.kfreeSkb(p.skb, SKB_DROP_REASON_NO_SOCKET); return;
      case "napi": this.softirq(() => lifetime.napiConsumeSkb(p.skb, 64), cpu); return;
      case "defer":
        this.#waiting.push(p);
        this.softirq(() => lifetime.skbAttemptDeferFree(p.skb), cpu);
        return;
      case "hardirq": this.hardirq(() => lifetime.devConsumeSkbAny(p.skb)); return;
      case "list": {
        const more = this.packets.filter(({ users }) => users === 1).slice(0, 2);
        p.skb.next = more[0]?.skb ?? null;
        for (const [i, one] of more.entries()) one.skb.next = more[i + 1]?.skb ?? null;
        for (const one of more) this.#remove(one);
        lifetime.kfreeSkbList(p.skb, SKB_DROP_REASON_NO_SOCKET);
      }
    }
  }

  /** Bytes, bounds, and every reference there is. */
  check(): void {
    const alive = [...this.packets, ...this.#waiting.filter(({ skb, id }) => !skb.free && skb.id === id)].map(({ skb }) => skb);
    for (const { skb, bytes, users } of this.packets) {
      expectSame(`users of ${skb.id}`, skb.users, users);
      const got = read(skb);
      expectSame(`length of ${skb.id}`, got.length, bytes.length);
      const at = got.findIndex((byte, i) => byte !== bytes[i]);
      if (at >= 0) expectSame(`byte ${at} of ${skb.id}`, got[at], bytes[at]);
    }
    const infos = new Map<SkbSharedInfo, { skbs: number; nohdr: number; one: SkBuff }>();
    const seen = new Set<SkBuff>();
    const members = new Map<SkBuff, number>();
    const visit = (skb: SkBuff): void => {
      if (seen.has(skb)) return;
      seen.add(skb);
      bounds(skb);
      const info = infos.get(skb.shinfo!) ?? { skbs: 0, nohdr: 0, one: skb };
      info.skbs++;
      if (skb.nohdr) info.nohdr++;
      if (infos.has(skb.shinfo!)) return;
      infos.set(skb.shinfo!, info);
      for (let member = skb.shinfo!.fragList; member !== null; member = member.next) {
        members.set(member, (members.get(member) ?? 0) + 1);
        visit(member);
      }
    };
    for (const skb of alive) visit(skb);
    const holders = new Map<Netmem, number>();
    const hold = (netmem: Netmem): void => void holders.set(netmem.isNetIov ? netmem : netmem.head, (holders.get(netmem.isNetIov ? netmem : netmem.head) ?? 0) + 1);
    const told = new Map<UbufInfo, number>();
    for (const [info, { skbs, nohdr, one }] of infos) {
      expectSame("dataref", [info.dataref & SKB_DATAREF_MASK, info.dataref >> SKB_DATAREF_SHIFT].join(), [skbs, nohdr].join());
      if (one.shinfo!.headPage !== null) hold(one.shinfo!.headPage);
      else expectSame("slab head in use", one.shinfo!.headSlab!.inUse, true);
      if (info.uarg !== null) told.set(info.uarg, (told.get(info.uarg) ?? 0) + 1);
      if (!skbZcopyManaged(one)) for (let i = 0; i < info.nrFrags; i++) hold(info.frags[i]!.netmem!);
    }
    for (const [member, lists] of members) if (!alive.includes(member)) expectSame("users of a member of frag lists", member.users, lists);
    for (const user of this.#users) {
      expectSame("references to a user's buffer", user.uarg.refcnt, user.own + (told.get(user.uarg) ?? 0));
      for (const page of user.pages) hold(page);
    }
    for (const [netmem, count] of holders) this.#checkHolders(netmem, count);
    for (const { pages } of this.#users) for (const page of pages) expectSame("a user's page", page.refcount >= 1, true);
    const { reports } = this.kernel.reports;
    if (reports.length > 0) throw new Error(`report ${reports[0]!.kind}: ${reports[0]!.object}: ${reports[0]!.message}`);
  }

  /** Everything is given up, in this order; then nothing may be out. */
  end(order: readonly number[]): void {
    let i = 0;
    while (this.packets.length > 0) {
      const p = this.packets[order[i++ % order.length]! % this.packets.length]!;
      this.release(p, (["consume", "napi", "defer", "drop"] as const)[i % 4]!, i % 2);
      this.check();
    }
    const { rig } = this;
    rig.machine.flushDeferred();
    for (const { pages } of this.#users.splice(0)) for (const page of pages) rig.machine.mm.pages.putPage(page);
    expectSame("packets left", this.net.lifetime.stats.live, 0);
    this.#endSends();
    // A page of which the last quarter was cut is nobody's any more; before, one is kept on that CPU.
    if (this.preset.net.napiCutsQuarters && [...this.#quartered].at(-1)?.[1] === 4) this.softirq(() => this.free(this.net.lifetime.napiAllocSkb(rig.dev, 100)!), 1);
    for (const from of this.#pools) rig.destroyPool(from);
    const pools = rig.machine.pagePools.pools();
    expectSame("pools that wait", this.#pools.filter(({ pool }) => pools.includes(pool)).length, 0);
    const { pool } = this.#device;
    expectSame("net_iovs out", pool.inflight(), pool.cacheCount + pool.ringCount());
    expectSame("free pages", this.freePages(), this.#freeAtStart);
    this.check();
  }

  /** Every send call is told of, once. */
  #endSends(): void {
    const ids: number[] = [];
    for (let told = this.#sends.dequeueErr(); told !== null; told = this.#sends.dequeueErr()) for (let id = told.lo; id <= told.hi; id++) ids.push(id);
    expectSame("send calls that were told of", ids.toSorted((a, b) => a - b).join(), Array.from({ length: this.#sendCalls }, (_, id) => id).join());
  }

  #isLent({ skb }: Packet): boolean {
    return skb.shinfo!.headPage !== null && this.#lentHeads.has(skb.shinfo!.headPage);
  }

  #checkHolders(netmem: Netmem, count: number): void {
    if (netmem.isNetIov) {
      // A plain reference to it is none: it is out, and no more often than there are holders.
      expectSame("net_iov is out", netmem.ppRefCount >= 1 && netmem.ppRefCount <= count, true);
      return;
    }
    const cuts = this.#fragmented.get(netmem);
    if (cuts !== undefined && netmem.pp !== null) {
      const pooled = netmem === this.#openFragPage ? netmem.ppRefCount - PP_FRAG_BIAS + cuts : netmem.ppRefCount;
      expectSame(`holders of fragments of page ${netmem.pfn}`, netmem.refcount - 1 + pooled, count);
      return;
    }
    const quarters = this.#quartered.get(netmem);
    if (quarters !== undefined) {
      expectSame(`references of page ${netmem.pfn}, a quarter each`, netmem.refcount, count + 4 - quarters);
      return;
    }
    // Blocks that are cut into heads have their bias, and larger blocks are nobody's but theirs.
    if (netmem.order > 0 && netmem.refcount > 1000) return;
    const owned = netmem.pp !== null;
    expectSame(`references of page ${netmem.pfn}`, owned ? netmem.refcount - 1 + Math.max(1, netmem.ppRefCount) : netmem.refcount, count);
  }

  #head(kind: HeadKind, linear: number): SkBuff {
    const { lifetime, edit } = this.net;
    const room = Math.min(linear, 1500) + HEADERS;
    let skb: SkBuff;
    switch (kind) {
      case "page": skb = lifetime.buildSkb(this.page(), PAGE_SIZE)!; break;
      case "slab": case "user": case "managed": case "msg-zerocopy": skb = lifetime.allocSkb(64 + room, GFP_ATOMIC)!; break;
      case "slab-build": skb = lifetime.slabBuildSkb(this.rig.machine.mm.slab.kmalloc(2048, GFP_ATOMIC)!)!; break;
      case "with-frags": skb = lifetime.allocSkbWithFrags(64 + room, 6000, 1, GFP_ATOMIC) as SkBuff; break;
      case "fclone": skb = lifetime.allocSkbFclone(64 + room, GFP_ATOMIC)!; break;
      case "pool": {
        const page = this.rig.page(this.#pools[0]);
        skb = lifetime.buildSkb(page, PAGE_SIZE)!;
        this.net.recycle.skbMarkForRecycle(skb, page, this.#pools[0].mem);
        break;
      }
      case "napi": {
        skb = this.softirq(() => lifetime.napiAllocSkb(this.rig.dev, room)!, 1);
        this.#noteQuarter(skb);
        break;
      }
      case "netdev": skb = lifetime.netdevAllocSkb(this.rig.dev, room, GFP_ATOMIC)!; break;
    }
    if (kind !== "napi" && kind !== "netdev") edit.skbReserve(skb, 64);
    edit.skbPut(skb, room);
    if (kind === "with-frags") this.#fillBlocks(skb);
    this.fill(skbRegion(skb), skb.data, room);
    skb.dev = this.rig.dev;
    skb.macHeader = skb.data;
    edit.skbPull(skb, HEADERS);
    if (kind === "user" || kind === "managed" || kind === "msg-zerocopy") this.#giveUserMemory(skb, kind);
    return skb;
  }

  #noteQuarter({ head, end, shinfo }: SkBuff): void {
    const { headPage } = shinfo!;
    if (headPage === null || end - head !== 1024 - SKB_SHARED_INFO_BYTES) return;
    // The one that is being cut comes last.
    this.#quartered.delete(headPage);
    this.#quartered.set(headPage, (headPage.base + PAGE_SIZE - head) / 1024);
  }

  #fillBlocks(skb: SkBuff): void {
    const { frags, nrFrags } = skb.shinfo!;
    for (const { netmem, offset, sizeBytes } of frags.slice(0, nrFrags)) {
      this.fill(netmem!.region, netmem!.base + offset, sizeBytes);
      skb.len += sizeBytes;
      skb.dataLen += sizeBytes;
    }
  }

  #giveUserMemory(skb: SkBuff, kind: "user" | "managed" | "msg-zerocopy"): void {
    const managed = kind === "managed";
    const { zerocopy } = this.net;
    const pages = [this.page(), this.page()];
    const sent = kind === "msg-zerocopy" ? this.#sends.msgZerocopyRealloc(600, null) : null;
    if (sent !== null) this.#sendCalls++;
    const uarg = sent ?? zerocopy.createUbufInfo({ complete: (_skb, info) => void info.refcnt-- }, managed || this.#users.length % 2 === 0 ? SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN : SKBFL_ZEROCOPY_FRAG);
    this.#users.push({ pages, uarg, own: sent === null ? 1 : 0 });
    for (const page of pages) {
      if (!managed) this.rig.machine.mm.pages.getPage(page);
      this.addFrag(skb, { netmem: page, bytes: 300 });
    }
    zerocopy.skbZcopySet(skb, uarg, sent !== null);
    if (managed) skb.shinfo!.flags |= SKBFL_MANAGED_FRAG_REFS;
  }

  #addFrag(skb: SkBuff, kind: FragKind): void {
    if (skb.shinfo!.nrFrags >= MAX_SKB_FRAGS) return;
    // Each of a managed packet's frags is its owner's.
    if (skbZcopy(skb)) return;
    switch (kind) {
      case "plain": this.addFrag(skb, { netmem: this.page(), bytes: 150 }); return;
      case "pool": this.addPoolFrag(skb, this.#pools[0], { bytes: 200, offset: 64 }); return;
      case "other-pool": this.addPoolFrag(skb, this.#pools[1], { bytes: 90 }); return;
      case "net-iov": {
        // Its holders have no other count.
        const iov = this.preset.sharedRelease === "pp-ref-count" ? this.#device.pool.allocNetmems(GFP_ATOMIC) : null;
        if (iov === null) return;
        this.addFrag(skb, { netmem: iov, bytes: 120 });
        this.#mark(skb, iov, this.#device);
        return;
      }
      case "pool-frag": {
        if (!this.preset.pagePool.hasFragments || this.preset.sharedRelease !== "pp-ref-count") return;
        const page = this.#pools[1].pool.allocFrag(this.#frag, 1024, GFP_ATOMIC)!;
        this.#fragmented.set(page, this.#frag.offset === 0 ? 1 : this.#fragmented.get(page)! + 1);
        this.#openFragPage = page;
        this.addFrag(skb, { netmem: page, offset: this.#frag.offset, bytes: 512 }, 1024);
        this.#mark(skb, page, this.#pools[1]);
      }
    }
  }

  #mark(skb: SkBuff, netmem: Netmem, from: RigPool): void {
    if (skb.ppRecycle) this.net.recycle.storeMemInfo(netmem, from.mem);
    else this.net.recycle.skbMarkForRecycle(skb, netmem, from.mem);
  }

  #add(skb: SkBuff, bytes: Bytes): void {
    skb.dev ??= this.rig.dev;
    this.packets.push({ skb, id: skb.id, bytes, users: 1 });
  }

  #remove(p: Packet): void {
    this.packets.splice(this.packets.indexOf(p), 1);
  }
}

/** What a packet holds, read past the layer's own functions. */
function read(skb: SkBuff): Bytes {
  const bytes: (number | null)[] = [...skbRegion(skb).bytes.subarray(skb.data, skb.tail)];
  const info = skb.shinfo!;
  for (let i = 0; i < info.nrFrags; i++) {
    const { netmem, offset, sizeBytes } = info.frags[i]!;
    const { region, base } = netmem!;
    for (let j = 0; j < sizeBytes; j++) bytes.push(region.cpuReadable ? region.bytes[base + offset + j]! : null);
  }
  for (let member = info.fragList; member !== null; member = member.next) bytes.push(...read(member));
  return bytes;
}

function bounds(skb: SkBuff): void {
  const info = skb.shinfo!;
  let behind = 0;
  for (let i = 0; i < info.nrFrags; i++) behind += info.frags[i]!.sizeBytes;
  for (let member = info.fragList; member !== null; member = member.next) behind += member.len;
  expectSame(`bytes behind the head of ${skb.id}`, skb.dataLen, behind);
  expectSame(`bounds of ${skb.id}`, skb.head <= skb.data && skb.data <= skb.tail && skb.tail <= skb.end && skb.tail - skb.data === skb.len - skb.dataLen, true);
}

function expectSame(what: string, got: unknown, expected: unknown): void {
  if (got !== expected) throw new Error(`${what}: ${String(got)}, expected ${String(expected)}`);
}
