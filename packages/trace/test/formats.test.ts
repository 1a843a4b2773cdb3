import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { TraceReader } from "@netmem/trace";
import { CAPTURES, captured, hold, read, shutdown } from "./captures.ts";

const HOLD_618 = "         python3-27975   [000] ..s1.  1734.905542: page_pool_state_hold: page_pool=00000000076e8a3c netmem=000000005f9f3e85 is_net_iov=0, pfn=0x10c6db hold=1";

describe("tracefs", () => {
  test("a hold of 6.18: pool, page, counter, who and when", () => {
    expect(read(HOLD_618).events).toMatchObject([{ kind: "hold", pool: "00000000076e8a3c", pfn: 0x10c6db, hold: 1, release: null, isNetIov: false, task: "python3-27975", cpu: 0, softirq: true, timeUs: 1_734_905_542 }]);
  });

  test.each([
    ["a release, without the comma behind is_net_iov", "              ip-27657   [000] .....  1732.919195: page_pool_state_release: page_pool=0000000071c2c944 netmem=00000000a36a480c is_net_iov=0 pfn=0x104d42 release=64", { kind: "release", release: 64, pfn: 0x104d42, softirq: false }],
    ["6.1, which says page= and no is_net_iov", "         kt_live-121     [000] b...1    16.461501: page_pool_state_hold: page_pool=ffff897041992000 page=fffff20c401258c0 pfn=0x4963 hold=1", { kind: "hold", pool: "ffff897041992000", pfn: 0x4963, hold: 1 }],
    ["an address that was not known yet", "         swapper-1       [000] .....     0.412000: page_pool_state_hold: page_pool=(____ptrval____) page=(____ptrval____) pfn=0x4963 hold=7", { pool: "(____ptrval____)", hold: 7 }],
    ["a task with blanks, a slash, a colon and a bracket in its name", "     k w/1:2 [3]-27452   [001] .....  1763.484054: page_pool_release: page_pool=00000000e84b934d inflight=35 hold=64 release=29 cnt=5", { kind: "shutdown", task: "k w/1:2 [3]-27452", inflight: 35, hold: 64, release: 29, attempts: 5 }],
    ["a task with a minus and digits in its name", "       worker-12-27452   [001] .....  1763.484054: page_pool_release: page_pool=00000000e84b934d inflight=35 hold=64 release=29 cnt=5", { task: "worker-12-27452" }],
    ["the idle task", "          <idle>-0       [003] ..s1.  1763.484054: page_pool_release: page_pool=00000000e84b934d inflight=-3 hold=64 release=67 cnt=5", { task: "<idle>-0", inflight: -3, cpu: 3 }],
    ["with a column of thread groups", "         python3-27975   (  27975) [000] ..s1.  1734.905542: page_pool_state_hold: page_pool=00000000076e8a3c netmem=000000005f9f3e85 is_net_iov=1, pfn=0x0 hold=1", { isNetIov: true, task: "python3-27975" }],
    ["without flags, and a clock that counts", "         python3-27975   [000]  173490554200: page_pool_state_hold: page_pool=00000000076e8a3c netmem=000000005f9f3e85 is_net_iov=0, pfn=0x10c6db hold=1", { timeUs: 173_490_554.2 }],
    ["an skb received", "            ping-27645   [000] ..s1.  1732.692944: netif_receive_skb: dev=kcb0 skbaddr=0000000044ab94f6 len=84", { kind: "packet", device: "kcb0", skb: 0x44ab94f6, amount: 84 }],
    ["an skb freed, by whom", "         python3-27975   [000] ..s1.  1734.905559: consume_skb: skbaddr=00000000f19c02a1 location=skb_pp_cow_data+0x373/0x530", { kind: "packet-freed", location: "skb_pp_cow_data", reason: null, skb: 0xf19c02a1 }],
    ["an skb dropped, and why", "         python3-398     [000] .....  2656.201961: kfree_skb: skbaddr=ffff888141e84c00 rx_sk=0000000000000000 protocol=2048 location=udp_recvmsg+0xf8/0x550 reason: UDP_CSUM", { kind: "packet-freed", location: "udp_recvmsg", reason: "UDP_CSUM" }],
    ["a poll", "         python3-27975   [000] ..s1.  1734.905583: napi_poll: napi poll on napi struct 00000000de006767 for device kcb0 work 1 budget 64", { kind: "poll", device: "kcb0", amount: 1 }],
    ["a model gone, whose type 6.1 prints empty", "         kt_live-121     [000] .....    16.462374: mem_disconnect: mem_id=5 mem_type= allocator=ffff897041992000", { kind: "disconnect", pool: "ffff897041992000" }],
  ])("%s", (_what, text, expected) => {
    const { events, summary } = read(text);
    expect([events, summary]).toMatchObject([[expected], { format: "tracefs", unknownLines: 0 }]);
  });

  test.each([
    ["a counter above 32 bits", "page_pool_state_hold: page_pool=00000000076e8a3c netmem=0 is_net_iov=0, pfn=0x1 hold=4294967296"],
    ["a counter that is none", "page_pool_state_hold: page_pool=00000000076e8a3c netmem=0 is_net_iov=0, pfn=0x1 hold=many"],
    ["no pool", "page_pool_state_hold: netmem=0 is_net_iov=0, pfn=0x1 hold=1"],
    ["an address of seventeen digits", "page_pool_state_hold: page_pool=00000000000076e8a netmem=0 is_net_iov=0, pfn=0x1 hold=1"],
    ["pages in flight beyond 32 bits", "page_pool_release: page_pool=00000000076e8a3c inflight=9999999999 hold=1 release=1 cnt=1"],
  ])("%s: the line is counted as unknown, and no event", (_what, payload) => {
    const { events, summary } = read(`         python3-27975   [000] ..s1.  1734.905542: ${payload}\n`);
    expect([events, summary.unknownLines]).toEqual([[], 1]);
  });

  test("events that say nothing of pools are counted, not kept", () => {
    expect(read("            bash-1       [000] d....     1.000001: sched_switch: prev_comm=bash prev_pid=1\n").summary).toMatchObject({ events: 0, otherEvents: 1, unknownLines: 0 });
  });

  test("a stack goes with the event in front of it, without the tracer's own function", () => {
    const { events } = read(captured("stack-b-udp-late.trace.gz"));
    const holds = events.filter(({ kind }) => kind === "hold");
    expect([holds.length, holds.every(({ stack }) => stack![0] === "__page_pool_alloc_netmems_slow" && stack!.includes("veth_poll"))]).toEqual([64, true]);
  });
});

describe("other formats", () => {
  test("perf script, with and without thread, and with a call chain", () => {
    const { events, summary } = read(`            ping 29731 [001]  3116.927556:    page_pool:page_pool_state_hold: page_pool=0xffff8881d67ba800 netmem=0xffffea0008521300 is_net_iov=0, pfn=0x21484c hold=1
\tffffffff81a1 __page_pool_alloc_netmems_slow+0x1e4 ([kernel.kallsyms])
\tffffffff81a2 veth_poll+0xc6 ([kernel.kallsyms])

     my app 1/2 [001]  3116.927558:    page_pool:page_pool_state_hold: page_pool=0xffff8881d67ba800 netmem=0xffffea0007397280 is_net_iov=0, pfn=0x1ce5ca hold=2
`);
    expect(events).toMatchObject([{ task: "ping-29731", pool: "ffff8881d67ba800", hold: 1, stack: ["__page_pool_alloc_netmems_slow", "veth_poll"] }, { task: "my app-2", hold: 2, stack: null }]);
    expect(summary).toMatchObject({ format: "perf", unknownLines: 0 });
  });

  test("the monitor's samples, references of 2^62 as they are", () => {
    const { events } = read('{"t":2628.976986,"ev":"gro","cpu":1,"pid":29574,"comm":"python3","pool":"0xffff888102da9000","dev":"kcb0","id":212,"mem_id":0,"hold":64,"rel":0,"cache":63,"ring":0,"ring_size":256,"pool_size":256,"frag_off":1664,"frag_users":1,"page":"0xffffea000507a580","refcount":1,"pp_ref":4611686018427387903,"skb":"0xffff8881422eae00","len":1028}\n');
    expect(events).toMatchObject([{ kind: "packet", pool: "ffff888102da9000", id: 212, device: "kcb0", hold: 64, release: 0, sample: { cache: 63, ring: 0, fragOffset: 1664, fragUsers: 1, refcount: 1, ppRef: "4611686018427387903" } }]);
  });

  test("bpftrace, sampled, with stacks and maps", () => {
    const { events, summary } = read(captured("tool-bpftrace.txt.gz"));
    expect(events.map(({ kind, pool, hold: held, inflight, task }) => [kind, pool, held, inflight, task])).toEqual([
      ["hold", "ffff8881d67b8000", 1, null, "swapper/0"], ["hold", "ffff8881d67b8000", 33, null, "swapper/0"], ["shutdown", "ffff8881d67b8000", 64, 0, null],
    ]);
    expect([events[0]!.stack, summary.format, summary.unknownLines]).toEqual([["__page_pool_alloc_netmems_slow", "page_pool_alloc_frag_netmem", "skb_pp_cow_data", "veth_xdp_rcv_skb", "veth_xdp_rcv", "veth_poll"], "bpftrace", 0]);
  });

  test.each([
    ["with a number, from 6.8", "[ 2895.833844] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec", { id: 285, inflight: 29, amount: 60, timeUs: 2_895_833_844 }],
    ["without", "[ 2895.833844] page_pool_release_retry() stalled pool shutdown 29 inflight 60 sec", { id: null, inflight: 29, amount: 60 }],
    ["in the journal", "Nov 27 20:00:00 host kernel: page_pool_release_retry() stalled pool shutdown: id 3, 2 inflight 120 sec", { id: 3, timeUs: null }],
    ["with a level in front", "<4>[   12.000001] page_pool_release_retry() stalled pool shutdown: id 3, 2 inflight 120 sec", { timeUs: 12_000_001 }],
  ])("the kernel log: %s", (_what, text, expected) => {
    expect(read(`[    0.000000] Linux version 6.18\n${text}\n`)).toMatchObject({ events: [{ kind: "stall", ...expected }], summary: { format: "dmesg", unknownLines: 0 } });
  });

  const REPLIES = [{ id: 5, ifindex: 2, "napi-id": 8193, inflight: 300, "inflight-mem": 1_228_800 }, { id: 6, ifindex: 2, inflight: 0, "detach-time": 104 }];

  test.each([
    ["JSON on one line", JSON.stringify(REPLIES)], ["JSON on many", JSON.stringify(REPLIES, null, 2)],
    ["Python's notation", "[{'id': 5, 'ifindex': 2, 'napi-id': 8193, 'inflight': 300, 'inflight-mem': 1228800},\n {'detach-time': 104, 'id': 6, 'ifindex': 2, 'inflight': 0}]"],
  ])("netlink's page-pool-get: %s", (_what, text) => {
    const { events, summary } = read(text);
    expect(events).toMatchObject([{ kind: "snapshot", id: 5, inflight: 300, statistics: { ifindex: 2, napiId: 8193, detachTime: null } }, { id: 6, inflight: 0, statistics: { detachTime: 104 } }]);
    expect(summary).toMatchObject({ format: "netlink", unknownLines: 0 });
  });

  test.each([
    ["a map's entries", JSON.stringify(Array.from({ length: 2000 }, (_, i) => ({ key: ["0x01"], value: { a: i, b: [1, 2, 3] } })), null, 4)],
    ["what never ends", `[\n${'"a1":["x"]\n'.repeat(4000)}`],
  ])("a document of many lines that is no netlink reply (%s) is not parsed anew at each bracket", (_what, text) => {
    const parse = vi.spyOn(JSON, "parse");
    expect(read(text)).toMatchObject({ events: [], summary: { format: null } });
    const parses = parse.mock.calls.length;
    parse.mockRestore();
    expect(parses).toBeLessThan(40);
  });

  test("netlink's page-pool-stats-get, and none at all", () => {
    expect(read('[{"info": {"id": 5, "ifindex": 2}, "alloc-fast": 10, "recycle-ring": 7}]').events).toMatchObject([{ id: 5, statistics: { counts: { "alloc-fast": 10, "recycle-ring": 7 } } }]);
    expect(read("[]")).toMatchObject({ events: [], summary: { format: "netlink" } });
  });

  test("a broken line of JSON takes no other with it", () => {
    const good = '{"t":1735,"ev":"shutdown","cpu":1,"pid":1,"comm":"ip","pool":"0xffff888102da9000","dev":"kcb0","id":1,"hold":1,"rel":1,"inflight":0}';
    const { events, summary } = read(`{"t":1,"ev":"ho\n${good}\n{broken}\n${HOLD_618}\n{"other": "JSON"}\n${good}\n`);
    expect([events.map(({ kind }) => kind), summary.unknownLines]).toEqual([["shutdown", "hold", "shutdown"], 3]);
  });
});

describe("losses", () => {
  test("all three ways of telling are of the same events: the largest counts", () => {
    expect(read(captured("tool-trace_pipe-lost-events.txt.gz")).summary.lost).toBe(1012);
  });

  test.each([
    ["a mark", "CPU:1 [LOST 123 EVENTS]\n", 123], ["a mark without a number, of old kernels", "CPU:1 [LOST EVENTS]\n", 1], ["two marks", "CPU:1 [LOST 3 EVENTS]\nCPU:0 [LOST 4 EVENTS]\n", 7],
    ["a heading", "# entries-in-buffer/entries-written: 270/1282   #P:2\n", 1012], ["a heading of nothing lost", "# entries-in-buffer/entries-written: 270/270   #P:2\n", 0],
    ["statistics of two CPUs", "entries: 65\noverrun: 10\ncommit overrun: 0\nbytes: 1\noldest event ts:  1.0\nnow ts:  2.0\ndropped events: 3\nread events: 0\noverrun: 5\ndropped events: 0\n", 18],
  ])("%s", (_what, text, lost) => {
    expect(read(text).summary).toMatchObject({ lost, unknownLines: 0 });
  });
});

describe("whatever comes", () => {
  test("a file in pieces of any size is read as one in one piece", () => {
    const text = captured("tool-trace_pipe-lost-events.txt.gz").slice(0, 6000) + captured("tool-bpftrace.txt.gz") + captured("stack-b-udp-late.trace.gz").slice(0, 5000);
    const bytes = Buffer.from(text);
    const whole = read(text);
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }), (sizes) => {
      const reader = new TraceReader("test");
      const events = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length]!;
        events.push(...reader.push(bytes.subarray(at, at + size)));
        at += size;
      }
      events.push(...reader.end());
      expect(events).toEqual(whole.events);
      expect(reader.summary()).toEqual(whole.summary);
    }), { numRuns: 30 });
  });

  test("junk of any kind between good lines costs none of them, and is counted", () => {
    const good = [hold(1), hold(2), shutdown(2, 2, 0, 1)];
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1").replaceAll("\n", " ")), { minLength: 2, maxLength: 2 }), ([first, second]) => {
      const { events, summary } = read(`${good[0]!}${first!}\n${good[1]!}${second!}\n${good[2]!}`);
      expect([events.filter(({ kind }) => kind !== "stall").length, summary.lines]).toEqual([3, 5]);
    }));
  });

  test("a line that is longer than any is given up up to its end", () => {
    const reader = new TraceReader("test");
    reader.push(Buffer.from(hold(1)));
    for (let i = 0; i < 40; i++) reader.push(Buffer.alloc(100_000, 0x78));
    const events = [...reader.push(Buffer.from(`\n${hold(2)}`)), ...reader.end()];
    expect([events.length, reader.summary()]).toMatchObject([2, { overlongLines: 1, unknownLines: 1, lines: 3 }]);
  });

  test("binary lines are told apart from others that are unknown", () => {
    expect(read("hello\nworld\u0000\u0001\n").summary).toMatchObject({ format: null, unknownLines: 2, binaryLines: 1 });
  });

  test("lines may end as on other systems; the last needs no end; nothing is no trace", () => {
    expect(read(HOLD_618.concat("\r\n", HOLD_618)).events).toHaveLength(2);
    expect(read("").summary).toMatchObject({ format: null, lines: 0 });
  });

  test("a byte order mark is no part of the first line", () => {
    const line = hold(1);
    expect(read(`\ufeff${line}`).events).toEqual(read(line).events);
  });

  test("a clock that goes back is another boot; by less it is another CPU's", () => {
    expect(read(hold(1, 1, { us: 50_000_000 }) + hold(1, 1, { us: 49_500_000 }) + hold(1, 1, { us: 3_000_000 })).summary.boots).toBe(2);
  });

  test.each(CAPTURES)("%s: every line is understood", (name) => {
    const { summary } = read(captured(`${name}.trace.gz`));
    // Of the function graph only its headings are not.
    expect([summary.unknownLines, summary.format, summary.boots]).toEqual([name.includes("funcgraph") ? 3 : 0, "tracefs", 1]);
  });
});
