import { expect, test } from "vitest";
import { NAPIF_STATE_SCHED, type NapiStruct } from "@netmem/xdp/api";
import { SKB_CONSUMED, SKB_DROP_REASON_SOCKET_CLOSE, SKB_DROP_REASON_SOCKET_RCVBUFF, SKB_DROP_REASON_UNHANDLED_PROTO } from "../src/api/index.ts";
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

/** A NAPI that handles `backlog` packets, in bites of its budget. */
function polled(rig: NetRig, backlog: number) {
  const bites: number[] = [];
  let left = backlog;
  const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, {
    poll: (self, budget) => {
      const work = Math.min(left, budget);
      left -= work;
      bites.push(work);
      if (work < budget) rig.net.napi.napiCompleteDone(self, work);
      return work;
    },
  }, 64);
  return { napi, bites, add: (more: number) => void (left += more) };
}

test("a new instance is disabled; once enabled it is polled in bites of its weight until it finds less", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 150);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect(bites).toEqual([]);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect(napi.listOwner).toBe(0);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, napi.state]).toEqual([[64, 64, 22], -1, 0]);
});

test("an instance that used up its weight is polled again by the next softirq, not by this one", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 150);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.step();
  expect([bites, napi.listOwner]).toEqual([[64], 0]);
  rig.kernel.scheduler.step();
  expect(bites).toEqual([64, 64]);
});

test("a softirq yields after 300 packets, leaves the rest of its list to the next, and is counted as squeezed", () => {
  const rig = new NetRig();
  const instances = Array.from({ length: 6 }, () => polled(rig, 1000));
  for (const { napi } of instances) {
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
  }
  rig.kernel.scheduler.step();
  expect(instances.map(({ bites }) => bites.length)).toEqual([1, 1, 1, 1, 1, 0]);
  expect(rig.net.napi.stats.timeSqueeze).toBe(1);
  rig.kernel.scheduler.runFor(0);
  expect(instances.map(({ bites }) => bites.reduce((x, y) => x + y))).toEqual(Array.from({ length: 6 }, () => 1000));
});

test("skb-mm row 82: scheduled during its poll, it is noted as missed; complete answers false, and it is polled again", () => {
  const rig = new NetRig();
  const answers: boolean[] = [];
  const napi = rig.net.napi.netifNapiAdd(rig.dev, {
    poll: (self) => {
      if (answers.length === 0) rig.net.napi.napiSchedule(self);
      answers.push(rig.net.napi.napiCompleteDone(self, 0));
      return 0;
    },
  }, 64);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect([answers, napi.state & NAPIF_STATE_SCHED]).toEqual([[false, true], 0]);
});

test("each packet costs its CPU simulated time", () => {
  const rig = new NetRig({}, 1000);
  const { napi } = polled(rig, 500);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  while (rig.kernel.scheduler.step());
  // The last bite's cost keeps the CPU busy, but nothing waits for that.
  expect(rig.kernel.clock.nowNs).toBe(7 * 64_000);
});

test("disabling an instance that waits on a list takes it off; from its own poll it is a report, and it is not polled again", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 10);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.net.napi.napiDisable(napi);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, rig.kinds()]).toEqual([[], -1, []]);
  let polls = 0;
  const own = rig.net.napi.netifNapiAdd(rig.dev, {
    poll: (self) => {
      polls++;
      rig.net.napi.napiSchedule(self);
      rig.net.napi.napiDisable(self);
      rig.net.napi.napiCompleteDone(self, 0);
      return 0;
    },
  }, 64);
  rig.net.napi.napiEnable(own);
  rig.net.napi.napiSchedule(own);
  rig.kernel.scheduler.runFor(0);
  expect([polls, own.listOwner, rig.kinds()]).toEqual([1, -1, ["napi-disable-running"]]);
});

test("enabling an instance that is enabled stops the machine, before its list could be corrupted", () => {
  const rig = new NetRig();
  const { napi } = polled(rig, 10);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect(() => rig.net.napi.napiEnable(napi)).toThrow(/napi-enable-enabled/);
});

test("more work than budget is a report", () => {
  const rig = new NetRig();
  const greedy = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => (rig.net.napi.napiCompleteDone(self, 65), 65) }, 64);
  rig.net.napi.napiEnable(greedy);
  rig.net.napi.napiSchedule(greedy);
  rig.kernel.scheduler.runFor(0);
  expect(rig.kinds()).toEqual(["napi-over-budget"]);
});

test("a poll that found less than its budget and did not complete is a report, and is polled again", () => {
  const rig = new NetRig();
  let polls = 0;
  const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => (++polls === 3 && rig.net.napi.napiCompleteDone(self, 1), 1) }, 64);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect([polls, rig.kinds()]).toEqual([3, ["napi-not-completed", "napi-not-completed"]]);
});

test("completed while it waits on the list, it is taken off; completed again, it is a report; a weight of 0 is misuse", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 10);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect([rig.net.napi.napiCompleteDone(napi, 0), rig.net.napi.napiCompleteDone(napi, 0)]).toEqual([true, false]);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, rig.kinds()]).toEqual([[], -1, ["napi-not-scheduled"]]);
  expect(() => rig.net.napi.netifNapiAdd(rig.dev, { poll: () => 0 }, 0)).toThrow(/NAPI weight of eth0 = 0/);
});
