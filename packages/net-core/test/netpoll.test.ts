import { expect, test } from "vitest";
import { CONTEXT_HARDIRQ, CONTEXT_PROCESS, ENETDOWN, ENOTSUPP } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { NAPIF_STATE_MISSED, NAPIF_STATE_NPSVC, NAPIF_STATE_SCHED, type NapiStruct } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

/** An instance of the rig's device, enabled, that notes its polls; it tries to complete each. */
function polled(rig: NetRig, answers = 0) {
  const polls: { budget: number; level: number; completed: boolean }[] = [];
  const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self, budget) => {
    polls.push({ budget, level: rig.kernel.context.level, completed: rig.net.napi.napiCompleteDone(self, 0) });
    return answers;
  } }, 64);
  rig.net.napi.napiEnable(napi);
  rig.dev.up = true;
  return { napi, polls };
}

test("each instance of the device is polled with a budget of 0 and interrupts off, scheduled or not, and stays what it was: nothing is completed by that", () => {
  const rig = new NetRig();
  const idle = polled(rig);
  const scheduled = polled(rig);
  rig.net.napi.napiSchedule(scheduled.napi);
  rig.net.napi.napiSchedule(scheduled.napi);
  expect(rig.net.netpoll.netpollPollDev(rig.dev)).toBe(0);
  const once = [{ budget: 0, level: CONTEXT_HARDIRQ, completed: false }];
  expect([idle.polls, scheduled.polls]).toEqual([once, once]);
  expect([idle.napi.state, scheduled.napi.state, scheduled.napi.listOwner, scheduled.napi.queued]).toEqual([0, NAPIF_STATE_SCHED | NAPIF_STATE_MISSED, 0, true]);
  rig.kernel.scheduler.runFor(0);
  expect([scheduled.polls.map(({ budget }) => budget), idle.polls.length, rig.kinds()]).toEqual([[0, 64, 64], 1, []]);
});

test("one that is disabled is left out, and one whose poll it comes from; a poll that answers more than its budget is a report", () => {
  const rig = new NetRig();
  const disabled = polled(rig);
  rig.net.napi.napiDisable(disabled.napi);
  let inside = 0;
  const own: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => {
    inside++;
    rig.net.netpoll.netpollPollDev(rig.dev);
    rig.net.napi.napiCompleteDone(self, 0);
    return 0;
  } }, 64);
  rig.net.napi.napiEnable(own);
  const greedy = polled(rig, 3);
  rig.net.napi.napiSchedule(own);
  rig.kernel.scheduler.runFor(0);
  expect([disabled.polls, disabled.napi.state, inside, greedy.polls.length, rig.kinds()]).toEqual([[], NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC, 1, 1, ["napi-netpoll-work"]]);
});

test("a device that is down, or will not have it, has its errno", () => {
  const rig = new NetRig();
  const { polls } = polled(rig);
  rig.dev.up = false;
  const down = rig.net.netpoll.netpollPollDev(rig.dev);
  rig.dev.up = true;
  rig.dev.disableNetpoll = true;
  expect([down, rig.net.netpoll.netpollPollDev(rig.dev), polls]).toEqual([-ENETDOWN, -ENOTSUPP, []]);
});

test("packets that wait for the transmit softirq are freed, but those whose end somebody is to be told of wait on", () => {
  const rig = new NetRig();
  polled(rig);
  let told = 0;
  const [plain, owned] = [0, 1].map(() => rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!) as [SkBuff, SkBuff];
  owned.destructor = { destruct: () => void told++ };
  rig.kernel.irqs.withIrqsOff(() => {
    for (const skb of [plain, owned]) rig.net.lifetime.devKfreeSkbAny(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  });
  expect([plain.free, owned.free]).toEqual([false, false]);
  rig.net.netpoll.netpollPollDev(rig.dev);
  expect([plain.free, owned.free, told]).toEqual([true, false, 0]);
  rig.kernel.scheduler.runFor(0);
  expect([owned.free, told, rig.kinds()]).toEqual([true, 1, []]);
});

test("of those that wait on, one that was consumed is dropped in the end: they are put back without their reason", () => {
  const rig = new NetRig();
  polled(rig);
  const skb = rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!;
  const reasons: number[] = [];
  skb.destructor = { destruct: () => void reasons.push(skb.reason) };
  rig.kernel.irqs.withIrqsOff(() => rig.net.lifetime.devConsumeSkbAny(skb));
  rig.net.netpoll.netpollPollDev(rig.dev);
  rig.kernel.scheduler.runFor(0);
  expect([skb.free, reasons, rig.kinds()]).toEqual([true, [SKB_DROP_REASON_NOT_SPECIFIED], []]);
});

test("one that was freed meanwhile is reported, and ends the list, not the machine", () => {
  const rig = new NetRig();
  polled(rig);
  const [behind, freed] = [0, 1].map(() => rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!) as [SkBuff, SkBuff];
  rig.kernel.irqs.withIrqsOff(() => {
    for (const skb of [behind, freed]) rig.net.lifetime.devKfreeSkbAny(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  });
  freed.users = 1;
  rig.net.lifetime.kfreeSkb(freed, SKB_DROP_REASON_NOT_SPECIFIED);
  rig.net.netpoll.netpollPollDev(rig.dev);
  expect([behind.free, rig.kinds(), rig.kernel.context.level]).toEqual([false, ["skb-use-after-free"], CONTEXT_PROCESS]);
});

test("of several instances the last that was added is polled first: it is the head of the device's list", () => {
  const rig = new NetRig();
  const order: number[] = [];
  for (const i of [0, 1, 2]) rig.net.napi.napiEnable(rig.net.napi.netifNapiAdd(rig.dev, { poll: () => (order.push(i), 0) }, 64));
  rig.dev.up = true;
  rig.net.netpoll.netpollPollDev(rig.dev);
  expect(order).toEqual([2, 1, 0]);
});
