// Runs each kind of trip two million times and says, as JSON, how often the collector ran meanwhile and how far the heap grew.
import { PerformanceObserver, performance } from "node:perf_hooks";
import { NET_RX_SOFTIRQ } from "@netmem/kernel/api";
import { veth } from "@netmem/driver-veth";
import { createMachine } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, GFP_KERNEL, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SIZE } from "@netmem/mm/api";
import { CHECKSUM_UNNECESSARY, SKBFL_DONT_ORPHAN, SKBFL_ZEROCOPY_FRAG, SKB_CONSUMED } from "@netmem/net-core/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV } from "@netmem/page-pool/api";
import { AreaProvider, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { ETH_P_IP, NETDEV_XDP_ACT_NDO_XMIT, XDP_COPY, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS } from "@netmem/xdp/api";

const OPERATIONS = 2_000_000;
const machine = createMachine({ nrCpus: 2, nrPages: 4096, extraBytes: 128 * PAGE_SIZE, reports: "panic", memory: { dmaDebug: "off" } });
const { kernel, mm, pagePools, net } = machine;
const { dma } = mm.attachDevice({ name: "nic", coherent: false });
const dev = net.registerNetdev("eth0", 1);
const params = {
  flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: 1024, nid: NUMA_NO_NODE, dev: dma, napi: null,
  dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null,
};
const pool = pagePools.create(params);
const other = pagePools.create(params);
dev.rxQueues[0].memoryProvider = new AreaProvider(mm.createNetIovArea("device", NET_IOV_DMABUF, 64, false));
const device = pagePools.create({ ...params, flags: params.flags | PP_FLAG_ALLOW_UNREADABLE_NETMEM, netdev: dev });
const frag = pagePools.createFrag();
const batch = Array.from({ length: 16 }, () => null);

// A queue of its own, with the first pool for its memory, and a device that is done with what it is given at once.
const { xdp } = machine;
const rx = net.registerNetdev("eth1", 1);
const { xdpRxq } = rx.rxQueues[0];
xdp.rxqs.xdpRxqInfoReg(xdpRxq, rx, 0);
xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, pool.memType, pool);
const buff = xdp.structs.createXdpBuff(xdpRxq);
const out = net.registerNetdev("eth2", 1);
const bulk = xdp.structs.createFrameBulk();
out.up = true;
out.xdpFeatures = NETDEV_XDP_ACT_NDO_XMIT;
out.xdpOps = {
  xdpSetupProg: null, xskSetupPool: null, xskWakeup: null,
  xdpXmit: (frames, n) => {
    for (let i = 0; i < n; i++) xdp.xdpReturn.xdpReturnFrameBulk(frames[i], bulk);
    xdp.xdpReturn.xdpFlushFrameBulk(bulk);
    return n;
  },
};
const map = xdp.maps.createDevMap(1);
map.mapUpdateElem(0, out.ifindex, null, 0);
const drop = xdp.programs.bpfProgLoad("drop", (ctx) => (ctx.getUint16(12) === 0x0806 ? XDP_PASS : XDP_DROP), true);
const redirect = xdp.programs.bpfProgLoad("redirect", (ctx) => (ctx.adjustHead(-8) === 0 && ctx.adjustHead(8) === 0 ? ctx.redirectMap(map, 0, 0) : XDP_DROP), true);
const scratch = new Uint8Array(64);
const rewrite = xdp.programs.bpfProgLoad("rewrite", (ctx) => (ctx.adjustTail(-10) === 0 && ctx.loadBytes(0, scratch, 50) === 0 && ctx.storeBytes(0, scratch, 50) === 0 ? XDP_PASS : XDP_DROP), true);

function receive(prog) {
  xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
  xdp.buffs.xdpPrepareBuff(buff, pool.allocPages(GFP_ATOMIC), 0, XDP_PACKET_HEADROOM, 60, true);
  return xdp.programs.bpfProgRunXdp(prog, buff);
}

const user = Array.from({ length: 8 }, () => mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE));
const socket = xdp.afXdp.createSocket();
socket.umemReg(user, 2048, 0, 0);
socket.rxRing(16);
socket.fillRing(16);
socket.completionRing(16);
socket.bind(rx, 0, XDP_COPY, null);
const sockets = xdp.maps.createXskMap(1);
sockets.mapUpdateElem(0, socket, 0);
const toSocket = xdp.programs.bpfProgLoad("xsk", (ctx) => ctx.redirectMap(sockets, 0, 0), false);
net.receive.setProtocol({ packetRcv: (skb) => (skb.protocol === ETH_P_IP ? net.inet.packetRcv(skb) : net.lifetime.consumeSkb(skb)) });

// Frames of UDP and TCP, sockets that take them, a device with GRO, and a pair of ends with XDP on the second.
const FRAME_BYTES = 512;
const wire = mm.payload.addRegion("wire", 2 * FRAME_BYTES, true);
const datagram = udpFrame(testPayload(200, 1), { dport: 53 });
const segment = tcpFrame(testPayload(400, 1), { dport: 80 });
wire.bytes.set(datagram, 0);
wire.bytes.set(segment, FRAME_BYTES);
const udpSocket = net.inet.udpBind({ name: "udp", port: 53 });
let stream = null;
net.inet.tcpListen({ name: "tcp", port: 80, accept: (connection) => (stream = connection) });
const reader = mm.payload.addRegion("reader", 4096, true);
const gro = net.registerNetdev("eth3", 1);
gro.gro = true;
let seq = 1;
const groNapi = net.napi.netifNapiAdd(gro, {
  poll: (napi) => {
    for (let i = 0; i < 3; i++) {
      const skb = framed(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE), FRAME_BYTES, segment.length, gro);
      const { bytes } = skb.shinfo.headPage.region;
      for (let at = 24 + skb.data, left = 24; left >= 0; left -= 8, at++) bytes[at] = seq >>> left;
      // Its checksum is that of another number.
      skb.ipSummed = CHECKSUM_UNNECESSARY;
      seq = (seq + 400) | 0;
      net.receive.napiGroReceive(napi, skb);
    }
    net.napi.napiCompleteDone(napi, 3);
    return 3;
  },
}, 64);
net.napi.napiEnable(groNapi);
const ends = machine.newlink(veth).ends;
for (const end of ends) end.open();
net.xdpAttachment.devXdpAttach(ends[1].dev, xdp.programs.bpfProgLoad("pass", () => XDP_PASS, false), 0, null);

/** A frame of the wire's, received into a page. */
function framed(skb, at, bytes, from) {
  net.recycle.skbMarkForRecycle(skb, skb.shinfo.headPage, xdpRxq.mem);
  net.edit.skbReserve(skb, 64);
  net.edit.skbPut(skb, bytes);
  const { region } = skb.shinfo.headPage;
  mm.payload.copy(region, skb.data, wire, at, bytes);
  skb.dev = from;
  net.edit.ethTypeTrans(skb);
  return skb;
}

const coalesced = { stolen: false, deltaTruesize: 0 };
const pair = [{ skb: null }, { skb: null }];

const gathers = { sg: true, gso: false };
const uarg = net.zerocopy.createUbufInfo({ complete: (_skb, info) => void info.refcnt-- }, SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN);
const irq = kernel.irqs.requestIrq("garbage", 0, () => net.lifetime.devConsumeSkbAny(pair[0].skb));

function pooled(skb, mark = true) {
  if (mark) net.recycle.skbMarkForRecycle(skb, skb.shinfo.headPage, xdpRxq.mem);
  net.edit.skbReserve(skb, 64);
  net.edit.skbPut(skb, 60);
  return skb;
}

function withFrag(skb) {
  const page = pool.allocPages(GFP_ATOMIC);
  net.edit.skbAddRxFrag(skb, page, 0, 100, PAGE_SIZE);
  net.recycle.storeMemInfo(page, xdpRxq.mem);
}

const trips = {
  direct: () => pool.recycleDirect(pool.allocPages(GFP_ATOMIC)),
  ring: () => pool.putFullNetmem(pool.allocPages(GFP_ATOMIC), false),
  "page allocator": () => {
    const page = pool.allocPages(GFP_ATOMIC);
    mm.pages.getPage(page);
    pool.putFullNetmem(page, false);
    mm.pages.putPage(page);
  },
  "bulk of two pools": () => {
    for (let i = 0; i < 16; i += 2) {
      batch[i] = pool.allocPages(GFP_ATOMIC);
      batch[i + 1] = other.allocPages(GFP_ATOMIC);
    }
    pool.putNetmemBulk(batch, 16);
  },
  fragments: () => pool.putFullNetmem(pool.allocFrag(frag, 1500, GFP_ATOMIC), false),
  shared: () => {
    const page = pool.allocPages(GFP_ATOMIC);
    pool.refNetmem(page);
    pool.putFullNetmem(page, false);
    pool.putFullNetmem(page, false);
  },
  "xdp drop": () => {
    receive(drop);
    xdp.xdpReturn.xdpReturnBuff(buff);
  },
  "xdp redirect through a devmap": () => {
    receive(redirect);
    xdp.redirect.xdpDoRedirect(rx, buff, redirect);
    xdp.redirect.xdpDoFlush();
  },
  "xdp tx": () => {
    receive(rewrite);
    xdp.xdpReturn.xdpReturnFrameRxNapi(xdp.buffs.xdpConvertBuffToFrame(buff));
  },
  "xdp pass": () => {
    receive(rewrite);
    net.receive.netifReceiveSkb(net.xdpSkbs.xdpBuildSkbFromBuff(buff));
  },
  "frame to skb": () => {
    receive(rewrite);
    net.receive.netifReceiveSkb(net.xdpSkbs.xdpBuildSkbFromFrame(xdp.buffs.xdpConvertBuffToFrame(buff), rx));
  },
  "af_xdp copy": () => {
    const { fill, rx: received } = socket;
    fill.addr[fill.producer & fill.mask] = (fill.producer & 7) * 2048;
    fill.producer = (fill.producer + 1) >>> 0;
    receive(toSocket);
    if (xdp.redirect.xdpDoRedirect(rx, buff, toSocket) !== 0) throw new Error("not received");
    xdp.redirect.xdpDoFlush();
    received.consumer = received.producer;
  },
  "packet cloned": () => {
    const skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    const clone = net.lifetime.skbClone(skb, GFP_ATOMIC);
    net.lifetime.consumeSkb(skb);
    net.lifetime.napiConsumeSkb(clone, 64);
  },
  "packet expanded, pulled and trimmed": () => {
    const skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    withFrag(skb);
    net.edit.pskbExpandHead(skb, 64, 0, GFP_ATOMIC);
    net.edit.pskbPullTail(skb, 20);
    net.edit.pskbTrim(skb, 90);
    net.lifetime.consumeSkb(skb);
  },
  "packet coalesced": () => {
    const [to, from] = pair;
    to.skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), 512));
    withFrag(to.skb);
    from.skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    if (!net.merge.skbTryCoalesce(to.skb, from.skb, coalesced)) throw new Error("not coalesced");
    net.lifetime.kfreeSkbPartial(from.skb, coalesced.stolen);
    net.lifetime.consumeSkb(to.skb);
  },
  "packet of a driver's allocation, copied": () => {
    const skb = net.lifetime.napiAllocSkb(rx, 1500);
    net.edit.skbPut(skb, 1500);
    net.lifetime.consumeSkb(net.edit.skbCopy(skb, GFP_ATOMIC));
    net.lifetime.napiConsumeSkb(skb, 64);
  },
  "packet of 1500 bytes, its head released to its clone": () => {
    const skb = net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE);
    net.recycle.skbMarkForRecycle(skb, skb.shinfo.headPage, xdpRxq.mem);
    net.edit.skbPut(skb, 1500);
    net.edit.skbHeaderRelease(skb);
    const clone = net.lifetime.skbClone(skb, GFP_ATOMIC);
    net.lifetime.napiConsumeSkb(skb, 64);
    net.lifetime.napiConsumeSkb(clone, 64);
  },
  "packet segmented": () => {
    const skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    withFrag(skb);
    skb.macHeader = skb.data;
    net.edit.skbPull(skb, 54);
    skb.shinfo.gsoSize = 60;
    net.lifetime.kfreeSkbList(net.merge.skbSegment(skb, gathers), SKB_CONSUMED);
    net.lifetime.consumeSkb(skb);
  },
  "packets merged by GRO": () => {
    const p = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    p.dev = rx;
    net.merge.groStart(p, 54);
    net.merge.groHold(p);
    for (let i = 0; i < 3; i++) {
      const skb = pooled(i === 1 ? net.lifetime.allocSkb(300, GFP_ATOMIC) : net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE), i !== 1);
      if (i === 2) withFrag(skb);
      skb.ppRecycle = true;
      net.merge.groStart(skb, i === 2 ? 60 : 54);
      if (net.merge.skbGroReceive(p, skb) !== 0) throw new Error("not merged");
      net.lifetime.napiSkbFinishMerged(skb);
    }
    net.lifetime.consumeSkb(p);
  },
  "packet split, and shifted back": () => {
    const [a, b] = pair;
    a.skb = net.lifetime.allocSkb(100, GFP_ATOMIC);
    b.skb = net.lifetime.allocSkb(100, GFP_ATOMIC);
    net.edit.skbAddRxFrag(a.skb, mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE), 0, 1000, PAGE_SIZE);
    net.merge.skbSplit(a.skb, b.skb, 400);
    if (net.merge.skbShift(a.skb, b.skb, 200) !== 200 || net.merge.skbShift(a.skb, b.skb, 400) !== 400) throw new Error("not shifted");
    net.lifetime.consumeSkb(a.skb);
    net.lifetime.consumeSkb(b.skb);
  },
  "packet of a user's memory": () => {
    const skb = net.lifetime.allocSkb(100, GFP_ATOMIC);
    net.edit.skbPut(skb, 40);
    mm.pages.getPage(user[0]);
    net.edit.skbAddRxFrag(skb, user[0], 0, 1000, PAGE_SIZE);
    net.zerocopy.skbZcopySet(skb, uarg, false);
    const to = net.lifetime.allocSkb(100, GFP_ATOMIC);
    net.zerocopy.skbZerocopy(to, skb, 1040, 40);
    net.lifetime.consumeSkb(to);
    net.lifetime.consumeSkb(skb);
  },
  "packet deferred to the CPU that built it": () => {
    const skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    skb.allocCpu = 1;
    net.lifetime.skbAttemptDeferFree(skb);
    kernel.softirqs.raiseSoftirq(1, NET_RX_SOFTIRQ);
    kernel.scheduler.runFor(0);
  },
  "datagram into a socket, and read": () => {
    net.inet.packetRcv(framed(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE), 0, datagram.length, rx));
    if (udpSocket.recvmsg(reader, 0, 4096) !== 200) throw new Error("not received");
  },
  "segments through GRO into a stream, and read": () => {
    net.napi.napiSchedule(groNapi);
    kernel.scheduler.runFor(0);
    if (stream.recvmsg(reader, 0, 4096) !== 1200) throw new Error("not received");
  },
  "packet over veth, with a program": () => {
    const skb = net.lifetime.allocSkb(300, GFP_ATOMIC);
    net.edit.skbPut(skb, 200);
    skb.macHeader = skb.data;
    net.transmit.devDirectXmit(skb, ends[0].dev, 0);
    kernel.scheduler.runFor(0);
  },
  "packet freed in hardirq": () => {
    pair[0].skb = pooled(net.lifetime.napiBuildSkb(pool.allocPages(GFP_ATOMIC), PAGE_SIZE));
    kernel.irqs.raise(irq);
    kernel.scheduler.runFor(0);
  },
  net_iov: () => device.putFullNetmem(device.allocNetmems(GFP_ATOMIC), false),
};

const collected = [];
new PerformanceObserver((list) => collected.push(...list.getEntries())).observe({ entryTypes: ["gc"] });

/** In one softirq, as a NAPI poll without an end. */
function softirq(work) {
  kernel.timers.modTimer(kernel.timers.timerSetup(work, 0), 0);
  kernel.scheduler.runFor(0);
}

/** What runs the machine itself. */
const OUTSIDE = ["packet deferred to the CPU that built it", "segments through GRO into a stream, and read", "packet over veth, with a program", "packet freed in hardirq"];

function repeat(name, trip, times) {
  if (OUTSIDE.includes(name)) for (let i = 0; i < times; i++) trip();
  else softirq(() => {
    for (let i = 0; i < times; i++) trip();
  });
}

const results = [];
for (const [name, trip] of Object.entries(trips)) {
  // The engine compiles in the background: what it leaves behind is not the model's.
  for (let i = 0; i < 5; i++) {
    repeat(name, trip, OPERATIONS / 20);
    await new Promise((done) => setTimeout(done, 20));
  }
  globalThis.gc();
  // A full collection takes code and feedback with it that has not run for a while: once more, and away with what that leaves.
  repeat(name, trip, OPERATIONS / 20);
  await new Promise((done) => setTimeout(done, 20));
  globalThis.gc({ type: "minor" });
  const before = process.memoryUsage().heapUsed;
  const began = performance.now();
  repeat(name, trip, OPERATIONS);
  const ended = performance.now();
  const bytes = process.memoryUsage().heapUsed - before;
  await new Promise((done) => setTimeout(done, 5));
  results.push({ name, operations: OPERATIONS, collections: collected.filter(({ startTime }) => startTime >= began && startTime <= ended).length, bytes });
}
process.stdout.write(JSON.stringify(results));
