import { expect, test } from "vitest";
import { ModelledNic, createTxRings } from "@netmem/driver";
import type { FrameSource } from "@netmem/driver/api";
import { createKernel } from "@netmem/kernel";
import { EINVAL, ENOMEM } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { PP_SIGNATURE } from "@netmem/mm/api";
import { NET_CORE_RULES_6_18, createNetCore } from "@netmem/net-core";
import { skbHeadFrag, skbRegion, type SkBuff } from "@netmem/net-core/api";
import { PAGE_POOL_DATES_6_18, createPagePools } from "@netmem/page-pool";
import { XDP_OPTIONS_6_18, createXdp } from "@netmem/xdp";
import { REG_STATE_REGISTERED, REG_STATE_UNREGISTERED } from "@netmem/xdp/api";
import { mvneta } from "../src/index.ts";

/** The driver over real layers, wired by hand. */
function setUp(options: { readonly nrPages?: number; readonly rxRingSize?: number; readonly earlyDrop?: boolean; readonly aperturePages?: number } = {}) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: options.nrPages ?? 512, minFreePages: 0, extraBytes: 131_072 });
  const xdp = createXdp(kernel, mm, XDP_OPTIONS_6_18);
  const pagePools = createPagePools({
    kernel, pages: mm.pages, words: mm.words, probe: null,
    faults: mm.faults, notifiers: xdp.notifiers,
    rules: { ...PAGE_POOL_DATES_6_18, sharedRelease: "pp-ref-count", signature: PP_SIGNATURE, ownSignatureWord: false, stampsOwnerAtAlloc: true, preemptRt: false, dmaAddrInPages: false },
  });
  const net = createNetCore({
    kernel, mm, xdp, packetCostNs: 0, probe: null,
    rules: { ...NET_CORE_RULES_6_18, defersFrees: false },
  });
  const { dma, bus } = mm.attachDevice({ name: "eth0", coherent: false, aperturePages: options.aperturePages ?? 1024 });
  const nic = new ModelledNic(kernel, bus, { name: "eth0", rxQueueCount: 1, rxDescFormat: mvneta.rxDescFormat, txDescFormat: mvneta.txDescFormat, payload: mm.payload });
  const txRings = createTxRings({ dma, hw: nic.txQueues[0]!, format: mvneta.txDescFormat, lifetime: net.lifetime, xdpReturn: xdp.xdpReturn, xdpStructs: xdp.structs });
  const netif = mvneta.probe(
    {
      kernel, dma, nic, txRings, pages: mm.pages, pagePools, xdpStructs: xdp.structs, xdpRxqs: xdp.rxqs, xdpBuffs: xdp.buffs, xdpReturn: xdp.xdpReturn, xdpPrograms: xdp.programs, xdpRedirect: xdp.redirect, transmit: net.transmit, lifetime: net.lifetime, recycle: net.recycle,
      edit: net.edit, napi: net.napi, receive: net.receive, registerNetdev: net.registerNetdev,
    },
    { name: "eth0", rxRingSize: options.rxRingSize ?? 64, rxQueueCount: 1, cpu: 0, earlyDrop: options.earlyDrop ?? false },
  );
  const region = mm.payload.addRegion("wire", 131_072, true);
  for (let i = 0; i < region.bytes.length; i++) region.bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  region.bytes.fill(0, 56, 64);
  const received: SkBuff[] = [];
  net.receive.setProtocol({ packetRcv: (skb) => void received.push(skb) });
  const send = (lengths: readonly number[]): void => {
    let next = 0;
    const source: FrameSource = { region, lossless: true, peekBytes: () => lengths[next] ?? -1, peekOffset: () => 64, advance: () => void next++ };
    nic.connect(source);
    kernel.scheduler.runFor(0);
  };
  return { kernel, mm, dma, nic, netif, net, pagePools, received, send, region };
}

test("open posts a page in every descriptor; stop brings them all home and unmaps them", () => {
  const { netif, dma, pagePools, mm } = setUp();
  expect(netif.open()).toBe(0);
  const pool = pagePools.pools()[0]!;
  expect([netif.dev.up, pool.inflight() - pool.cacheCount, netif.dev.rxQueues[0]!.xdpRxq.regState]).toEqual([true, 64, REG_STATE_REGISTERED]);
  netif.stop();
  expect([netif.dev.up, pool.dead, dma.liveMappings(), netif.dev.rxQueues[0]!.xdpRxq.regState]).toEqual([false, true, 0, REG_STATE_UNREGISTERED]);
  expect(mm.pages.freePages()).toBe(512);
});

test("opened twice is -EINVAL; stopped and opened again it works", () => {
  const { netif, send, received } = setUp();
  expect([netif.open(), netif.open()]).toEqual([0, -EINVAL]);
  netif.stop();
  netif.stop();
  expect(netif.open()).toBe(0);
  send([60, 60]);
  expect(received.length).toBe(2);
});

test.each([["no page for the buffers", { nrPages: 40 }], ["no page for the descriptor ring", { nrPages: 2, rxRingSize: 512 }], ["no room in the device's address space", { aperturePages: 32 }]])(
  "open without memory (%s) is -ENOMEM, with nothing left behind",
  (_what, options) => {
    const { netif, pagePools, mm, dma, kernel } = setUp(options);
    const free = mm.pages.freePages();
    expect(netif.open()).toBe(-ENOMEM);
    expect([mm.pages.freePages(), dma.liveMappings(), pagePools.pools().length, netif.dev.rxQueues[0]!.xdpRxq.mem.id, kernel.reports.total]).toEqual([free, 0, 0, 0, 0]);
  },
);

test("a small frame becomes an skb whose head is the pool's page, marked for recycling, with the MAC header pulled", () => {
  const { netif, send, received, region } = setUp();
  netif.open();
  send([60]);
  const skb = received[0]!;
  expect([skb.len, skb.dataLen, skbHeadFrag(skb), skb.ppRecycle, skb.data - skb.macHeader, skb.dev]).toEqual([46, 0, true, true, 14, netif.dev]);
  expect([...skbRegion(skb).bytes.subarray(skb.macHeader, skb.macHeader + 60)]).toEqual([...region.bytes.subarray(64, 124)]);
  expect(skb.truesize).toBe(4096 + 256);
});

test("a jumbo frame becomes a head and frags of one page each, charged a page each", () => {
  const { netif, send, received } = setUp();
  netif.open();
  send([9014]);
  const skb = received[0]!;
  expect([skb.len, skb.shinfo!.nrFrags, skb.truesize]).toEqual([9000, 2, 4096 + 256 + 2 * 4096]);
  expect(skb.shinfo!.frags.slice(0, 2).map((frag) => frag.sizeBytes)).toEqual([3520, 9014 - 3518 - 3520]);
});

test("more frames than a budget, and frames that straddle two polls, all arrive", () => {
  const { netif, send, received, net, kernel } = setUp({ nrPages: 2048 });
  netif.open();
  send(Array.from({ length: 200 }, () => 9014));
  expect(received.length).toBe(200);
  expect(received.every((skb) => skb.len === 9000)).toBe(true);
  for (const skb of received) net.lifetime.consumeSkb(skb);
  expect(kernel.reports.total).toBe(0);
});

test("early drop frees each packet in its own poll: back to the cache, nothing delivered", () => {
  const { netif, send, received, pagePools } = setUp({ earlyDrop: true });
  netif.open();
  send(Array.from({ length: 100 }, () => 60));
  expect([received.length, netif.dev.rxDropped, pagePools.pools()[0]!.recycleStats.cached]).toEqual([0, 100, 100]);
});

test("a faulted frame is dropped whole and its pages recycled; the next one arrives", () => {
  const { netif, send, received, dma, kernel, pagePools } = setUp();
  netif.open();
  const pool = pagePools.pools()[0]!;
  // The second buffer posted (the pool hands out its newest page first) loses its mapping behind the driver's back.
  dma.unmapPage(63 << 12, 4096, 2, 0);
  send([9014, 60]);
  expect(kernel.reports.counts()[0]!.kind).toBe("dma-fault");
  expect([received.length, netif.dev.rxDropped]).toEqual([1, 1]);
  expect([pool.recycleStats.cached, pool.recycleStats.ring]).toEqual([3, 0]);
});

test("a ring size that the hardware does not have is refused by name", () => {
  expect(() => setUp({ rxRingSize: 513 })).toThrow(/driver-mvneta: rxRingSize = 513: give 32 to 512/);
});
