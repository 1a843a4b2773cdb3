import { describe, expect, test } from "vitest";
import { EFAULT, EINVAL, EIO, EMSGSIZE, ENOMEM, KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, GFP_KERNEL, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { SKBFL_DONT_ORPHAN, SKBFL_MANAGED_FRAG_REFS, SKBFL_SHARED_FRAG, SKBFL_ZEROCOPY_FRAG, skbTruesize, skbZcopy, type SkBuff } from "@netmem/net-core/api";
import { PRESET_NAMES } from "@netmem/machine";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import { refs } from "../rig.ts";
import { SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import { SkbBench } from "./bench.ts";

const counts = (pages: readonly Page[]): number[] => pages.map(({ refcount }) => refcount);

describe.each(PRESET_NAMES)("%s: copies, pulls, and somebody else's memory", (preset) => {
  const row = (n: number, title: string): string => `skb-mm row ${n} [${preset}]: ${title}`;
  const newBench = (): SkbBench => new SkbBench(preset);
  const { recycles } = newBench();

  test.each(["copy first", "original first"])(`skb-mm row 67 [${preset}]: __pskb_copy of a recycling skb does not recycle, and has a page reference of each frag; freed %s`, (order) => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const skb = bench.pooled(from);
    const frag = bench.addPoolFrag(skb, from);
    const copy = bench.net.edit.pskbCopy(skb, 32, GFP_ATOMIC)!;
    expect([copy.ppRecycle, refs(frag), bench.bytes(copy), copy.truesize]).toEqual([false, recycles ? "2/1" : "2/0", bench.bytes(skb), skbTruesize(copy.end - copy.head) + 100]);
    const copyFirst = order === "copy first";
    bench.free(...(copyFirst ? [copy, skb] : [skb, copy]));
    // The last who knows of the pool decides: with the copy still there, the page leaves.
    expect([from.pool.ringCount(), frag.refcount, bench.kinds()]).toEqual([recycles ? (copyFirst ? 2 : 1) : 0, recycles && copyFirst ? 1 : 0, []]);
  });

  test(row(68, "an unreadable skb has no copy; its head can be read, and beyond it is -EFAULT"), () => {
    const bench = newBench();
    const device = bench.rig.createDevicePool(4);
    const skb = bench.skb(60);
    const bytes = bench.bytes(skb);
    bench.addFrag(skb, { netmem: device.pool.allocNetmems(0)! });
    const { edit, zerocopy } = bench.net;
    const target = bench.rig.machine.mm.payload.addRegion("target", 256, true);
    expect([edit.skbCopy(skb, GFP_ATOMIC), edit.skbCopyExpand(skb, 64, 64, GFP_ATOMIC), edit.pskbPullTail(skb, 10), edit.skbLinearize(skb), edit.pskbMayPull(skb, 61), edit.pskbMayPull(skb, 60)]).toEqual([null, null, false, -EFAULT, false, true]);
    expect([edit.skbCopyBits(skb, 0, target, 0, 60), [...target.bytes.subarray(0, 60)], edit.skbCopyBits(skb, 0, target, 0, 61), edit.skbStoreBits(skb, 50, target, 0, 20)]).toEqual([0, bytes, -EFAULT, -EFAULT]);
    // The layer that holds them does not touch them either.
    edit.skbCondense(skb);
    zerocopy.skbZcopySet(skb, bench.userBuffer().uarg, false);
    expect([skb.shinfo!.nrFrags, zerocopy.skbCopyUbufs(skb, GFP_ATOMIC), bench.kinds()]).toEqual([1, -EFAULT, []]);
  });

  test(row(69, "pulling eats whole frags, which go home at once, and part of the next; truesize stays"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const skb = bench.skb(20, "slab", 400);
    for (let i = 0; i < 3; i++) bench.addPoolFrag(skb, from);
    const [bytes, { truesize }] = [bench.bytes(skb), skb];
    expect(bench.net.edit.pskbPullTail(skb, 250)).toBe(true);
    expect([from.pool.ringCount(), skb.shinfo!.nrFrags, skb.shinfo!.frags[0]!.offset, skb.len - skb.dataLen, skb.truesize, bench.bytes(skb)]).toEqual([recycles ? 2 : 0, 1, 50, 270, truesize, bytes]);
    bench.net.edit.skbCondense(skb);
    expect([skb.dataLen, skb.truesize, bench.bytes(skb), from.pool.ringCount()]).toEqual([0, skbTruesize(skb.end - skb.head), bytes, recycles ? 3 : 0]);
  });

  test(row(70, "freeing a packet whose frags its owner manages puts none of them, and tells him once"), () => {
    const bench = newBench();
    const user = bench.userBuffer();
    const { skb, pages } = bench.userPacket(user, 3, true);
    const clone = bench.rig.clone(skb);
    bench.free(skb);
    expect([user.told, counts(pages)]).toEqual([[], [1, 1, 1]]);
    bench.free(clone);
    expect([user.told, counts(pages), user.uarg.refcnt]).toEqual([[true], [1, 1, 1], 1]);
  });

  test(row(71, "expanding such a packet ends the management: each frag has a reference of its own first"), () => {
    const bench = newBench();
    const user = bench.userBuffer();
    const { skb, pages } = bench.userPacket(user, 2, true);
    const clone = bench.rig.clone(skb);
    expect(bench.net.edit.pskbExpandHead(clone, 0, 0, GFP_KERNEL)).toBe(0);
    // One reference is the user's, one the shared data's, one the clone's own.
    expect([counts(pages), skb.shinfo!.flags & SKBFL_MANAGED_FRAG_REFS, clone.shinfo!.flags & SKBFL_MANAGED_FRAG_REFS, user.uarg.refcnt]).toEqual([[3, 3], 0, 0, 3]);
    bench.free(skb, clone);
    expect([counts(pages), user.told]).toEqual([[1, 1], [true, true]]);
  });

  test(row(72, "a clone of memory that clones may not keep: the frags are copied first, and the owner is told that they were"), () => {
    const bench = newBench();
    const user = bench.userBuffer(SKBFL_ZEROCOPY_FRAG);
    const { skb, pages } = bench.userPacket(user, 3);
    const bytes = bench.bytes(skb);
    const clone = bench.rig.clone(skb);
    expect([user.told, counts(pages), skbZcopy(skb), skb.shinfo!.nrFrags, bench.bytes(skb), bench.bytes(clone)]).toEqual([[false], [1, 1, 1], false, 1, bytes, bytes]);
    for (const page of pages) bench.fill(page.region, page.base, 1000);
    expect(bench.bytes(clone)).toEqual(bytes);
    // With DONT_ORPHAN nothing is copied.
    const kept = bench.userPacket(bench.userBuffer(), 1).skb;
    expect(skbZcopy(bench.rig.clone(kept))).toBe(true);
  });

  test(row(73, "looped to a receiver it is copied, whatever its owner allows"), () => {
    const bench = newBench();
    const user = bench.userBuffer();
    const { skb, pages } = bench.userPacket(user, 2);
    const clone = bench.rig.clone(skb);
    const bytes = bench.bytes(skb);
    expect([bench.net.zerocopy.skbOrphanFrags(clone, GFP_ATOMIC), skbZcopy(clone)]).toEqual([0, true]);
    expect([bench.net.zerocopy.skbOrphanFragsRx(clone, GFP_ATOMIC), skbZcopy(clone), skbZcopy(skb), user.told, counts(pages), bench.bytes(clone)]).toEqual([0, false, true, [false], [2, 2], bytes]);
    bench.free(clone, skb);
    expect([user.told, counts(pages)]).toEqual([[false, true], [1, 1]]);
  });
});

describe("somebody else's memory", () => {
  test("copying into pages of the kernel's takes the fewest blocks that fit; shared, or without memory, the packet is as it was", () => {
    const bench = new SkbBench("6.18");
    const { zerocopy, lifetime } = bench.net;
    const user = bench.userBuffer();
    const { skb, pages } = bench.userPacket(user, MAX_SKB_FRAGS);
    const bytes = bench.bytes(skb);
    lifetime.skbGet(skb);
    expect(zerocopy.skbCopyUbufs(skb, GFP_ATOMIC)).toBe(-EINVAL);
    bench.free(skb);
    const { failPageAlloc } = bench.rig.machine.mm.faults;
    failPageAlloc.arm({ nth: 3, site: "skbCopyUbufs" });
    expect(zerocopy.skbCopyUbufs(skb, GFP_ATOMIC)).toBe(-ENOMEM);
    failPageAlloc.disarm();
    expect([bench.bytes(skb), counts(pages), user.told]).toEqual([bytes, pages.map(() => 2), []]);
    expect([zerocopy.skbCopyUbufs(skb, GFP_ATOMIC), skb.shinfo!.nrFrags, bench.bytes(skb), user.told]).toEqual([0, Math.ceil((MAX_SKB_FRAGS * 1000) / PAGE_SIZE), bytes, [false]]);
  });

  test("a cookie is kept and forgotten, and nobody is told; one owner a packet", () => {
    const bench = new SkbBench("6.18");
    const { zerocopy } = bench.net;
    const skb = bench.skb(60);
    zerocopy.skbZcopySetNouarg(skb, 77);
    const user = bench.userBuffer();
    expect([skbZcopy(skb), skb.shinfo!.zcopyCookie, zerocopy.skbZcopySet(skb, user.uarg, true), user.uarg.refcnt]).toEqual([true, 77, false, 1]);
    zerocopy.skbZcopyClear(skb, true);
    expect([skbZcopy(skb), zerocopy.skbZcopySet(skb, user.uarg, true), user.uarg.refcnt]).toEqual([false, true, 1]);
    const other = bench.skb(60);
    expect([zerocopy.skbZerocopyClone(other, skb, GFP_ATOMIC), user.uarg.refcnt, other.shinfo!.flags & SKBFL_DONT_ORPHAN]).toEqual([0, 2, SKBFL_DONT_ORPHAN]);
    // Another owner's: what it has is copied first, or, without memory to be had, it is refused.
    const third = bench.userPacket(bench.userBuffer(), 1).skb;
    expect([zerocopy.skbZerocopyClone(third, skb, 0), zerocopy.skbZerocopyClone(third, skb, GFP_ATOMIC), third.shinfo!.uarg === user.uarg, user.uarg.refcnt]).toEqual([-ENOMEM, 0, true, 3]);
    expect(bench.kinds()).toEqual(["zcopy-clone-twice"]);
    const shared = bench.skb(60);
    bench.rig.clone(shared);
    expect(() => zerocopy.skbZcopySet(shared, bench.userBuffer(SKBFL_ZEROCOPY_FRAG).uarg, false)).toThrow(KernelPanic);
  });

  test("skb_zerocopy: behind the tail if it fits; else a copied start and references; or the head's page as the first frag", () => {
    for (const [len, hlen] of [[50, 0], [150, 60], [260, 60], [260, 0], [100, 0], [40, 0]] as const) {
      const bench = new SkbBench("6.18");
      const from = bench.skb(60);
      const head = from.shinfo!.headPage!;
      for (let i = 0; i < 2; i++) bench.addFrag(from, { netmem: bench.page() });
      const to = bench.net.lifetime.allocSkb(len === 50 ? 2000 : 64, GFP_ATOMIC)!;
      bench.net.edit.skbReserve(to, len === 50 ? 0 : to.end - to.tail - hlen);
      expect(bench.net.zerocopy.skbZerocopy(to, from, len, hlen)).toBe(0);
      expect([bench.bytes(to), to.len, to.len - to.dataLen]).toEqual([bench.bytes(from).slice(0, len), len, len === 50 ? 50 : hlen]);
      expect(head.refcount).toBe(len !== 50 && hlen === 0 ? 2 : 1);
      bench.free(from, to);
      expect([bench.net.lifetime.stats.live, head.refcount]).toEqual([0, 0]);
    }
    const bench = new SkbBench("6.18");
    const listed = bench.skb(100);
    listed.shinfo!.fragList = bench.skb(1);
    expect([bench.skb(64), bench.skb(63), bench.skb(64, "slab"), bench.skb(0), listed].map((skb) => bench.net.zerocopy.skbZerocopyHeadlen(skb))).toEqual([0, 63, 64, 0, 100]);
    expect(() => bench.net.zerocopy.skbZerocopy(bench.skb(0), bench.skb(60, "slab"), 60, 0)).toThrow(KernelPanic);
  });

  test("splicing appends pages as frags, a reference each, and extends the last; no room or a slab's page stops it, and what was not taken stays in the iterator", () => {
    const bench = new SkbBench("6.18");
    const { zerocopy } = bench.net;
    const pages = Array.from({ length: 3 }, () => bench.page());
    const [a, b, c] = pages as [Page, Page, Page];
    const iter = { pages: [{ page: a, offset: 100, sizeBytes: 500 }, { page: a, offset: 600, sizeBytes: 400 }, { page: b, offset: 0, sizeBytes: PAGE_SIZE }, { page: c, offset: 8, sizeBytes: 16 }], position: 0 };
    const skb = bench.net.lifetime.allocSkb(60, GFP_ATOMIC)!;
    const { truesize } = skb;
    expect([zerocopy.skbSpliceFromIter(skb, iter, 700), skb.shinfo!.nrFrags, counts(pages), iter.position]).toEqual([700, 1, [2, 1, 1], 700]);
    expect([zerocopy.skbSpliceFromIter(skb, iter, 1_000_000), skb.shinfo!.nrFrags, counts(pages), skb.len, skb.truesize - truesize]).toEqual([200 + PAGE_SIZE + 16, 3, [2, 2, 2], 916 + PAGE_SIZE, 916 + PAGE_SIZE]);
    const full = bench.skb(10, "slab");
    for (let i = 0; i < MAX_SKB_FRAGS; i++) bench.addFrag(full, { netmem: bench.page() });
    const more = { pages: [{ page: b, offset: 0, sizeBytes: 10 }], position: 0 };
    expect([zerocopy.skbSpliceFromIter(full, more, 10), more.position]).toEqual([-EMSGSIZE, 0]);
    const { slab } = bench.rig.machine.mm;
    const object = slab.kmalloc(512, GFP_ATOMIC)!;
    const slabbed = { pages: [{ page: c, offset: 0, sizeBytes: 8 }, { page: object.slab, offset: 0, sizeBytes: 8 }], position: 0 };
    expect([zerocopy.skbSpliceFromIter(skb, slabbed, 100), slabbed.position, zerocopy.skbSpliceFromIter(skb, slabbed, 100)]).toEqual([8, 8, -EIO]);
    expect(bench.kinds()).toEqual(["splice-slab-page", "splice-slab-page"]);
    // A user's own pages are not joined.
    const user = bench.userPacket(bench.userBuffer(), 1);
    const page = user.pages[0]!;
    expect([zerocopy.skbSpliceFromIter(user.skb, { pages: [{ page, offset: 1000, sizeBytes: 10 }], position: 0 }, 10), user.skb.shinfo!.nrFrags]).toEqual([10, 2]);
  });

  test("MSG_ZEROCOPY: send calls share a ubuf_info while it is the latest and below 512 KiB; notifications of ranges side by side become one", () => {
    const bench = new SkbBench("6.18");
    const { zerocopy } = bench.net;
    const sock = zerocopy.openZerocopySocket(2);
    const first = sock.msgZerocopyRealloc(100, null)!;
    expect([sock.msgZerocopyRealloc(1000, first), first.refcnt]).toEqual([first, 2]);
    // Beyond the limit a new one; a third has to wait until one is done.
    const second = sock.msgZerocopyRealloc(1 << 19, first)!;
    expect([second === first, sock.msgZerocopyRealloc(1, null), sock.msgZerocopyRealloc(1, bench.userBuffer().uarg)]).toEqual([false, null, null]);
    const skbs = [bench.skb(60), bench.skb(60)];
    zerocopy.skbZcopySet(skbs[0]!, first, false);
    zerocopy.skbZcopySet(skbs[1]!, second, true);
    zerocopy.netZcopyPut(first);
    zerocopy.netZcopyPut(first);
    expect(sock.dequeueErr()).toBeNull();
    bench.free(...skbs);
    // Calls 0 and 1, then 2, which extends the range.
    expect([sock.dequeueErr(), sock.dequeueErr()]).toEqual([{ lo: 0, hi: 2, copied: false }, null]);
    const third = sock.msgZerocopyRealloc(10, null)!;
    sock.msgZerocopyPutAbort(third, true);
    expect(sock.dequeueErr()).toBeNull();
    // Aborted: the number is given again, and what was copied is said.
    const fourth = sock.msgZerocopyRealloc(10, null)!;
    const skb = bench.userPacket({ uarg: fourth, told: [] }, 1).skb;
    zerocopy.netZcopyPut(fourth);
    expect(zerocopy.skbCopyUbufs(skb, GFP_ATOMIC)).toBe(0);
    expect(sock.dequeueErr()).toEqual({ lo: 3, hi: 3, copied: true });
  });

  test("what a copied relation says of shared frags goes with them", () => {
    const bench = new SkbBench("6.18");
    const { skb } = bench.userPacket(bench.userBuffer(), 1);
    const copy = bench.net.edit.pskbCopy(skb, 0, GFP_ATOMIC)!;
    expect([copy.shinfo!.flags & SKBFL_SHARED_FRAG, copy.shinfo!.uarg === skb.shinfo!.uarg, skb.shinfo!.uarg!.refcnt]).toEqual([SKBFL_SHARED_FRAG, true, 3]);
  });
});

describe("heads of one's own", () => {
  const bench = new SkbBench("6.18");
  const { edit, lifetime } = bench.net;

  test("unclone, cow and cow_head take a private head when they must, and none when they need not", () => {
    const a = bench.skb(100);
    const head = a.head;
    expect([edit.skbUnclone(a, GFP_ATOMIC), edit.skbCow(a, 64), a.head === head]).toEqual([0, 0, true]);
    expect([edit.skbCow(a, 65), a.head === head, a.data - a.head]).toEqual([0, false, 128]);
    const b = bench.rig.clone(a);
    expect([edit.skbUnclone(b, GFP_ATOMIC), b.shinfo!.dataref, a.shinfo!.dataref, bench.bytes(b)]).toEqual([0, 1, 1, bench.bytes(a)]);
    edit.skbHeaderRelease(a);
    const c = bench.rig.clone(a);
    const { head: shared } = c;
    expect([edit.skbCowHead(c, 10), c.head === shared, edit.skbCow(c, 10), c.head === shared]).toEqual([0, true, 0, false]);
    bench.free(a, b, c);
  });

  test("uncloned with its truesize kept, an skb ends where it did, unless one of the two heads is a small one", () => {
    // A part of a page is no size of a slab's, so that the new head is larger, or a small one's.
    for (const [bytes, end, kinds] of [[1080, 1080, []], [400, 400, []], [320, 320, []], [200, 320, ["skb-unclone-end"]]] as const) {
      const a = lifetime.buildSkb(bench.page(), bytes + SKB_SHARED_INFO_BYTES)!;
      edit.skbPut(a, 50);
      const b = lifetime.skbClone(a, GFP_ATOMIC)!;
      const { truesize } = b;
      expect([edit.skbUncloneKeeptruesize(b, GFP_ATOMIC), b.truesize, b.end - b.head, b.shinfo!.dataref, bench.kinds()]).toEqual([0, truesize, end, 1, kinds]);
      bench.free(a, b);
    }
  });

  test("before small heads had a cache, every head ends where it did", () => {
    const old = new SkbBench("6.1");
    const a = old.net.lifetime.buildSkb(old.page(), 200 + SKB_SHARED_INFO_BYTES)!;
    const b = old.net.lifetime.skbClone(a, GFP_ATOMIC)!;
    expect([old.net.edit.skbUncloneKeeptruesize(b, GFP_ATOMIC), b.end - b.head, old.kinds()]).toEqual([0, 200, []]);
  });

  test("what somebody is charged for does not change when its head does", () => {
    const a = bench.skb(100);
    const { truesize } = a;
    a.destructor = { destruct: () => {} };
    edit.pskbExpandHead(a, 0, 3000, GFP_ATOMIC);
    expect(a.truesize).toBe(truesize);
    bench.free(a);
  });

  test("copies: all in one piece, with other room, or not at all of a frag list of whole packets", () => {
    const a = bench.skb(100);
    bench.addFrag(a, { netmem: bench.page() });
    const member = bench.skb(30);
    a.shinfo!.fragList = member;
    a.len += 30;
    a.dataLen += 30;
    a.macHeader = a.data - 14;
    a.networkHeader = a.data;
    const copies = [edit.skbCopy(a, GFP_ATOMIC)!, edit.skbCopyExpand(a, 200, 300, GFP_ATOMIC)!];
    for (const copy of copies) expect([bench.bytes(copy), copy.dataLen, copy.macHeader - copy.data, copy.networkHeader - copy.data, copy.ppRecycle]).toEqual([bench.bytes(a), 0, -14, 0, false]);
    expect([copies[1]!.data - copies[1]!.head, copies[1]!.end - copies[1]!.tail >= 300]).toEqual([200, true]);
    expect(edit.skbUnshare(copies[0]!, GFP_ATOMIC)).toBe(copies[0]);
    const clone = bench.rig.clone(a);
    const own = edit.skbUnshare(clone, GFP_ATOMIC)!;
    expect([own === clone, clone.free, bench.bytes(own)]).toEqual([false, true, bench.bytes(a)]);
    a.shinfo!.gsoType = 1 << 18;
    expect([edit.skbCopy(a, GFP_ATOMIC), bench.kinds()]).toEqual([null, ["skb-unclone-end", "skb-copy-fraglist"]]);
    bench.free(a, own, ...copies);
    expect(lifetime.stats.live).toBe(0);
  });

  test.each([0, 40, 100, 150, 200, 210, 230, 260])("trimmed to %i of 260 bytes in head, frags and frag list: what lies behind is freed, members that others hold are theirs", (len) => {
    const own = new SkbBench("6.18");
    const before = own.freePages();
    const a = own.skb(100);
    for (let i = 0; i < 2; i++) own.addFrag(a, { netmem: own.page(), bytes: 50 });
    const members = [own.skb(30), own.skb(30)];
    members[0]!.next = members[1]!;
    a.shinfo!.fragList = members[0]!;
    a.len += 60;
    a.dataLen += 60;
    const copy = own.net.edit.pskbCopy(a, 0, GFP_ATOMIC)!;
    const bytes = own.bytes(a);
    expect([own.net.edit.pskbTrim(a, len), own.bytes(a), own.bytes(copy)]).toEqual([0, bytes.slice(0, len), bytes]);
    own.free(a);
    expect(own.bytes(copy)).toEqual(bytes);
    own.free(copy);
    expect([own.net.lifetime.stats.live, own.freePages(), own.kinds()]).toEqual([0, before, []]);
  });

  test.each([10, 50, 99, 100, 110, 130, 145, 160])("pulling %i bytes out of frags and a frag list that a copy shares: the same bytes, and the copy's are untouched", (delta) => {
    const own = new SkbBench("6.18");
    const before = own.freePages();
    const a = own.skb(20);
    for (let i = 0; i < 2; i++) own.addFrag(a, { netmem: own.page(), bytes: 50 });
    const members: SkBuff[] = [own.skb(30), own.skb(30)];
    members[0]!.next = members[1]!;
    a.shinfo!.fragList = members[0]!;
    a.len += 60;
    a.dataLen += 60;
    const copy = own.net.edit.pskbCopy(a, 0, GFP_ATOMIC)!;
    const bytes = own.bytes(a);
    expect([own.net.edit.pskbPullTail(a, delta), own.bytes(a), a.len - a.dataLen, own.bytes(copy)]).toEqual([true, bytes, 20 + delta, bytes]);
    own.free(copy);
    expect(own.bytes(a)).toEqual(bytes);
    expect([own.net.edit.skbLinearize(a), own.bytes(a)]).toEqual([0, bytes]);
    own.free(a);
    expect([own.net.lifetime.stats.live, own.freePages(), own.kinds()]).toEqual([0, before, []]);
  });
});
