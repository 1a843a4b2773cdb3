import { describe, expect, test } from "vitest";
import { xsk } from "@netmem/driver-xsk";
import { EINVAL, ENETDOWN, ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import { PRESET_NAMES, Wire, type PresetName } from "@netmem/machine";
import { GFP_KERNEL, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { XDP_FLAGS_DRV_MODE } from "@netmem/net-core/api";
import { testFrame } from "@netmem/testkit";
import {
  MEM_TYPE_PAGE_POOL, MEM_TYPE_XSK_BUFF_POOL, MSG_DONTWAIT, XDP_COPY, XDP_DROP, XDP_PASS, XDP_RING_NEED_WAKEUP, XDP_TX, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY, type XdpMd, type XdpProg, type XdpSocket, type XskMap, type XskRing,
} from "@netmem/xdp/api";
import { NOTHING_LEFT, asText, frameOf, driverRig, wire, type DriverRig } from "./driver-rig.ts";

const CHUNK = 2048;

interface UserSetup {
  readonly preset?: PresetName;
  readonly chunks?: number;
  readonly chunkBytes?: number;
  readonly queues?: number;
  readonly queue?: number;
  readonly flags?: number;
  /** What it says of a packet; default: the user's. */
  readonly verdict?: (ctx: XdpMd) => number | null;
  readonly seed?: number;
}

/** An interface of the driver, a program, and a user with a socket on one queue, whose fill ring is full. */
class User {
  readonly rig: DriverRig;
  readonly socket: XdpSocket;
  readonly pages: Page[];
  readonly map: XskMap;
  readonly prog: XdpProg;
  readonly got: string[] = [];
  readonly passed: string[] = [];
  readonly #chunkBytes: number;

  constructor({ preset = "6.18", chunks = 256, chunkBytes = CHUNK, queues = 1, queue = 0, flags = XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP, verdict = () => null, seed = 1 }: UserSetup = {}) {
    this.rig = driverRig(xsk, { preset, queues, mtu: 1500, seed });
    const { machine, device } = this.rig;
    const { xdp, mm, net } = machine;
    this.#chunkBytes = chunkBytes;
    this.map = xdp.maps.createXskMap(8) as XskMap;
    this.prog = xdp.programs.bpfProgLoad("user", (ctx) => verdict(ctx) ?? ctx.redirectMap(this.map, ctx.rxQueueIndex, XDP_PASS), false) as XdpProg;
    this.pages = Array.from({ length: (chunks * chunkBytes) / PAGE_SIZE }, () => mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    this.socket = xdp.afXdp.createSocket();
    const { socket } = this;
    expect([socket.umemReg(this.pages, chunkBytes, 0, 0), socket.rxRing(chunks), socket.txRing(chunks), socket.fillRing(chunks), socket.completionRing(chunks)]).toEqual([0, 0, 0, 0, 0]);
    for (const page of this.pages) mm.pages.putPage(page);
    this.give(...Array.from({ length: chunks }, (_, i) => i * chunkBytes));
    expect(net.xdpAttachment.devXdpAttach(device.netif.dev, this.prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
    expect(socket.bind(device.netif.dev, queue, flags, null)).toBe(0);
    expect(this.map.mapUpdateElem(queue, socket, 0)).toBe(0);
    net.receive.setProtocol({ packetRcv: (skb) => {
      this.passed.push(frameOf(machine, skb));
      net.lifetime.consumeSkb(skb);
    } });
  }

  /** Chunks into the fill ring. */
  give(...addrs: readonly number[]): void {
    for (const addr of addrs) push(this.socket.fill!, addr, 0);
  }

  bytes(addr: number, length: number): string {
    const { region, base } = this.pages[Math.floor(addr / PAGE_SIZE)]!;
    return asText(region.bytes.subarray(base + (addr % PAGE_SIZE), base + (addr % PAGE_SIZE) + length));
  }

  /** Takes what has come, and gives the chunks back. */
  read(): number {
    const ring = this.socket.rx!;
    let n = 0;
    for (; ring.consumer !== ring.producer; n++) {
      const slot = ring.consumer & ring.mask;
      const addr = ring.addr[slot]!;
      this.got.push(this.bytes(addr, ring.len[slot]!));
      ring.consumer = (ring.consumer + 1) >>> 0;
      this.give(addr - (addr % this.#chunkBytes));
    }
    if ((this.socket.fill!.flags & XDP_RING_NEED_WAKEUP) !== 0) this.socket.recvmsg(MSG_DONTWAIT);
    return n;
  }

  /** Until the wire is empty, reading as it goes. */
  receive(frames: readonly Uint8Array[]): void {
    const { machine, device } = this.rig;
    const sending = new Wire(machine.kernel, machine.mm.payload, wire(frames), "back-to-back");
    sending.connect(device.nic);
    for (let i = 0; i < 10_000 && !sending.finished(); i++) {
      machine.kernel.scheduler.runFor(10_000);
      this.read();
    }
    machine.kernel.scheduler.runFor(1_000_000);
    this.read();
  }

  /** Puts a frame into a chunk that the kernel does not have, and asks for it to be sent. */
  post(addr: number, frame: Uint8Array): void {
    const { region, base } = this.pages[Math.floor(addr / PAGE_SIZE)]!;
    region.bytes.set(frame, base + (addr % PAGE_SIZE));
    push(this.socket.tx!, addr, frame.length);
  }

  completed(): number[] {
    const ring = this.socket.completion!;
    const addrs: number[] = [];
    for (; ring.consumer !== ring.producer; ring.consumer = (ring.consumer + 1) >>> 0) addrs.push(ring.addr[ring.consumer & ring.mask]!);
    return addrs;
  }

  end(): typeof NOTHING_LEFT {
    this.socket.release();
    this.rig.machine.kernel.scheduler.runFor(1_000_000);
    return this.rig.end();
  }
}

function push(ring: XskRing, addr: number, len: number): void {
  const slot = ring.producer & ring.mask;
  ring.addr[slot] = addr;
  ring.len[slot] = len;
  ring.producer = (ring.producer + 1) >>> 0;
}

/** What the device puts on the wire. */
function sent(user: User): string[] {
  const out: string[] = [];
  const region = user.rig.machine.mm.payload.addRegion("sink", 4096, true);
  user.rig.device.nic.connectSink({ region, offset: () => 0, roomBytes: () => 4096, frameSent: (bytes) => void out.push(asText(region.bytes.subarray(0, bytes))) });
  return out;
}

const FRAMES: readonly Uint8Array[] = Array.from({ length: 1000 }, (_, i) => testFrame(60 + ((i * 37) % 1400), i));

test.each(PRESET_NAMES)("under %s frames lie in the user's memory, where the device put them: no page is taken for them, no pool is asked, and all is home in the end", (preset) => {
  const user = new User({ preset });
  const { xdpRxq } = user.rig.device.netif.dev.rxQueues[0]!;
  const { pages } = user.rig.machine.mm;
  expect([xdpRxq.mem.type, user.socket.zc]).toEqual([MEM_TYPE_XSK_BUFF_POOL, true]);
  const before = pages.freePages();
  user.receive(FRAMES);
  expect(pages.freePages()).toBe(before);
  expect(user.got).toEqual(FRAMES.map(asText));
  expect(user.rig.machine.pagePools.pools().filter(({ netdev, destroyCnt }) => netdev === user.rig.device.netif.dev && destroyCnt === 0).map(({ holdCnt }) => holdCnt)).toEqual([0]);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

test("a program passes to the stack, drops, sends back and redirects, frame by frame: what leaves or goes up is a copy, and the chunk is the queue's again", () => {
  const verdicts = [null, XDP_PASS, XDP_DROP, XDP_TX];
  const user = new User({ chunks: 128, verdict: (ctx) => verdicts[ctx.getUint8(14) % 4]! });
  const out = sent(user);
  user.receive(FRAMES);
  const of = (kind: number): string[] => FRAMES.filter((frame) => frame[14]! % 4 === kind).map(asText);
  expect([0, 1, 2, 3].every((kind) => of(kind).length > 100)).toBe(true);
  expect([user.got, user.passed, out]).toEqual([of(0), of(1), of(3)]);
  expect(user.rig.device.netif.dev.rxDropped).toBe(of(2).length);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

test("metadata that a program wrote goes up with the copy", () => {
  const user = new User({ verdict: (ctx) => {
    ctx.adjustMeta(-4);
    ctx.setUint32(-4, 0xcafe);
    return XDP_PASS;
  } });
  let meta = -1;
  const { net } = user.rig.machine;
  net.receive.setProtocol({ packetRcv: (skb) => {
    meta = skb.shinfo!.metaLen;
    net.lifetime.consumeSkb(skb);
  } });
  user.receive([testFrame(100, 1)]);
  expect(meta).toBe(4);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

describe("without chunks", () => {
  test("a user that reads nothing stops the wire; it is asked to say when there are more, and saying so goes on", () => {
    const user = new User({ chunks: 64 });
    const { machine, device } = user.rig;
    const sending = new Wire(machine.kernel, machine.mm.payload, wire(FRAMES.slice(0, 200)), "back-to-back");
    sending.connect(device.nic);
    machine.kernel.scheduler.runFor(1_000_000_000);
    expect([sending.sent(), (user.socket.fill!.flags & XDP_RING_NEED_WAKEUP) !== 0]).toEqual([64, true]);
    for (let i = 0; i < 10; i++) {
      user.read();
      machine.kernel.scheduler.runFor(100_000);
    }
    expect([sending.finished(), user.got]).toEqual([true, FRAMES.slice(0, 200).map(asText)]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("one that did not ask to be asked is looked after all the same", () => {
    const user = new User({ chunks: 64, flags: XDP_ZEROCOPY });
    const { machine, device } = user.rig;
    const sending = new Wire(machine.kernel, machine.mm.payload, wire(FRAMES.slice(0, 200)), "back-to-back");
    sending.connect(device.nic);
    machine.kernel.scheduler.runFor(10_000_000);
    for (let i = 0; i < 10; i++) {
      expect(user.socket.fill!.flags & XDP_RING_NEED_WAKEUP).toBe(0);
      user.read();
      machine.kernel.scheduler.runFor(2_000_000);
    }
    expect([sending.finished(), user.got.length]).toEqual([true, 200]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("a queue whose fill ring is empty comes up, and waits (as for a user that only sends)", () => {
    const rig = new User({ chunks: 64 });
    rig.socket.fill!.consumer = rig.socket.fill!.producer;
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("sending", () => {
  test("what the user asks for leaves from where it lies, and comes back by the completion ring, in order", () => {
    const user = new User({ chunks: 256 });
    const { machine } = user.rig;
    const out = sent(user);
    const { maps } = user.rig.device.dma.stats;
    // Its own now, and not the kernel's.
    const mine = user.pages.length * PAGE_SIZE;
    const frames = FRAMES.slice(0, 200);
    const addrs = frames.map((_, i) => (i * CHUNK) % mine);
    for (const [i, frame] of frames.entries()) user.post(addrs[i]!, frame);
    expect(user.socket.sendmsg(MSG_DONTWAIT)).toBe(0);
    machine.kernel.scheduler.runFor(10_000_000);
    expect([out, user.completed(), user.rig.device.dma.stats.maps]).toEqual([frames.map(asText), addrs, maps]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("more than a ring and a poll's share take several rounds, and none is lost; the stack's packets go out between them", () => {
    const user = new User({ chunks: 1024 });
    const out = sent(user);
    for (let i = 0; i < 1000; i++) user.post(i * CHUNK, FRAMES[i]!);
    user.socket.sendmsg(MSG_DONTWAIT);
    user.rig.machine.kernel.scheduler.runFor(100_000_000);
    expect([out, user.completed().length]).toEqual([FRAMES.map(asText), 1000]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("what waits in the ring as the interface goes down is told to its user all the same", () => {
    const user = new User({ chunks: 64 });
    for (let i = 0; i < 10; i++) user.post(i * CHUNK, FRAMES[i]!);
    user.rig.device.nic.txQueues[0]!.stop();
    user.socket.sendmsg(MSG_DONTWAIT);
    user.rig.machine.kernel.scheduler.runFor(100_000);
    expect(user.completed()).toEqual([]);
    user.rig.device.netif.stop();
    expect(user.completed()).toHaveLength(10);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });
});

test("XDP_TX of a packet that cannot be mapped is dropped: its copy and its chunk are home, once", () => {
  const user = new User({ chunks: 64, verdict: () => XDP_TX });
  const out = sent(user);
  user.rig.machine.mm.faults.failDmaMap.arm({ probability: 40, seed: 2 });
  user.receive(FRAMES.slice(0, 300));
  const { dev } = user.rig.device.netif;
  const failed = user.rig.machine.mm.faults.failDmaMap.injected();
  user.rig.machine.mm.faults.failDmaMap.disarm();
  expect([failed > 50, out.length, dev.rxDropped]).toEqual([true, 300 - failed, failed]);
  // All chunks are there still: as many again come through.
  user.receive(FRAMES.slice(0, 300));
  expect(out.length).toBe(600 - failed);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

test("a frame longer than a chunk is dropped whole (the kernel hands the end of it on as a packet: stmmac_rx_zc of 6.18 forgets the error between its parts)", () => {
  const user = new User({ chunks: 64 });
  user.receive([testFrame(100, 1), testFrame(3000, 2), testFrame(200, 3)]);
  expect([user.got.map(({ length }) => length), user.rig.device.netif.dev.rxDropped]).toEqual([[100, 200], 1]);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

test("frames that arrive damaged are dropped and counted, their chunks are used again", () => {
  const user = new User({ chunks: 64 });
  const frameError = user.rig.machine.mm.faults.failFunction("nicFrameError");
  frameError.arm({ probability: 30, seed: 5 });
  user.receive(FRAMES.slice(0, 400));
  const damaged = frameError.injected();
  frameError.disarm();
  expect([damaged > 50, user.got.length, user.rig.device.netif.dev.rxDropped]).toEqual([true, 400 - damaged, damaged]);
  expect(user.end()).toEqual(NOTHING_LEFT);
});

describe("binding", () => {
  test.each([["no such queue", 9, CHUNK, EINVAL], ["memory in chunks with no room for a frame", 0, 2048, EOPNOTSUPP]])("is refused for %s, and the queue runs on with pages", (_what, queue, chunkBytes, errno) => {
    const rig = driverRig(xsk, { mtu: 1500 });
    const { machine, device } = rig;
    const pages = Array.from({ length: 32 }, () => machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    const socket = machine.xdp.afXdp.createSocket();
    expect([socket.umemReg(pages, chunkBytes, errno === EOPNOTSUPP ? 1000 : 0, 0), socket.rxRing(64), socket.fillRing(64), socket.completionRing(64)]).toEqual([0, 0, 0, 0]);
    expect(socket.bind(device.netif.dev, queue, XDP_ZEROCOPY, null)).toBe(-errno);
    expect(device.netif.dev.rxQueues[0]!.xdpRxq.mem.type).toBe(MEM_TYPE_PAGE_POOL);
    for (const page of pages) machine.mm.pages.putPage(page);
    socket.release();
    machine.kernel.scheduler.runFor(1_000_000);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("waking it is refused while it is down, without a program, and of a queue that has pages", () => {
    const user = new User({ queues: 2 });
    const { netif } = user.rig.device;
    const wake = (queue: number): number => netif.dev.xdpOps!.xskWakeup!(queue, 1);
    expect([wake(0), wake(1), wake(7)]).toEqual([0, -EINVAL, -EINVAL]);
    netif.stop();
    expect(wake(0)).toBe(-ENETDOWN);
    expect(netif.open()).toBe(0);
    expect(user.rig.machine.net.xdpAttachment.devXdpAttach(netif.dev, null, XDP_FLAGS_DRV_MODE, null)).toBe(0);
    expect([wake(0), netif.dev.rxQueues[0]!.xdpRxq.mem.type]).toEqual([-EINVAL, MEM_TYPE_PAGE_POOL]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("memory for the rings fails as the user comes: refused, and up with pages; as it goes: reported, and down until it is opened", () => {
    const user = new User();
    const { machine, device } = user.rig;
    machine.mm.faults.failPageAlloc.arm({});
    user.socket.release();
    machine.kernel.scheduler.runFor(1_000_000);
    machine.mm.faults.failPageAlloc.disarm();
    expect([device.netif.dev.up, machine.kernel.reports.counts()]).toEqual([false, [{ kind: "xsk-disable-failed", count: 1 }]]);
    expect([device.netif.open(), device.netif.dev.rxQueues[0]!.xdpRxq.mem.type]).toEqual([0, MEM_TYPE_PAGE_POOL]);

    const socket = machine.xdp.afXdp.createSocket();
    const pages = Array.from({ length: 32 }, () => machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    expect([socket.umemReg(pages, CHUNK, 0, 0), socket.rxRing(64), socket.fillRing(64), socket.completionRing(64)]).toEqual([0, 0, 0, 0]);
    machine.mm.faults.failPageAlloc.arm({ times: 1 });
    expect(socket.bind(device.netif.dev, 0, XDP_ZEROCOPY, null)).toBe(-ENOMEM);
    machine.mm.faults.failPageAlloc.disarm();
    expect([device.netif.dev.up, device.netif.dev.rxQueues[0]!.xdpRxq.mem.type]).toEqual([true, MEM_TYPE_PAGE_POOL]);
    for (const page of pages) machine.mm.pages.putPage(page);
    socket.release();
    machine.kernel.scheduler.runFor(1_000_000);
    expect({ ...user.rig.end(), reports: [] }).toEqual(NOTHING_LEFT);
  });

  test("copy mode leaves the queue its pages, and the user gets the same bytes", () => {
    const user = new User({ flags: XDP_COPY | XDP_USE_NEED_WAKEUP });
    expect(user.rig.device.netif.dev.rxQueues[0]!.xdpRxq.mem.type).toBe(MEM_TYPE_PAGE_POOL);
    user.receive(FRAMES.slice(0, 200));
    expect(user.got).toEqual(FRAMES.slice(0, 200).map(asText));
    expect(user.end()).toEqual(NOTHING_LEFT);
  });

  test("one queue has a user, the others have pages: each frame is where its flow goes", () => {
    const user = new User({ queues: 3, queue: 1 });
    const { device } = user.rig;
    device.nic.steering.setIndirection(Array.from({ length: 128 }, () => 1));
    user.receive(FRAMES.slice(0, 100));
    // What is no IPv4 goes to the first queue, and up.
    expect([user.got.length + user.passed.length, user.passed.length > 0]).toEqual([100, true]);
    expect(user.end()).toEqual(NOTHING_LEFT);
  });
});

test("users come and go, rings are resized and the interface goes down and up under traffic: each frame is the user's, the stack's or was posted as that happened, and nothing is left behind", () => {
  let got = 0;
  let restarts = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const user = new User({ chunks: 128, seed });
    const { machine, device } = user.rig;
    const sending = new Wire(machine.kernel, machine.mm.payload, wire(FRAMES), "back-to-back");
    sending.connect(device.nic);
    for (let step = 0; !sending.finished(); step++) {
      if (step > 50_000) throw new Error(`seed ${seed}: stuck after ${sending.sent()} frames`);
      if (!machine.kernel.scheduler.step()) user.read();
      if (step % 5 === 0) user.read();
      if (step % (11 + seed) === 10) {
        restarts++;
        const what = (step + seed) % 3;
        if (what === 0) expect(device.netif.setRingparam!([64, 128, 256][step % 3]!)).toBe(0);
        else if (what === 1) {
          device.netif.stop();
          expect(device.netif.open()).toBe(0);
        } else {
          const { xdpAttachment } = machine.net;
          expect(xdpAttachment.devXdpAttach(device.netif.dev, null, XDP_FLAGS_DRV_MODE, null)).toBe(0);
          for (let i = 0; i < 5; i++) machine.kernel.scheduler.step();
          expect(xdpAttachment.devXdpAttach(device.netif.dev, user.prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
        }
      }
    }
    machine.kernel.scheduler.runFor(10_000_000);
    user.read();
    const known = new Set(FRAMES.map(asText));
    for (const frame of [...user.got, ...user.passed]) expect(known.has(frame)).toBe(true);
    got += user.got.length;
    expect([seed, user.end()]).toEqual([seed, NOTHING_LEFT]);
  }
  expect([got > 5000, restarts > 50]).toEqual([true, true]);
});
