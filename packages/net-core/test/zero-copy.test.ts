import { describe, expect, test } from "vitest";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { NET_RX_DROP, NET_RX_SUCCESS, SKBFL_DONT_ORPHAN, SKBFL_MANAGED_FRAG_REFS, SKBFL_PURE_ZEROCOPY, SKBFL_SHARED_FRAG, SKBFL_ZEROCOPY_FRAG, skbZcopy, type SkBuff, type UbufInfo } from "../src/api/index.ts";
import { NETDEV_TX_OK } from "@netmem/xdp/api";
import { NetRig } from "./rig.ts";

interface UserPacket {
  readonly skb: SkBuff;
  readonly uarg: UbufInfo;
  readonly page: Page;
  /** `success` of each completion. */
  readonly told: readonly boolean[];
}

/** 40 bytes in the head, 1000 in a page of a user's. */
function userPacket(rig: NetRig, flags: number = SKBFL_DONT_ORPHAN): UserPacket {
  const skb = rig.skb(40);
  const page = rig.page();
  rig.mm.pages.getPage(page);
  rig.net.edit.skbAddRxFrag(skb, page, 0, 1000, PAGE_SIZE);
  const told: boolean[] = [];
  const uarg = rig.net.zerocopy.createUbufInfo({ complete: (_skb, info, success) => {
    info.refcnt--;
    told.push(success);
  } }, SKBFL_ZEROCOPY_FRAG | flags);
  rig.net.zerocopy.skbZcopySet(skb, uarg, true);
  skb.macHeader = skb.data;
  return { skb, uarg, page, told };
}

describe("whoever points into a user's memory says so, or has a copy", () => {
  test("the second half of a split does, with its flags", () => {
    const rig = new NetRig();
    const { skb, uarg } = userPacket(rig);
    skb.shinfo!.flags |= SKBFL_PURE_ZEROCOPY | SKBFL_SHARED_FRAG;
    const skb1 = rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!;
    rig.net.merge.skbSplit(skb, skb1, 500);
    expect([skb1.shinfo!.uarg === uarg, uarg.refcnt, skb1.shinfo!.flags]).toEqual([true, 2, skb.shinfo!.flags]);
  });

  test.each([[SKBFL_DONT_ORPHAN, 0, []], [0, 1, [false]]] as const)("segments do, if they may (%i): else the frags are copied first", (flags, _copied, told) => {
    const rig = new NetRig();
    const user = userPacket(rig, flags);
    rig.net.edit.skbPull(user.skb, 40);
    user.skb.shinfo!.gsoSize = 400;
    const first = rig.net.merge.skbSegment(user.skb, { sg: true, gso: false }) as SkBuff;
    const segments = [first, first.next!, first.next!.next!];
    expect([user.told, segments.map((segment) => segment.shinfo!.uarg === user.uarg), user.uarg.refcnt]).toEqual([told, segments.map(() => flags !== 0), flags === 0 ? 0 : 4]);
    expect(segments.map((segment) => segment.shinfo!.frags[0]!.netmem === user.page)).toEqual(segments.map(() => flags !== 0));
  });

  test.each([[SKBFL_DONT_ORPHAN, true, []], [0, false, [false]]] as const)("so do segments out of a member of the frag list (%i: %j)", (flags, keeps, told) => {
    const rig = new NetRig();
    const user = userPacket(rig, flags);
    rig.net.edit.skbPull(user.skb, 40);
    const skb = rig.skb(54 + 100);
    skb.macHeader = skb.data;
    rig.net.edit.skbPull(skb, 54);
    Object.assign(skb.shinfo!, { gsoSize: 600, fragList: user.skb });
    skb.len += 1000;
    skb.dataLen += 1000;
    const first = rig.net.merge.skbSegment(skb, { sg: true, gso: false }) as SkBuff;
    expect([user.told, first.shinfo!.uarg === user.uarg, first.next!.shinfo!.uarg === user.uarg, first.next!.shinfo!.frags[0]!.netmem === user.page]).toEqual([told, keeps, keeps, keeps]);
  });

  test("a split's second half is as readable as the first was", () => {
    const rig = new NetRig();
    for (const unreadable of [false, true]) {
      const { skb } = userPacket(rig);
      skb.unreadable = unreadable;
      const skb1 = rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!;
      rig.net.merge.skbSplit(skb, skb1, 500);
      expect(skb1.unreadable).toBe(unreadable);
    }
  });

  test.each([[SKBFL_DONT_ORPHAN, true, []], [0, false, [false]]] as const)("so does what skb_zerocopy makes (%i: %j)", (flags, keeps, told) => {
    const rig = new NetRig();
    const user = userPacket(rig, flags);
    const to = rig.net.lifetime.allocSkb(40, GFP_ATOMIC)!;
    expect(rig.net.zerocopy.skbZerocopy(to, user.skb, 1040, 40)).toBe(0);
    expect([user.told, to.shinfo!.uarg === user.uarg, to.shinfo!.frags[0]!.netmem === user.page]).toEqual([told, keeps, keeps]);
    // A slab's head, and each byte in frags.
    expect(to.truesize).toBe(640 + 256 + 1000);
  });

  test("one that cannot be made for lack of memory: its owner has his memory back, not copied, and the packet has references of its own", () => {
    const rig = new NetRig();
    const { skb, page, told } = userPacket(rig, SKBFL_MANAGED_FRAG_REFS);
    rig.mm.pages.putPage(page);
    const to = rig.net.lifetime.allocSkb(40, GFP_ATOMIC)!;
    rig.mm.faults.failPageAlloc.arm({});
    expect([rig.net.zerocopy.skbZerocopy(to, skb, 1040, 40), told, page.refcount]).toEqual([-12, [true], 2]);
    rig.mm.faults.failPageAlloc.disarm();
    rig.net.lifetime.consumeSkb(skb);
    expect([page.refcount, told]).toEqual([1, [true]]);
  });

  test("an unreadable packet cannot be orphaned, shared or not", () => {
    const rig = new NetRig();
    const { skb } = userPacket(rig, 0);
    skb.unreadable = true;
    rig.net.lifetime.skbGet(skb);
    expect(rig.net.zerocopy.skbCopyUbufs(skb, GFP_ATOMIC)).toBe(-14);
  });

  test("so does a copy of the head alone", () => {
    const rig = new NetRig();
    const { skb, uarg } = userPacket(rig);
    expect([rig.net.edit.pskbCopy(skb, 0, GFP_ATOMIC)!.shinfo!.uarg === uarg, uarg.refcnt]).toEqual([true, 2]);
  });

  test("a packet that has been pulled into its head altogether has none of it: its owner is told that it was copied, once", () => {
    const rig = new NetRig();
    const { skb, told } = userPacket(rig);
    expect([rig.net.edit.pskbPullTail(skb, 900), told, skbZcopy(skb)]).toEqual([true, [], true]);
    expect([rig.net.edit.pskbPullTail(skb, 100), told, skbZcopy(skb)]).toEqual([true, [false], false]);
    rig.net.lifetime.consumeSkb(skb);
    expect(told).toEqual([false]);
  });

  test("a split ends the management of frags: each half has references of its own", () => {
    const rig = new NetRig();
    const { skb, page } = userPacket(rig);
    rig.mm.pages.putPage(page);
    skb.shinfo!.flags |= SKBFL_MANAGED_FRAG_REFS;
    const skb1 = rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!;
    rig.net.merge.skbSplit(skb, skb1, 500);
    expect(page.refcount).toBe(3);
    for (const one of [skb, skb1]) rig.net.lifetime.consumeSkb(one);
    expect(page.refcount).toBe(1);
  });
});

describe("MSG_ZEROCOPY", () => {
  test("a notification is charged for until it is read, or has become part of another", () => {
    const rig = new NetRig();
    const { zerocopy } = rig.net;
    const socket = zerocopy.openZerocopySocket(2);
    const [a, b] = [socket.msgZerocopyRealloc(1, null)!, socket.msgZerocopyRealloc(1, null)!];
    expect(socket.msgZerocopyRealloc(1, null)).toBeNull();
    zerocopy.netZcopyPut(a);
    expect(socket.msgZerocopyRealloc(1, null)).toBeNull();
    // Joined with the first.
    zerocopy.netZcopyPut(b);
    const c = socket.msgZerocopyRealloc(1, null)!;
    expect([c === null, socket.msgZerocopyRealloc(1, null)]).toEqual([false, null]);
    expect([socket.dequeueErr(), socket.dequeueErr()]).toEqual([{ lo: 0, hi: 1, copied: false }, null]);
    expect(socket.msgZerocopyRealloc(1, null)).not.toBeNull();
  });

  test("another socket's ubuf_info, or none of a socket's, cannot be aborted here", () => {
    const rig = new NetRig();
    const [socket, other] = [rig.net.zerocopy.openZerocopySocket(1), rig.net.zerocopy.openZerocopySocket(1)];
    for (const uarg of [other.msgZerocopyRealloc(1, null)!, rig.net.zerocopy.createUbufInfo({ complete: () => undefined }, 0)]) expect(() => socket.msgZerocopyPutAbort(uarg, true)).toThrow(/give one of this socket's own/);
    expect(socket.dequeueErr()).toBeNull();
  });

  test("a call that came to nothing is charged for no longer", () => {
    const rig = new NetRig();
    const socket = rig.net.zerocopy.openZerocopySocket(1);
    socket.msgZerocopyPutAbort(socket.msgZerocopyRealloc(1, null)!, true);
    expect([socket.dequeueErr(), socket.msgZerocopyRealloc(1, null) === null]).toEqual([null, false]);
  });
});

describe("nobody knows when a tap is read: it gets a copy of a user's memory, and the user is told so (skb_orphan_frags_rx)", () => {
  test("of what is sent: the device sends the user's page itself, and the user has it back as that is done", () => {
    const rig = new NetRig();
    const { skb, page, told } = userPacket(rig);
    rig.dev.up = true;
    let sentPage: unknown = null;
    rig.net.transmit.setStartXmit(rig.dev, { startXmit: (sent) => {
      sentPage = sent.shinfo!.frags[0]!.netmem;
      rig.net.lifetime.consumeSkb(sent);
      return NETDEV_TX_OK;
    } });
    const tap = rig.net.sockets.openTap({ name: "tcpdump" });
    rig.net.receive.addTap(tap);
    rig.net.transmit.devQueueXmit(skb, rig.dev);
    const [seen] = tap.packets();
    expect([sentPage === page, seen!.shinfo!.frags[0]!.netmem === page, skbZcopy(seen!), told]).toEqual([true, false, false, [false, true]]);
    tap.close();
    expect([rig.net.lifetime.stats.live, page.refcount]).toEqual([0, 1]);
  });

  test.each([["a tap", true], ["the protocol", false]])("of what is received %s does, before it has the packet", (_who, tapped) => {
    const rig = new NetRig();
    const { skb, page, told } = userPacket(rig);
    const socket = rig.net.sockets.open({ name: "s" });
    rig.net.receive.setProtocol(socket);
    const tap = rig.net.sockets.openTap({ name: "tcpdump" });
    if (tapped) rig.net.receive.addTap(tap);
    rig.net.receive.netifReceiveSkb(skb);
    expect([told, socket.packets()[0]!.shinfo!.frags[0]!.netmem === page, tap.length()]).toEqual([[false], false, tapped ? 1 : 0]);
    tap.close();
    socket.close();
    expect([rig.net.lifetime.stats.live, page.refcount]).toEqual([0, 1]);
  });

  test("a packet of a user's that goes from device to device stays the user's, if it may (____dev_forward_skb)", () => {
    const rig = new NetRig();
    const { skb, page, told } = userPacket(rig);
    rig.dev.up = true;
    expect(rig.net.receive.devForwardSkb(rig.dev, skb)).toBe(0);
    expect([told, skb.shinfo!.frags[0]!.netmem === page]).toEqual([[], true]);
    rig.net.lifetime.consumeSkb(skb);
  });
});

test.each([["down", false, NET_RX_DROP], ["up", true, NET_RX_SUCCESS]] as const)("forwarded to a device that is %s, it is copied first, and its user told so (____dev_forward_skb)", (_what, up, answer) => {
  const rig = new NetRig();
  const { skb, told } = userPacket(rig, 0);
  rig.dev.up = up;
  expect([rig.net.receive.devForwardSkb(rig.dev, skb), told]).toEqual([answer, [false]]);
  if (up) rig.net.lifetime.consumeSkb(skb);
  expect(rig.net.lifetime.stats.live).toBe(0);
});
