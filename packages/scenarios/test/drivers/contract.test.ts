import { describe, expect, test } from "vitest";
import { headerSplit } from "@netmem/driver-header-split";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import { splitPage } from "@netmem/driver-split-page";
import { striding } from "@netmem/driver-striding";
import { xsk } from "@netmem/driver-xsk";
import { createTxRings } from "@netmem/driver";
import type { NetDriver } from "@netmem/driver/api";
import { EINVAL, ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import { GFP_KERNEL } from "@netmem/mm/api";
import { PRESET_NAMES, Wire, wireBytes } from "@netmem/machine";
import { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, XDP_FLAGS_DRV_MODE, type SkBuff } from "@netmem/net-core/api";
import { conservationFaults, internetChecksum, tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";
import { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, type XdpProg } from "@netmem/xdp/api";
import { capture } from "../captured.ts";
import { plainFrame } from "../xdp/plain-frame.ts";
import { NOTHING_LEFT, asText, frameOf, driverRig, wire, type DriverRig } from "./driver-rig.ts";

/** Whoever writes a driver adds it here. */
const DRIVERS: readonly NetDriver[] = [mvneta, mvpp2, headerSplit, splitPage, striding, xsk];

describe.each(DRIVERS)("$name", (driver) => {
  test.each(PRESET_NAMES)("under %s a real capture comes up byte for byte, and its pages go home whoever frees when", (preset) => {
    const frames = capture("tcp-download.pcap");
    const rig = driverRig(driver, { preset, bytes: wireBytes(frames) + (1 << 20) });
    const { net } = rig.machine;
    const waiting: SkBuff[] = [];
    let at = 0;
    net.receive.setProtocol({ packetRcv: (skb) => {
      const frame = frames[at++]!;
      expect(frameOf(rig.machine, skb) === asText(frame.bytes.subarray(frame.offset, frame.offset + frame.lengthBytes))).toBe(true);
      waiting.push(skb);
      if (waiting.length > 100) net.lifetime.consumeSkb(waiting.splice((at * 7) % 100, 1)[0]!);
    } });
    rig.send(frames);
    for (const skb of waiting) net.lifetime.consumeSkb(skb);
    expect([at, rig.end()]).toEqual([frames.length, NOTHING_LEFT]);
  });

  test("frames of every length up to the largest come up whole, over as many descriptors as they take", () => {
    const rig = driverRig(driver, { bytes: 1 << 24 });
    const lengths = [60, 61, 1514, 1518, 1536, 1537, 2048, 3072, 3073, 4096, 9014, 15_000, driver.maxFrameBytes - 1, driver.maxFrameBytes].filter((length) => length <= driver.maxFrameBytes);
    const frames = lengths.map((length, i) => testFrame(length, i));
    const got: string[] = [];
    rig.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      got.push(frameOf(rig.machine, skb));
      rig.machine.net.lifetime.consumeSkb(skb);
    } });
    rig.send(wire(frames));
    expect(got.map(({ length }) => length)).toEqual(lengths);
    expect(got).toEqual(frames.map(asText));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["without a program", false], ["with one that passes everything", true]])("%s the stack is spared the checksums that the NIC has found right, and sums others itself", (_what, hasProgram) => {
    // Frames that take several descriptors: not with all programs, and never where a frame is one buffer.
    const isLong = !hasProgram && driver !== mvpp2;
    const rig = driverRig(driver, { mtu: isLong ? 9000 : 1500 });
    const { net } = rig.machine;
    const pass = rig.machine.xdp.programs.bpfProgLoad("pass", () => XDP_PASS, true) as XdpProg;
    // Who has headers apart takes none.
    if (hasProgram) expect(net.xdpAttachment.devXdpAttach(rig.device.netif.dev, pass, XDP_FLAGS_DRV_MODE, null)).toBe(driver === headerSplit ? -EOPNOTSUPP : 0);
    const summed: number[] = [];
    net.receive.setProtocol({ packetRcv: (skb) => {
      summed.push(skb.ipSummed);
      net.lifetime.consumeSkb(skb);
    } });
    const right = [udpFrame(testPayload(1, 1)), udpFrame(testPayload(1472, 2)), tcpFrame(testPayload(1448, 3)), tcpFrame(new Uint8Array(0)), withIpOptions(udpFrame(testPayload(99, 4))), ...(isLong ? [tcpFrame(testPayload(8900, 5))] : [])];
    const others = [
      changed(udpFrame(testPayload(500, 6)), 400), changed(tcpFrame(testPayload(500, 7)), 47), changed(udpFrame(testPayload(500, 8)), 22), changed(withIpOptions(udpFrame(testPayload(99, 9))), 35),
      withoutChecksum(udpFrame(testPayload(60, 10))), udpFrame(testPayload(64, 11), { fragOff: 0x2000 }), testFrame(200, 12),
    ];
    rig.send(wire([...right, ...others]));
    expect([summed, rig.end()]).toEqual([[...right.map(() => CHECKSUM_UNNECESSARY), ...others.map(() => CHECKSUM_NONE)], NOTHING_LEFT]);
  });

  test("a poll with a budget of 0 takes back the skbs that were sent, up to a program's frames, and leaves receiving to the softirq", () => {
    const rig = driverRig(driver, { mtu: 1500 });
    const { machine, device } = rig;
    const { net } = machine;
    const { dev } = device.netif;
    let packets = 0;
    net.receive.setProtocol({ packetRcv: (skb) => {
      packets++;
      net.lifetime.consumeSkb(skb);
    } });
    const live = net.lifetime.stats.live;
    // The engine runs, and no CPU has had the interrupt yet.
    transmit(rig, 3);
    new Wire(machine.kernel, machine.mm.payload, wire([udpFrame(testPayload(20, 1))]), "back-to-back").connect(device.nic);
    while (device.nic.stats.sentFrames < 3 || device.nic.stats.frames < 1) machine.kernel.scheduler.step();
    const pools = (): readonly (readonly number[])[] => machine.pagePools.pools().map(({ holdCnt, releaseCnt, cacheCount }) => [holdCnt, releaseCnt, cacheCount]);
    const before = pools();
    const waiting = net.lifetime.stats.live - live;
    expect([waiting, net.netpoll.netpollPollDev(dev), net.lifetime.stats.live - live, pools(), packets]).toEqual([3, 0, 0, before, 0]);
    while (machine.kernel.scheduler.step());
    expect([packets, net.lifetime.stats.live, machine.kernel.reports.counts()]).toEqual([1, live, []]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("taken down and up under traffic, with memory, interrupts and frames that fail now and then: what comes up came in that order, unchanged, once; nothing is lost for good", () => {
    let received = 0;
    let failed = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const rig = driverRig(driver, { seed });
      const { net, kernel, mm, pagePools } = rig.machine;
      const most = Math.min(driver.maxFrameBytes - 120, 6000);
      const frames = Array.from({ length: 600 }, (_, i) => (i % 3 === 0 ? tcpFrame(testPayload(50 + ((i * 97) % most), i), { seq: i }) : i % 3 === 1 ? udpFrame(testPayload(10 + i, i)) : testFrame(60 + ((i * 331) % most), i)));
      const texts = frames.map(asText);
      const waiting: SkBuff[] = [];
      let at = 0;
      net.receive.setProtocol({ packetRcv: (skb) => {
        received++;
        const frame = frameOf(rig.machine, skb);
        while (at < frames.length && frame !== texts[at]) at++;
        if (at++ === frames.length) throw new Error(`seed ${seed}: a frame of ${frame.length} bytes that was not sent, or not in this order`);
        waiting.push(skb);
        if (waiting.length > 200) net.lifetime.consumeSkb(waiting.splice((at * 7) % 200, 1)[0]!);
      } });
      const sending = new Wire(kernel, mm.payload, wire(frames), "back-to-back");
      sending.connect(rig.device.nic);
      const points = [mm.faults.failFunction("nicInterrupt"), mm.faults.failFunction("nicFrameError"), mm.faults.failPageAlloc, mm.faults.failSlab, mm.faults.failDmaMap];
      for (let step = 0; !sending.finished(); step++) {
        if (!kernel.scheduler.step()) throw new Error(`seed ${seed}: hung after ${sending.sent()} frames`);
        if (step > 100_000) throw new Error(`seed ${seed}: stuck after ${sending.sent()} frames`);
        for (const point of points) {
          if (step % 12 === 2) point.arm({ probability: 30, seed });
          if (step % 12 === 8) {
            failed += point.injected();
            point.disarm();
          }
        }
        if (step % (7 + seed) === 6) {
          for (const point of points) point.disarm();
          // Other rings, or the same ones anew.
          if (step % 2 === 0) expect(rig.device.netif.setRingparam!([64, 128, 256, 80][(step >> 1) % 4]!)).toBe(0);
          else {
            rig.device.netif.stop();
            expect(rig.device.netif.open()).toBe(0);
          }
        }
        if (step % 10 === 0 && pagePools.pools().some(({ netdev }) => netdev === rig.device.netif.dev)) expect(conservationFaults(rig.machine, pagePools.pools())).toEqual([]);
      }
      for (const point of points) point.disarm();
      kernel.scheduler.runFor(10_000_000);
      for (const skb of waiting) net.lifetime.consumeSkb(skb);
      expect([seed, rig.end()]).toEqual([seed, NOTHING_LEFT]);
    }
    expect([received > 6000, received < 20 * 600, failed > 50]).toEqual([true, true, true]);
  });

  test("rings are resized, up or down: refused beyond what the hardware has, with nothing touched; with no memory for them it runs on with those it had", () => {
    const rig = driverRig(driver, { ring: 64 });
    const { netif } = rig.device;
    const { machine } = rig;
    const frames = wire(Array.from({ length: 300 }, (_, i) => testFrame(60 + i, i)));
    let packets = 0;
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      packets++;
      machine.net.lifetime.consumeSkb(skb);
    } });
    const queueMemory = (): string => machine.pagePools.pools().filter(({ netdev }) => netdev === netif.dev).map(({ id }) => id).join();
    const before = queueMemory();
    expect([netif.setRingparam!(8), netif.setRingparam!(1 << 20), netif.setRingparam!(64.5), netif.setRingparam!(64), netif.dev.up, queueMemory() === before]).toEqual([-EINVAL, -EINVAL, -EINVAL, 0, true, true]);
    rig.send(frames);
    expect([netif.setRingparam!(256), netif.dev.up]).toEqual([0, true]);
    rig.send(frames);
    machine.mm.faults.failPageAlloc.arm({ times: 1 });
    expect([netif.setRingparam!(128), netif.dev.up]).toEqual([-ENOMEM, true]);
    machine.mm.faults.failPageAlloc.disarm();
    rig.send(frames);
    netif.stop();
    expect([netif.setRingparam!(96), netif.dev.up, netif.open()]).toEqual([0, false, 0]);
    rig.send(frames);
    expect([packets, rig.end()]).toEqual([4 * 300, NOTHING_LEFT]);
  });

  test("a frame that arrives damaged is dropped and counted, its buffers are used again; of an interrupt that is lost the next one makes up", () => {
    const rig = driverRig(driver);
    const { machine, device } = rig;
    const interrupt = machine.mm.faults.failFunction("nicInterrupt");
    const frameError = machine.mm.faults.failFunction("nicFrameError");
    let packets = 0;
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      packets++;
      machine.net.lifetime.consumeSkb(skb);
    } });
    const frames = wire(Array.from({ length: 200 }, (_, i) => testFrame(60 + 7 * i, i)));
    frameError.arm({ probability: 25, seed: 3 });
    rig.send(frames);
    const damaged = frameError.injected();
    frameError.disarm();
    expect([damaged > 20, packets, device.netif.dev.rxDropped, device.nic.stats.faults]).toEqual([true, 200 - damaged, damaged, damaged]);
    interrupt.arm({ times: 1 });
    rig.send(frames.slice(0, 1));
    expect([packets, interrupt.injected()]).toEqual([200 - damaged, 1]);
    rig.send(frames.slice(1, 2));
    expect(packets).toBe(202 - damaged);
  });

  test.each(PRESET_NAMES)("under %s a frame whose descriptor says that it is longer than its buffers is dropped and counted, no byte beyond them is read, its buffers are used again", (preset) => {
    const rig = driverRig(driver, { preset, mtu: 1500 });
    const { machine, device } = rig;
    const frameLength = machine.mm.faults.failFunction("nicFrameLength");
    const got: string[] = [];
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      got.push(frameOf(machine, skb));
      machine.net.lifetime.consumeSkb(skb);
    } });
    const frames = Array.from({ length: 200 }, (_, i) => testFrame(60 + 7 * i, i));
    frameLength.arm({ probability: 25, seed: 3 });
    rig.send(wire(frames));
    const wrong = frameLength.injected();
    frameLength.disarm();
    expect([wrong > 20, got.length, device.netif.dev.rxDropped]).toEqual([true, 200 - wrong, wrong]);
    const sent = new Set(frames.map(asText));
    expect(got.filter((frame) => !sent.has(frame))).toEqual([]);
    rig.send(wire(frames));
    expect([got.length, rig.end()]).toEqual([400 - wrong, NOTHING_LEFT]);
  });

  test.each(PRESET_NAMES)("under %s a frame that completes twice is two packets, in order, with buffers of their own; as the ring runs out of them it is one", (preset) => {
    const rig = driverRig(driver, { ring: 64, mtu: 1500, preset });
    const { machine } = rig;
    const duplicate = machine.mm.faults.failFunction("nicDuplicate");
    const got: number[] = [];
    const waiting: SkBuff[] = [];
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      got.push(skb.len + 14);
      waiting.push(skb);
    } });
    duplicate.arm({ probability: 40, seed: 7 });
    const lengths = Array.from({ length: 300 }, (_, i) => 60 + i);
    rig.send(wire(lengths.map((length, i) => testFrame(length, i))));
    const repeated = got.filter((length, i) => length === got[i - 1]).length;
    expect([[...new Set(got)], got.toSorted((a, b) => a - b), repeated > 50, repeated <= duplicate.injected()]).toEqual([lengths, got, true, true]);
    duplicate.disarm();
    for (const skb of waiting) machine.net.lifetime.consumeSkb(skb);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("with every interrupt lost the ring fills and the wire stands; taken down and up it goes on, and what was in the ring is home", () => {
    const rig = driverRig(driver, { ring: 64, mtu: 1500 });
    const { machine, device } = rig;
    let packets = 0;
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      packets++;
      machine.net.lifetime.consumeSkb(skb);
    } });
    const interrupt = machine.mm.faults.failFunction("nicInterrupt");
    interrupt.arm({});
    const sending = new Wire(machine.kernel, machine.mm.payload, wire(Array.from({ length: 200 }, (_, i) => testFrame(60, i))), "back-to-back");
    sending.connect(device.nic);
    machine.kernel.scheduler.runFor(1_000_000_000);
    const inRing = sending.sent();
    expect([packets, inRing === 64 || inRing === 63]).toEqual([0, true]);
    interrupt.disarm();
    device.netif.stop();
    expect(device.netif.open()).toBe(0);
    machine.kernel.scheduler.runFor(0);
    expect([packets, sending.finished(), rig.end()]).toEqual([200 - inRing, true, NOTHING_LEFT]);
  });

  test("opened with memory failing at each of its allocations in turn: refused with nothing left behind, or up", () => {
    let refused = 0;
    for (let nth = 1; ; nth++) {
      const rig = driverRig(driver);
      rig.device.netif.stop();
      const { failPageAlloc } = rig.machine.mm.faults;
      failPageAlloc.arm({ nth });
      const errno = rig.device.netif.open();
      const injected = failPageAlloc.injected();
      failPageAlloc.disarm();
      if (errno !== 0) refused++;
      expect(rig.device.netif.dev.up).toBe(errno === 0);
      expect([nth, rig.end()]).toEqual([nth, NOTHING_LEFT]);
      if (injected === 0) break;
    }
    expect(refused).toBeGreaterThan(0);
  });
});

test.each(DRIVERS.filter((driver) => driver.mostRxQueues > 1 && driver !== headerSplit && driver !== splitPage).map((driver) => [driver.name, driver] as const))("%s: what the second queue's program sends back goes home past the cache of its pool, whose poll it is not that takes the transmit ring back", (_name, driver) => {
  const rig = driverRig(driver, { queues: 2, mtu: 1500 });
  const { machine, device } = rig;
  const prog = machine.xdp.programs.bpfProgLoad("back", () => XDP_TX, false) as XdpProg;
  expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
  device.nic.steering.insertRule({ queue: 1 });
  rig.send(wire(Array.from({ length: 40 }, (_, i) => udpFrame(testPayload(100, i)))));
  const own = machine.pagePools.pools().filter(({ netdev }) => netdev === device.netif.dev);
  expect([device.nic.stats.sentFrames, own.map((pool) => pool.recycleStats.cached), own.some((pool) => pool.recycleStats.ring > 0)]).toEqual([40, own.map(() => 0), true]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each([
  [mvneta, "devKfreeSkbAny"], [mvpp2, "devKfreeSkbAny"], [xsk, "devConsumeSkbAny"],
  [headerSplit, "napiConsumeSkb"], [splitPage, "napiConsumeSkb"], [striding, "napiConsumeSkb"],
] as const)("what $name has sent ends as its original's does", (driver, way) => {
  const ended: string[] = [];
  const listening: NetDriver = { ...driver, probe: (deps, options) => {
    const { lifetime } = deps;
    const heard: typeof lifetime = Object.assign(Object.create(lifetime) as typeof lifetime, {
      devKfreeSkbAny: (skb: SkBuff, reason: number) => (ended.push("devKfreeSkbAny"), lifetime.devKfreeSkbAny(skb, reason)),
      devConsumeSkbAny: (skb: SkBuff) => (ended.push("devConsumeSkbAny"), lifetime.devConsumeSkbAny(skb)),
      napiConsumeSkb: (skb: SkBuff, budget: number) => (ended.push(budget > 0 ? "napiConsumeSkb" : "no budget"), lifetime.napiConsumeSkb(skb, budget)),
    });
    return driver.probe({ ...deps, txRings: createTxRings({ ...deps, lifetime: heard, hw: deps.nic.txQueues[0]!, format: driver.txDescFormat }) }, options);
  } };
  const rig = driverRig(listening, { mtu: 1500 });
  transmit(rig, 3);
  while (rig.machine.kernel.scheduler.step());
  const inPoll = ended.splice(0);
  // What was not sent is dropped by all.
  transmit(rig, 1);
  rig.device.netif.stop();
  expect([inPoll, ended]).toEqual([[way, way, way], ["devKfreeSkbAny"]]);
  while (rig.machine.kernel.scheduler.step());
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

/** So many packets of the stack's, of 60 bytes. */
function transmit({ machine: { net }, device }: DriverRig, n: number): void {
  for (let i = 0; i < n; i++) {
    const skb = net.lifetime.allocSkb(100, GFP_KERNEL)!;
    net.edit.skbPut(skb, 60);
    net.transmit.devDirectXmit(skb, device.netif.dev, 0);
  }
}

/** Those whose original runs programs. */
describe.each(DRIVERS.filter((driver) => driver !== headerSplit))("XDP of $name", (driver) => {
  test("what becomes of each frame is what the program said, and its page is home in the end", () => {
    const verdicts = [XDP_PASS, XDP_DROP, XDP_TX, XDP_ABORTED];
    for (const preset of PRESET_NAMES) {
      const rig = driverRig(driver, { preset });
      const { machine, device } = rig;
      const out = machine.attach(driver, { name: "eth1", rxRingSize: 64 });
      expect(out.netif.open()).toBe(0);
      const sent: string[][] = [[], []];
      for (const [i, { nic, netif }] of [device, out].entries()) {
        netif.dev.mtu = 1500;
        const region = machine.mm.payload.addRegion(`sink ${i}`, 4096, true);
        nic.connectSink({ region, offset: () => 0, roomBytes: () => 4096, frameSent: (bytes) => void sent[i]!.push(asText(region.bytes.subarray(0, bytes))) });
      }
      const prog = machine.xdp.programs.bpfProgLoad("mixed", (ctx) => {
        const kind = ctx.getUint8(14) % 5;
        return kind === 4 ? ctx.redirect(out.netif.dev.ifindex, 0) : verdicts[kind]!;
      }, false) as XdpProg;
      expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
      const passed: string[] = [];
      machine.net.receive.setProtocol({ packetRcv: (skb) => {
        passed.push(frameOf(machine, skb));
        machine.net.lifetime.consumeSkb(skb);
      } });
      const frames = Array.from({ length: 500 }, (_, i) => testFrame(60 + ((i * 37) % 1400), i));
      rig.send(wire(frames));
      const of = (kind: number): string[] => frames.filter((frame) => frame[14]! % 5 === kind).map(asText);
      expect([0, 1, 2, 3, 4].every((kind) => of(kind).length > 50)).toBe(true);
      expect(passed).toEqual(of(0));
      expect(sent).toEqual([of(2), of(4)]);
      expect([preset, rig.end()]).toEqual([preset, NOTHING_LEFT]);
    }
  });

  test("a poll with a budget of 0 takes back skbs up to a program's frame: what is sent behind that waits for the softirq", () => {
    const rig = driverRig(driver, { mtu: 1500 });
    const { machine: { net, kernel }, device } = rig;
    const { dev, inRings } = device.netif;
    const frame = plainFrame(rig.machine, dev, testFrame(60, 1));
    transmit(rig, 2);
    kernel.irqs.withIrqsOff(() => expect(dev.xdpOps!.xdpXmit!([frame], 1, 1)).toBe(1));
    transmit(rig, 1);
    while (device.nic.stats.sentFrames < 4) kernel.scheduler.step();
    const count = (): number[] => [inRings!.call(device.netif).skbs.length, inRings!.call(device.netif).frames.length];
    expect([count(), net.netpoll.netpollPollDev(dev), count()]).toEqual([[3, 1], 0, [1, 1]]);
    while (kernel.scheduler.step());
    expect([count(), rig.end()]).toEqual([[0, 0], NOTHING_LEFT]);
  });

  test("what it has against a program at an MTU it has against the MTU with that program, and the MTU stays", () => {
    const { machine: { net, xdp }, device: { netif: { dev, stop }, netif } } = driverRig(driver, { mtu: 1500 });
    const whole = xdp.programs.bpfProgLoad("whole", () => XDP_DROP, false) as XdpProg;
    const most = Math.min(9000, dev.maxMtu);
    const attach = (prog: XdpProg | null): number => net.xdpAttachment.devXdpAttach(dev, prog, XDP_FLAGS_DRV_MODE, null);
    stop.call(netif);
    const differing: unknown[] = [];
    const refused: number[] = [];
    for (let mtu = 1500; mtu <= most; mtu += mtu < 4096 ? 1 : 100) {
      attach(null);
      expect(net.devSetMtu(dev, mtu)).toBe(0);
      const takesProgram = attach(whole) === 0;
      if (!takesProgram) refused.push(mtu);
      attach(null);
      net.devSetMtu(dev, 1500);
      attach(whole);
      const errno = net.devSetMtu(dev, mtu);
      if (errno !== (takesProgram ? 0 : -EINVAL) || dev.mtu !== (takesProgram ? mtu : 1500)) differing.push([mtu, takesProgram, errno, dev.mtu]);
    }
    // What mvpp2's long pool does not hold it does not receive at all.
    expect([differing, refused.length > 0]).toEqual([[], driver !== mvpp2]);
    expect([attach(null), net.devSetMtu(dev, most), dev.mtu]).toEqual([0, 0, most]);
  });

  test.each([["PASS", XDP_PASS], ["DROP", XDP_DROP], ["TX", XDP_TX], ["ABORTED", XDP_ABORTED]])("a program that takes its own interface down and says %s: reported, the packet is dropped, those it redirected before go out, and all pages are home", (_name, verdict) => {
    const rig = driverRig(driver);
    const { machine, device } = rig;
    const out = machine.attach(driver, { name: "eth1", rxRingSize: 64 });
    expect(out.netif.open()).toBe(0);
    device.netif.dev.mtu = 1500;
    let seen = 0;
    const prog = machine.xdp.programs.bpfProgLoad("down", (ctx) => {
      if (++seen < 6) return ctx.redirect(out.netif.dev.ifindex, 0);
      device.netif.stop();
      return verdict;
    }, false) as XdpProg;
    expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
    let passed = 0;
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      passed++;
      machine.net.lifetime.consumeSkb(skb);
    } });
    new Wire(machine.kernel, machine.mm.payload, wire(Array.from({ length: 40 }, (_, i) => testFrame(100, i))), "back-to-back").connect(device.nic);
    machine.kernel.scheduler.runFor(1_000_000);
    expect([seen, passed, out.nic.stats.sentFrames, machine.kernel.reports.counts().map(({ kind }) => kind)]).toEqual([6, 0, 5, ["napi-disable-running"]]);
    expect({ ...rig.end(), reports: [] }).toEqual(NOTHING_LEFT);
  });
});

/** A bit of the byte at `at` is another. */
function changed(frame: Uint8Array, at: number): Uint8Array {
  frame[at]! ^= 0x10;
  return frame;
}

/** A datagram that says it has none. */
function withoutChecksum(frame: Uint8Array): Uint8Array {
  return frame.fill(0, 40, 42);
}

/** Of four bytes, behind an IP header that had none. */
function withIpOptions(frame: Uint8Array): Uint8Array {
  const longer = new Uint8Array(frame.length + 4);
  longer.set(frame.subarray(0, 34));
  longer.set([1, 1, 1, 0], 34);
  longer.set(frame.subarray(34), 38);
  const view = new DataView(longer.buffer);
  longer[14] = 0x46;
  view.setUint16(16, view.getUint16(16) + 4);
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(longer, 14, 38));
  return longer;
}
