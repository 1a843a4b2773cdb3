import { headerSplit } from "@netmem/driver-header-split";
import { Wire, createMachine, wireBytes, type Device, type Machine, type MachineOptions, type WireFrame } from "@netmem/machine";
import type { MemoryBinding, MemoryModel, MemoryStream } from "@netmem/memory-model/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { IPPROTO_TCP, type TcpSocket } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";

/** A NIC with two queues, the second bound to a memory model, where all TCP goes. */
export class ModelRig {
  readonly machine: Machine;
  readonly device: Device;
  readonly binding: MemoryBinding;
  readonly streams = new Map<TcpSocket, MemoryStream>();
  /** By `address:port` of the sender: what its user was given. */
  readonly received = new Map<string, number[]>();
  readonly #frames: readonly WireFrame[];

  constructor(model: MemoryModel, frames: readonly WireFrame[], options: MachineOptions & { readonly buffers?: number; readonly ring?: number } = {}) {
    const { buffers = 512, ring = 64, ...rest } = options;
    this.#frames = frames;
    this.machine = createMachine({ nrPages: 8192, extraBytes: wireBytes(frames) + buffers * PAGE_SIZE + (1 << 20), ...rest });
    const { net } = this.machine;
    this.device = this.machine.attach(headerSplit, { rxRingSize: ring, rxQueueCount: 2 });
    if (this.device.netif.open() !== 0) throw new Error("open failed");
    const binding = this.machine.bindMemoryModel(model, this.device, 1, buffers);
    if (typeof binding === "number") throw new Error(`not bound: ${binding}`);
    this.binding = binding;
    this.device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    net.receive.setProtocol(net.inet);
    net.inet.tcpListen({ name: "tcp", port: null, accept: (socket) => void this.streams.set(socket, binding.openStream(socket)) });
  }

  connect(): Wire {
    const wire = new Wire(this.machine.kernel, this.machine.mm.payload, this.#frames, "back-to-back");
    wire.connect(this.device.nic);
    return wire;
  }

  /** Every user reads what there is. */
  read(): void {
    for (const [socket, stream] of this.streams) {
      const key = `${[24, 16, 8, 0].map((shift) => (socket.saddr >>> shift) & 0xff).join(".")}:${socket.sport}`;
      const bytes = this.received.get(key) ?? [];
      this.received.set(key, bytes);
      stream.read(({ bytes: memory }, offset, length) => {
        for (let i = 0; i < length; i++) bytes.push(memory[offset + i]!);
      });
    }
  }

  pools(): readonly PagePool[] {
    return this.machine.pagePools.pools().filter(({ system }) => !system);
  }

  /** Users, sockets, queue and device go, in this order; what is left. */
  end(): ReturnType<ModelRig["left"]> {
    for (const [socket, stream] of this.streams) {
      stream.close();
      socket.close();
    }
    this.binding.close();
    this.machine.shutdown();
    return this.left();
  }

  left(): { live: number; inflight: number; maps: number; free: number; held: number; reports: readonly { kind: string; count: number }[] } {
    const { maps, unmaps } = this.device.dma.stats;
    return {
      live: this.machine.net.lifetime.stats.live, inflight: this.pools().reduce((sum, pool) => sum + pool.inflight(), 0), maps: maps - unmaps, free: this.binding.free(), held: this.binding.held(),
      reports: this.machine.kernel.reports.counts(),
    };
  }
}

/** What the sockets of a machine whose memory is all the host's read of these frames. */
export function streamsOf(frames: readonly WireFrame[]): Map<string, number[]> {
  const machine = createMachine({ nrPages: 16_384, extraBytes: wireBytes(frames) + (1 << 20) });
  const { net, kernel, mm } = machine;
  const device = machine.attach(headerSplit, { rxRingSize: 256 });
  device.netif.open();
  net.receive.setProtocol(net.inet);
  const sockets: TcpSocket[] = [];
  net.inet.tcpListen({ name: "tcp", port: null, rcvbufBytes: 1 << 30, accept: (socket) => void sockets.push(socket) });
  new Wire(kernel, mm.payload, frames, "back-to-back").connect(device.nic);
  while (kernel.scheduler.step());
  const user = mm.payload.addRegion("user", 1 << 16, true);
  const streams = new Map<string, number[]>();
  for (const socket of sockets) {
    const bytes: number[] = [];
    for (let got = socket.recvmsg(user, 0, 1 << 16); got > 0; got = socket.recvmsg(user, 0, 1 << 16)) bytes.push(...user.bytes.subarray(0, got));
    streams.set(`${[24, 16, 8, 0].map((shift) => (socket.saddr >>> shift) & 0xff).join(".")}:${socket.sport}`, bytes);
    socket.close();
  }
  machine.shutdown();
  return streams;
}
