import { describe, expect, test } from "vitest";
import { E2BIG, EINVAL, ENOMEM, NSEC_PER_SEC } from "@netmem/kernel/api";
import { LIVE_FRAME_MAX_BYTES, PRESETS, PRESET_NAMES, testRunXdpLive, type LiveFramesOptions, type LiveFramesResult, type PresetName } from "@netmem/machine";
import { GFP_KERNEL } from "@netmem/mm/api";
import { skbRegion, type ReceiveSocket } from "@netmem/net-core/api";
import { CPUMAP_BATCH, XDP_ABORTED, XDP_COPY, XDP_DROP, XDP_PASS, XDP_TX, type CpuMap, type XskMap } from "@netmem/xdp/api";
import { SendingDevice, XdpBench } from "./xdp-bench.ts";

/** A machine on which frames can be run, and a socket that keeps what comes up. */
class LiveBench extends XdpBench {
  readonly socket: ReceiveSocket;

  constructor(preset: PresetName) {
    super(preset);
    const { sockets, receive } = this.machine.net;
    this.socket = sockets.open({ name: "7700" });
    receive.setProtocol(this.socket);
    this.dev.up = true;
  }

  run(options: Omit<LiveFramesOptions, "dev" | "data"> & Partial<LiveFramesOptions>): LiveFramesResult {
    return testRunXdpLive(this.machine, { dev: this.dev, data: new Uint8Array(42 + 200), ...options });
  }

  read(n: number): void {
    for (let i = 0; i < n; i++) this.machine.net.lifetime.consumeSkb(this.socket.dequeue()!);
  }

  /** `inflight` of each attempt to free the run's pool, without repeats. */
  series({ pool }: LiveFramesResult): number[] {
    const all = this.trace("page_pool_release").filter((line) => line.includes(`page_pool=${pool!.id} `)).map((line) => Number(/inflight=(\d+)/.exec(line)![1]));
    return all.filter((value, i) => value !== all[i - 1]);
  }

  counts({ pool }: LiveFramesResult): readonly [number, number] {
    return [pool!.holdCnt, pool!.releaseCnt];
  }

  after(ns: number): void {
    this.machine.kernel.scheduler.runFor(ns);
  }
}

/** Measured on real kernels: the captures h-test-run-live (6.18.44) and qemu61-live-pass-drop (6.1.192). */
describe("what real kernels did", () => {
  test("6.18: 256 frames dropped cost 64 holds and 64 releases, the pool is freed at once, and its mem id goes", () => {
    const bench = new LiveBench("6.18");
    const result = bench.run({ prog: bench.prog(() => XDP_DROP, "drop", false), repeat: 256 });
    expect([result.errno, result.packets, result.drop, bench.counts(result), bench.series(result), bench.trace("mem_disconnect").length]).toEqual([0, 256, 256, [64, 64], [0], 1]);
  });

  test("6.18: 48 frames passed sit in a socket, charged 4240 bytes each; the pool waits for them, and is freed when the socket closes", () => {
    const bench = new LiveBench("6.18");
    const result = bench.run({ prog: bench.prog(() => XDP_PASS, "pass", false), data: new Uint8Array(42 + 400), repeat: 48 });
    expect([result.pass, bench.socket.length(), bench.socket.rmemAlloc()]).toEqual([48, 48, 203_520]);
    bench.after(2 * NSEC_PER_SEC);
    bench.socket.close();
    bench.after(2 * NSEC_PER_SEC);
    expect([bench.counts(result), bench.series(result), result.pool!.dead]).toEqual([[64, 64], [48, 0], true]);
  });

  test("6.18: 256 frames redirected to a device whose peer queues them: a hold each, sixteen transmits; read 100, close: 256, 156, 0", () => {
    const bench = new LiveBench("6.18");
    const out = new SendingDevice(bench, "kca0");
    const result = bench.run({ prog: bench.prog((ctx) => ctx.redirect(out.dev.ifindex, 0), "redirect", false), data: new Uint8Array(42 + 300), repeat: 256 });
    // The peer of a veth: what is sent there is received.
    for (const frame of out.frames) frame.devRx = bench.dev;
    bench.softirq(0, () => bench.machine.net.frameReceiver.receiveFrames(out.frames, out.frames.length));
    expect([result.redirect, result.redirectErrors, bench.trace("xdp_redirect").length, bench.trace("xdp_devmap_xmit").length, bench.socket.rmemAlloc()]).toEqual([256, 0, 256, 16, 1_085_440]);
    bench.after(NSEC_PER_SEC);
    bench.read(100);
    bench.after(3 * NSEC_PER_SEC);
    bench.socket.close();
    bench.after(2 * NSEC_PER_SEC);
    expect([bench.counts(result), bench.series(result)]).toEqual([[256, 256], [256, 156, 0]]);
  });

  test("6.1: pages leave the pool when frames become skbs, so that both pools are freed at once while 30 datagrams sit in a socket", () => {
    const bench = new LiveBench("6.1");
    const passed = bench.run({ prog: bench.prog(() => XDP_PASS, "pass", false), data: new Uint8Array(1042), repeat: 40 });
    bench.read(10);
    const dropped = bench.run({ prog: bench.prog(() => XDP_DROP, "drop", false), data: new Uint8Array(1042), repeat: 40 });
    expect([bench.socket.length(), bench.series(passed), bench.series(dropped), passed.pool!.dead, dropped.pool!.dead]).toEqual([30, [0], [0], true, true]);
    bench.socket.close();
    expect(bench.kinds()).toEqual([]);
  });
});

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("every verdict in turn: what passes goes up after what is redirected was sent; all pages are home in the end", () => {
    const bench = new LiveBench(preset);
    const out = new SendingDevice(bench, "out");
    const verdicts = [XDP_PASS, XDP_DROP, XDP_TX, 4, XDP_ABORTED, 99];
    let n = 0;
    const result = bench.run({ prog: bench.prog((ctx) => {
      const verdict = verdicts[n++ % verdicts.length]!;
      return verdict === 4 ? ctx.redirect(out.dev.ifindex, 0) : verdict;
    }, "all", false), repeat: 600 });
    // XDP_TX goes back to where the frames pretend to come from, which cannot send; XDP_ABORTED is no verdict that a test run knows.
    const { errno, packets, pass, drop, tx, redirect, redirectErrors } = result;
    expect({ errno, packets, pass, drop, tx, redirect, redirectErrors }).toEqual({ errno: 0, packets: 600, pass: 100, drop: 300, tx: 100, redirect: 100, redirectErrors: 100 });
    expect([bench.socket.length(), out.frames.length, bench.machine.kernel.reports.counts()]).toEqual([100, 100, [{ kind: "xdp-invalid-action", count: 200 }]]);
    out.complete(bench);
    bench.socket.close();
    bench.after(2 * NSEC_PER_SEC);
    expect([result.pool!.dead, bench.counts(result)[0] - bench.counts(result)[1]]).toEqual([true, 0]);
  });

  test("XDP_TX from a device that can send, and a redirect to a socket: frames leave by the one, bytes are copied by the other", () => {
    const bench = new LiveBench(preset);
    const out = new SendingDevice(bench, "lo1");
    const { afXdp, maps } = bench.machine.xdp;
    const socket = afXdp.createSocket();
    const pages = Array.from({ length: 4 }, () => bench.machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    for (const errno of [socket.umemReg(pages, 2048, 0, 0), socket.rxRing(8), socket.fillRing(8), socket.completionRing(8), socket.bind(out.dev, 0, XDP_COPY, null)]) expect(errno).toBe(0);
    const fill = socket.fill!;
    for (; fill.producer < 4; fill.producer++) fill.addr[fill.producer] = fill.producer * 2048;
    const map = maps.createXskMap(1) as XskMap;
    map.mapUpdateElem(0, socket, 0);
    let n = 0;
    const result = bench.run({ prog: bench.prog((ctx) => (n++ % 2 === 0 ? XDP_TX : ctx.redirectMap(map, 0, 0)), "both", false), dev: out.dev, repeat: 10 });
    // Four chunks: the fifth packet finds none.
    expect([result.tx, result.redirect, result.redirectErrors, out.frames.length, socket.rx!.producer, socket.statistics().rxDropped]).toEqual([5, 5, 1, 5, 4, 1]);
    out.complete(bench);
    bench.after(2 * NSEC_PER_SEC);
    expect([result.pool!.dead, bench.kinds()]).toEqual([true, []]);
  });

  test("what a program changed in a page is still changed when the page comes again; bounds are as they were", () => {
    const bench = new LiveBench(preset);
    const seen: number[] = [];
    const result = bench.run({ prog: bench.prog((ctx) => {
      seen.push(ctx.getUint8(20), ctx.linearBytes, ctx.metaBytes);
      ctx.setUint8(20, ctx.getUint8(20) + 1);
      ctx.adjustHead(-8);
      ctx.adjustTail(-10);
      return XDP_DROP;
    }, "writer", false), meta: new Uint8Array(4), repeat: 3, batchSize: 1 });
    expect(result.errno).toBe(0);
    // One page, but where the pool fills its cache in bulk each batch takes the next of it before the ring is looked at.
    const values = seen.filter((_value, i) => i % 3 === 0);
    expect([Math.max(...values) <= 2, seen.filter((_value, i) => i % 3 !== 0)]).toEqual([true, [242, 4, 242, 4, 242, 4]]);
    const again = bench.run({ prog: bench.prog((ctx) => {
      ctx.setUint8(20, ctx.getUint8(20) + 1);
      seen.push(ctx.getUint8(20));
      return XDP_DROP;
    }, "writer", false), repeat: 200 });
    expect([again.errno, seen.at(-1)! > 1]).toEqual([0, true]);
  });

  test("what is refused, before anything is made; no repeat is one, and no batch size the usual", () => {
    const bench = new LiveBench(preset);
    const prog = bench.prog(() => XDP_DROP, "drop", false);
    const refusals: readonly (readonly [Partial<LiveFramesOptions>, number])[] = [
      [{ batchSize: 257 }, -E2BIG], [{ data: new Uint8Array(13) }, -EINVAL], [{ data: new Uint8Array(LIVE_FRAME_MAX_BYTES + 1) }, -EINVAL], [{ meta: new Uint8Array(3) }, -EINVAL], [{ meta: new Uint8Array(256) }, -EINVAL],
    ];
    const pools = bench.machine.pagePools.pools().length;
    for (const [options, errno] of refusals) {
      const result = bench.run({ prog, ...options });
      expect([result.errno, result.packets, result.pool === null]).toEqual([errno, 0, true]);
    }
    expect(() => bench.run({ prog, cpu: 99 })).toThrow(/machine: live frames cpu = 99: this machine has CPUs 0 to 1/);
    expect(bench.machine.pagePools.pools().length).toBe(pools);
    expect([bench.run({ prog, repeat: 0 }).packets, bench.run({ prog, batchSize: 0, repeat: 65, data: new Uint8Array(LIVE_FRAME_MAX_BYTES), meta: new Uint8Array(32) }).packets, LIVE_FRAME_MAX_BYTES]).toEqual([1, 65, 3408]);
    expect(() => bench.run({ prog, repeat: -1 })).toThrow(/machine: live frames repeat = -1: give a whole number, 0 or more/);
  });

  test("memory runs out: -ENOMEM, what was begun is ended, and everything comes home", () => {
    const bench = new LiveBench(preset);
    const { faults } = bench.machine.mm;
    const { failPageAlloc } = faults;
    failPageAlloc.arm({});
    const none = bench.run({ prog: bench.prog(() => XDP_PASS, "pass", false), repeat: 10 });
    failPageAlloc.disarm();
    expect([none.errno, none.packets, none.pool!.dead]).toEqual([-ENOMEM, 0, true]);
    faults.failFunction("receiveFrames").arm({});
    const up = bench.run({ prog: bench.prog(() => XDP_PASS, "pass", false), repeat: 100 });
    faults.failFunction("receiveFrames").disarm();
    // The batch it happened in was run; no other is.
    expect([up.errno, up.packets, up.pool!.dead, bench.socket.length()]).toEqual([-ENOMEM, 64, true, 0]);
  });

  test("a program that throws is told of by packet; the others go on", () => {
    const bench = new LiveBench(preset);
    let n = 0;
    const result = bench.run({ prog: bench.prog(() => {
      if (++n === 3) throw new RangeError("no such header");
      return XDP_DROP;
    }, "shaky", false), repeat: 5 });
    expect([result.errno, result.packets, result.drop]).toEqual([0, 5, 5]);
    const { reports } = bench.machine.kernel.reports;
    expect(reports.map(({ kind, object, message }) => `${kind}: ${object}: ${message}`)).toEqual(["xdp-program-fault: xdp prog shaky packet 3: threw RangeError: no such header", "xdp-invalid-action: xdp prog shaky packet 3: driver unsupported XDP return value 0: expect packet loss"]);
  });

  test("frames redirected to another CPU are built there, in batches of eight, while this one goes on", () => {
    const bench = new LiveBench(preset);
    const map = bench.machine.xdp.maps.createCpuMap(2) as CpuMap;
    map.mapUpdateElem(1, 512, null, 0);
    const result = bench.run({ prog: bench.prog((ctx) => ctx.redirectMap(map, 1, 0), "cpu", false), repeat: 200 });
    bench.after(NSEC_PER_SEC);
    expect([result.redirect, bench.socket.length(), bench.trace("xdp_cpumap_enqueue").length]).toEqual([200, 200, 25]);
    const batches = bench.trace("xdp_cpumap_kthread").map((line) => Number(/processed=(\d+)/.exec(line)![1]));
    expect([batches.reduce((sum, batch) => sum + batch, 0), Math.max(...batches)]).toEqual([200, CPUMAP_BATCH]);
    bench.socket.close();
    bench.after(2 * NSEC_PER_SEC);
    expect([result.pool!.dead, bench.kinds()]).toEqual([true, []]);
  });
});

test("a metadata length survives the way through the test run up to the skb", () => {
  const bench = new LiveBench("6.18");
  bench.run({ prog: bench.prog(() => XDP_PASS), meta: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), repeat: 1 });
  const skb = bench.socket.dequeue()!;
  const at = skb.macHeader - 8;
  expect([skb.shinfo!.metaLen, [...skbRegion(skb).bytes.subarray(at, at + 8)], PRESETS["6.18"].net.framesRecycle]).toEqual([8, [1, 2, 3, 4, 5, 6, 7, 8], true]);
  bench.machine.net.lifetime.consumeSkb(skb);
});
