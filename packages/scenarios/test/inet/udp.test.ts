import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EADDRINUSE, EAGAIN, EFAULT } from "@netmem/kernel/api";
import { GFP_ATOMIC, NET_IOV_DMABUF, PAGE_SIZE } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY } from "@netmem/net-core/api";
import { internetChecksum, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { InetRig } from "./inet-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };

describe.each([["in one piece", undefined], ["headers in the head, payload in a frag", 42], ["cut in the middle of the UDP header", 37]] as const)("datagrams received %s", (_what, headBytes) => {
  test("are read in order, each whole; what is longer than was asked for is lost", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000);
    const payloads = [testPayload(10, 1), testPayload(1400, 2), testPayload(0, 3)];
    rig.receive(payloads.map((payload) => udpFrame(payload)), headBytes);
    expect([socket.length(), socket.rmemAlloc() > 0]).toEqual([3, true]);
    expect([rig.read(socket), rig.read(socket, 100), rig.read(socket), rig.read(socket)]).toEqual([[...payloads[0]!], [...payloads[1]!.subarray(0, 100)], [], -EAGAIN]);
    expect([socket.rmemAlloc(), rig.machine.net.inet.stats.udpInDatagrams]).toEqual([0, 3]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

function changed(frame: Uint8Array, at: number, value?: number): Uint8Array {
  const copy = frame.slice();
  copy[at] = value ?? copy[at]! ^ 1;
  return copy;
}

const GOOD = udpFrame(testPayload(100, 1));

test.each([
  ["the IP header's checksum", changed(GOOD, 24), { ipInHdrErrors: 1 }], ["version 6", changed(GOOD, 14, 0x65), { ipInHdrErrors: 1 }], ["a header of 16 bytes", changed(GOOD, 14, 0x44), { ipInHdrErrors: 1 }],
  ["cut in the IP header", GOOD.subarray(0, 30), { ipInHdrErrors: 1 }], ["cut in the datagram", GOOD.subarray(0, 100), { ipInTruncatedPkts: 1 }], ["the UDP checksum", changed(udpFrame(testPayload(68, 1)), 60), { udpInErrors: 1, udpCsumErrors: 1 }], ["the same of nobody's", changed(udpFrame(testPayload(100, 1), { dport: 7 }), 60), { udpInErrors: 1, udpCsumErrors: 1 }],
  ["a length of UDP beyond IP's", changed(GOOD, 38, 0x77), { udpInErrors: 1 }], ["a length of UDP of 7", changed(changed(GOOD, 38, 0), 39, 7), { udpInErrors: 1 }], ["too short for a UDP header", short(), { udpInErrors: 1 }],
  ["nobody's port", udpFrame(testPayload(10, 1), { dport: 7 }), { udpNoPorts: 1 }], ["a protocol that there is not", another(), { ipInUnknownProtos: 1 }],
])("%s: dropped, and counted", (_what, frame, expected) => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  rig.receive([frame]);
  const { ipInReceives, ...stats } = rig.machine.net.inet.stats;
  expect([ipInReceives, Object.fromEntries(Object.entries(stats).filter(([, count]) => count > 0)), socket.length()]).toEqual([1, expected, 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("more than 76 bytes of UDP are summed as they are read: those that are wrong wait until then, are dropped and counted, and the read gives the next (__skb_checksum_validate_complete, udp_recvmsg)", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const bad = changed(udpFrame(testPayload(69, 1)), 60);
  rig.receive([bad, bad, GOOD, bad]);
  const { stats } = rig.machine.net.inet;
  expect([socket.length(), stats.udpCsumErrors]).toEqual([4, 0]);
  expect([rig.read(socket), stats.udpCsumErrors, stats.udpInErrors, stats.udpInDatagrams, socket.length()]).toEqual([[...testPayload(100, 1)], 2, 2, 1, 1]);
  expect([rig.read(socket), stats.udpCsumErrors, stats.udpInErrors, socket.drops(), socket.rmemAlloc()]).toEqual([-EAGAIN, 3, 3, 3, 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what the CPU cannot read is lost as it is read, and counted (udp_recvmsg)", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const { net, mm } = rig.machine;
  const skb = rig.skb(GOOD.subarray(0, 42));
  const [iov] = mm.createNetIovArea("device", NET_IOV_DMABUF, 1, false).niovs;
  net.edit.skbAddRxFrag(skb, iov!, 0, 100, PAGE_SIZE);
  skb.ipSummed = CHECKSUM_UNNECESSARY;
  rig.machine.net.receive.netifReceiveSkb(skb);
  const { stats } = rig.machine.net.inet;
  expect([rig.read(socket), socket.drops(), stats.udpInErrors, stats.udpInDatagrams, socket.length()]).toEqual([-EFAULT, 1, 1, 0, 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

/** An IP packet of UDP with three bytes behind its header, checksum right. */
function short(): Uint8Array {
  const frame = tcpFrame(new Uint8Array(0), {}).slice(0, 37);
  frame[17] = 23;
  frame[23] = 17;
  return rechecked(frame);
}

function another(): Uint8Array {
  const frame = GOOD.slice();
  frame[23] = 47;
  return rechecked(frame);
}

function rechecked(frame: Uint8Array): Uint8Array {
  frame.fill(0, 24, 26);
  const check = internetChecksum(frame, 14, 14 + (frame[14]! & 0xf) * 4);
  frame[24] = check >> 8;
  frame[25] = check & 0xff;
  return frame;
}

/** So many words of options, all of them "no operation". */
function withIpOptions(frame: Uint8Array, words: number): Uint8Array {
  const longer = new Uint8Array(frame.length + 4 * words).fill(1);
  longer.set(frame.subarray(0, 34));
  longer.set(frame.subarray(34), 34 + 4 * words);
  longer[14] = 0x45 + words;
  const totalBytes = longer.length - 14;
  longer[16] = totalBytes >> 8;
  longer[17] = totalBytes & 0xff;
  return rechecked(longer);
}

/** With these bytes as options, whole words. */
function withTheseOptions(frame: Uint8Array, options: readonly number[]): Uint8Array {
  const longer = withIpOptions(frame, options.length / 4);
  longer.set(options, 34);
  return rechecked(longer);
}

test.each([
  ["a record of the way that has no room for an address", [7, 7, 6, 0, 0, 0, 0, 0], { ipInHdrErrors: 1 }], ["longer than the header", [99, 9, 0, 0], { ipInHdrErrors: 1 }],
  ["a loose source route", [131, 7, 4, 10, 0, 0, 9, 0], { ipSourceRoutes: 1 }], ["a strict one", [137, 7, 4, 10, 0, 0, 9, 0], { ipSourceRoutes: 1 }],
] as const)("IP options: %s: dropped, and counted (ip_rcv_options)", (_what, options, expected) => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  rig.receive([withTheseOptions(GOOD, options)]);
  const { ipInReceives: _received, ...stats } = rig.machine.net.inet.stats;
  expect([Object.fromEntries(Object.entries(stats).filter(([, count]) => count > 0)), socket.length()]).toEqual([expected, 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a packet with IP options that others share has a head of its own from then on; without memory for it it is dropped", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const { net, mm } = rig.machine;
  const frame = withTheseOptions(GOOD, [1, 1, 1, 1]);
  for (const fails of [false, true]) {
    const skb = rig.skb(frame);
    const clone = net.lifetime.skbClone(skb, GFP_ATOMIC)!;
    if (fails) mm.faults.failSlab.arm({});
    net.receive.netifReceiveSkb(skb);
    mm.faults.failSlab.disarm();
    expect(clone.shinfo!.dataref & 0xffff).toBe(1);
    net.lifetime.consumeSkb(clone);
  }
  expect([rig.read(socket), rig.read(socket), net.inet.stats.ipInDiscards]).toEqual([[...testPayload(100, 1)], -EAGAIN, 1]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a datagram is taken as it was sent, and not with any one bit of it or of its addresses turned: with options and without, of any length, wherever its bytes lie", () => {
  const header = fc.record({ saddr: fc.nat(0xffffffff), daddr: fc.nat(0xffffffff), sport: fc.integer({ min: 1, max: 0xffff }) });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1400 }), header, fc.nat(10), fc.option(fc.integer({ min: 34, max: 100 }), { nil: undefined }), fc.nat(), fc.nat(7), (payload, addresses, words, headBytes, at, bit) => {
    const good = withIpOptions(udpFrame(payload, addresses), words);
    // Ports, checksum and payload; the length is somebody else's to check.
    const covered = [...Array.from({ length: 8 }, (_, i) => 26 + i), ...Array.from({ length: payload.length + 8 }, (_, i) => 34 + 4 * words + i).filter((_, i) => i !== 2 && i !== 3 && i !== 4 && i !== 5)];
    const turnedAt = covered[at % covered.length]!;
    const bad = rechecked(changed(good, turnedAt, good[turnedAt]! ^ (1 << bit)));
    const saysNone = bad[40 + 4 * words] === 0 && bad[41 + 4 * words] === 0;
    const rig = new InetRig();
    const socket = rig.udp(2000);
    rig.receive([good, bad], headBytes === undefined || headBytes >= good.length ? undefined : headBytes);
    expect(rig.read(socket)).toEqual([...payload]);
    expect(rig.read(socket)).toEqual(saysNone ? expect.any(Array) : -EAGAIN);
    expect(rig.machine.net.inet.stats.udpCsumErrors).toBe(saysNone ? 0 : 1);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 60 });
});

test("without a checksum it is taken as it is; what fills the frame up is no part of it", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const frame = udpFrame(testPayload(4, 1));
  frame.fill(0, 40, 42);
  rig.receive([new Uint8Array([...frame, ...new Uint8Array(14).fill(9)])]);
  expect(rig.read(socket)).toEqual([...testPayload(4, 1)]);
});

test("a port that is taken is refused; closed, it is free again at once, and what waited stays until a grace period is over", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  expect(rig.machine.net.inet.udpBind({ name: "second", port: 2000 })).toBe(-EADDRINUSE);
  rig.receive([GOOD, GOOD]);
  socket.close();
  const next = rig.udp(2000);
  rig.receive([GOOD]);
  expect([next.length(), rig.machine.net.lifetime.stats.live]).toEqual([1, 3]);
  rig.machine.kernel.rcu.rcuBarrier();
  expect(rig.machine.net.lifetime.stats.live).toBe(1);
  next.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("sockets of no port share out what is left, a connection always going to the same", () => {
  const rig = new InetRig();
  const own = rig.udp(2000);
  const group = Array.from({ length: 8 }, () => rig.udp(null));
  for (let i = 0; i < 200; i++) rig.receive([udpFrame(testPayload(4, i), { dport: 3000 + (i % 50), sport: i % 50 })]);
  rig.receive([GOOD]);
  expect([own.length(), group.reduce((sum, socket) => sum + socket.length(), 0), group.every((socket) => socket.length() % 4 === 0 && socket.length() > 0)]).toEqual([1, 200, true]);
  for (const socket of [own, ...group]) socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each([2, 3, 4, 8, 16])("%i sockets share out the clients of one server, whether they differ in address or in port: none has twice its part", (sockets) => {
  for (const client of [(i: number) => ({ sport: 40_000 + i }), (i: number) => ({ saddr: 0x0a00_0100 + i }), (i: number) => ({ sport: 1024 + 256 * i })]) {
    const rig = new InetRig();
    const group = Array.from({ length: sockets }, () => rig.udp(null));
    for (let i = 0; i < 240; i++) rig.receive([udpFrame(testPayload(4, i), client(i))]);
    const shares = group.map((socket) => socket.length());
    expect([Math.max(...shares) < (2 * 240) / sockets, Math.min(...shares) > 240 / sockets / 3]).toEqual([true, true]);
    for (const socket of group) socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }
});

describe("a reader takes over all that waits, and gives its truesize back in lumps (__skb_recv_udp, udp_rmem_release)", () => {
  const FRAME = udpFrame(testPayload(1000, 1));

  test("after 10 of 40 reads nothing has come back, as on the real kernel; a quarter of the buffer does at a time; with the last read, all", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000, { rcvbufBytes: 212_992 });
    rig.receive(Array.from({ length: 40 }, () => FRAME));
    const full = socket.rmemAlloc();
    const truesize = full / 40;
    const charged = Array.from({ length: 40 }, () => {
      rig.read(socket);
      return socket.rmemAlloc();
    });
    const lump = Math.ceil((212_992 >> 2) / truesize);
    expect(charged.slice(0, lump - 1)).toEqual(Array.from({ length: lump - 1 }, () => full));
    expect([charged[9], charged[lump - 1], charged[38]! > 0, charged[39]]).toEqual([full, full - lump * truesize, true, 0]);
  });

  test("what was read and not given back takes room from what comes", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000, { rcvbufBytes: 212_992 });
    rig.receive(Array.from({ length: 60 }, () => FRAME));
    const dropped = socket.drops();
    expect([dropped > 0, socket.length()]).toEqual([true, 60 - dropped]);
    for (let i = 0; i < 5; i++) rig.read(socket);
    rig.receive([FRAME]);
    expect([socket.drops(), socket.length()]).toEqual([dropped + 1, 60 - dropped - 5]);
    socket.close();
    expect([rig.end(), socket.rmemAlloc()]).toEqual([NOTHING_LEFT, 0]);
  });

  test("what comes while it reads is taken over as it gives back, so that it has not read all when that is read (skb_queue_splice_tail_init in udp_rmem_release)", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000, { rcvbufBytes: 212_992 });
    const truesize = 4096 + 256;
    const charged: number[] = [];
    const comes = (n: number) => rig.receive(Array.from({ length: n }, () => FRAME));
    for (const n of [1, 2, 1, 1]) {
      comes(n);
      rig.read(socket);
      charged.push(socket.rmemAlloc() / truesize);
    }
    // A; B of B and C; C of C and D; D of D and E.
    expect([charged, socket.length()]).toEqual([[0, 2, 1, 1], 1]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("datagrams are counted as they are read (udp_recvmsg)", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000);
    rig.receive([FRAME, FRAME]);
    expect(rig.machine.net.inet.stats.udpInDatagrams).toBe(0);
    rig.read(socket);
    expect(rig.machine.net.inet.stats.udpInDatagrams).toBe(1);
    socket.close();
  });

  test.each([["5.14", 0], ["6.1", 0], ["6.8", 0], ["6.18", 10]] as const)("%s: %i of ten that another CPU has read wait to be freed by the one that allocated them", (preset, waiting) => {
    const rig = new InetRig({ preset });
    const socket = rig.udp(2000);
    rig.receive(Array.from({ length: 10 }, () => FRAME));
    const { timers, scheduler } = rig.machine.kernel;
    timers.modTimer(timers.timerSetup(() => Array.from({ length: 10 }, () => rig.read(socket)), 1), 0);
    scheduler.runFor(0);
    expect([socket.length(), rig.machine.net.lifetime.stats.live]).toEqual([0, waiting]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("a full receive buffer", () => {
  test.each([["6.18", 4], ["6.8", 5]] as const)("under %s takes %i packets of 4 KiB into 18 000 bytes; a drop is counted by socket and machine, and read makes room", (preset, takes) => {
    const rig = new InetRig({ preset });
    const socket = rig.udp(2000, { rcvbufBytes: 18_000 });
    rig.receive(Array.from({ length: 8 }, () => GOOD));
    expect([socket.length(), socket.drops(), rig.machine.net.inet.stats.udpRcvbufErrors]).toEqual([takes, 8 - takes, 8 - takes]);
    while (socket.length() > 0) rig.read(socket);
    rig.receive([GOOD]);
    expect(socket.length()).toBe(1);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("of less than a packet still takes one", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000, { rcvbufBytes: 100 });
    rig.receive([GOOD, GOOD]);
    expect([socket.length(), socket.drops()]).toEqual([1, 1]);
    socket.close();
  });

  test("half full, a small datagram gives up the page of its frag", () => {
    const rig = new InetRig();
    const socket = rig.udp(2000, { rcvbufBytes: 30_000 });
    rig.receive(Array.from({ length: 3 }, () => GOOD), 42, PAGE_SIZE);
    expect(socket.packets().map((skb) => skb.shinfo!.nrFrags)).toEqual([1, 1, 0]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});
