import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { PP_SIGNATURE, PP_SIGNATURE_V3, ppMagicWord } from "@netmem/mm/api";
import { Rig } from "./rig.ts";
import { frames, traffic } from "./traffic.ts";

const SMALL = frames(Array.from({ length: 400 }, () => 64));

describe("what the designs of the seed thread do on the same traffic", () => {
  test("stock: every page leaves its pool with its packet", () => {
    const { run, pool, machine, device } = traffic(SMALL, { rxRingSize: 512, preset: "stock" });
    run();
    expect(pool.recycleStats).toMatchObject({ cached: 0, ring: 0, releasedRefcnt: 0 });
    expect(pool.releaseCnt).toBe(400);
    expect(device.dma.stats.unmaps).toBe(400);
    expect(machine.xdp.registry.stats.lookups).toBe(0);
  });

  test("v3-2021: one mem_info look-up for each page freed, back through the ring", () => {
    const { run, pool, machine } = traffic(SMALL, { rxRingSize: 512, preset: "v3-2021" });
    run();
    expect(machine.xdp.registry.stats.lookups).toBe(400);
    expect(pool.recycleStats).toMatchObject({ cached: 0, ring: 400 });
  });

  test("5.14: no look-up, back through the ring", () => {
    const { run, pool, machine } = traffic(SMALL, { rxRingSize: 512, preset: "5.14" });
    run();
    expect(machine.xdp.registry.stats.lookups).toBe(0);
    expect(pool.recycleStats).toMatchObject({ cached: 0, ring: 400 });
  });

  test("6.18: packets freed in the pool's own softirq go to the cache", () => {
    const { run, pool } = traffic(SMALL, { rxRingSize: 512, preset: "6.18", earlyDrop: true });
    run();
    expect(pool.recycleStats).toMatchObject({ cached: 400, ring: 0 });
  });

  test("6.18: packets read on another CPU are freed by the CPU that built them, so some of their pages go to the cache", () => {
    const deferred = traffic(SMALL, { rxRingSize: 512, preset: "6.18", readerCpu: 1 });
    deferred.run();
    expect(deferred.pool.recycleStats.cached).toBeGreaterThan(0);
    const local = traffic(SMALL, { rxRingSize: 512, preset: "6.18", readerCpu: 0 });
    local.run();
    expect(local.pool.recycleStats).toMatchObject({ cached: 0, ring: 400 });
  });

  test("6.18: deferred packets wait on a quiet CPU and look like a leak, until its next receive softirq", () => {
    const { run, pool, machine } = traffic(frames(Array.from({ length: 10 }, () => 64)), { preset: "6.18" });
    run();
    expect(machine.net.lifetime.stats.live).toBeGreaterThan(0);
    machine.shutdown();
    expect([machine.net.lifetime.stats.live, pool.inflight()]).toEqual([0, 0]);
  });

  test("mem_info in the skb gives one pool's page to the other: the wrong allocator is reached, and reported", () => {
    const rig = new Rig({ preset: "6.18", returnPath: "skb-mem-info" });
    const [headers, payload] = [rig.createPool(), rig.createPool()];
    const skb = rig.recyclingSkb(headers, [{ netmem: rig.page(payload), mem: payload.mem }]);
    rig.free(skb);
    // The kernel's pool would have taken it, and mixed the two; ours sees whose it is, and it never gets home.
    expect(rig.reportKinds()).toEqual(["wrong-memory-model", "pp-foreign-put"]);
    expect(rig.machine.kernel.reports.reports[1]!.message).toContain(`it is page_pool ${payload.pool.id}'s`);
    expect([headers.pool.recycleStats.ring, payload.pool.recycleStats.ring]).toEqual([1, 0]);
    rig.destroyPool(headers);
    rig.destroyPool(payload);
    rig.machine.kernel.scheduler.runFor(5 * NSEC_PER_SEC);
    expect([headers.pool.dead, payload.pool.dead, payload.pool.inflight()]).toEqual([true, false, 1]);
  });

  test("mem_info in the skb, one owner each: expanded heads and frag lists go home by their own skb, never by another's", () => {
    const rig = new Rig({ preset: "6.18", returnPath: "skb-mem-info" });
    const [p, q] = [rig.createPool(), rig.createPool()];
    const expanded = rig.recyclingSkb(q);
    rig.free(rig.recyclingSkb(p));
    rig.machine.net.edit.pskbExpandHead(expanded, 0, 0, 0);
    expect([p.pool.recycleStats.ring, q.pool.recycleStats.ring]).toEqual([1, 1]);
    const parent = rig.recyclingSkb(p);
    parent.shinfo!.fragList = rig.recyclingSkb(q);
    rig.free(parent);
    expect([p.pool.recycleStats.ring, q.pool.recycleStats.ring]).toEqual([2, 2]);
    expect(rig.reportKinds()).toEqual([]);
  });

  test("5.14 catches a driver that forgets the mark on every trip of a page, since a return wipes it", () => {
    const rig = new Rig({ preset: "5.14" });
    const from = rig.createPool();
    const frag = rig.page(from);
    rig.free(rig.slabHeadSkb([{ netmem: frag, mem: from.mem }]));
    expect([frag.pp, from.pool.recycleStats.ring]).toEqual([null, 1]);
    const forgetful = rig.recyclingSkb(from);
    rig.machine.net.edit.skbAddRxFrag(forgetful, frag, 0, 100, 4096);
    expect(() => rig.free(forgetful)).toThrow(/never marked by its driver/);
  });

  test("the seed's proposal keeps every shared page in the pool, where 5.14 loses one for each expanded clone", () => {
    const released = (["leave-pool", "last-reference"] as const).map((sharedRelease) => {
      const { run, pool } = traffic(frames(Array.from({ length: 40 }, () => 9000)), { preset: "5.14", sharedRelease, tap: true, expand: true });
      run();
      return pool.recycleStats.releasedRefcnt;
    });
    expect(released).toEqual([80, 0]);
  });

  test("the mark in the page: v3's own word, 0x40 under a poison pointer since", () => {
    const v3 = new Rig({ preset: "v3-2021" });
    const marked = v3.page(v3.createPool());
    expect([marked.signature, marked.ppMagic, marked.pp]).toEqual([PP_SIGNATURE_V3, 0, null]);
    const now = new Rig({ preset: "6.18" });
    const from = now.createPool();
    const page = now.page(from);
    expect([page.signature, page.ppMagic, page.pp]).toEqual([0, PP_SIGNATURE, from.pool]);
    expect(ppMagicWord(page)).toBe(0xdead_0000_0000_0040n | (BigInt(page.ppDmaIndex) << 7n));
  });

  test("v3-2021: an expanded clone keeps the bit, and whoever is freed first takes the page out of the pool", () => {
    for (const bFirst of [true, false]) {
      const rig = new Rig({ preset: "v3-2021" });
      const from = rig.createPool();
      const frag = rig.page(from);
      const a = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
      const b = rig.clone(a);
      rig.machine.net.edit.pskbExpandHead(b, 0, 0, 0);
      expect(b.ppRecycle).toBe(true);
      rig.free(bFirst ? b : a);
      expect([frag.signature, frag.refcount, from.pool.recycleStats.releasedRefcnt]).toEqual([0, 1, 1]);
      rig.free(bFirst ? a : b);
      expect(frag.refcount).toBe(0);
    }
  });
});

describe("a pool whose pages are still out when it is destroyed", () => {
  function held(preset: "5.14" | "6.18") {
    const rig = new Rig({ preset });
    const from = rig.createPool();
    const skb = rig.recyclingSkb(from);
    rig.destroyPool(from);
    return { rig, pool: from.pool, skb };
  }

  test("is retried each second and freed within one after the last page came home", () => {
    const { rig, pool, skb } = held("6.18");
    rig.machine.kernel.scheduler.runFor(5 * NSEC_PER_SEC);
    expect([pool.dead, pool.destroyCnt, pool.inflight()]).toEqual([false, 6, 1]);
    rig.free(skb);
    rig.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect([pool.dead, pool.inflight()]).toEqual([true, 0]);
  });

  test("is reported as stalled after 60 s and each 60 s, with its in-flight count and age", () => {
    const { rig, pool } = held("6.18");
    rig.machine.kernel.scheduler.runFor(59 * NSEC_PER_SEC);
    expect(rig.reportKinds()).toEqual([]);
    rig.machine.kernel.scheduler.runFor(62 * NSEC_PER_SEC);
    const stalls = rig.machine.kernel.reports.reports;
    expect(stalls.map((report) => report.kind)).toEqual(["pp-stalled-shutdown", "pp-stalled-shutdown"]);
    expect(stalls[0]!.message).toContain(`stalled pool shutdown: id ${pool.id}, 1 inflight 60 sec`);
  });

  test("6.18 unmaps what is still out at once, 5.14 only when it comes home", () => {
    const now = held("6.18");
    expect(now.rig.dma.liveMappings()).toBe(0);
    const then = held("5.14");
    expect(then.rig.dma.liveMappings()).toBe(1);
    then.rig.free(then.skb);
    then.rig.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect(then.rig.dma.liveMappings()).toBe(0);
  });
});

test("the driver's source is one and the same under all designs: it names none of them", () => {
  const folder = new URL("../../driver-mvneta/src/", import.meta.url);
  const files = readdirSync(folder);
  expect(files.length).toBeGreaterThanOrEqual(4);
  for (const file of files) {
    expect(readFileSync(new URL(file, folder), "utf8"), file).not.toMatch(/preset|sharedRelease|returnPath|ppRecycle|ppMagic|signature|\bstock\b|\b[56]\.\d+\b/i);
  }
});

test("capture timing: a slow CPU lets the ring overrun; lost frames are counted, the rest arrives", () => {
  const sent = frames(Array.from({ length: 500 }, () => 64), 100);
  const { run, device, reader, pool, machine } = traffic(sent, { timing: "capture", packetCostNs: 5000, rxRingSize: 32 });
  run();
  expect(device.nic.stats.overruns).toBeGreaterThan(0);
  expect(device.nic.stats.frames + device.nic.stats.overruns).toBe(500);
  expect(reader.packets).toBe(device.nic.stats.frames);
  machine.shutdown();
  expect(pool.inflight()).toBe(0);
});

test("capture timing without overrun delivers everything at its time", () => {
  const sent = frames(Array.from({ length: 50 }, () => 64), 1_000_000);
  const { run, device, reader, machine } = traffic(sent, { timing: "capture" });
  run();
  expect([device.nic.stats.overruns, reader.packets]).toEqual([0, 50]);
  expect(machine.kernel.clock.nowNs).toBe(49_000_000);
});

test.each([
  ["64 bytes", 400, 64, { nrPages: 160, rxRingSize: 64 }], ["9000 bytes", 200, 9000, { nrPages: 200, rxRingSize: 32 }], ["30000 bytes", 100, 30_000, { nrPages: 250, rxRingSize: 32 }],
])("memory runs out while the reader holds packets of %s: nothing is lost, and traffic goes on when it reads", (_what, count, length, memory) => {
  const sent = frames(Array.from({ length: count }, () => length));
  const { wire, device, machine, reader, pool } = traffic(sent, { ...memory, lag: 1000 });
  wire.connect(device.nic);
  machine.kernel.scheduler.runFor(10_000_000);
  expect(wire.finished()).toBe(false);
  reader.drain();
  machine.kernel.scheduler.runFor(1_000_000_000);
  expect(wire.finished()).toBe(true);
  expect(reader.packets).toBe(count);
  reader.close();
  machine.shutdown();
  expect([pool.inflight(), machine.kernel.reports.total]).toEqual([0, 0]);
});

test("an interface may be stopped at any step of its traffic: no report, every page home", () => {
  const sent = frames(Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? 9000 : 64)));
  for (let steps = 0; steps < 60; steps++) {
    const { wire, device, machine, reader } = traffic(sent, { seed: steps });
    wire.connect(device.nic);
    for (let i = 0; i < steps; i++) machine.kernel.scheduler.step();
    reader.close();
    machine.shutdown();
    expect([steps, machine.kernel.reports.reports, machine.mm.pages.freePages()]).toEqual([steps, [], machine.mm.pages.nrPages]);
  }
});

test("a short refill is retried on the CPU of the NIC's interrupt, whose NAPI it is", () => {
  const sent = frames(Array.from({ length: 400 }, () => 64));
  const { wire, device, machine, reader } = traffic(sent, { nrPages: 160, lag: 1000, rxRingSize: 64, nicCpu: 1, readerCpu: 0, traceEntries: 10_000 });
  const before = machine.kernel.trace!.length();
  wire.connect(device.nic);
  machine.kernel.scheduler.runFor(10_000_000);
  reader.drain();
  machine.kernel.scheduler.runFor(100_000_000);
  expect(wire.finished()).toBe(true);
  const holds = machine.kernel.trace!.lines().slice(before).filter((line) => line.includes("page_pool_state_hold"));
  expect(holds.length).toBeGreaterThan(0);
  expect(holds.every((line) => line.startsWith("[001]"))).toBe(true);
});
