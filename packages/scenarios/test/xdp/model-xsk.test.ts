import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { xsk as driver } from "@netmem/driver-xsk";
import { EAGAIN, EBUSY, EMSGSIZE, ENOBUFS, ENOMEM, EOPNOTSUPP } from "@netmem/kernel/api";
import { PRESET_NAMES, Wire } from "@netmem/machine";
import { XskUser, xsk } from "@netmem/memory-model-xsk";
import type { MemoryBinding } from "@netmem/memory-model/api";
import { MEM_TYPE_PAGE_POOL, MEM_TYPE_XSK_BUFF_POOL } from "@netmem/xdp/api";
import { XDP_FLAGS_DRV_MODE } from "@netmem/net-core/api";
import { testFrame } from "@netmem/testkit";
import { NOTHING_LEFT, driverRig, wire, type DriverRig } from "../drivers/driver-rig.ts";

const FRAMES: readonly Uint8Array[] = Array.from({ length: 500 }, (_, i) => testFrame(60 + ((i * 37) % 1400), i));

function bound(rig: DriverRig, buffers: number = 128): MemoryBinding {
  const binding = rig.machine.bindMemoryModel(xsk, rig.device, 0, buffers);
  if (typeof binding === "number") throw new Error(`not bound: ${binding}`);
  return binding;
}

test.each(PRESET_NAMES)("under %s a process that reads as frames come is given every one, byte for byte, where it lies; then the queue has pages again, and nothing is left", (preset) => {
  const rig = driverRig(driver, { preset, mtu: 1500 });
  const { kernel } = rig.machine;
  const binding = bound(rig);
  const { xdpRxq } = rig.device.netif.dev.rxQueues[0]!;
  expect(xdpRxq.mem.type).toBe(MEM_TYPE_XSK_BUFF_POOL);
  const got: number[][] = [];
  const stream = binding.openFrames!(() => void kernel.timers.modTimer(timer, 1000));
  const timer = kernel.timers.timerSetup(() => void stream.read(({ bytes }, offset, length) => void got.push([...bytes.subarray(offset, offset + length)])), 1);
  rig.send(wire(FRAMES));
  expect(got).toEqual(FRAMES.map((frame) => [...frame]));
  expect([binding.free(), binding.held(), stream.read(() => undefined)]).toEqual([128, 0, -EAGAIN]);
  stream.close();
  binding.close();
  kernel.scheduler.runFor(1_000_000);
  expect([stream.read(() => undefined), xdpRxq.mem.type]).toEqual([0, MEM_TYPE_PAGE_POOL]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a user that does not read has all its chunks filled, the wire waits; as it reads, all comes; closed in between, what waited is gone, and its memory is home", () => {
  const rig = driverRig(driver, { mtu: 1500 });
  const { machine, device } = rig;
  const binding = bound(rig, 64);
  const stream = binding.openFrames!(() => undefined);
  const sending = new Wire(machine.kernel, machine.mm.payload, wire(FRAMES), "back-to-back");
  sending.connect(device.nic);
  machine.kernel.scheduler.runFor(10_000_000);
  expect([sending.sent(), binding.held(), binding.free()]).toEqual([64, 64, 0]);
  let got = 0;
  for (let i = 0; i < 3; i++) {
    stream.read(() => void got++);
    machine.kernel.scheduler.runFor(10_000_000);
  }
  expect([got, binding.held()]).toEqual([192, 64]);
  binding.close();
  machine.kernel.scheduler.runFor(10_000_000);
  expect([sending.finished(), binding.held(), binding.free()]).toEqual([true, 0, 64]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what a user sends leaves unchanged; with all its chunks on their way it is told so, and they come back", () => {
  const rig = driverRig(driver, { mtu: 1500 });
  const { machine, device } = rig;
  const out: number[][] = [];
  const sink = machine.mm.payload.addRegion("sink", 4096, true);
  device.nic.connectSink({ region: sink, offset: () => 0, roomBytes: () => 4096, frameSent: (bytes) => void out.push([...sink.bytes.subarray(0, bytes)]) });
  const user = new XskUser(machine.memoryModelDeps(), device.netif.dev, 0, { rx: 32, tx: 8 });
  expect(user.open()).toBe(0);
  const source = machine.mm.payload.addRegion("source", 8192, true);
  const send = (i: number): number => {
    source.bytes.set(FRAMES[i]!, 64);
    return user.send(source, 64, FRAMES[i]!.length);
  };
  expect([user.send(source, 0, 4097), ...Array.from({ length: 9 }, (_, i) => send(i))]).toEqual([-EMSGSIZE, 0, 0, 0, 0, 0, 0, 0, 0, -ENOBUFS]);
  machine.kernel.scheduler.runFor(1_000_000);
  for (let i = 8; i < 12; i++) {
    expect(send(i)).toBe(0);
    machine.kernel.scheduler.runFor(100_000);
  }
  expect(out).toEqual(FRAMES.slice(0, 12).map((frame) => [...frame]));
  user.close();
  machine.kernel.scheduler.runFor(1_000_000);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("refused, with nothing left: a driver without zero copy, a program that is there already, a queue that has a user, and no memory", () => {
  const without = driverRig(mvneta, { mtu: 1500 });
  expect(without.machine.bindMemoryModel(xsk, without.device, 0, 32)).toBe(-EOPNOTSUPP);
  without.machine.kernel.scheduler.runFor(1_000_000);
  expect(without.end()).toEqual(NOTHING_LEFT);

  const rig = driverRig(driver, { mtu: 1500 });
  const { machine, device } = rig;
  const pass = machine.xdp.programs.bpfProgLoad("pass", () => 2, false);
  if (typeof pass === "number") throw new Error("not loaded");
  machine.net.xdpAttachment.devXdpAttach(device.netif.dev, pass, XDP_FLAGS_DRV_MODE, null);
  expect(machine.bindMemoryModel(xsk, device, 0, 32)).toBe(-EBUSY);
  machine.net.xdpAttachment.devXdpAttach(device.netif.dev, null, XDP_FLAGS_DRV_MODE, null);
  const binding = bound(rig, 32);
  expect(machine.bindMemoryModel(xsk, device, 0, 32)).toBe(-EBUSY);
  expect(device.netif.dev.rxQueues[0]!.xdpRxq.mem.type).toBe(MEM_TYPE_XSK_BUFF_POOL);
  binding.close();
  machine.kernel.scheduler.runFor(1_000_000);
  for (let nth = 1; ; nth++) {
    machine.mm.faults.failPageAlloc.arm({ nth });
    const again = machine.bindMemoryModel(xsk, device, 0, 32);
    const injected = machine.mm.faults.failPageAlloc.injected();
    machine.mm.faults.failPageAlloc.disarm();
    if (typeof again !== "number") again.close();
    else expect(again).toBe(-ENOMEM);
    machine.kernel.scheduler.runFor(1_000_000);
    if (device.netif.dev.up === false) expect(device.netif.open()).toBe(0);
    if (injected === 0) break;
  }
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("streams of connections are not what it gives", () => {
  const rig = driverRig(driver, { mtu: 1500 });
  const binding = bound(rig, 32);
  expect(binding.openStream(null as never).read(() => undefined)).toBe(-EOPNOTSUPP);
  binding.close();
  rig.machine.kernel.scheduler.runFor(1_000_000);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});
