import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { headerSplit } from "@netmem/driver-header-split";
import { EAGAIN, EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC, EOPNOTSUPP, ERANGE, UsageError } from "@netmem/kernel/api";
import { createMachine, type MachineOptions, type WireFrame } from "@netmem/machine";
import type { MemoryModel } from "@netmem/memory-model/api";
import { DevmemSocket, DmabufBinding, MAX_DONTNEED_FRAGS, MAX_DONTNEED_TOKENS, devmem, type DevmemCmsg } from "@netmem/memory-model-devmem";
import { NetgpuContext, netgpu } from "@netmem/memory-model-netgpu";
import { ZcrxIfq, ZcrxReceive, zcrx } from "@netmem/memory-model-zcrx";
import { PAGE_SIZE } from "@netmem/mm/api";
import { IPPROTO_TCP, type TcpSocket } from "@netmem/net-core/api";
import { conservationFaults, tcpFrame, testPayload } from "@netmem/testkit";
import { ETHTOOL_TCP_DATA_SPLIT_ENABLED } from "@netmem/xdp/api";
import { Wire } from "@netmem/machine";
import { ModelRig } from "./model-rig.ts";

const MODELS = [netgpu, devmem, zcrx];
const HOME = { live: 0, inflight: 0, maps: 0, held: 0, reports: [] };

/** One connection's segments. */
function segments(count: number, bytes: number, sport: number = 1000): { frames: WireFrame[]; stream: number[] } {
  const frames: WireFrame[] = [];
  const stream: number[] = [];
  for (let i = 0; i < count; i++) {
    const payload = testPayload(bytes, i + sport);
    const frame = tcpFrame(payload, { sport, seq: 1 + stream.length });
    frames.push({ bytes: frame, offset: 0, lengthBytes: frame.length, arrivalNs: 0 });
    stream.push(...payload);
  }
  return { frames, stream };
}

/** Steps, at most so many. */
function steps(rig: { readonly machine: ModelRig["machine"] }, most: number): void {
  for (let i = 0; i < most && rig.machine.kernel.scheduler.step(); i++);
}

describe.each(MODELS.map((model) => [model.name, model] as const))("%s", (_name, model) => {
  test("a user that does not read exhausts the memory, and the wire waits; as it reads, all comes", () => {
    const { frames, stream } = segments(300, 1200);
    const rig = new ModelRig(model, frames, { buffers: 48, ring: 32 });
    const wire = rig.connect();
    steps(rig, 3000);
    expect([wire.finished(), rig.binding.free()]).toEqual([false, 0]);
    for (let i = 0; !wire.finished() && i < 2000; i++) {
      rig.read();
      steps(rig, 20);
    }
    steps(rig, 200);
    rig.read();
    expect([...rig.received.values()]).toEqual([stream]);
    expect(rig.end()).toEqual({ ...HOME, free: 48 });
  });

  test("the queue goes on with pages when the model is closed; what its users hold stays theirs until they let go", () => {
    const { frames, stream } = segments(40, 1000);
    const rig = new ModelRig(model, frames, { buffers: 64, ring: 32 });
    rig.connect();
    for (let i = 0; rig.machine.net.inet.stats.tcpInSegs < 5 && i < 1000; i++) steps(rig, 1);
    rig.binding.close();
    steps(rig, 2000);
    const [socket] = rig.streams.keys();
    const unreadable = socket!.packets().filter((skb) => skb.unreadable).reduce((sum, { len }) => sum + len, 0);
    rig.read();
    const [got] = rig.received.values();
    // NetGPU has no way to give a user what is in the kernel's memory; the others copy it.
    expect([unreadable > 0, got]).toEqual([true, model === netgpu ? stream.slice(0, unreadable) : stream.slice(0, got!.length)]);
    if (model !== netgpu) expect(got!.length).toBe(rig.machine.net.inet.stats.tcpInSegs * 1000);
    for (const [held, reading] of rig.streams) {
      reading.close();
      held.close();
    }
    rig.machine.shutdown();
    expect(rig.left()).toEqual({ ...HOME, free: 64 });
  });

  test("queues are restarted, closed, opened and bound again under traffic, by seed: what the user reads was sent, and nothing is lost", () => {
    let read = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const { frames, stream } = segments(600, 900);
      const rig = new ModelRig(model, frames, { buffers: 96, ring: 32, seed });
      const { machine, device } = rig;
      let bindings = [rig.binding];
      const all = [...bindings];
      let x = seed;
      const below = (n: number): number => {
        x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((x / 2 ** 32) * n);
      };
      const wire = rig.connect();
      for (let step = 0; !wire.finished() && step < 20_000; step++) {
        if (!machine.kernel.scheduler.step()) break;
        if (step % 5 === 0) rig.read();
        if (below(60) !== 0) continue;
        switch (below(4)) {
          case 0: machine.pagePools.providers.restartRxq(device.netif.dev, 1); break;
          case 1:
            device.netif.stop();
            expect(device.netif.open()).toBe(0);
            break;
          case 2:
            bindings.splice(0).forEach((binding) => binding.close());
            break;
          default:
            if (bindings.length === 0 && all.length < 4) {
              const binding = machine.bindMemoryModel(model, device, 1, 48);
              if (typeof binding !== "number") {
                bindings = [binding];
                all.push(binding);
              }
            }
        }
        expect(conservationFaults(machine, rig.pools(), all.flatMap((binding) => binding.areas()))).toEqual([]);
      }
      rig.read();
      for (const got of rig.received.values()) {
        // It begins where the connection was met, and ends before the first gap.
        expect(Buffer.from(stream).indexOf(Buffer.from(got)) % 900).toBe(0);
        read += got.length;
      }
      for (const [socket, reading] of rig.streams) {
        reading.close();
        socket.close();
      }
      for (const binding of bindings) binding.close();
      machine.shutdown();
      expect([seed, rig.left().live, rig.left().inflight, all.map((binding) => binding.held())]).toEqual([seed, 0, 0, all.map(() => 0)]);
      expect(rig.left().reports).toEqual([]);
    }
    expect(read).toBeGreaterThan(20_000);
  });

  test("is refused where it cannot be, and nothing is left", () => {
    const machine = createMachine({ nrPages: 2048, extraBytes: 1 << 21 });
    const [plain, split] = [machine.attach(mvneta, { rxRingSize: 64 }), machine.attach(headerSplit, { rxQueueCount: 2, rxRingSize: 64 })];
    for (const { netif } of [plain, split]) netif.open();
    expect([machine.bindMemoryModel(model, plain, 0, 64), machine.bindMemoryModel(model, split, 7, 64)]).toEqual([-EOPNOTSUPP, -ERANGE]);
    // What was refused has changed nothing.
    expect([plain.netif.dev.hdsConfig, split.netif.dev.hdsConfig]).toEqual([0, 0]);
    const binding = machine.bindMemoryModel(model, split, 1, 64);
    expect([typeof binding, machine.bindMemoryModel(model, split, 1, 64)]).toEqual(["object", -EEXIST]);
    expect(() => machine.bindMemoryModel(model, split, 0, 0)).toThrow(UsageError);
    expect(() => machine.bindMemoryModel(model, split, 0, 100_000)).toThrow(/bytes left: create the machine with more/);
    if (typeof binding === "object") binding.close();
    machine.shutdown();
    expect([machine.kernel.reports.counts(), split.dma.liveMappings()]).toEqual([[], 0]);
  });
});

test.each([
  ["nothing", null, "@netmem/machine: memory model = null: give an object"],
  ["a model without a name", { bind: () => 0 }, "@netmem/machine: name of memory model = undefined: it must be a string"],
  ["a model that binds nothing", { name: "mine" }, "@netmem/machine: bind of memory model mine = undefined: it must be a function"],
])("%s is refused by name", (_what, model, message) => {
  const machine = createMachine({ nrPages: 2048, extraBytes: 1 << 20 });
  const device = machine.attach(headerSplit, { rxQueueCount: 2 });
  expect(() => machine.bindMemoryModel(model as unknown as MemoryModel, device, 1, 64)).toThrow(message);
});

/** A machine whose connections are handed to the test, with what a model is given. */
function bare(options: MachineOptions = {}) {
  const machine = createMachine({ nrPages: 4096, extraBytes: 1 << 22, ...options });
  const device = machine.attach(headerSplit, { rxQueueCount: 2, rxRingSize: 32 });
  device.netif.open();
  device.netif.dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
  const { net, mm, kernel } = machine;
  const deps = machine.memoryModelDeps();
  const sockets: TcpSocket[] = [];
  net.receive.setProtocol(net.inet);
  net.inet.tcpListen({ name: "tcp", port: null, accept: (socket) => void sockets.push(socket) });
  const send = (frames: readonly WireFrame[]): void => {
    new Wire(kernel, mm.payload, frames, "back-to-back").connect(device.nic);
    for (let i = 0; i < 2000 && kernel.scheduler.step(); i++);
  };
  return { machine, device, deps, sockets, send, dev: device.netif.dev, user: mm.payload.adoptRegion("user", new Uint8Array(1 << 16), true) };
}

describe("devmem", () => {
  test("each piece comes with a token, and stays out of the pool until the token is returned; a read without MSG_SOCK_DEVMEM fails", () => {
    const { machine, device, deps, sockets, send, dev, user } = bare();
    device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    const binding = new DmabufBinding(deps, 7, 64);
    expect([binding.bindQueue(dev, 1), binding.nlFill(null)]).toEqual([0, { dmabuf: 7 }]);
    const { frames, stream } = segments(3, 1000);
    send(frames);
    const [socket] = sockets as [TcpSocket];
    expect(socket.recvmsg(user, 0, 100)).toBe(-EFAULT);
    const reader = new DevmemSocket(deps, binding, socket);
    const cmsgs: DevmemCmsg[] = [];
    expect([reader.recvmsg(1500, user, cmsgs), reader.recvmsg(5000, user, cmsgs), reader.recvmsg(1, user, cmsgs)]).toEqual([1500, 1500, -EAGAIN]);
    const read = cmsgs.flatMap((cmsg) => (cmsg.kind === "dmabuf" ? [...binding.provided.area.region.bytes.subarray(cmsg.fragOffset, cmsg.fragOffset + cmsg.fragSize)] : []));
    expect([read, cmsgs.map(({ fragSize }) => fragSize), reader.held(), binding.provided.held()]).toEqual([stream, [1000, 500, 500, 1000], 4, 3]);
    machine.flushDeferred();
    expect([reader.dontneed([{ tokenStart: 1, tokenCount: 2 }, { tokenStart: 99, tokenCount: 5 }]), reader.held(), binding.provided.held()]).toEqual([2, 2, 2]);
    expect(reader.dontneed(Array.from({ length: MAX_DONTNEED_TOKENS + 1 }, () => ({ tokenStart: 3, tokenCount: 1 })))).toBe(-EINVAL);
    expect([reader.dontneed([{ tokenStart: 100, tokenCount: MAX_DONTNEED_FRAGS }, { tokenStart: 3, tokenCount: 1 }]), reader.held()]).toEqual([0, 2]);
    // The binding goes first: what the user has is valid, and the pool waits for it.
    binding.unbind();
    expect(machine.pagePools.pools().some(({ destroyCnt }) => destroyCnt > 0)).toBe(true);
    reader.close();
    socket.close();
    machine.shutdown();
    expect([binding.provided.free(), machine.kernel.reports.counts()]).toEqual([64, []]);
  });

  test("packets of the host's memory are copied without a word, and not by the call that has read a device's (last_copied_dmabuf)", () => {
    const { machine, device, deps, sockets, send, dev, user } = bare();
    const rule = device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    const binding = new DmabufBinding(deps, 1, 64);
    binding.bindQueue(dev, 1);
    const { frames, stream } = segments(3, 700);
    send(frames.slice(0, 1));
    // The second is received by the queue without.
    device.nic.steering.deleteRule(rule);
    device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 0 });
    send(frames.slice(1, 2));
    const [socket] = sockets as [TcpSocket];
    const reader = new DevmemSocket(deps, binding, socket);
    const cmsgs: DevmemCmsg[] = [];
    expect([reader.recvmsg(5000, user, cmsgs), cmsgs.splice(0).map(({ kind, fragSize }) => [kind, fragSize])]).toEqual([700, [["dmabuf", 700]]]);
    expect([reader.recvmsg(5000, user, cmsgs), cmsgs, [...user.bytes.subarray(0, 700)]]).toEqual([700, [], stream.slice(700, 1400)]);
    send(frames.slice(2));
    expect(reader.recvmsg(5000, deps.payload.adoptRegion("small", new Uint8Array(8), true), cmsgs)).toBe(-EFAULT);
    reader.close();
    socket.close();
    binding.unbind();
    machine.shutdown();
    expect([binding.provided.free(), machine.kernel.reports.counts()]).toEqual([64, []]);
  });
});

test("devmem: of tokens that are free the lowest is given next (sk_user_frags)", () => {
  const { machine, device, deps, sockets, send, dev, user } = bare();
  device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
  const binding = new DmabufBinding(deps, 1, 64);
  binding.bindQueue(dev, 1);
  const { frames } = segments(5, 700);
  send(frames.slice(0, 3));
  const reader = new DevmemSocket(deps, binding, sockets[0]!);
  const tokens = (): number[] => {
    const cmsgs: DevmemCmsg[] = [];
    reader.recvmsg(5000, user, cmsgs);
    return cmsgs.flatMap((cmsg) => (cmsg.kind === "dmabuf" ? [cmsg.fragToken] : []));
  };
  expect(tokens()).toEqual([1, 2, 3]);
  reader.dontneed([{ tokenStart: 2, tokenCount: 1 }]);
  send(frames.slice(3));
  expect([tokens(), reader.held()]).toEqual([[2, 4], 4]);
  reader.close();
  sockets[0]!.close();
  binding.unbind();
  machine.shutdown();
  expect([binding.provided.free(), machine.kernel.reports.counts()]).toEqual([64, []]);
});

test("zcrx: a ring that is closed takes from its user first, so that the queue's pool has all and need not wait (io_shutdown_zcrx_ifqs)", () => {
  const { machine, device, deps, sockets, send, dev } = bare();
  device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
  const ifq = new ZcrxIfq(deps, dev, 1, 200, 64);
  ifq.open();
  const pool = machine.pagePools.pools().find(({ memoryProvider }) => memoryProvider === ifq)!;
  const receive = new ZcrxReceive(deps, ifq, sockets[0] ?? (send(segments(4, 1000).frames), sockets[0]!), 100);
  expect([receive.receive(100_000), ifq.provided.held()]).toEqual([4000, 4]);
  machine.flushDeferred();
  ifq.close();
  sockets[0]!.close();
  expect([ifq.provided.held(), pool.inflight(), pool.dead]).toEqual([0, 0, true]);
  machine.shutdown();
  expect([ifq.provided.free(), machine.kernel.reports.counts()]).toEqual([200, []]);
});

describe("NetGPU", () => {
  test("nothing is received before buffers are on the fill queue; a buffer goes where its address says, in whichever area", () => {
    const { machine, device, deps, sockets, send, dev } = bare();
    device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    const context = new NetgpuContext(deps);
    const [gpu, host] = [context.attachRegion(4), context.attachRegion(40, true)];
    expect([gpu, host, context.bindQueue(context.prepareQueue(dev, 1, 8))]).toEqual([0x1000_0000, 0x1000_0000 + 5 * PAGE_SIZE, -ENOMEM]);
    const ifq = context.prepareQueue(dev, 1, 64);
    // One of the device's in the middle of the host's; and three that are nobody's.
    for (let i = 0; i < 30; i++) ifq.fill.push(host + i * PAGE_SIZE, PAGE_SIZE);
    for (const address of [gpu + PAGE_SIZE, 12, host + 41 * PAGE_SIZE, gpu + 4 * PAGE_SIZE]) ifq.fill.push(address, PAGE_SIZE);
    for (let i = 30; i < 40; i++) ifq.fill.push(host + i * PAGE_SIZE, PAGE_SIZE);
    expect([context.bindQueue(ifq), ifq.badFills]).toEqual([0, 3]);
    const { frames, stream } = segments(30, 500);
    send(frames);
    const skq = context.attachSocket(sockets[0]!, 16);
    expect([skq.receive(), skq.receive(), skq.rx.count()]).toEqual([16 * 500, -ENOSPC, 16]);
    const bytes: number[] = [];
    const addresses: number[] = [];
    const take = (): void => {
      for (let address = skq.rx.peekAddress(); address >= 0; address = skq.rx.peekAddress()) {
        const { provided, start } = context.areaAt(address)!;
        bytes.push(...provided.area.region.bytes.subarray(address - start, address - start + skq.rx.peekLength()));
        addresses.push(address);
        skq.rx.advance();
      }
    };
    take();
    expect(skq.receive()).toBe(14 * 500);
    take();
    expect([bytes, addresses.filter((address) => address < host)]).toEqual([stream, [gpu + PAGE_SIZE]]);
    // Of thirty that the user has it gives back one, and one that it has not.
    ifq.fill.push(addresses[0]!, 500);
    ifq.fill.push(host, 500);
    ifq.close();
    expect(context.areas.map(({ provided }) => provided.held())).toEqual([1, 28]);
    for (const address of addresses.slice(1)) {
      const { provided, start } = context.areaAt(address)!;
      provided.putUser(provided.area.niovs[(address - start) / PAGE_SIZE]!);
    }
    sockets[0]!.close();
    machine.shutdown();
    expect([context.areas.map(({ provided }) => provided.free()), machine.kernel.reports.counts()]).toEqual([[4, 40], []]);
  });
});

describe("zcrx", () => {
  test("completions say where in the area the bytes lie; what the user gives back is used again, and what it does not have counts for nothing", () => {
    const { machine, device, deps, sockets, send, dev } = bare();
    device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    const ifq = new ZcrxIfq(deps, dev, 1, 64, 64);
    expect(ifq.open()).toBe(0);
    const { frames, stream } = segments(4, 800);
    send(frames);
    const receive = new ZcrxReceive(deps, ifq, sockets[0]!, 3);
    expect([receive.receive(100_000), receive.receive(100_000)]).toEqual([2400, -ENOSPC]);
    const first = [receive.nextCqe()!, receive.nextCqe()!, receive.nextCqe()!];
    expect([receive.receive(100_000), receive.receive(1)]).toEqual([800, -EAGAIN]);
    const cqes = [...first, receive.nextCqe()!];
    expect([cqes.flatMap(({ off, len }) => [...ifq.provided.area.region.bytes.subarray(off, off + len)]), receive.nextCqe()]).toEqual([stream, null]);
    machine.flushDeferred();
    // Its own, one twice, one beyond the area, one that it never had.
    for (const off of [cqes[0]!.off, cqes[0]!.off, 64 * PAGE_SIZE, -1, 63 * PAGE_SIZE]) ifq.refill(off);
    ifq.flushRefills();
    expect([ifq.provided.held(), ifq.badRefills]).toEqual([3, 4]);
    sockets[0]!.close();
    // What the user did not give back is taken from it.
    ifq.close();
    machine.shutdown();
    expect([ifq.provided.held(), ifq.provided.free(), machine.kernel.reports.counts()]).toEqual([0, 64, []]);
  });

  test("what was not received into the area is copied there, as far as there is room", () => {
    const { machine, deps, sockets, send, dev } = bare();
    const ifq = new ZcrxIfq(deps, dev, 1, 71, 64);
    ifq.open();
    // To queue 0, which has pages.
    machine.devices[0]!.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 0 });
    const { frames, stream } = segments(12, 1000);
    send(frames);
    const receive = new ZcrxReceive(deps, ifq, sockets[0]!, 100);
    // The pool has taken a cache full of them.
    expect([ifq.provided.free(), receive.receive(100_000), receive.copiedBytes, ifq.provided.held(), receive.receive(1)]).toEqual([7, 7000, 7000, 7, -ENOMEM]);
    const bytes: number[] = [];
    for (let cqe = receive.nextCqe(); cqe !== null; cqe = receive.nextCqe()) {
      bytes.push(...ifq.provided.area.region.bytes.subarray(cqe.off, cqe.off + cqe.len));
      ifq.refill(cqe.off);
    }
    ifq.flushRefills();
    expect([bytes, ifq.provided.held(), ifq.provided.free(), receive.receive(100_000), ifq.provided.free()]).toEqual([stream.slice(0, 7000), 0, 7, 5000, 2]);
    sockets[0]!.close();
    ifq.close();
    // Whatever a user gives back once it is closed.
    expect([ifq.refill(-1), ifq.refill(71 * PAGE_SIZE), ifq.refill(0), ifq.badRefills]).toEqual([true, true, true, 3]);
    machine.shutdown();
    expect([ifq.provided.free(), machine.kernel.reports.counts()]).toEqual([71, []]);
  });
});
