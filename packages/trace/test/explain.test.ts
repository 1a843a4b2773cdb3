import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Explainer, type Noticed } from "@netmem/trace";
import type { Explanation } from "@netmem/trace/api";
import { CAPTURES, captured, explain, explainTogether, hold, line, POOL, poolOf, read, release, shutdown, truthOf, upTo } from "./captures.ts";

function verdicts({ pools }: Explanation): string[] {
  return pools.map(({ pool, epoch, verdict }) => `${pool}#${epoch} ${verdict}`);
}

function trace(name: string): string {
  return captured(`${name}.trace.gz`);
}

function monitor(name: string): string {
  return captured(`${name}.mon.jsonl.gz`);
}

describe("captures of real kernels", () => {
  const WITH_TRUTH = CAPTURES.filter((name) => truthOf(name) !== null);

  test("there are as many as we know of", () => {
    expect(WITH_TRUTH.length).toBeGreaterThanOrEqual(31);
  });

  /** The scripts count lines by address; an address that several pools had is told apart here, and not there. */
  test.each(WITH_TRUTH)("%s: counters and pages in flight of each pool are what the script wrote down", (name) => {
    const { pools, lost } = explain(trace(name));
    expect(lost).toBe(0);
    for (const [pool, truth] of Object.entries(truthOf(name)!)) {
      const lives = pools.filter((candidate) => candidate.pool === pool.replace(/^0x/, ""));
      expect(lives[0]!.firstTask).toBe(truth.first_comm);
      expect(lives.flatMap(({ inflightSeries }) => inflightSeries).slice(0, 6)).toEqual(truth.shutdown.slice(0, 6).filter((value) => value !== "..."));
      if (lives.length === 1 && truth.last_hold !== undefined) expect(lives[0]!.holds).toBe(truth.last_hold);
      if (lives.length === 1 && truth.last_release !== undefined) expect(lives[0]!.releases).toBe(truth.last_release);
      expect(lives.every(({ missing }) => missing.holds + missing.releases === 0)).toBe(true);
    }
  });

  test.each(CAPTURES)("%s: no pool is blamed", (name) => {
    expect(explain(trace(name)).pools.filter(({ verdict }) => verdict === "leak-suspect" || verdict === "accounting-error")).toEqual([]);
  });

  test.each(["a-ping-pass", "b-udp-late", "c-tcp-bulk", "d-xdp-drop", "hashed-b-udp-late", "stack-e-xdp-tx", "i-afxdp-copy", "m-forward"])("%s: the device is told by who polled, hashed or not, and its pool drained", (name) => {
    expect(poolOf(explain(trace(name)), "kcb0")).toMatchObject({ verdict: "drained", confidence: 0.98 });
  });

  test("an address that six pools had in one file is six pools", () => {
    const lives = explain(trace("f-xdp-redirect-cpumap")).pools.filter(({ pool }) => pool === "ffff888118efd800");
    expect(lives.map(({ epoch, holds, releases, verdict }) => [epoch, holds, releases, verdict])).toEqual([1, 2, 3, 4, 5, 6].map((epoch) => [epoch, 64, 64, "drained"]));
  });

  test("a pool that was destroyed before the trace began is judged no further", () => {
    const [old] = explain(trace("n-skb-defer-list")).pools;
    expect(old).toMatchObject({ verdict: "starts-before-trace", destroyedAt: null, inflightSeries: [5, 5, 5, 5, 5, 5], holds: 64, releases: 59 });
    expect([old!.evidence.at(-1), Math.round(old!.stalledSeconds)]).toEqual(["by its attempts it was destroyed about 16 s before the trace", 22]);
  });

  test("500 packets on 64 pages: they were used again", () => {
    expect(poolOf(explain(trace("d-xdp-drop")), "kcb0").recycling).toBe("seen");
    expect(poolOf(explain(trace("a-ping-pass")), "kcb0").recycling).toBe("not-visible");
    expect(poolOf(explain(monitor("b-udp-late")), "kcb0").recycling).toBe("seen");
  });

  test("stacks say who allocated", () => {
    expect(poolOf(explain(trace("stack-b-udp-late")), "kcb0").allocatedBy).toEqual([{ who: "skb_pp_cow_data ← veth_xdp_rcv_skb ← veth_xdp_rcv", pages: 64 }]);
  });

  test("the stack's own pool, which generic XDP takes from", () => {
    expect(verdicts(explain(trace("n77-l-xdp-generic")))).toEqual(["ffff888100db6000#1 system-pool"]);
  });

  test("a trace and its monitor are one account of each pool, in any order of the files", async () => {
    for (const name of ["b-udp-late", "c-tcp-bulk", "g-leak-socket-holds", "n-skb-defer-list", "pinned-g-leak-socket-holds"]) {
      const alone = poolOf(explain(trace(name)), "kcb0");
      for (const files of [[trace(name), monitor(name)], [monitor(name), trace(name)]]) {
        const both = poolOf(await explainTogether(...files), "kcb0");
        expect([both.holds, both.releases, both.inflightSeries, both.verdict, both.missing, both.lives.count]).toEqual([alone.holds, alone.releases, alone.inflightSeries, alone.verdict, alone.missing, alone.lives.count]);
        expect(both.id).not.toBe(null);
      }
    }
  });

  test.each(["g-leak-socket-holds", "h-test-run-live", "pinned-g-leak-socket-holds", "f-xdp-redirect-cpumap", "stack-b-udp-late"])("%s: in pieces, as rotated files are, it is the account of the whole, whatever order they are named in", async (name) => {
    const lines = trace(name).split("\n");
    const whole = explain(trace(name)).pools;
    // A stack is the event's before it.
    const begins = lines.flatMap((text, i) => (/^ *\S+-\d+ +\[/.test(text) && !text.includes("<stack trace>") ? [i] : [])).slice(1);
    await fc.assert(fc.asyncProperty(fc.uniqueArray(fc.constantFrom(...begins), { minLength: 1, maxLength: 3 }), fc.boolean(), async (cuts, backwards) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), lines.length];
      const pieces = at.slice(1).map((end, i) => lines.slice(at[i], end).join("\n"));
      expect((await explainTogether(...(backwards ? pieces.toReversed() : pieces))).pools).toEqual(whole);
    }), { numRuns: 10 });
  });

  test("with the monitor, pages that are out are those of packets that are not freed", async () => {
    expect(poolOf(await explainTogether(trace("g-leak-socket-holds"), monitor("g-leak-socket-holds")), "kcb0").holders).toEqual([{ who: "a packet of kcb0 that is not freed", pages: 5 }]);
  });

  test("a complaint of the kernel log is that of the pool which stalled then", async () => {
    const { pools } = await explainTogether(trace("long-g-leak-socket-holds-124"), "[ 2895.833844] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec\n[ 2956.249762] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 120 sec\n");
    expect(pools.filter(({ id }) => id === 285).map(({ pool, inflightSeries, stalledSeconds }) => [pool, inflightSeries[0], Math.round(stalledSeconds)])).toEqual([["ffff88810442e000", 29, 129]]);
  });
});

describe("why a pool waits", () => {
  const pinned = trace("pinned-g-leak-socket-holds");

  test("drained in the end: what held it up is said, and for how long", () => {
    expect(poolOf(explain(pinned), "kcb0")).toMatchObject({ verdict: "drained", inflightSeries: [40, 40, 40, 40, 35, 35, 15, 15, 0], stall: { pages: 40, cause: "held-by-socket" }, retries: 8 });
    expect(poolOf(explain(trace("n-skb-defer-list")), "kcb0")).toMatchObject({ verdict: "drained", stall: { pages: 12, cause: "deferred-free" } });
  });

  test("held by a socket, or read elsewhere: packets were received and not seen to be freed", () => {
    const cut = upTo(pinned, (text) => text.includes("ffff8881047a8800 inflight=35"));
    const pool = poolOf(explain(cut), "kcb0");
    expect([pool.verdict, pool.inflight, pool.stall!.cause, pool.evidence[1]]).toEqual(["held-by-socket", 35, "held-by-socket", "60 packets of kcb0 were received and not seen to be freed, of 1028 or 348 bytes: they are in a socket that is not read, or with a tap or a pipe, or were read on another CPU and wait on its deferred-free list"]);
  });

  test("read, and waiting for another CPU: others that came later are freed, these are not", () => {
    const packet = (skb: number, cpu: number): string => line(`netif_receive_skb: dev=eth0 skbaddr=ffff8881000000${skb}0 len=1028`, { cpu, flags: "..s1." });
    const text = [1, 2].map((n) => hold(n, n, { flags: "..s1.", us: n })).join("") + packet(1, 0) + packet(2, 0) + line("napi_poll: napi poll on napi struct 00000000de006767 for device eth0 work 2 budget 64", { flags: "..s1." })
      + shutdown(2, 2, 0, 1) + line("kfree_skb: skbaddr=ffff888100000020 rx_sk=0 protocol=2048 location=udp_destruct_common+0xb9/0xf0 reason: NOT_SPECIFIED") + release(1, 2)
      + shutdown(1, 2, 1, 2) + [3, 4, 5, 6].map((cnt) => shutdown(1, 2, 1, cnt, { us: cnt * 1_024_000 })).join("");
    expect(explain(text).pools).toMatchObject([{ device: "eth0", verdict: "deferred-free", inflight: 1 }]);
  });

  test("a packet that was not read with those behind it, though its CPU had a receive softirq since, is in a queue", () => {
    const packet = (skb: number, us?: number): string => line(`netif_receive_skb: dev=eth0 skbaddr=ffff8881000000${skb}0 len=1028`, { flags: "..s1.", ...(us === undefined ? {} : { us }) });
    const poll = (): string => line("napi_poll: napi poll on napi struct 00000000de006767 for device eth0 work 2 budget 64", { flags: "..s1." });
    const text = hold(1, 1, { flags: "..s1.", us: 1 }) + hold(2, 2, { flags: "..s1.", us: 2 }) + packet(1) + packet(2) + poll() + line("kfree_skb: skbaddr=ffff888100000020 rx_sk=0 protocol=2048 location=udp_destruct_common+0xb9/0xf0 reason: NOT_SPECIFIED")
      + release(1, 2) + poll() + [1, 2, 3, 4, 5].map((cnt) => shutdown(1, 2, 1, cnt, { us: cnt * 1_024_000 })).join("");
    expect(explain(text).pools).toMatchObject([{ verdict: "held-by-socket", inflight: 1 }]);
  });

  test("packets that are not freed hold no more pages than they have room for: the others are with nobody", () => {
    const packet = line("netif_receive_skb: dev=eth0 skbaddr=ffff888100000010 len=1028", { flags: "..s1.", us: 100 });
    const text = Array.from({ length: 30 }, (_, i) => hold(i + 1, i + 1, { us: i + 1 })).join("") + packet + [1, 2, 3, 4, 5].map((cnt) => shutdown(30, 30, 0, cnt, { us: cnt * 1_024_000 })).join("");
    expect(explain(text).pools).toMatchObject([{ verdict: "leak-suspect", confidence: 0.6, evidence: expect.arrayContaining(["1 packets are not freed, which can hold 4 pages at most: 26 pages are with nobody that the trace knows"]) }]);
  });

  test("cut anywhere, the false leak is never called a leak, nor an error, and counters that are newer than the last attempt count", () => {
    const lines = trace("n-skb-defer-list").split("\n");
    for (let at = 20; at < lines.length; at += 3) {
      for (const { pool, verdict, holds, releases, inflight } of explain(lines.slice(0, at).join("\n")).pools) {
        expect([at, pool, ["leak-suspect", "accounting-error"].includes(verdict)]).toEqual([at, pool, false]);
        if (holds !== null && releases !== null) expect([at, inflight]).toEqual([at, holds - releases]);
      }
    }
  });

  test("a device's pool is no system pool because TCP frees packets unseen whose structs are copied later", () => {
    const lines = trace("c-tcp-bulk").split("\n");
    const verdictsOf = [1200, 2000, 5000].flatMap((at) => explain(lines.slice(0, at).join("\n")).pools.filter(({ device }) => device === "kcb0").map(({ verdict }) => verdict));
    expect(verdictsOf).toEqual(["in-use", "in-use", "in-use"]);
  });

  test("draining: pages came home until the end, or it was only just destroyed", () => {
    const long = trace("long-g-leak-socket-holds-124");
    const cutAt = (inflight: number): string => explain(upTo(long, (text) => text.includes(`ffff88810442e000 inflight=${inflight} `))).pools[0]!.verdict;
    expect([cutAt(13), explain(hold(1) + hold(2) + shutdown(2, 2, 0, 1)).pools[0]!.verdict]).toEqual(["draining", "draining"]);
  });

  test("a leak: every packet is freed, and pages are out", () => {
    const packet = line("netif_receive_skb: dev=eth0 skbaddr=ffff888100000010 len=1028", { flags: "..s1.", us: 100 });
    const text = hold(1, 0x1001, { us: 10 }) + hold(2) + packet + line("consume_skb: skbaddr=ffff888100000010 location=skb_consume_udp+0x1/0x2") + release(1, 0x1001) + [1, 2, 3, 4, 5].map((cnt) => shutdown(1, 2, 1, cnt, { us: cnt * 1_024_000 })).join("");
    expect(explain(text).pools).toMatchObject([{ verdict: "leak-suspect", confidence: 0.85, stalledSeconds: 4.096, firstRetryAt: 2.048 }]);
    // Five attempts are four seconds, whatever the trace's clock counts.
    const counted = explain(text.replaceAll(/(\d+)\.(\d{6}): /g, "$1$2: "));
    expect(counted.pools).toMatchObject([{ verdict: "leak-suspect", confidence: 0.85, evidence: expect.arrayContaining(["1 page is in flight 4.0 s after it was destroyed"]) }]);
    expect(counted.notes).toEqual([expect.stringMatching(/its times are whole numbers, read as nanoseconds; .* record with mono$/)]);
    // Without a single skb event nobody can tell.
    expect(explain(text.split("\n").filter((each) => !each.includes("skb")).join("\n")).pools).toMatchObject([{ verdict: "leak-suspect", confidence: 0.4 }]);
  });

  test("what was never told is null, and what is no pool is none", () => {
    expect(explain("[ 2895.833844] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec\n").pools).toMatchObject([{ holds: null, releases: null, inflight: 29 }]);
    expect(explain(release(1344)).pools).toMatchObject([{ holds: null, releases: 1344, inflight: null }]);
    for (const other of ['{"id": 5, "msg": "hello"}', '[{"id": 513, "ifindex": 2, "irq": 40}]']) expect(explain(other).pools).toEqual([]);
  });

  test("the kernel log without a time, before or behind the trace: of the pool that waited so long with so many pages", () => {
    const log = "[Fri Nov 27 10:00:00 2026] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec\n";
    const text = Array.from({ length: 29 }, (_, i) => hold(i + 1, i + 1, { us: i + 1 })).join("") + Array.from({ length: 62 }, (_, i) => shutdown(29, 29, 0, i + 1, { us: (i + 1) * 1_024_000 })).join("");
    for (const both of [log + text, text + log]) expect(explain(both).pools).toMatchObject([{ pool: POOL, id: 285, stalledSeconds: 62.464 }]);
    const timed = "[   61.000000] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec\n";
    expect(explain(text + timed)).toMatchObject({ files: [{ boots: 1 }], pools: [{ pool: POOL, id: 285 }] });
  });

  test("the kernel log alone, and netlink alone", () => {
    expect(explain("[ 2895.833844] page_pool_release_retry() stalled pool shutdown: id 285, 29 inflight 60 sec\n").pools).toMatchObject([{ pool: "id 285", id: 285, verdict: "leak-suspect", stalledSeconds: 60, inflight: 29 }]);
    expect(explain('[{"id": 5, "ifindex": 2, "inflight": 300}, {"id": 6, "ifindex": 2, "inflight": 4, "detach-time": 104}, {"id": 7, "inflight": 0, "detach-time": 104}]').pools).toMatchObject([
      { id: 5, verdict: "in-use", inflight: 300, device: "ifindex 2" }, { id: 6, verdict: "leak-suspect", inflight: 4 }, { id: 7, verdict: "drained" },
    ]);
  });
});

describe("what no pool can have", () => {
  test.each([
    ["fewer than none in flight", hold(1) + shutdown(-2, 1, 3, 1), "reported -2 pages in flight: more left the pool than came"],
    ["another number than its own counters say", hold(1) + shutdown(5, 1, 0, 1), "reported 5 pages in flight, where 1 held less 0 released are 1"],
    ["a page that comes twice", hold(1, 7) + hold(2, 7), "page pfn 0x7 came into the pool (hold 2) while it was in it"],
    ["a page after the pool was freed", hold(1) + release(1) + shutdown(0, 1, 1, 1) + hold(2, 9), "a page came into the pool (hold 2) after it was freed"],
    ["more releases than pages", hold(1, 7) + hold(2, 8) + release(9, 7), "2 held and 9 released: more left the pool than came"],
    ["one number of two pages", hold(1, 7) + hold(2, 8) + hold(2, 9), "hold 2 is told of two pages"],
    ["pages that come after its destruction", hold(1) + hold(2) + shutdown(1, 2, 1, 1) + shutdown(2, 3, 1, 2), "reported 2 pages in flight after 1: pages came into the pool after it was destroyed"],
    ["a counter that goes back", hold(1) + hold(2) + hold(3) + shutdown(1, 3, 2, 1) + shutdown(2, 3, 1, 2), "1 released, where the attempt before had 2: a counter that goes back"],
    ["fewer than none in the kernel log", "[ 2895.833844] page_pool_release_retry() stalled pool shutdown: id 285, -3 inflight 60 sec\n", "the kernel log has -3 pages in flight: more left the pool than came"],
    ["a page that leaves twice", hold(1, 7) + release(1, 7) + release(2, 7), "page pfn 0x7 left the pool (release 2) and was not in it"],
  ])("%s", (_what, text, evidence) => {
    const [pool] = explain(text).pools;
    expect([pool!.verdict, pool!.evidence]).toEqual(["accounting-error", expect.arrayContaining([evidence])]);
  });

  test("where lines are missing, a page that is not there proves nothing", () => {
    expect(explain(`CPU:0 [LOST 3 EVENTS]\n${hold(1, 7)}${release(1, 9)}`).pools[0]!.verdict).toBe("in-use");
    expect(explain(hold(1, 7) + hold(3, 7)).pools[0]!.verdict).toBe("in-use");
  });

  test("a counter may wrap", () => {
    const { pools } = explain(hold(0xffff_ffff, 1) + hold(0, 2) + hold(1, 3) + release(0xffff_ffff, 1) + release(0, 2) + shutdown(1, 1, 0, 1));
    expect(pools).toMatchObject([{ epoch: 1, holds: 1, releases: 0, inflight: 1, verdict: expect.not.stringMatching("error") }]);
  });
});

describe("what is not there", () => {
  test("lines that were lost: counted, said, and less is certain", () => {
    const lossy = explain(captured("tool-trace_pipe-lost-events.txt.gz"));
    expect([lossy.lost, lossy.unknownLines]).toEqual([1012, 2]);
    expect(lossy.pools).toMatchObject([{ holds: 640, releases: 640, verdict: "drained", confidence: 0.53 }]);
    expect(lossy.pools[0]!.evidence.join()).toContain("1012 events were lost");
  });

  test("counters that jump, without a mark of a loss", () => {
    const [pool] = explain(hold(1) + hold(40) + shutdown(38, 40, 2, 1)).pools;
    expect([pool!.missing, pool!.confidence < 0.9, pool!.evidence.at(-1)]).toEqual([{ holds: 38, releases: 2 }, true, "38 hold and 2 release lines missing: the counters say 40 held and 2 released, the trace has 2 and 0 lines, and no mark of a loss explains it"]);
  });

  test("releases that several CPUs print out of order are no other pool, and none is missing", () => {
    const pfns = Array.from({ length: 100 }, (_, i) => i + 1);
    const order = [...pfns.slice(30), ...pfns.slice(0, 30)];
    const { pools } = explain(pfns.map((n) => hold(n, n)).join("") + order.map((n) => release(n, n)).join("") + shutdown(0, 100, 100, 1));
    expect(pools).toMatchObject([{ epoch: 1, missing: { holds: 0, releases: 0 }, verdict: "drained" }]);
  });

  test("a pool that begins again without having been seen to end", () => {
    expect(verdicts(explain(hold(1) + hold(2) + hold(1) + shutdown(1, 1, 0, 1)))).toEqual([`${POOL}#1 drained`, `${POOL}#2 draining`]);
  });

  test("another boot: what was before is cut off, and said", () => {
    const { pools, notes } = explain(hold(1, 1, { us: 90_000_000 }) + hold(1, 1, { us: 2_000_000 }) + shutdown(0, 1, 1, 1));
    expect(pools.map(({ verdict, confidence }) => [verdict, confidence])).toEqual([["in-use", 0.25], ["drained", expect.any(Number)]]);
    expect(notes).toEqual(["test: its clock begins again 1 times; each begin is taken for another boot, and pools are not followed across"]);
  });

  test("pools without addresses are told apart by their counters", () => {
    const pool = "(____ptrval____)";
    const other = { pool, task: "other-2" };
    const text = hold(1, 1, { pool }) + hold(1, 11, other) + hold(2, 2, { pool }) + hold(2, 12, other) + release(1, 1, { pool }) + release(1, 12, { pool }) + release(2, 2, { pool }) + shutdown(0, 2, 2, 1, { pool }) + shutdown(1, 2, 1, 1, { pool });
    expect(explain(text).pools).toMatchObject([{ pool, epoch: 1, holds: 2, releases: 2, inflightSeries: [0] }, { pool, epoch: 2, holds: 2, releases: 1, inflightSeries: [1] }]);
  });

  test("an empty trace has no pools", () => {
    expect(explain("# tracer: nop\n#\n# entries-in-buffer/entries-written: 0/0   #P:2\n")).toMatchObject({ pools: [], lost: 0, unknownLines: 0 });
  });
});

test("who follows is told as it happens", () => {
  const told: string[] = [];
  const explainer = new Explainer(({ what, inflight, epoch }: Noticed) => void told.push(`${epoch.pool} ${what} ${inflight}`));
  for (const event of read(hold(1) + hold(2) + shutdown(2, 2, 0, 1) + shutdown(1, 2, 1, 2) + shutdown(0, 2, 2, 3)).events) explainer.take(event);
  expect(told).toEqual([`${POOL} began 1`, `${POOL} destroyed 2`, `${POOL} retried 1`, `${POOL} freed 0`]);
});

test("any number of pools that take and give pages, at any address, and end or not: each is accounted for", () => {
  const life = fc.record({ address: fc.integer({ min: 1, max: 3 }), pages: fc.integer({ min: 1, max: 20 }), back: fc.integer({ min: 0, max: 20 }) });
  fc.assert(fc.property(fc.array(life, { minLength: 1, maxLength: 12 }), fc.boolean(), (lives, crlf) => {
    let text = "";
    for (const { address, pages, back } of lives) {
      const pool = `ffff88810000${address}000`;
      const home = Math.min(pages, back);
      for (let n = 1; n <= pages; n++) text += hold(n, n, { pool });
      for (let n = 1; n <= home; n++) text += release(n, n, { pool });
      text += shutdown(pages - home, pages, home, 1, { pool });
      // The next at the address can only come when this one is gone.
      for (let n = home + 1; n <= pages; n++) text += release(n, n, { pool });
      if (home < pages) text += shutdown(0, pages, pages, 2, { pool });
    }
    const { pools } = explain(crlf ? text.replaceAll("\n", "\r\n") : text);
    expect(pools.map(({ holds, releases, inflightSeries, verdict, lives: { count, held } }) => [holds, releases, inflightSeries, verdict, count, held])).toEqual(
      lives.map(({ pages, back }) => [pages, pages, back >= pages ? [0] : [pages - back, 0], "drained", pages, 0]),
    );
    expect(pools.map(({ pool, epoch }) => `${pool}${epoch}`)).toEqual(lives.map(({ address }, i) => `ffff88810000${address}000${lives.slice(0, i + 1).filter((other) => other.address === address).length}`));
  }), { numRuns: 60 });
});
