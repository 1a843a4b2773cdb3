import { expect, test } from "vitest";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { NETDEV_TX_OK } from "@netmem/xdp/api";
import { NET_RX_DROP, SKB_CONSUMED, SKB_DROP_REASON_DEV_READY, SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_QUEUE_PURGE, SKB_DROP_REASON_SOCKET_CLOSE, SKB_DROP_REASON_SOCKET_RCVBUFF, SKB_DROP_REASON_UNHANDLED_PROTO, skbRegion, type PacketHandler } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

test("without a protocol a packet is dropped, with the reason", () => {
  const rig = new NetRig();
  rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect(rig.freed).toEqual([`60 ${SKB_DROP_REASON_UNHANDLED_PROTO}`]);
});

test("a socket queues in order, says so, and accounts truesize; reading hands the packet over", () => {
  const rig = new NetRig();
  let ready = 0;
  const socket = rig.net.sockets.open({ name: "s", dataReady: () => void ready++ });
  rig.net.receive.setProtocol(socket);
  const skbs = [rig.skb(60), rig.skb(61), rig.skb(62)];
  for (const skb of skbs) rig.net.receive.netifReceiveSkb(skb);
  expect([socket.length(), socket.rmemAlloc(), ready]).toEqual([3, 3 * skbs[0]!.truesize, 3]);
  expect([socket.dequeue(), socket.dequeue(), socket.dequeue(), socket.dequeue()]).toEqual([...skbs, null]);
  expect([socket.length(), socket.rmemAlloc()]).toEqual([0, 0]);
});

test("a packet beyond the receive buffer is dropped with SOCKET_RCVBUFF; closing drops what waits with QUEUE_PURGE, and what comes with SOCKET_CLOSE", () => {
  const rig = new NetRig();
  const socket = rig.net.sockets.open({ name: "s", rcvbufBytes: 10_000 });
  rig.net.receive.setProtocol(socket);
  for (let i = 0; i < 3; i++) rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect([socket.length(), socket.drops(), rig.freed]).toEqual([2, 1, [`60 ${SKB_DROP_REASON_SOCKET_RCVBUFF}`]]);
  socket.close();
  rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect(rig.freed.slice(1)).toEqual([SKB_DROP_REASON_QUEUE_PURGE, SKB_DROP_REASON_QUEUE_PURGE, SKB_DROP_REASON_SOCKET_CLOSE].map((reason) => `60 ${reason}`));
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test("a tap gets a clone of its own; the original goes on to the protocol", () => {
  const rig = new NetRig();
  const [tap, socket] = [rig.net.sockets.openTap({ name: "t" }), rig.net.sockets.open({ name: "s" })];
  rig.net.receive.addTap(tap);
  rig.net.receive.setProtocol(socket);
  const skb = rig.skb(60);
  rig.net.receive.netifReceiveSkb(skb);
  const clone = tap.dequeue()!;
  expect([socket.dequeue(), clone === skb, clone.shinfo === skb.shinfo, skb.users, clone.users]).toEqual([skb, false, true, 1, 1]);
  rig.net.lifetime.consumeSkb(skb);
  rig.net.lifetime.consumeSkb(clone);
  expect([rig.freePages(), rig.freed.at(-1)]).toEqual([512, `60 ${SKB_CONSUMED}`]);
  rig.net.receive.removeTap(tap);
  rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect(tap.length()).toBe(0);
});

test("a tap that goes as it gets a packet does not hide it from the next", () => {
  const rig = new NetRig();
  const seen: string[] = [];
  const tap = (name: string, goes: boolean): PacketHandler => {
    const handler: PacketHandler = { packetRcv: (skb) => {
      seen.push(name);
      if (goes) rig.net.receive.removeTap(handler);
      rig.net.lifetime.consumeSkb(skb);
    } };
    rig.net.receive.addTap(handler);
    return handler;
  };
  tap("b", false);
  tap("a", true);
  for (let i = 0; i < 2; i++) rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect([seen, rig.net.lifetime.stats.live]).toEqual([["a", "b", "b"], 0]);
});

/** Notes who got a packet, and how many had it then. */
function noting(rig: NetRig, name: string, seen: (readonly [string, number])[]): PacketHandler {
  return { packetRcv: (skb) => {
    seen.push([name, skb.users]);
    rig.net.lifetime.consumeSkb(skb);
  } };
}

test("of taps those of all devices come first, the newest first, each as one user more; what no protocol takes the last has as its only one, and it is no drop (pt_prev)", () => {
  const rig = new NetRig();
  const seen: (readonly [string, number])[] = [];
  const packet = () => Object.assign(rig.skb(60), { dev: rig.dev, protocol: 0x0806 });
  for (const [name, dev] of [["eth0", rig.dev], ["old", null], ["new", null]] as const) rig.net.receive.addTap(noting(rig, name, seen), dev);
  rig.net.receive.setProtocol({ ...noting(rig, "ip", seen), protocol: 0x0800 });
  rig.net.receive.netifReceiveSkb(packet());
  expect([seen.splice(0), rig.freed.splice(0), rig.net.receive.stats.unhandled, rig.dev.coreRxDropped]).toEqual([[["new", 2], ["old", 2], ["eth0", 1]], [`60 ${SKB_CONSUMED}`], 1, 0]);
  rig.net.receive.netifReceiveSkb(Object.assign(packet(), { protocol: 0x0800 }));
  expect([seen, rig.freed, rig.net.receive.stats.unhandled]).toEqual([[["new", 2], ["old", 2], ["eth0", 2], ["ip", 1]], [`60 ${SKB_CONSUMED}`], 1]);
});

test("what no protocol takes, and no tap, is dropped and counted by its device", () => {
  const rig = new NetRig();
  rig.net.receive.setProtocol({ packetRcv: () => undefined, protocol: 0x0800 });
  rig.net.receive.netifReceiveSkb(Object.assign(rig.skb(60), { dev: rig.dev, protocol: 0x0806 }));
  expect([rig.freed, rig.dev.coreRxDropped, rig.dev.rxDropped]).toEqual([[`60 ${SKB_DROP_REASON_UNHANDLED_PROTO}`], 1, 0]);
});

test("of packets that go up together taps see all before the protocol has the first (__netif_receive_skb_list_core)", () => {
  const rig = new NetRig();
  const seen: string[] = [];
  const handler = (name: string): PacketHandler => ({ packetRcv: (skb) => {
    seen.push(`${name} ${skb.len}`);
    rig.net.lifetime.consumeSkb(skb);
  } });
  rig.net.receive.setProtocol(handler("ip"));
  const list = () => {
    const [first, second] = [rig.skb(60), rig.skb(61)];
    first.next = second;
    rig.net.receive.netifReceiveSkbList(first);
  };
  list();
  rig.net.receive.addTap(handler("tap"));
  list();
  expect([seen, rig.net.lifetime.stats.live]).toEqual([["ip 60", "ip 61", "tap 60", "tap 61", "ip 60", "ip 61"], 0]);
});

test("of such packets those of one device that all go to the protocol go together, and others in between end that", () => {
  const rig = new NetRig();
  const seen: string[] = [];
  const handler = (name: string, protocol?: number): PacketHandler => ({ ...(protocol === undefined ? {} : { protocol }), packetRcv: (skb) => {
    seen.push(`${name} ${skb.len}`);
    rig.net.lifetime.consumeSkb(skb);
  } });
  const other = rig.net.registerNetdev("other", 1);
  const list = (packets: readonly (readonly [number, number, typeof other])[]): string[] => {
    const skbs = packets.map(([len, protocol, dev]) => Object.assign(rig.skb(len), { protocol, dev }));
    for (const [i, skb] of skbs.entries()) skb.next = skbs[i + 1] ?? null;
    rig.net.receive.netifReceiveSkbList(skbs[0]!);
    return seen.splice(0);
  };
  rig.net.receive.setProtocol(handler("ip", 0x0800));
  rig.net.receive.addTap(handler("tap"));
  expect(list([[60, 0x0800, rig.dev], [61, 0x0806, rig.dev], [62, 0x0800, rig.dev]])).toEqual(["tap 60", "ip 60", "tap 62", "tap 61", "ip 62"]);
  expect(list([[60, 0x0800, rig.dev], [61, 0x0800, other], [62, 0x0800, other]])).toEqual(["tap 60", "tap 61", "ip 60", "tap 62", "ip 61", "ip 62"]);
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test("a handler that receives something itself does not turn others' packets to whom that goes", () => {
  const rig = new NetRig();
  const seen: string[] = [];
  const end = (name: string, skb: ReturnType<NetRig["skb"]>): void => {
    seen.push(`${name} ${skb.len}`);
    rig.net.lifetime.consumeSkb(skb);
  };
  const ip: PacketHandler = { protocol: 0x0800, packetRcv: (skb) => {
    end("ip", skb);
    // What no protocol takes: the tap's.
    if (seen.length === 1) rig.net.receive.netifReceiveSkb(Object.assign(rig.skb(99), { protocol: 0x0806, dev: rig.dev }));
  } };
  rig.net.receive.setProtocol(ip);
  rig.net.receive.addTap({ packetRcv: (skb) => end("tap", skb) }, rig.dev);
  const other = rig.net.registerNetdev("other", 1);
  const [first, second] = [Object.assign(rig.skb(60), { protocol: 0x0800, dev: other }), Object.assign(rig.skb(61), { protocol: 0x0800, dev: rig.net.registerNetdev("third", 1) })];
  first.next = second;
  rig.net.receive.netifReceiveSkbList(first);
  expect([seen, rig.net.lifetime.stats.live]).toEqual([["ip 60", "tap 99", "ip 61"], 0]);
});

test("a protocol that is taken away by one of them still has those that were on their way to it", () => {
  const rig = new NetRig();
  let got = 0;
  rig.net.receive.setProtocol({ packetRcv: (skb) => {
    got++;
    rig.net.receive.setProtocol(null);
    rig.net.lifetime.consumeSkb(skb);
  } });
  const [first, second] = [rig.skb(60), rig.skb(61)];
  first.next = second;
  rig.net.receive.netifReceiveSkbList(first);
  expect([got, rig.net.lifetime.stats.live]).toEqual([2, 0]);
});

test("a tap takes packets until it is full, the last of which may go beyond", () => {
  const rig = new NetRig();
  const tap = rig.net.sockets.openTap({ name: "t", rcvbufBytes: 1000 });
  rig.net.receive.addTap(tap);
  for (let i = 0; i < 2; i++) rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect([tap.length(), tap.drops()]).toEqual([1, 1]);
  tap.close();
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test("a packet with a list of others leaves in one piece where the device takes none (validate_xmit_skb)", () => {
  const rig = new NetRig();
  rig.dev.up = true;
  const seen: { readonly len: number; readonly inOnePiece: boolean; readonly bytes: number[] }[] = [];
  rig.net.transmit.setStartXmit(rig.dev, { startXmit: (skb) => {
    seen.push({ len: skb.len, inOnePiece: skb.dataLen === 0, bytes: [...skbRegion(skb).bytes.subarray(skb.data, skb.data + 4)] });
    rig.net.lifetime.consumeSkb(skb);
    return NETDEV_TX_OK;
  } });
  for (const takesLists of [false, true]) {
    rig.dev.fragList = takesLists;
    const [skb, member] = [rig.skb(500), rig.skb(700)];
    skbRegion(skb).bytes.set([1, 2, 3, 4], skb.data);
    Object.assign(skb, { len: 1200, dataLen: 700, truesize: skb.truesize + member.truesize });
    skb.shinfo!.fragList = member;
    rig.net.transmit.devQueueXmit(skb, rig.dev);
  }
  expect(seen).toEqual([{ len: 1200, inOnePiece: true, bytes: [1, 2, 3, 4] }, { len: 1200, inOnePiece: false, bytes: [1, 2, 3, 4] }]);
  expect(rig.net.lifetime.stats.live).toBe(0);
});

test("a device that is down counts what its backlog refuses (enqueue_to_backlog, bad_dev)", () => {
  const rig = new NetRig();
  rig.dev.up = false;
  expect([rig.net.receive.netifRx(Object.assign(rig.skb(60), { dev: rig.dev })), rig.dev.coreRxDropped, rig.freed]).toEqual([NET_RX_DROP, 1, [`60 ${SKB_DROP_REASON_DEV_READY}`]]);
});

test("a CPU's backlog has a limit for what came, not for what a poll has taken over (enqueue_to_backlog, process_backlog)", () => {
  const rig = new NetRig();
  rig.dev.up = true;
  const came: number[] = [];
  const answers: number[] = [];
  const comes = (bytes: number): void => {
    const skb = rig.net.lifetime.allocSkb(320, GFP_ATOMIC)!;
    rig.net.edit.skbPut(skb, bytes);
    skb.dev = rig.dev;
    answers.push(rig.net.receive.netifRx(skb));
  };
  rig.net.receive.setProtocol({ packetRcv: (skb) => {
    came.push(skb.len);
    rig.net.lifetime.consumeSkb(skb);
    if (came.length === 1) for (let i = 0; i < 200; i++) comes(100 + i);
  } });
  rig.softirq(0, () => {
    for (let i = 0; i < 1002; i++) comes(60);
  });
  rig.kernel.scheduler.runFor(0);
  expect([answers.filter((answer) => answer === NET_RX_DROP).length, rig.dev.coreRxDropped, came.length]).toEqual([1, 1, 1201]);
  expect([came.slice(1001), rig.net.lifetime.stats.live]).toEqual([Array.from({ length: 200 }, (_, i) => 100 + i), 0]);
});

test("what is sent is cloned once for all taps, and the clone is the last one's: nobody need copy its struct again (dev_queue_xmit_nit)", () => {
  for (const taps of [1, 3]) {
    const rig = new NetRig();
    const { net } = rig;
    rig.dev.up = true;
    net.transmit.setStartXmit(rig.dev, { startXmit: (skb) => (net.lifetime.consumeSkb(skb), 0) });
    const sockets = Array.from({ length: taps }, (_, i) => net.sockets.openTap({ name: String(i) }));
    for (const socket of sockets) net.receive.addTap(socket);
    const before = net.lifetime.stats.clones;
    rig.softirq(0, () => void net.transmit.devDirectXmit(rig.skb(60), rig.dev, 0));
    // One for all, and one for each but the last, which keep it beside others.
    expect([net.lifetime.stats.clones - before, sockets.map((socket) => socket.packets().map(({ users }) => users))]).toEqual([taps, sockets.map(() => [1])]);
    for (const socket of sockets) socket.close();
    expect(net.lifetime.stats.live).toBe(0);
  }
});

test("while the system swaps through a socket no tap sees what lies in the reserves, and what nobody swaps over ends for that (sk_memalloc_socks)", () => {
  const rig = new NetRig();
  const { net } = rig;
  const tap = net.sockets.openTap({ name: "t" });
  net.receive.addTap(tap);
  const receive = (protocol: number): void => net.receive.netifReceiveSkb(Object.assign(rig.skb(60), { pfmemalloc: true, protocol }));
  const reasons = (): string[] => rig.freed.splice(0);
  receive(0x0800);
  receive(0x9000);
  // Without such a socket they are packets like others: the tap alone has them.
  expect([tap.length(), reasons()]).toEqual([2, []]);
  net.lifetime.skSetMemalloc();
  receive(0x0800);
  receive(0x9000);
  expect([tap.length(), reasons()]).toEqual([2, [`60 ${SKB_DROP_REASON_UNHANDLED_PROTO}`, `60 ${SKB_DROP_REASON_PFMEMALLOC}`]]);
  net.lifetime.skClearMemalloc();
  tap.close();
  expect(net.lifetime.stats.live).toBe(0);
});

test("as a device goes, what came last of the backlog goes first, and all of it before anybody is told (flush_backlog)", () => {
  const rig = new NetRig();
  const { net } = rig;
  rig.dev.up = true;
  const order: string[] = [];
  rig.xdp.notifiers.registerNetdeviceNotifier({ netdeviceEvent: () => void order.push(...rig.freed.splice(0), "told") });
  let first = true;
  net.receive.setProtocol({ packetRcv: (skb) => {
    net.lifetime.consumeSkb(skb);
    if (!first) return;
    first = false;
    rig.freed.length = 0;
    net.receive.netifRx(Object.assign(rig.skb(63), { dev: rig.dev }));
    net.unregisterNetdev(rig.dev);
  } });
  rig.softirq(0, () => {
    for (const bytes of [60, 61, 62]) net.receive.netifRx(Object.assign(rig.skb(bytes), { dev: rig.dev }));
  });
  expect(order).toEqual([63, 61, 62].map((bytes) => `${bytes} ${SKB_DROP_REASON_DEV_READY}`).concat("told"));
  expect(net.lifetime.stats.live).toBe(0);
});
