import { expect, test } from "vitest";
import { SKB_CONSUMED, SKB_DROP_REASON_SOCKET_CLOSE, SKB_DROP_REASON_SOCKET_RCVBUFF, SKB_DROP_REASON_UNHANDLED_PROTO, type PacketHandler } from "../src/api/index.ts";
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

test("a packet beyond the receive buffer is dropped with SOCKET_RCVBUFF; closing drops what waits, and what comes", () => {
  const rig = new NetRig();
  const socket = rig.net.sockets.open({ name: "s", rcvbufBytes: 10_000 });
  rig.net.receive.setProtocol(socket);
  for (let i = 0; i < 3; i++) rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect([socket.length(), socket.drops(), rig.freed]).toEqual([2, 1, [`60 ${SKB_DROP_REASON_SOCKET_RCVBUFF}`]]);
  socket.close();
  rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect(rig.freed.slice(1)).toEqual(Array.from({ length: 3 }, () => `60 ${SKB_DROP_REASON_SOCKET_CLOSE}`));
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
  tap("a", true);
  tap("b", false);
  for (let i = 0; i < 2; i++) rig.net.receive.netifReceiveSkb(rig.skb(60));
  expect([seen, rig.net.lifetime.stats.live]).toEqual([["a", "b", "b"], 0]);
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
