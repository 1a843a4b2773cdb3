import { describe, expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { EINVAL, ENETDOWN, EOPNOTSUPP } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, GFP_KERNEL, PP_SIGNATURE } from "@netmem/mm/api";
import { NET_CORE_RULES_6_18, createNetCore } from "@netmem/net-core";
import { ModelledNic, createTxRings } from "@netmem/driver";
import type { FrameSink, FrameSource } from "@netmem/driver/api";
import { XDP_FLAGS_DRV_MODE, skbMetadataLen, skbRegion, type SkBuff } from "@netmem/net-core/api";
import { PAGE_POOL_DATES_6_18, createPagePools } from "@netmem/page-pool";
import { XDP_OPTIONS_6_18, createXdp } from "@netmem/xdp";
import { MEM_TYPE_PAGE_ORDER0, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, type XdpFrame, type XdpMd, type XdpProg, type XdpProgram } from "@netmem/xdp/api";
import { mvneta } from "../src/index.ts";

/** Two devices of the driver over real layers, on one CPU, and what each sends. */
function setUp(nrPages: number = 2048) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages, minFreePages: 0, extraBytes: 524_288 });
  const xdp = createXdp(kernel, mm, XDP_OPTIONS_6_18);
  const pagePools = createPagePools({
    kernel, pages: mm.pages, words: mm.words, probe: null, faults: mm.faults, notifiers: xdp.notifiers,
    rules: { ...PAGE_POOL_DATES_6_18, sharedRelease: "pp-ref-count", signature: PP_SIGNATURE, ownSignatureWord: false, stampsOwnerAtAlloc: true, preemptRt: false, dmaAddrInPages: false },
  });
  const net = createNetCore({
    kernel, mm, xdp, packetCostNs: 0, probe: null, rules: { ...NET_CORE_RULES_6_18, defersFrees: false },
  });
  const wire = mm.payload.addRegion("wire", 65_536, true);
  for (let i = 0; i < wire.bytes.length; i++) wire.bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  wire.bytes.fill(0, 56, 64);
  const attach = (name: string) => {
    const { dma, bus } = mm.attachDevice({ name, coherent: false, aperturePages: 2048 });
    const nic = new ModelledNic(kernel, bus, { name, rxQueueCount: 1, rxDescFormat: mvneta.rxDescFormat, txDescFormat: mvneta.txDescFormat, payload: mm.payload });
    const txRings = createTxRings({ dma, hw: nic.txQueues[0]!, format: mvneta.txDescFormat, lifetime: net.lifetime, xdpReturn: xdp.xdpReturn, xdpStructs: xdp.structs });
    const netif = mvneta.probe({
      kernel, dma, nic, txRings, pages: mm.pages, pagePools, xdpStructs: xdp.structs, xdpRxqs: xdp.rxqs, xdpBuffs: xdp.buffs, xdpReturn: xdp.xdpReturn, xdpPrograms: xdp.programs, xdpRedirect: xdp.redirect,
      lifetime: net.lifetime, recycle: net.recycle, edit: net.edit, napi: net.napi, receive: net.receive, transmit: net.transmit, registerNetdev: net.registerNetdev,
    }, { name, rxRingSize: 64, rxQueueCount: 1, cpu: 0, earlyDrop: false });
    const sent: number[][] = [];
    const region = mm.payload.addRegion(`${name} sink`, 65_536, true);
    const sink: FrameSink = { region, offset: () => 0, roomBytes: () => 65_536, frameSent: (bytes) => void sent.push([...region.bytes.subarray(0, bytes)]) };
    nic.connectSink(sink);
    const pool = () => pagePools.pools().find((candidate) => candidate.netdev === netif.dev)!;
    return { dma, nic, netif, sent, pool };
  };
  const [a, b] = [attach("eth0"), attach("eth1")];
  const received: SkBuff[] = [];
  net.receive.setProtocol({ packetRcv: (skb) => void received.push(skb) });
  const send = (lengths: readonly number[]): void => {
    let next = 0;
    const source: FrameSource = { region: wire, lossless: true, peekBytes: () => lengths[next] ?? -1, peekOffset: () => 64, advance: () => void next++ };
    a.nic.connect(source);
    kernel.scheduler.runFor(0);
  };
  const load = (run: XdpProgram, hasFrags: boolean = true): XdpProg => xdp.programs.bpfProgLoad("test", run, hasFrags) as XdpProg;
  const use = (run: XdpProgram | null): number => net.xdpAttachment.devXdpAttach(a.netif.dev, run === null ? null : load(run), XDP_FLAGS_DRV_MODE, null);
  const frame = (length: number): number[] => [...wire.bytes.subarray(64, 64 + length)];
  const atRest = (): number => {
    const pool = a.pool();
    // Posted buffers are out, too.
    return pool.inflight() - pool.cacheCount - pool.ringCount() - 64;
  };
  return { kernel, mm, xdp, net, a, b, send, use, load, frame, received, atRest, kinds: () => kernel.reports.reports.map(({ kind }) => kind) };
}

test("a program comes and goes with the device up: its pages are mapped for both directions, then for one again, and nothing is left behind", () => {
  const rig = setUp();
  rig.a.netif.open();
  expect(rig.a.pool().params.dmaDir).toBe(DMA_FROM_DEVICE);
  expect([rig.use(() => XDP_PASS), rig.a.pool().params.dmaDir, rig.a.netif.dev.up]).toEqual([0, DMA_BIDIRECTIONAL, true]);
  const { id } = rig.a.pool();
  // One for another restarts nothing.
  expect([rig.use(() => XDP_DROP), rig.a.pool().id === id]).toEqual([0, true]);
  expect([rig.use(null), rig.a.pool().params.dmaDir]).toEqual([0, DMA_FROM_DEVICE]);
  rig.send([60]);
  expect([rig.received.length, rig.kinds()]).toEqual([1, []]);
  rig.net.lifetime.consumeSkb(rig.received[0]!);
  rig.a.netif.stop();
  rig.kernel.scheduler.runFor(2_000_000_000);
  rig.mm.slab.shrink();
  expect([rig.a.dma.liveMappings(), rig.mm.pages.freePages()]).toEqual([0, 2048]);
});

test("passed, shortened, moved and with metadata: the skb is what the program left", () => {
  const rig = setUp();
  rig.use((ctx) => {
    ctx.adjustHead(4);
    ctx.adjustTail(-10);
    ctx.adjustMeta(-4);
    ctx.setUint32(-4, 7);
    return XDP_PASS;
  });
  rig.a.netif.open();
  rig.send([100, 9014]);
  const [small, jumbo] = rig.received as [SkBuff, SkBuff];
  expect([small.len, skbMetadataLen(small), [...skbRegion(small).bytes.subarray(small.macHeader, small.macHeader + 86)]]).toEqual([72, 4, rig.frame(100).slice(4, 90)]);
  expect([jumbo.len, jumbo.dataLen, jumbo.shinfo!.nrFrags]).toEqual([9014 - 14 - 14, 9014 - 3518 - 10, 2]);
});

test("dropped and aborted packets go straight back to the cache, synced as far as the CPU may have touched them", () => {
  const rig = setUp();
  let n = 0;
  rig.use((ctx: XdpMd) => {
    if (n++ === 1) ctx.adjustTail(1000);
    return [XDP_DROP, XDP_ABORTED, 42][n % 3]!;
  });
  rig.a.netif.open();
  const pool = rig.a.pool();
  rig.send([60, 60, 60, 9014]);
  expect([rig.received.length, pool.recycleStats.cached, pool.recycleStats.ring, rig.atRest(), rig.kinds()]).toEqual([0, 6, 0, 0, ["xdp-invalid-action"]]);
  expect(rig.a.netif.dev.rxPackets).toBe(4);
});

test("XDP_TX: the bytes leave as the program left them, and the page is back in the cache once they are sent", () => {
  const rig = setUp();
  rig.use((ctx) => {
    for (let i = 0; i < 6; i++) {
      const other = ctx.getUint8(i + 6);
      ctx.setUint8(i + 6, ctx.getUint8(i));
      ctx.setUint8(i, other);
    }
    return XDP_TX;
  });
  rig.a.netif.open();
  rig.send([60, 9014]);
  const swapped = (bytes: number[]): number[] => [...bytes.slice(6, 12), ...bytes.slice(0, 6), ...bytes.slice(12)];
  expect(rig.a.sent).toEqual([swapped(rig.frame(60)), swapped(rig.frame(9014))]);
  expect([rig.atRest(), rig.a.pool().recycleStats.ring, rig.a.nic.stats.sentBytes, rig.kinds()]).toEqual([0, 0, 9074, []]);
});

test("redirected to another device: mapped there for the while, and home through the ring", () => {
  const rig = setUp();
  rig.use((ctx) => ctx.redirect(rig.b.netif.dev.ifindex, 0));
  rig.a.netif.open();
  rig.b.netif.open();
  rig.b.netif.dev.mtu = 9100;
  const mappings = rig.b.dma.liveMappings();
  rig.send([60, 9014, 200]);
  rig.kernel.scheduler.runFor(1_000_000);
  expect([rig.b.sent, rig.b.dma.liveMappings(), rig.atRest(), rig.kinds()]).toEqual([[rig.frame(60), rig.frame(9014), rig.frame(200)], mappings, 0, []]);
  rig.b.netif.stop();
  rig.send([60]);
  expect([rig.b.sent.length, rig.atRest()]).toEqual([3, 0]);
});

test("a transmit ring that is full drops in the driver for XDP_TX, and answers how many it took for the others", () => {
  const rig = setUp(8192);
  rig.a.netif.open();
  rig.b.netif.open();
  const { buffs, structs } = rig.xdp;
  const buff = structs.createXdpBuff(rig.b.netif.dev.rxQueues[0]!.xdpRxq);
  const frames: (XdpFrame | null)[] = Array.from({ length: 1100 }, () => {
    const page = rig.mm.pages.allocPages(GFP_KERNEL, 0, 0)!;
    buffs.xdpInitBuff(buff, 4096);
    buffs.xdpPrepareBuff(buff, page, 0, 256, 60, true);
    const frame = buffs.xdpConvertBuffToFrame(buff)!;
    frame.memType = MEM_TYPE_PAGE_ORDER0;
    frame.memId = 0;
    return frame;
  });
  const xmit = rig.a.netif.dev.xdpOps!.xdpXmit!;
  const taken = xmit(frames, 1100, 1);
  expect([taken, xmit(frames.slice(taken), 10, 0), xmit(frames, 1, 2)]).toEqual([1023, 0, -EINVAL]);
  for (const frame of frames.slice(taken)) rig.xdp.xdpReturn.xdpReturnFrame(frame!);
  rig.kernel.scheduler.runFor(1_000_000);
  expect(rig.a.nic.stats.sentFrames).toBe(1023);
  // Sent, and not yet taken back: stopping the device does.
  rig.a.netif.stop();
  expect([xmit(frames, 1, 0), rig.a.dma.liveMappings(), rig.kinds()]).toEqual([-ENETDOWN, 0, []]);
});

test("packets of the stack are sent, head and fragments, and freed when they are; a full ring is busy", () => {
  const rig = setUp();
  rig.a.netif.open();
  const { lifetime, edit, transmit } = rig.net;
  const skb = lifetime.allocSkb(200, GFP_KERNEL)!;
  edit.skbPut(skb, 100);
  skbRegion(skb).bytes.fill(5, skb.data, skb.data + 100);
  const page = rig.mm.pages.allocPages(GFP_KERNEL, 0, 0)!;
  page.region.bytes.fill(6, page.base, page.base + 50);
  edit.skbAddRxFrag(skb, page, 0, 50, 4096);
  expect(transmit.devDirectXmit(skb, rig.a.netif.dev, 0)).toBe(0);
  rig.kernel.scheduler.runFor(1_000_000);
  expect(rig.a.sent).toEqual([[...Array.from({ length: 100 }, () => 5), ...Array.from({ length: 50 }, () => 6)]]);
  expect([rig.net.lifetime.stats.live, page.refcount, rig.kinds()]).toEqual([0, 0, []]);
});

test("a program, or a packet's receiver, that takes the interface down: the poll ends there, said as what it is, and nothing is lost", () => {
  const down = (when: "program" | "receiver"): void => {
    const rig = setUp();
    let n = 0;
    const third = (): void => {
      if (++n === 3) rig.a.netif.stop();
    };
    rig.use(() => {
      if (when === "program") third();
      return XDP_PASS;
    });
    rig.net.receive.setProtocol({ packetRcv: (skb) => {
      rig.net.lifetime.consumeSkb(skb);
      if (when === "receiver") third();
    } });
    rig.a.netif.open();
    rig.send([60, 60, 60, 60, 60]);
    rig.kernel.scheduler.runFor(2_000_000_000);
    rig.mm.slab.shrink();
    // A receiver gets packets several at a time: the poll has them all by then.
    expect([n, rig.a.netif.dev.up, rig.a.dma.liveMappings(), rig.mm.pages.freePages(), rig.kinds()]).toEqual([when === "program" ? 3 : 5, false, 0, 2048, ["napi-disable-running"]]);
  };
  down("program");
  down("receiver");
});

test("the doorbell rings for a batch, not for each of its frames; a mapping that fails loses the packet, and says nothing", () => {
  const rig = setUp();
  rig.use((ctx) => ctx.redirect(rig.b.netif.dev.ifindex, 0));
  rig.a.netif.open();
  rig.b.netif.open();
  const bells: number[] = [];
  const hw = rig.b.nic.txQueues[0]!;
  const ring = hw.addPending.bind(hw);
  hw.addPending = (n: number) => {
    bells.push(n);
    ring(n);
  };
  rig.send(Array.from({ length: 20 }, () => 60));
  rig.kernel.scheduler.runFor(1_000_000);
  expect([bells.reduce((sum, n) => sum + n, 0), bells.every((n) => n > 1 || bells.length < 3), rig.b.sent.length]).toEqual([20, true, 20]);
  rig.mm.faults.failDmaMap.arm({});
  rig.send([60]);
  const skb = rig.net.lifetime.allocSkb(100, GFP_KERNEL)!;
  rig.net.edit.skbPut(skb, 60);
  expect(rig.net.transmit.devDirectXmit(skb, rig.b.netif.dev, 0)).toBe(0);
  rig.mm.faults.failDmaMap.disarm();
  rig.kernel.scheduler.runFor(1_000_000);
  expect([rig.b.sent.length, rig.atRest(), rig.net.lifetime.stats.live, rig.kinds()]).toEqual([20, 0, 0, []]);
});

describe("what the driver refuses", () => {
  test("packets in several buffers for a program without fragments: longer than the MTU it was attached at, they are dropped", () => {
    const rig = setUp();
    let seen = 0;
    rig.net.xdpAttachment.devXdpAttach(rig.a.netif.dev, rig.load(() => {
      seen++;
      return XDP_DROP;
    }, false), 0, null);
    rig.a.netif.open();
    rig.send([5000, 60]);
    expect([seen, rig.a.netif.dev.rxDropped, rig.atRest()]).toEqual([1, 1, 0]);
  });


  test("a program without fragments on a device whose packets need them", () => {
    const rig = setUp();
    const { dev } = rig.a.netif;
    dev.mtu = 3521;
    const attach = (hasFrags: boolean): number => rig.net.xdpAttachment.devXdpAttach(dev, rig.load(() => XDP_PASS, hasFrags), 0, null);
    expect([attach(false), dev.xdpProgCount, attach(true)]).toEqual([-EOPNOTSUPP, 0, 0]);
  });
});
