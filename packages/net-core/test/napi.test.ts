import { describe, expect, test } from "vitest";
import { CONTEXT_PROCESS, CONTEXT_SOFTIRQ } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { NAPIF_STATE_MISSED, NAPIF_STATE_NPSVC, NAPIF_STATE_PREFER_BUSY_POLL, NAPIF_STATE_SCHED, NAPIF_STATE_THREADED, type NapiStruct } from "@netmem/xdp/api";
import { NetRig } from "./rig.ts";

/** An enabled NAPI whose polls find so many packets, one after the other; it completes where it found less than its budget, and notes where and what for. */
function scripted(rig: NetRig, finds: readonly number[]) {
  const polls: { work: number; budget: number; cpu: number; level: number; owner: number; completed: boolean | null }[] = [];
  const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, {
    poll: (self, budget) => {
      const work = finds[polls.length] ?? 0;
      const { cpu, level } = rig.kernel.context;
      const owner = self.listOwner;
      const completed = work < budget ? rig.net.napi.napiCompleteDone(self, work) : null;
      polls.push({ work, budget, cpu, level, owner, completed });
      return work;
    },
  }, 64);
  rig.net.napi.napiEnable(napi);
  return { napi, polls };
}

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

test("a new instance is disabled; once enabled it is polled in bites of its weight until it finds less, and once more for what it missed until then", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 150);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect(bites).toEqual([]);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect(napi.listOwner).toBe(0);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, napi.state]).toEqual([[64, 64, 22, 0], -1, 0]);
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

test("disabling an instance waits for the poll that is scheduled, on the CPU where it is, and for no other; from its own poll it is a report, and it is not polled again", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 10);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.net.napi.napiDisable(napi);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, rig.kinds()]).toEqual([[10], -1, []]);
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

test("more work than budget is a report, once", () => {
  const rig = new NetRig();
  const { napi } = scripted(rig, [65, 65, 0]);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect([rig.net.napi.stats.polls, rig.kinds()]).toEqual([3, ["napi-over-budget"]]);
});

test.each([undefined, Number.NaN])("a poll that answers %s, and not how many, is refused, by name: it would be polled for ever", (answer) => {
  const rig = new NetRig();
  const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, { poll: () => answer as number }, 64);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect(() => rig.kernel.scheduler.runFor(0)).toThrow(`what the poll of NAPI instance ${napi.napiId} of eth0 answered = ${answer}: answer how many packets it took, 0 to 64`);
});

test("a poll that found less than its budget and did not complete is a report: nobody will poll it again", () => {
  const rig = new NetRig();
  let polls = 0;
  const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: () => (polls++, 1) }, 64);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.runFor(0);
  expect([polls, rig.kinds(), napi.state]).toEqual([1, ["napi-not-completed"], NAPIF_STATE_SCHED | NAPIF_STATE_MISSED]);
});

describe("skb-mm row 81: a poll that answers its budget after it has completed", () => {
  /** Its first poll completes, and answers its budget. */
  function completing(rig: NetRig): { readonly napi: NapiStruct; readonly polls: () => number } {
    let polls = 0;
    const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self, budget) => (rig.net.napi.napiCompleteDone(self, 0), ++polls === 1 ? budget : 0) }, 64);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    return { napi, polls: () => polls };
  }

  test("is listed again, which is told, but not polled: only what is scheduled is (__napi_poll)", () => {
    const rig = new NetRig();
    const { napi, polls } = completing(rig);
    rig.kernel.scheduler.step();
    expect([napi.queued, napi.listOwner, napi.state]).toEqual([true, -1, 0]);
    rig.kernel.scheduler.runFor(0);
    expect([polls(), rig.kinds(), napi.queued, napi.listOwner]).toEqual([1, ["napi-repoll-completed"], false, -1]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls(), rig.kinds()]).toEqual([2, ["napi-repoll-completed"]]);
  });

  test("an interrupt that comes before that adds it to a second list: the machine stops by name, before the lists are corrupted", () => {
    const rig = new NetRig();
    const { napi, polls } = completing(rig);
    rig.kernel.scheduler.step();
    const line = rig.kernel.irqs.requestIrq("nic", 0, () => void rig.net.napi.napiSchedule(napi));
    rig.kernel.irqs.raise(line);
    expect(() => rig.kernel.scheduler.step()).toThrow(/napi-double-add/);
    expect(polls()).toBe(1);
  });

  test("taken down before that, it is taken off the list", () => {
    const rig = new NetRig();
    const { napi, polls } = completing(rig);
    rig.kernel.scheduler.step();
    rig.net.napi.napiDisable(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls(), napi.queued]).toEqual([1, false]);
  });

  test("and has been scheduled since: it is on its list already, once, and the core warns", () => {
    const rig = new NetRig();
    let polls = 0;
    const napi = rig.net.napi.netifNapiAdd(rig.dev, {
      poll: (self, budget) => {
        rig.net.napi.napiCompleteDone(self, 0);
        if (++polls > 1) return 0;
        rig.net.napi.napiSchedule(self);
        return budget;
      },
    }, 64);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls, rig.kinds(), napi.state]).toEqual([2, ["napi-rescheduled"], 0]);
  });
});

test("held by who disabled it, it is not completed by anybody else (NPSVC)", () => {
  const rig = new NetRig();
  const { napi } = polled(rig, 10);
  expect([rig.net.napi.napiCompleteDone(napi, 0), napi.state, rig.kinds()]).toEqual([false, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC, []]);
});

test("completed while it waits on the list, it is taken off; completed again, it is a report; a weight of 0 is misuse", () => {
  const rig = new NetRig();
  const { napi, bites } = polled(rig, 10);
  rig.net.napi.napiEnable(napi);
  rig.net.napi.napiSchedule(napi);
  expect(rig.net.napi.napiCompleteDone(napi, 0)).toBe(true);
  rig.kernel.scheduler.runFor(0);
  expect([bites, napi.listOwner, rig.kinds()]).toEqual([[], -1, []]);
  // All the same its interrupts come again, and its timer is set.
  rig.dev.groFlushTimeoutNs = 1000;
  rig.dev.napiDeferHardIrqs = 1;
  expect([rig.net.napi.napiCompleteDone(napi, 0), rig.net.napi.napiCompleteDone(napi, 1), rig.kinds()]).toEqual([true, false, ["napi-not-scheduled", "napi-not-scheduled"]]);
  rig.kernel.scheduler.runFor(1000);
  expect(bites).toEqual([10]);
  expect(() => rig.net.napi.netifNapiAdd(rig.dev, { poll: () => 0 }, 0)).toThrow(/NAPI weight of eth0 = 0/);
});

describe("deferral of interrupts", () => {
  test("after a poll that found something, so many empty ones pass, each by the timer, before an interrupt", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 2, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [3, 0, 0, 0]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ completed }) => completed), napi.state]).toEqual([[false], 0]);
    rig.kernel.scheduler.runFor(20_000);
    expect(polls.map(({ completed }) => completed)).toEqual([false, false]);
    rig.kernel.scheduler.runFor(1_000_000);
    expect(polls.map(({ completed }) => completed)).toEqual([false, false, true]);
  });

  test("found something again, the count begins anew", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 1, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [3, 1, 1, 0]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(1_000_000);
    expect(polls.map(({ completed }) => completed)).toEqual([false, false, false, true]);
  });

  test("polled on another CPU meanwhile, the timer moves there: it polls once, where it was polled last (hrtimer_start)", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 2, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [3, 3, 0]);
    for (const cpu of [0, 1]) rig.softirq(cpu, () => void rig.net.napi.napiSchedule(napi));
    expect(polls.map(({ cpu, work }) => [cpu, work])).toEqual([[0, 3], [1, 3]]);
    rig.kernel.scheduler.runFor(30_000);
    expect(polls.map(({ cpu, work }) => [cpu, work])).toEqual([[0, 3], [1, 3], [1, 0]]);
    rig.net.napi.napiDisable(napi);
    rig.kernel.scheduler.runFor(1_000_000);
    expect(polls.length).toBe(3);
  });

  test("without a timeout nothing would poll again: the interrupt comes at once", () => {
    const rig = new NetRig();
    rig.dev.napiDeferHardIrqs = 2;
    const { napi, polls } = scripted(rig, [3]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(1_000_000);
    expect(polls.map(({ completed }) => completed)).toEqual([true]);
  });

  test("disabled meanwhile, the timer does not poll", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 2, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [3]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    rig.net.napi.napiDisable(napi);
    rig.kernel.scheduler.runFor(1_000_000);
    expect([polls.length, napi.state]).toEqual([1, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC]);
  });
});

describe("busy polling", () => {
  test("polls with the process's budget, in softirq context, completes nothing itself, and leaves interrupts as they were", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [8, 2, 0]);
    let left = 2;
    expect(rig.net.napi.napiBusyLoop(napi, () => --left === 0, false, 8)).toBe(10);
    expect(polls.map(({ work, budget, level, owner, completed }) => [work, budget, level, owner, completed])).toEqual([
      [8, 8, CONTEXT_SOFTIRQ, -1, null], [2, 8, CONTEXT_SOFTIRQ, -1, false], [0, 8, CONTEXT_SOFTIRQ, -1, true],
    ]);
    expect([napi.state, rig.kernel.context.level]).toEqual([0, CONTEXT_PROCESS]);
  });

  test("with more there than the last poll could take, the softirq goes on", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [8, 8, 3]);
    expect(rig.net.napi.napiBusyLoop(napi, () => true, false, 8)).toBe(16);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ budget }) => budget), napi.state]).toEqual([[8, 8, 64], 0]);
  });

  test("whoever is polled by somebody else is left alone; preferring to busy poll is noted, and heeded by the next poll that uses up its budget", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 1, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [64, 0]);
    rig.net.napi.napiSchedule(napi);
    expect([rig.net.napi.napiBusyLoop(napi, () => true, false, 8), napi.state]).toEqual([0, NAPIF_STATE_SCHED]);
    expect([rig.net.napi.napiBusyLoop(napi, () => true, true, 8), napi.state]).toEqual([0, NAPIF_STATE_SCHED | NAPIF_STATE_PREFER_BUSY_POLL]);
    rig.kernel.scheduler.step();
    // It waits for its process, or for the timer.
    expect([polls.length, napi.state, napi.listOwner]).toEqual([1, 0, -1]);
    rig.kernel.scheduler.runFor(20_000);
    expect(polls.length).toBe(2);
  });

  test("preferred, and nothing defers its interrupts: a poll that uses up its budget completes, and is scheduled again for what it left", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [64, 3]);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiBusyLoop(napi, () => true, true, 8);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ budget, completed }) => [budget, completed]), napi.state, rig.kinds()]).toEqual([[[64, null], [64, true]], 0, []]);
  });

  test("preferring it, with more there, it ends held by nobody until the timer polls", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 1, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [8, 8, 3]);
    rig.net.napi.napiBusyLoop(napi, () => true, true, 8);
    rig.kernel.scheduler.runFor(0);
    expect([polls.length, napi.state]).toEqual([2, 0]);
    rig.kernel.scheduler.runFor(20_000);
    expect(polls.length).toBe(3);
  });

  test("a timer that finds it scheduled leaves it to prefer that (napi_watchdog)", () => {
    const rig = new NetRig();
    Object.assign(rig.dev, { napiDeferHardIrqs: 1, groFlushTimeoutNs: 20_000 });
    const { napi, polls } = scripted(rig, [8, 8, 3]);
    rig.net.napi.napiBusyLoop(napi, () => true, true, 8);
    rig.kernel.scheduler.runFor(0);
    // By a process, meanwhile.
    napi.state |= NAPIF_STATE_SCHED | NAPIF_STATE_PREFER_BUSY_POLL;
    rig.kernel.scheduler.runFor(20_000);
    expect([polls.length, napi.state]).toEqual([2, NAPIF_STATE_SCHED | NAPIF_STATE_PREFER_BUSY_POLL]);
  });

  test("a disabled instance is not polled", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [8]);
    rig.net.napi.napiDisable(napi);
    expect([rig.net.napi.napiBusyLoop(napi, () => true, true, 8), polls.length]).toEqual([0, 0]);
  });

  test("what other CPUs freed of this one's is flushed meanwhile", () => {
    const rig = new NetRig();
    const { napi } = scripted(rig, []);
    const skb = rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!;
    rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(skb));
    expect(rig.freed).toEqual([]);
    rig.net.napi.napiBusyLoop(napi, () => true, false, 8);
    expect(rig.freed.length).toBe(1);
  });
});

describe("a threaded instance", () => {
  test("flushes what other CPUs freed of its CPU's, after each poll", () => {
    const rig = new NetRig();
    const { napi } = scripted(rig, [0]);
    rig.net.napi.devSetThreaded(rig.dev, true);
    const skb = rig.skb();
    rig.softirq(1, () => rig.net.lifetime.skbAttemptDeferFree(skb));
    expect(skb.free).toBe(false);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([skb.free, rig.kinds()]).toEqual([true, []]);
  });

  test("is polled by a task, bottom halves disabled, and page_pool is not told whose context that is", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [64, 64, 3]);
    rig.net.napi.devSetThreaded(rig.dev, true);
    expect(napi.state).toBe(NAPIF_STATE_THREADED);
    rig.net.napi.napiSchedule(napi);
    expect(napi.listOwner).toBe(-1);
    rig.kernel.scheduler.runFor(0);
    expect(polls.map(({ work, level, owner, completed }) => [work, level, owner, completed])).toEqual([
      [64, CONTEXT_SOFTIRQ, -1, null], [64, CONTEXT_SOFTIRQ, -1, null], [3, CONTEXT_SOFTIRQ, -1, true],
    ]);
    expect([napi.state, rig.kinds()]).toEqual([NAPIF_STATE_THREADED, []]);
  });

  test("missed, it is polled again", () => {
    const rig = new NetRig();
    let polls = 0;
    const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => {
      if (++polls === 1) rig.net.napi.napiSchedule(self);
      rig.net.napi.napiCompleteDone(self, 0);
      return 0;
    } }, 64);
    rig.net.napi.devSetThreaded(rig.dev, true);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls, napi.state, rig.kinds()]).toEqual([2, NAPIF_STATE_THREADED, []]);
  });

  test("one that is added, or enabled, later is threaded as its device is; no longer so, the thread still polls what it was told to, and the softirq whatever comes then (napi_stop_kthread)", () => {
    const rig = new NetRig();
    rig.net.napi.devSetThreaded(rig.dev, true);
    const { napi, polls } = scripted(rig, [1]);
    expect(napi.state).toBe(NAPIF_STATE_THREADED);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.devSetThreaded(rig.dev, false);
    // Nobody's context, as long as a thread polls it: nothing goes straight back into its pool.
    expect(napi.listOwner).toBe(-1);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ owner }) => owner), napi.state]).toEqual([[-1], 0]);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ owner }) => owner), napi.state]).toEqual([[-1, 0], 0]);
    // Scheduled once more while the thread was still to poll: that is the softirq's.
    rig.net.napi.devSetThreaded(rig.dev, true);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.devSetThreaded(rig.dev, false);
    rig.kernel.scheduler.runFor(0);
    expect([polls.splice(2).map(({ owner }) => owner), napi.state, napi.listOwner]).toEqual([[-1, 0], 0, -1]);
    // And back.
    rig.net.napi.devSetThreaded(rig.dev, true);
    rig.net.napi.napiSchedule(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls.map(({ owner }) => owner), napi.state]).toEqual([[-1, 0, -1], NAPIF_STATE_THREADED]);
  });

  test("that disables itself is a report, as it is when a process polls it", () => {
    for (const threaded of [true, false]) {
      const rig = new NetRig();
      const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => {
        if (!rig.kinds().includes("napi-disable-running")) rig.net.napi.napiDisable(self);
        return 0;
      } }, 64);
      rig.net.napi.devSetThreaded(rig.dev, threaded);
      rig.net.napi.napiEnable(napi);
      if (threaded) {
        rig.net.napi.napiSchedule(napi);
        rig.kernel.scheduler.runFor(0);
      } else rig.net.napi.napiBusyLoop(napi, () => true, false, 8);
      expect(rig.kinds()).toEqual(["napi-disable-running"]);
    }
  });

  test("that does not complete is a report", () => {
    const rig = new NetRig();
    const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: () => 1 }, 64);
    rig.net.napi.devSetThreaded(rig.dev, true);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    for (let i = 0; i < 3; i++) rig.kernel.scheduler.step();
    expect(rig.kinds()).toContain("napi-not-completed");
  });
});

describe("disabling, with a poll scheduled", () => {
  test("one that uses up its weight is completed there, and polled no more", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [64, 64, 64]);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiDisable(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls.length, napi.state, rig.kinds()]).toEqual([1, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC, []]);
  });

  test("it polls where it was scheduled, in a softirq; its process goes on where it was", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [3]);
    rig.kernel.irqs.raise(rig.kernel.irqs.requestIrq("rx", 1, () => void rig.net.napi.napiSchedule(napi)));
    rig.kernel.scheduler.step();
    rig.net.napi.napiDisable(napi);
    const { cpu, level } = rig.kernel.context;
    expect([polls.map((poll) => [poll.cpu, poll.level, poll.owner]), cpu, level, napi.state]).toEqual([[[1, CONTEXT_SOFTIRQ, 1]], 0, CONTEXT_PROCESS, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC]);
  });

  test("a thread's poll is waited for, too", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [3]);
    rig.net.napi.devSetThreaded(rig.dev, true);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiDisable(napi);
    expect([polls.length, napi.state & ~NAPIF_STATE_THREADED]).toEqual([1, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC]);
    rig.kernel.scheduler.runFor(0);
    expect([polls.length, rig.kinds()]).toEqual([1, []]);
  });

  test("who schedules it meanwhile is told that he has not, and nothing is noted as missed: no poll comes of it", () => {
    const rig = new NetRig();
    const seen: [boolean, boolean, number][] = [];
    let polls = 0;
    const napi: NapiStruct = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => {
      polls++;
      seen.push([rig.net.napi.napiSchedulePrep(self), rig.net.napi.napiSchedule(self), self.state & NAPIF_STATE_MISSED]);
      rig.net.napi.napiCompleteDone(self, 0);
      return 0;
    } }, 64);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiDisable(napi);
    rig.kernel.scheduler.runFor(0);
    expect([seen, polls, napi.state, rig.kinds()]).toEqual([[[false, false, 0]], 1, NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC, []]);
  });

  test("a poll that finds less and does not complete is told of, and waited for once", () => {
    const rig = new NetRig();
    let polls = 0;
    const napi = rig.net.napi.netifNapiAdd(rig.dev, { poll: () => Math.min(0, ++polls) }, 64);
    rig.net.napi.napiEnable(napi);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.napiDisable(napi);
    expect([polls, rig.kinds()]).toEqual([1, ["napi-not-completed"]]);
  });
});

describe("an instance that goes", () => {
  test("enabled, it is a report, and disabled first; again, it is a report", () => {
    const rig = new NetRig();
    const { napi, polls } = scripted(rig, [1]);
    rig.net.napi.napiSchedule(napi);
    rig.net.napi.netifNapiDel(napi);
    rig.net.napi.netifNapiDel(napi);
    rig.kernel.scheduler.runFor(0);
    expect([polls.length, rig.kinds()]).toEqual([1, ["napi-del-enabled", "napi-del-unknown"]]);
  });

  test("disabled twice, it is a report: the kernel would wait for ever", () => {
    const rig = new NetRig();
    const { napi } = scripted(rig, []);
    rig.net.napi.napiDisable(napi);
    rig.net.napi.napiDisable(napi);
    expect(rig.kinds()).toEqual(["napi-disable-disabled"]);
  });
});

describe("who is scheduled by an instance's poll", () => {
  function chain(polledInSameSoftirq: boolean) {
    const rig = new NetRig({ polledInSameSoftirq });
    const second = scripted(rig, [1]);
    const first = rig.net.napi.netifNapiAdd(rig.dev, { poll: (self) => {
      rig.net.napi.napiSchedule(second.napi);
      rig.net.napi.napiCompleteDone(self, 1);
      return 1;
    } }, 64);
    rig.net.napi.napiEnable(first);
    rig.net.napi.napiSchedule(first);
    rig.kernel.scheduler.step();
    return { rig, second };
  }

  test("is polled by the same softirq from 6.4", () => {
    expect(chain(true).second.polls.length).toBe(1);
  });

  test("before, by the next", () => {
    const { rig, second } = chain(false);
    expect(second.polls.length).toBe(0);
    rig.kernel.scheduler.step();
    expect(second.polls.length).toBe(1);
  });
});

test("a softirq yields after two ticks of what packets cost, and is counted as squeezed", () => {
  const rig = new NetRig({}, 100_000);
  const instances = Array.from({ length: 3 }, () => scripted(rig, [50]));
  for (const { napi } of instances) rig.net.napi.napiSchedule(napi);
  rig.kernel.scheduler.step();
  const took = Math.ceil((2_000_000_000 / rig.kernel.hz) / 5_000_000);
  expect([instances.filter(({ polls }) => polls.length === 1).length, rig.net.napi.stats.timeSqueeze]).toEqual([took, took < 3 ? 1 : 0]);
});
