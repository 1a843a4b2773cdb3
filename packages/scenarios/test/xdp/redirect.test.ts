import { describe, expect, test } from "vitest";
import { E2BIG, EBADRQC, EEXIST, EINVAL, EIO, EMSGSIZE, ENETDOWN, ENOENT, EOPNOTSUPP, EOVERFLOW, NSEC_PER_MSEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES } from "@netmem/machine";
import type { Page } from "@netmem/mm/api";
import {
  BPF_EXIST, BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS, BPF_NOEXIST, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, NETDEV_XDP_ACT_BASIC, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX,
  XDP_XMIT_FLUSH, type CpuMap, type DevMap, type XdpMd,
} from "@netmem/xdp/api";
import { tcpFrame, testPayload } from "@netmem/testkit";
import { SendingDevice, XdpBench, pfns } from "./xdp-bench.ts";

/** `n` packets through `run` into its redirect, in one softirq of CPU 0, and a flush unless `flush` is false. */
function redirectAll(bench: XdpBench, n: number, run: (ctx: XdpMd) => number, flush: boolean = true): { readonly errnos: number[]; readonly pages: Page[] } {
  const prog = bench.prog(run);
  const pages: Page[] = [];
  const errnos = bench.softirq(0, () => {
    const answers: number[] = [];
    for (let i = 0; i < n; i++) {
      pages.push(...bench.receiveHere());
      answers.push(bench.redirect(prog));
    }
    if (flush) bench.machine.xdp.redirect.xdpDoFlush();
    return answers;
  });
  return { errnos, pages };
}

function cpuMap(bench: XdpBench, cpu: number, qsize: number, run: ((ctx: XdpMd) => number) | null = null): CpuMap {
  const map = bench.machine.xdp.maps.createCpuMap(2) as CpuMap;
  if (map.mapUpdateElem(cpu, qsize, run === null ? null : bench.prog(run, "cpumap"), 0) !== 0) throw new Error("no entry");
  return map;
}

/** `n` segments of a connection to CPU 1 of a cpumap, in one softirq of CPU 0; those from `arpFrom` on say that they are ARP. */
function segmentsTo(bench: XdpBench, map: CpuMap, n: number, arpFrom: number = n): void {
  const prog = bench.prog((ctx) => ctx.redirectMap(map, 1, 0));
  bench.softirq(0, () => {
    for (let i = 0; i < n; i++) {
      const [page] = bench.receiveHere();
      const frame = tcpFrame(testPayload(100, i), { seq: 1 + 100 * i, ipId: i });
      if (i >= arpFrom) frame[13] = 6;
      page!.region.bytes.set(frame, page!.base + bench.buff.data);
      bench.buff.dataEnd = bench.buff.data + frame.length;
      bench.redirect(prog);
    }
    bench.machine.xdp.redirect.xdpDoFlush();
  });
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  const { hasBroadcast, devmapRunsAtFlush } = PRESETS[preset].xdp;

  test("pp-xdp row 73: the seventeenth frame for a device sends sixteen with flags 0, the flush the one left with XDP_XMIT_FLUSH", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    const before = redirectAll(bench, 16, (ctx) => ctx.redirectMap(map, 0, 0), false);
    expect([before.errnos, out.calls]).toEqual([Array.from({ length: 16 }, () => 0), []]);
    redirectAll(bench, 1, (ctx) => ctx.redirectMap(map, 0, 0), false);
    expect(out.calls).toEqual(["16 0"]);
    bench.softirq(0, () => {
      bench.machine.xdp.redirect.xdpDoFlush();
      bench.machine.xdp.redirect.xdpDoFlush();
    });
    expect([out.calls, out.frames.length, bench.kinds()]).toEqual([["16 0", `1 ${XDP_XMIT_FLUSH}`], 17, []]);
    expect(bench.trace("xdp_devmap_xmit")).toEqual([
      `xdp_devmap_xmit: from_ifindex=${bench.dev.ifindex} to_ifindex=${out.dev.ifindex} sent=16 drops=0 err=0`,
      `xdp_devmap_xmit: from_ifindex=${bench.dev.ifindex} to_ifindex=${out.dev.ifindex} sent=1 drops=0 err=0`,
    ]);
    out.complete(bench);
    expect(bench.pool.ringCount()).toBe(17);
  });

  test("pp-xdp row 74: of sixteen frames a device takes ten; six are returned direct, and the trace says sent 10, drops 6, err 0", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    out.answer = 10;
    const { pages } = redirectAll(bench, 16, (ctx) => ctx.redirectMap(map, 0, 0));
    expect(bench.trace("xdp_devmap_xmit")).toEqual([`xdp_devmap_xmit: from_ifindex=${bench.dev.ifindex} to_ifindex=${out.dev.ifindex} sent=10 drops=6 err=0`]);
    expect([pfns(bench.pool.cacheItems().slice(-6) as Page[]), bench.ring(), out.frames.length]).toEqual([pfns(pages.slice(10)), [], 10]);
  });

  test("pp-xdp row 75: a device answers -EIO: all are returned, and the trace says sent 0, drops 16, err -5", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    out.answer = -EIO;
    const { pages } = redirectAll(bench, 16, (ctx) => ctx.redirectMap(map, 0, 0));
    expect(bench.trace("xdp_devmap_xmit")).toEqual([`xdp_devmap_xmit: from_ifindex=${bench.dev.ifindex} to_ifindex=${out.dev.ifindex} sent=0 drops=16 err=-5`]);
    expect([pfns(bench.pool.cacheItems().slice(-16) as Page[]), bench.kinds()]).toEqual([pfns(pages), []]);
  });

  test(`pp-xdp row 76: ${devmapRunsAtFlush ? "the map's program drops all: the device is not asked, and drops are what was queued" : "not so: before 5.14 the map's program drops a packet on its way in, and nothing is queued"}`, () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap();
    const seen: string[] = [];
    map.mapUpdateElem(0, out.dev.ifindex, bench.prog((ctx) => {
      seen.push(`${ctx.ingressIfindex} ${ctx.egressIfindex} ${ctx.linearBytes}`);
      return XDP_DROP;
    }, "devmap"), 0);
    const { errnos, pages } = redirectAll(bench, 5, (ctx) => ctx.redirectMap(map, 0, 0));
    expect([errnos, out.calls, seen]).toEqual([[0, 0, 0, 0, 0], [], Array.from({ length: 5 }, () => `${bench.dev.ifindex} ${out.dev.ifindex} 60`)]);
    expect(bench.trace("xdp_devmap_xmit")).toEqual(devmapRunsAtFlush ? [`xdp_devmap_xmit: from_ifindex=${bench.dev.ifindex} to_ifindex=${out.dev.ifindex} sent=0 drops=5 err=0`] : []);
    expect(bench.machine.xdp.redirect.stats).toMatchObject({ copies: 0, devmapDrops: 5, cpumapDrops: 0 });
    // One after the other: each takes the page that the one before gave back.
    expect(pfns(bench.pool.cacheItems().slice(devmapRunsAtFlush ? -5 : -1) as Page[]).toSorted()).toEqual([...new Set(pfns(pages))].toSorted());
  });

  test(`pp-xdp row 77: ${hasBroadcast ? "a broadcast to three makes two clones in pages of their own, and the last gets the packet itself; to none, it is returned, and that is a success" : "not so: before 5.14 a redirect to all of a map is refused"}`, () => {
    const bench = new XdpBench(preset);
    const outs = ["a", "b", "c"].map((name) => new SendingDevice(bench, name));
    const map = bench.devMap(...outs.map(({ dev }) => dev));
    const { errnos, pages } = redirectAll(bench, 1, (ctx) => ctx.redirectMap(map, 0, BPF_F_BROADCAST));
    const { stats } = bench.machine.xdp.redirect;
    expect([stats.copies, [...stats.errors]]).toEqual(hasBroadcast ? [2, []] : [0, [[-EBADRQC, 1]]]);
    if (!hasBroadcast) {
      expect([errnos, outs.flatMap(({ calls }) => calls)]).toEqual([[-EBADRQC], []]);
      return;
    }
    expect(errnos).toEqual([0]);
    expect(outs.map(({ frames }) => frames.map(({ memType, head, len }) => [memType, head === pages[0], len]))).toEqual([
      [[MEM_TYPE_PAGE_ORDER0, false, 60]], [[MEM_TYPE_PAGE_ORDER0, false, 60]], [[MEM_TYPE_PAGE_POOL, true, 60]],
    ]);
    for (const out of outs) out.complete(bench);
    expect(bench.ring()).toEqual(pfns(pages));

    const nobody = bench.devMap();
    const alone = redirectAll(bench, 1, (ctx) => ctx.redirectMap(nobody, 0, BPF_F_BROADCAST));
    expect([alone.errnos, pfns(bench.pool.cacheItems().slice(-1) as Page[]), bench.kinds()]).toEqual([[0], pfns(alone.pages), []]);
  });

  test("pp-xdp row 78: eight frames for a CPU whose ring has three slots: processed 8, drops 5, and the three go up there", () => {
    const bench = new XdpBench(preset);
    const map = cpuMap(bench, 1, 3);
    const cpus: number[] = [];
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      cpus.push(bench.machine.kernel.context.cpu);
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    redirectAll(bench, 8, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect(bench.trace("xdp_cpumap_enqueue", "xdp_cpumap_kthread")).toEqual([
      `xdp_cpumap_enqueue: map_id=${map.mapId} processed=8 drops=5 to_cpu=1`,
      `xdp_cpumap_kthread: map_id=${map.mapId} processed=3 drops=0 sched=1 xdp_pass=0 xdp_drop=0 xdp_redirect=0`,
    ]);
    expect(bench.machine.xdp.redirect.stats.cpumapDrops).toBe(5);
    expect([cpus, bench.pool.inflight(), bench.kinds()]).toEqual([[1, 1, 1], bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });

  test("pp-xdp row 79: a CPU's queue of more than 16384 is -EOVERFLOW; what else an entry is refused for", () => {
    const { maps } = new XdpBench(preset).machine.xdp;
    const map = maps.createCpuMap(2) as CpuMap;
    expect([maps.createCpuMap(0), maps.createCpuMap(3), maps.createDevMap(0), maps.createXskMap(-1)]).toEqual([-EINVAL, -E2BIG, -EINVAL, -EINVAL]);
    expect([map.mapUpdateElem(0, 16_385, null, 0), map.mapUpdateElem(0, 16_384, null, 0)]).toEqual([-EOVERFLOW, 0]);
    expect([map.mapUpdateElem(0, 8, null, 3), map.mapUpdateElem(2, 8, null, 0), map.mapUpdateElem(0, 8, null, BPF_NOEXIST)]).toEqual([-EINVAL, -E2BIG, -EEXIST]);
    expect([map.mapLookupElem(0), map.mapUpdateElem(0, 0, null, 0), map.mapLookupElem(0)]).toEqual([{ qsize: 16_384, prog: null, waiting: 0 }, 0, null]);
    expect([map.mapDeleteElem(5), map.mapDeleteElem(1)]).toEqual([-EINVAL, 0]);
  });

  test("a redirect that fails leaves the packet where it was, byte for byte, and says why", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const mute = new SendingDevice(bench, "mute");
    mute.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC;
    mute.dev.xdpOps = { xdpSetupProg: null, xdpXmit: null, xskSetupPool: null, xskWakeup: null };
    const map = bench.devMap(out.dev, mute.dev);
    const attempt = (run: (ctx: XdpMd) => number): number => {
      const { errnos, pages } = redirectAll(bench, 1, run);
      if (errnos[0]! < 0) {
        expect([bench.buff.head === pages[0], bench.buff.data, bench.buff.dataEnd, bench.buff.nrFrags]).toEqual([true, 256, 316, 0]);
        bench.softirq(0, () => bench.machine.xdp.xdpReturn.xdpReturnBuff(bench.buff));
      }
      return errnos[0]!;
    };
    expect(attempt(() => XDP_REDIRECT)).toBe(-EBADRQC);
    expect(attempt((ctx) => ctx.redirect(999, 0))).toBe(-EINVAL);
    expect(attempt((ctx) => ctx.redirectMap(map, 1, 0))).toBe(-EOPNOTSUPP);
    out.dev.mtu = 41;
    expect(attempt((ctx) => ctx.redirectMap(map, 0, 0))).toBe(-EMSGSIZE);
    out.dev.mtu = 42;
    expect(attempt((ctx) => ctx.redirectMap(map, 0, 0))).toBe(0);
    out.dev.up = false;
    expect(attempt((ctx) => ctx.redirectMap(map, 0, 0))).toBe(-ENETDOWN);
    out.complete(bench);
    expect([bench.trace("xdp_redirect_err").length, bench.trace("xdp_redirect").length, bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.kinds()]).toEqual([5, 1, 0, []]);
  });

  test("what a map does not have: the verdict in the two lowest bits; with flags that it does not know, XDP_ABORTED", () => {
    const bench = new XdpBench(preset);
    const map = bench.devMap();
    const asked: number[] = [];
    bench.receiveHere();
    bench.machine.xdp.programs.bpfProgRunXdp(bench.prog((ctx) => {
      for (const flags of [XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, 32, 4]) asked.push(ctx.redirectMap(map, 3, flags));
      asked.push(ctx.redirect(1, 1));
      return XDP_DROP;
    }), bench.buff);
    expect(asked).toEqual([XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_ABORTED, XDP_ABORTED, XDP_ABORTED]);
  });

  test("a devmap is an array or a hash, and forgets a device that goes", () => {
    const bench = new XdpBench(preset);
    const [a, b] = [new SendingDevice(bench, "a"), new SendingDevice(bench, "b")];
    const { maps } = bench.machine.xdp;
    const array = maps.createDevMap(2) as DevMap;
    const hash = maps.createDevMapHash(1) as DevMap;
    expect([array.mapUpdateElem(2, a.dev.ifindex, null, 0), array.mapUpdateElem(0, a.dev.ifindex, null, BPF_NOEXIST), array.mapUpdateElem(0, 12_345, null, 0), array.mapUpdateElem(0, a.dev.ifindex, null, 7)]).toEqual([-E2BIG, -EEXIST, -EINVAL, -EINVAL]);
    expect([array.mapUpdateElem(0, 0, bench.prog(() => XDP_PASS), 0), array.mapUpdateElem(0, a.dev.ifindex, null, BPF_EXIST), array.mapUpdateElem(1, b.dev.ifindex, null, 0)]).toEqual([-EINVAL, 0, 0]);
    expect([array.mapUpdateElem(1, 0, null, 0), array.mapLookupElem(1), array.mapDeleteElem(2), array.mapDeleteElem(1)]).toEqual([0, null, -EINVAL, 0]);
    expect([hash.mapUpdateElem(4_000_000, a.dev.ifindex, null, BPF_NOEXIST), hash.mapUpdateElem(1, b.dev.ifindex, null, 0), hash.mapUpdateElem(4_000_000, b.dev.ifindex, null, BPF_NOEXIST), hash.mapDeleteElem(1)]).toEqual([0, -E2BIG, -EEXIST, -ENOENT]);
    bench.machine.net.unregisterNetdev(a.dev);
    expect([array.mapLookupElem(0), hash.mapLookupElem(4_000_000), bench.machine.xdp.devices.devGetByIndex(a.dev.ifindex)]).toEqual([null, null, null]);
    expect(array.mapUpdateElem(0, a.dev.ifindex, null, 0)).toBe(-EINVAL);
  });

  test("frames wait for their own CPU's flush", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    redirectAll(bench, 1, (ctx) => ctx.redirectMap(map, 0, 0), false);
    bench.softirq(1, () => bench.machine.xdp.redirect.xdpDoFlush());
    expect(out.calls).toEqual([]);
    bench.softirq(0, () => bench.machine.xdp.redirect.xdpDoFlush());
    expect(out.calls).toEqual(["1 1"]);
  });
});

describe.each(PRESET_NAMES.filter((name) => PRESETS[name].xdp.devmapRunsAtFlush))("%s: a devmap's program", (preset) => {
  test("keeps, drops and breaks: what passes is sent as it left it, what has no verdict is an exception", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap();
    let n = 0;
    map.mapUpdateElem(0, out.dev.ifindex, bench.prog((ctx) => {
      ctx.adjustHead(-4);
      ctx.setUint32(0, n);
      return [XDP_PASS, XDP_DROP, 77, XDP_ABORTED, XDP_PASS][n++]!;
    }, "devmap"), 0);
    const { pages } = redirectAll(bench, 5, (ctx) => ctx.redirectMap(map, 0, 0));
    expect(out.frames.map(({ data, len, head }) => [data, len, head!.region.bytes[head!.base + data + 3]])).toEqual([[252, 64, 0], [252, 64, 4]]);
    expect([bench.kinds(), bench.trace("xdp_exception").map((line) => line.slice(0, 31))]).toEqual([["xdp-invalid-action"], ["xdp_exception: prog_id=1 action", "xdp_exception: prog_id=1 action"]]);
    expect(pfns(bench.pool.cacheItems().slice(-3) as Page[])).toEqual(pfns(pages.slice(1, 4)));
    out.complete(bench);
  });

  test("a broadcast skips where it came from if asked to, and devices that may not send it; without memory for a clone the packet is the caller's", () => {
    const bench = new XdpBench(preset);
    const outs = ["a", "b", "c"].map((name) => new SendingDevice(bench, name));
    outs[2]!.dev.up = false;
    bench.dev.up = true;
    bench.dev.xdpOps = outs[0]!.dev.xdpOps;
    bench.dev.xdpFeatures = outs[0]!.dev.xdpFeatures;
    const map = bench.devMap(...outs.map(({ dev }) => dev), bench.dev);
    redirectAll(bench, 1, (ctx) => ctx.redirectMap(map, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS));
    expect(outs.map(({ frames }) => frames.length)).toEqual([1, 1, 0]);
    for (const out of outs) out.complete(bench);
    const { failPageAlloc } = bench.machine.mm.faults;
    failPageAlloc.arm({});
    const { errnos } = redirectAll(bench, 1, (ctx) => ctx.redirectMap(map, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS));
    failPageAlloc.disarm();
    expect([errnos, bench.buff.head !== null, outs.map(({ frames }) => frames.length)]).toEqual([[-12], true, [0, 0, 0]]);
  });
});

describe.each(PRESET_NAMES)("%s: a cpumap", (preset) => {
  test("frames of its program: passed, dropped and redirected are counted, and NO_DIRECT is off again afterwards", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const devmap = bench.devMap(out.dev);
    let n = 0;
    const map = cpuMap(bench, 1, 64, (ctx) => {
      const verdict = [XDP_PASS, XDP_REDIRECT, XDP_DROP, 9, XDP_PASS][n++ % 5]!;
      return verdict === XDP_REDIRECT ? ctx.redirectMap(devmap, 0, 0) : verdict;
    });
    let up = 0;
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      up++;
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    redirectAll(bench, 5, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect(bench.trace("xdp_cpumap_kthread")).toEqual([`xdp_cpumap_kthread: map_id=${map.mapId} processed=5 drops=0 sched=1 xdp_pass=2 xdp_drop=2 xdp_redirect=1`]);
    expect(bench.machine.xdp.redirect.stats.cpumapDrops).toBe(2);
    expect([up, out.calls, bench.kinds()]).toEqual([2, ["1 1"], ["xdp-invalid-action"]]);
    out.complete(bench);
    expect(bench.pool.inflight()).toBe(bench.pool.cacheCount + bench.pool.ringCount());
  });

  const { cpumapMerges } = PRESETS[preset].xdp;

  test(cpumapMerges ? "segments of a connection are merged where their device has GRO, at most for as long as its ring has more; a batch is told of before it goes up" : "up to 6.14 segments go up as they are; up to 6.11 a batch is told of afterwards", () => {
    const bench = new XdpBench(preset);
    bench.dev.gro = true;
    const map = cpuMap(bench, 1, 64);
    const up: number[] = [];
    let toldBefore: number | null = null;
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      toldBefore ??= bench.trace("xdp_cpumap_kthread").length;
      up.push(skb.shinfo!.gsoSegs || 1);
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    segmentsTo(bench, map, 12);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([up, toldBefore]).toEqual(cpumapMerges ? [[12], 2] : [Array.from({ length: 12 }, () => 1), 0]);
    expect([bench.machine.net.holders(), bench.pool.inflight(), bench.kinds()]).toEqual([[], bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });

  test(cpumapMerges ? "what waits for others to go up with goes after 64 packets, though the ring has more (NAPI_POLL_WEIGHT)" : "up to 6.14 what a batch has goes up with that", () => {
    const bench = new XdpBench(preset);
    bench.dev.gro = true;
    const map = cpuMap(bench, 1, 128);
    /** How many batches were told of as each went up. */
    const told: number[] = [];
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      if (skb.protocol === 0x0806) told.push(bench.trace("xdp_cpumap_kthread").length);
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    // Four are held to be merged; of the others, which are no IPv4, eight go up at a time.
    segmentsTo(bench, map, 72, 4);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([told.length, told[55], told[59], told[60]]).toEqual(cpumapMerges ? [68, 8, 8, 9] : [68, 7, 7, 8]);
    expect([bench.pool.inflight(), bench.kinds()]).toEqual([bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });

  test("without memory for skbs a whole batch is lost, counted as drops, and its pages go home", () => {
    const bench = new XdpBench(preset);
    const map = cpuMap(bench, 1, 64);
    bench.machine.mm.faults.failFunction("receiveFrames").arm({});
    redirectAll(bench, 8, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect(bench.trace("xdp_cpumap_kthread")).toEqual([`xdp_cpumap_kthread: map_id=${map.mapId} processed=8 drops=8 sched=1 xdp_pass=0 xdp_drop=0 xdp_redirect=0`]);
    expect(bench.machine.xdp.redirect.stats.cpumapDrops).toBe(8);
    expect(bench.pool.inflight()).toBe(bench.pool.cacheCount + bench.pool.ringCount());
  });

  const { framesTakeNapiStructs } = PRESETS[preset].net;

  test(framesTakeNapiStructs ? "with structs for some of a batch, those go up, and only the others are lost, and counted (napi_skb_cache_get_bulk)" : "up to 6.14 structs for a batch are the slab's, all or none: one allocation, that does not fail by halves", () => {
    const bench = new XdpBench(preset);
    const map = cpuMap(bench, 1, 64);
    let up = 0;
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      up++;
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    const point = bench.machine.mm.faults.failFunction("skbuffAlloc");
    point.arm({ nth: 6, times: 1 });
    redirectAll(bench, 8, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    const drops = framesTakeNapiStructs ? 3 : 0;
    expect([bench.trace("xdp_cpumap_kthread"), up, point.injected()]).toEqual([[`xdp_cpumap_kthread: map_id=${map.mapId} processed=8 drops=${drops} sched=1 xdp_pass=0 xdp_drop=0 xdp_redirect=0`], 8 - drops, framesTakeNapiStructs ? 1 : 0]);
    expect([bench.machine.xdp.redirect.stats.cpumapDrops, bench.pool.inflight(), bench.machine.net.lifetime.stats.live]).toEqual([drops, bench.pool.cacheCount + bench.pool.ringCount(), 0]);
  });

  test("an entry replaced, or deleted, hands up what it still holds, on its own CPU, whether in its ring or in a queue that waits for a flush", () => {
    const bench = new XdpBench(preset);
    const map = cpuMap(bench, 1, 64);
    const cpus: number[] = [];
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      cpus.push(bench.machine.kernel.context.cpu);
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    const to = (): number => redirectAll(bench, 3, (ctx) => ctx.redirectMap(map, 1, 0), false).errnos[2]!;
    expect(to()).toBe(0);
    map.mapUpdateElem(1, 8, null, 0);
    expect([map.mapLookupElem(1)!.waiting, to()]).toEqual([0, 0]);
    map.mapDeleteElem(1);
    bench.softirq(0, () => bench.machine.xdp.redirect.xdpDoFlush());
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([cpus, bench.pool.inflight(), bench.kinds()]).toEqual([[1, 1, 1, 1, 1, 1], bench.pool.cacheCount + bench.pool.ringCount(), []]);
    // Three at a time: two batches, each told of as it entered the ring.
    expect(bench.trace("xdp_cpumap_enqueue").map((line) => /processed=\d+ drops=\d+/.exec(line)![0])).toEqual(["processed=3 drops=0", "processed=3 drops=0"]);
  });

  test("an entry that its own packets delete, or its own program replaces, loses none of them", () => {
    const bench = new XdpBench(preset);
    const map = bench.machine.xdp.maps.createCpuMap(2) as CpuMap;
    let seen = 0;
    map.mapUpdateElem(1, 64, bench.prog(() => {
      if (++seen === 2) map.mapUpdateElem(1, 8, null, 0);
      return XDP_PASS;
    }, "cpumap"), 0);
    let up = 0;
    bench.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      if (++up === 5) map.mapDeleteElem(1);
      bench.machine.net.lifetime.consumeSkb(skb);
    } });
    redirectAll(bench, 24, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([up, bench.pool.inflight(), bench.kinds()]).toEqual([24, bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });

  test(`where a program asked to go ${PRESETS[preset].xdp.redirectEndsWithContext ? "is forgotten when its softirq ends" : "is where the next that does not ask is sent, up to 6.10, and an entry that is gone by then refuses"}`, () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const ask = (run: (ctx: XdpMd) => number): void => bench.softirq(0, () => {
      bench.receiveHere();
      bench.machine.xdp.programs.bpfProgRunXdp(bench.prog(run), bench.buff);
      bench.machine.xdp.xdpReturn.xdpReturnBuff(bench.buff);
    });
    const stale = !PRESETS[preset].xdp.redirectEndsWithContext;
    ask((ctx) => (ctx.redirect(out.dev.ifindex, 0) === XDP_REDIRECT ? XDP_PASS : XDP_DROP));
    expect(redirectAll(bench, 1, () => XDP_REDIRECT).errnos).toEqual([stale ? 0 : -EBADRQC]);
    const map = cpuMap(bench, 1, 64);
    ask((ctx) => (ctx.redirectMap(map, 1, 0) === XDP_REDIRECT ? XDP_PASS : XDP_DROP));
    map.mapDeleteElem(1);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect(redirectAll(bench, 1, () => XDP_REDIRECT).errnos).toEqual([-EBADRQC]);
    expect(bench.buff.head === null).toBe(false);
  });

  test(`frames that a device refuses behind a cpumap's program go ${PRESETS[preset].xdp.cpumapFlushesNoDirect ? "to the ring: that CPU is not their pool's consumer" : "direct, up to 6.16, though that CPU is not their pool's consumer"}`, () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    out.answer = -EIO;
    const devmap = bench.devMap(out.dev);
    const map = cpuMap(bench, 1, 64, (ctx) => ctx.redirectMap(devmap, 0, 0));
    const { pages } = redirectAll(bench, 3, (ctx) => ctx.redirectMap(map, 1, 0));
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([bench.ring(), out.calls]).toEqual([PRESETS[preset].xdp.cpumapFlushesNoDirect ? pfns(pages) : [], ["3 1"]]);
  });

  test("a device that goes with frames waiting for it: they are returned, and it is not asked", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    redirectAll(bench, 3, (ctx) => ctx.redirectMap(map, 0, 0), false);
    bench.machine.net.unregisterNetdev(out.dev);
    bench.softirq(0, () => bench.machine.xdp.redirect.xdpDoFlush());
    expect([out.calls, bench.pool.inflight(), bench.kinds()]).toEqual([[], bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });

  test("what is sent may send: a flush inside a device's transmit, and frames queued there, are all sent or returned once", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    const { xdpOps } = out.dev;
    const more = Array.from({ length: 20 }, () => bench.frame().frame);
    out.dev.xdpOps = { ...xdpOps!, xdpXmit: (frames, n, flags) => {
      bench.machine.xdp.redirect.xdpDoFlush();
      for (const frame of more.splice(0)) if (bench.machine.xdp.redirect.devXdpEnqueue(out.dev, frame, bench.dev) < 0) throw new Error("refused");
      return xdpOps!.xdpXmit!(frames, n, flags);
    } };
    redirectAll(bench, 5, (ctx) => ctx.redirectMap(map, 0, 0));
    bench.softirq(0, () => bench.machine.xdp.redirect.xdpDoFlush());
    // The queue takes sixteen while it is being sent; four are one too many each.
    expect(out.frames.length).toBe(21);
    out.complete(bench);
    expect([bench.pool.inflight(), bench.kinds()]).toEqual([bench.pool.cacheCount + bench.pool.ringCount(), []]);
  });
});

describe.each(PRESET_NAMES.filter((name) => PRESETS[name].xdp.hasMultiBuffer))("%s: packets in several buffers", (preset) => {
  test("a packet in several buffers goes only to devices that can send it so", () => {
    const bench = new XdpBench(preset);
    const out = new SendingDevice(bench, "out");
    const map = bench.devMap(out.dev);
    const prog = bench.prog((ctx) => ctx.redirectMap(map, 0, 0));
    out.dev.mtu = 9000;
    const features = out.dev.xdpFeatures;
    out.dev.xdpFeatures &= ~64;
    bench.receive(bench.buff, bench.pool, 2);
    const asked = PRESETS[preset].xdp.asksFeatures;
    expect(bench.softirq(0, () => bench.redirect(prog))).toBe(asked ? -EOPNOTSUPP : 0);
    // Up to 6.2 nobody asks.
    if (!asked) return;
    expect([bench.buff.nrFrags, bench.buff.frags[1]!.netmem !== null]).toEqual([2, true]);
    out.dev.xdpFeatures = features;
    expect(bench.softirq(0, () => bench.redirect(prog))).toBe(0);
    bench.softirq(0, () => bench.machine.xdp.redirect.xdpDoFlush());
    expect([out.frames.length, out.frames[0]!.nrFrags]).toEqual([1, 2]);
    out.complete(bench);
    expect(bench.kinds()).toEqual([]);
  });

  test("a devmap's program shortens a packet by a fragment: that goes home once, whether the rest is sent or dropped", () => {
    for (const verdict of [XDP_PASS, XDP_DROP]) {
      const bench = new XdpBench(preset);
      const out = new SendingDevice(bench, "out");
      out.dev.mtu = 9000;
      const map = bench.devMap();
      map.mapUpdateElem(0, out.dev.ifindex, bench.prog((ctx) => (ctx.adjustTail(-1500) === 0 ? verdict : XDP_ABORTED), "devmap"), 0);
      const prog = bench.prog((ctx) => ctx.redirectMap(map, 0, 0));
      bench.receive(bench.buff, bench.pool, 2);
      bench.softirq(0, () => {
        bench.redirect(prog);
        bench.machine.xdp.redirect.xdpDoFlush();
      });
      expect(out.frames.map(({ nrFrags, xdpFragsSize, frags }) => [nrFrags, xdpFragsSize, frags[0]!.sizeBytes])).toEqual(verdict === XDP_PASS ? [[1, 500, 500]] : []);
      out.complete(bench);
      expect([bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.kinds()]).toEqual([0, []]);
    }
  });
});

test.each([["a device", (bench: XdpBench) => bench.devMap(new SendingDevice(bench, "out").dev)], ["a CPU", (bench: XdpBench) => cpuMap(bench, 0, 64)]])("a poll that leaves packets waiting for %s is told so, and they go (xdp_do_check_flushed); one that flushes is not", (_what, mapOf) => {
  const bench = new XdpBench("6.18");
  const { net, xdp, kernel } = bench.machine;
  const map = mapOf(bench);
  const prog = bench.prog((ctx) => ctx.redirectMap(map, 0, 0));
  let flushes = false;
  const napi = net.napi.netifNapiAdd(bench.dev, { poll: (own) => {
    bench.receiveHere();
    expect(bench.redirect(prog)).toBe(0);
    if (flushes) xdp.redirect.xdpDoFlush();
    net.napi.napiCompleteDone(own, 1);
    return 1;
  } }, 64);
  net.napi.napiEnable(napi);
  const poll = (): string[] => {
    const before = kernel.reports.total;
    bench.softirq(0, () => void net.napi.napiSchedule(napi));
    return bench.kinds().slice(before);
  };
  expect([poll(), xdp.redirect.xdpDoCheckFlushed()]).toEqual([["xdp-not-flushed"], false]);
  flushes = true;
  expect([poll(), xdp.redirect.xdpDoCheckFlushed()]).toEqual([[], false]);
});
