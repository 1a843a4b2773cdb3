import { describe, expect, test } from "vitest";
import { CONTEXT_PROCESS, CONTEXT_SOFTIRQ, EBADF, NSEC_PER_SEC, TASK_SLEEP, type Kernel } from "@netmem/kernel/api";
import {
  SKB_CONSUMED, SKB_DROP_REASON_FRAG_REASM_TIMEOUT, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_QUEUE_PURGE, SKB_FREED, SKB_FREED_DEFERRED, SKB_FREED_UNTRACED, TCPHDR_ACK, TCPHDR_FIN, TCPHDR_RST, type SkBuff,
} from "@netmem/net-core/api";
import { ipFragments, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import type { PresetName } from "@netmem/machine";
import { InetRig } from "./inet-rig.ts";

/**
 * Who frees what a socket still had as it was closed. Where the preset is 6.18 a Linux 6.18.44 was watched by skb:kfree_skb and skb:consume_skb: datagrams from a softirq (RCU), some 15 ms later,
 * in udp_destruct_common, NOT_SPECIFIED; a tap's at once, QUEUE_PURGE; unread segments without an event, where the CPU had built them; segments ahead in skb_rbtree_purge, softirqs off,
 * NOT_SPECIFIED, and the same from a softirq as a FIN comes.
 */
class FreedRig extends InetRig {
  /** Reason, how, CPU, context, and whether time has passed. */
  readonly freed: (readonly [number, number, number, number, boolean])[];

  constructor(preset: PresetName = "6.18") {
    const freed: (readonly [number, number, number, number, boolean])[] = [];
    const here: { kernel: Kernel | null } = { kernel: null };
    super({ preset, probes: { skb: {
      groReceiveEntry: () => undefined, received: () => undefined, polled: () => undefined,
      freed: (_skb: SkBuff, reason: number, how: number): void => {
        const { context, clock } = here.kernel!;
        freed.push([reason, how, context.cpu, context.level, clock.nowNs > 0]);
      },
    } } });
    here.kernel = this.machine.kernel;
    this.freed = freed;
  }

  /** In process context on `cpu`; no time passes. */
  asProcess(cpu: number, work: () => void): void {
    const { scheduler } = this.machine.kernel;
    scheduler.wake(scheduler.spawn({ name: "closer", cpu, run: () => {
      work();
      return TASK_SLEEP;
    } }));
    scheduler.runFor(0);
  }
}

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };

test("datagrams: from a softirq of the CPU that closed, once a grace period is over, for no reason that is stated (udp_destruct_common)", () => {
  const rig = new FreedRig();
  const socket = rig.udp(2000);
  rig.receive([1, 2, 3].map((i) => udpFrame(testPayload(100, i))));
  // Its reader has taken over the other two.
  rig.read(socket);
  rig.freed.length = 0;
  rig.receive([udpFrame(testPayload(100, 4))]);
  rig.asProcess(1, () => socket.close());
  expect([rig.freed, rig.read(socket)]).toEqual([[], -EBADF]);
  rig.machine.kernel.scheduler.runFor(1_000_000);
  expect(rig.freed).toEqual([1, 2, 3].map(() => [SKB_DROP_REASON_NOT_SPECIFIED, SKB_FREED, 1, CONTEXT_SOFTIRQ, true]));
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a tap's packets: at once, by who closes, QUEUE_PURGE (packet_release)", () => {
  const rig = new FreedRig();
  const { net } = rig.machine;
  const tap = net.sockets.openTap({ name: "tap" });
  net.receive.addTap(tap);
  const socket = rig.udp(2000);
  rig.receive([udpFrame(testPayload(100, 1))]);
  rig.asProcess(1, () => tap.close());
  expect(rig.freed).toEqual([[SKB_DROP_REASON_QUEUE_PURGE, SKB_FREED, 1, CONTEXT_PROCESS, false]]);
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

describe("unread segments (__tcp_close)", () => {
  /** Two segments that came on CPU 0, and a closing process on `cpu`: what is freed then, and what only with that CPU's next receive softirq. */
  function closed(preset: PresetName, cpu: number): { readonly atOnce: FreedRig["freed"]; readonly later: FreedRig["freed"] } {
    const rig = new FreedRig(preset);
    const sockets = rig.tcp(2000);
    // Apart, so that they are not coalesced.
    rig.receive([0, 1].map((i) => tcpFrame(testPayload(100, i), { seq: 1000 + 100 * i })), 54);
    const waiting = sockets[0]!.packets().length;
    rig.freed.length = 0;
    rig.asProcess(cpu, () => sockets[0]!.close());
    const atOnce = rig.freed.splice(0);
    rig.machine.flushDeferred();
    const later = rig.freed.splice(0);
    expect([atOnce.length + later.length, rig.end()]).toEqual([waiting, NOTHING_LEFT]);
    return { atOnce, later };
  }

  test.each(["6.18", "6.8", "6.1", "5.14"] as const)("%s, closed on the CPU that built them: at once, without an event", (preset) => {
    const { atOnce, later } = closed(preset, 0);
    expect([atOnce.length > 0, later]).toEqual([true, []]);
    for (const freed of atOnce) expect(freed).toEqual([SKB_CONSUMED, SKB_FREED_UNTRACED, 0, preset === "6.18" ? CONTEXT_SOFTIRQ : CONTEXT_PROCESS, false]);
  });

  test("6.18, closed on another CPU: they wait for the one that built them, which looks like a leak as long as that is quiet", () => {
    const { atOnce, later } = closed("6.18", 1);
    expect([atOnce, later.length > 0]).toEqual([[], true]);
    for (const freed of later) expect(freed).toEqual([SKB_CONSUMED, SKB_FREED_DEFERRED, 0, CONTEXT_SOFTIRQ, false]);
  });

  test.each(["6.8", "6.1", "5.14"] as const)("%s, closed on another CPU: at once, there, though what is read waits from 5.19 on", (preset) => {
    const { atOnce, later } = closed(preset, 1);
    expect([atOnce.length > 0, later]).toEqual([true, []]);
    for (const freed of atOnce) expect(freed).toEqual([SKB_CONSUMED, SKB_FREED_UNTRACED, 1, CONTEXT_PROCESS, false]);
  });
});

describe("a packet that lies in the page allocator's reserves (sk_filter_trim_cap)", () => {
  test.each([[false, [SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_PFMEMALLOC]], [true, []]] as const)("memalloc %j: is dropped by sockets that may not have it, with the reason, and counted as what it is", (memalloc, reasons) => {
    const rig = new FreedRig();
    const udp = rig.udp(2000, { memalloc });
    const sockets = rig.tcp(2000, { memalloc });
    for (const frame of [udpFrame(testPayload(100, 1)), tcpFrame(testPayload(100, 1), { seq: 1000 })]) {
      const skb = rig.skb(frame);
      skb.pfmemalloc = true;
      rig.machine.net.receive.netifReceiveSkb(skb);
    }
    const { stats } = rig.machine.net.inet;
    // No connection begins with what its listener may not have.
    expect([rig.freed.map(([reason]) => reason), stats.pfMemallocDrop, stats.udpRcvbufErrors, udp.length(), udp.drops(), sockets.length]).toEqual([reasons, reasons.length, 0, memalloc ? 1 : 0, memalloc ? 0 : 1, memalloc ? 1 : 0]);
    if (!memalloc) rig.receive([tcpFrame(testPayload(100, 1), { seq: 1000 })]);
    const later = rig.skb(tcpFrame(testPayload(100, 2), { seq: 1100 }));
    later.pfmemalloc = true;
    rig.machine.net.receive.netifReceiveSkb(later);
    expect([sockets.length, sockets[0]!.drops(), sockets[0]!.available()]).toEqual([1, memalloc ? 0 : 1, memalloc ? 200 : 100]);
    udp.close();
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("segments ahead of what is missing (skb_rbtree_purge)", () => {
  const AHEAD = [3, 5].map((i) => tcpFrame(testPayload(100, i), { seq: 1000 + 100 * i }));

  test("as the socket is closed: with softirqs off, for no reason that is stated", () => {
    const rig = new FreedRig();
    const sockets = rig.tcp(2000);
    rig.receive([tcpFrame(testPayload(100, 0), { seq: 1000 }), ...AHEAD]);
    rig.asProcess(1, () => sockets[0]!.close());
    expect(rig.freed).toEqual(AHEAD.map(() => [SKB_DROP_REASON_NOT_SPECIFIED, SKB_FREED, 1, CONTEXT_SOFTIRQ, false]));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("as a FIN comes that is next: the same (tcp_fin)", () => {
    const rig = new FreedRig();
    const sockets = rig.tcp(2000);
    rig.receive([tcpFrame(testPayload(100, 0), { seq: 1000 }), ...AHEAD]);
    rig.freed.length = 0;
    rig.receive([tcpFrame(new Uint8Array(0), { seq: 1100, flags: TCPHDR_ACK | TCPHDR_FIN })]);
    expect(rig.freed.filter(([reason]) => reason !== SKB_CONSUMED).map(([reason]) => reason)).toEqual(AHEAD.map(() => SKB_DROP_REASON_NOT_SPECIFIED));
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("segments that say nothing, and a reset that is taken: without an event (__kfree_skb in tcp_rcv_established, tcp_validate_incoming)", () => {
  const rig = new FreedRig();
  const sockets = rig.tcp(2000);
  rig.receive([tcpFrame(testPayload(100, 0), { seq: 1000 })]);
  rig.freed.length = 0;
  rig.receive([tcpFrame(new Uint8Array(0), { seq: 1100 }), tcpFrame(new Uint8Array(0), { seq: 1100, flags: TCPHDR_ACK | TCPHDR_RST })]);
  expect(rig.freed.map(([reason, how]) => [reason, how])).toEqual([1, 2].map(() => [SKB_CONSUMED, SKB_FREED_UNTRACED]));
  sockets[0]!.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

describe("pieces of a datagram that is given up (inet_frag_destroy)", () => {
  const PIECES = ipFragments(udpFrame(testPayload(3000, 1), { fragOff: 0, ipId: 7 }));

  test("as their time is over: on the CPU that the first came on, FRAG_REASM_TIMEOUT", () => {
    const rig = new FreedRig();
    const { timers, scheduler } = rig.machine.kernel;
    timers.modTimer(timers.timerSetup(() => rig.receive(PIECES.slice(0, 2)), 1), 0);
    scheduler.runFor(31 * NSEC_PER_SEC);
    expect(rig.freed).toEqual([1, 2].map(() => [SKB_DROP_REASON_FRAG_REASM_TIMEOUT, SKB_FREED, 1, CONTEXT_SOFTIRQ, true]));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("as one comes that overlaps: that one is dropped, the others consumed", () => {
    const rig = new FreedRig();
    const overlaps = ipFragments(udpFrame(testPayload(3000, 1), { fragOff: 0, ipId: 7 }), 776)[1]!;
    rig.receive([PIECES[0]!, overlaps]);
    expect(rig.freed.map(([reason]) => reason)).toEqual([SKB_DROP_REASON_NOT_SPECIFIED, SKB_CONSUMED]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});
