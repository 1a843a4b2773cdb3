import { EIO, TASK_SLEEP, UsageError, type Kernel, type Runnable } from "@netmem/kernel/api";
import { PAGE_SIZE, PROT_READ, type PayloadRegion, type UserMappings } from "@netmem/mm/api";
import type { MemoryBinding, MemoryStream } from "@netmem/memory-model/api";
import type { NetCore, TcpListener, TcpSocket, TcpZerocopyReceive, UdpSocket } from "@netmem/net-core/api";

/** When a process reads: as soon as there is something; once the traffic is over; not at all. */
export type ReadTime = "prompt" | "late" | "never";
export const READ_TIMES: readonly ReadTime[] = ["prompt", "late", "never"];
export const MOST_SOCKETS = 1000;
/** No datagram is longer. */
const MOST_BYTES_OF_A_READ = 65_536;

export interface SocketReadersOptions {
  /** CPU the reading process runs on. */
  readonly cpu: number;
  /** Sockets of UDP, 1 … 1000, which share out the datagrams by connection; each connection of TCP has one of its own. */
  readonly sockets: number;
  readonly reads: ReadTime;
  /** Bytes of truesize that each may hold; default the kernel's. */
  readonly rcvbufBytes?: number;
  /** Sockets of UDP ask for UDP_GRO: datagrams of a flow may come merged, and are read so. Default false. */
  readonly udpGro?: boolean;
  /** Streams are read by mapping their pages, as far as they fill pages; the rest is copied. Default false. */
  readonly zerocopy?: boolean;
  /** Streams are read by way of a memory model, where their payload lies. */
  readonly binding?: MemoryBinding;
  /** Gets what was read of a socket, numbered in order of their making, in order; the bytes are reused afterwards. */
  readonly onBytes: (socket: number, bytes: Uint8Array) => void;
}

/** Pages of a stream that are mapped at a time. */
const MAPPED_PAGES = 64;

class Reading {
  readonly index: number;
  readonly socket: UdpSocket | TcpSocket;
  ready = false;
  /** Ready after it. Chained as the scheduler's lines are: an emptied array is one of nothing, to the engine. */
  nextReady: Reading | null = null;
  /** Where a stream's pages are mapped; null unless they are. */
  zc: TcpZerocopyReceive | null = null;
  /** By way of a memory model; null unless there is one. */
  stream: MemoryStream | null = null;

  constructor(index: number, socket: UdpSocket | TcpSocket) {
    this.index = index;
    this.socket = socket;
  }
}

/** A process with many sockets, over IPv4: it reads what UDP and TCP have for it. */
export class SocketReaders {
  /** Datagrams, and reads of streams. */
  packets = 0;
  bytes = 0;
  datagrams = 0;
  /** Of `datagrams`, those that came behind another in one packet. */
  mergedDatagrams = 0;
  connections = 0;
  /** Of `bytes`, those that were not copied. */
  mappedBytes = 0;
  private readonly net: NetCore;
  private readonly kernel: Kernel;
  private readonly options: SocketReadersOptions;
  private readonly user: PayloadRegion;
  private readonly mappings: UserMappings;
  private readonly task: Runnable;
  private readonly all: Reading[] = [];
  private firstReady: Reading | null = null;
  private lastReady: Reading | null = null;
  private readonly listener: TcpListener;
  private reads: ReadTime;
  private readonly udpGro: boolean;
  /** Read and not handed over yet, of one socket. */
  private filled = 0;
  private filledFrom = -1;
  /** Beyond, there may be no room for another read. */
  private readonly mostFilled: number;

  /** `user`: USER_BUFFER_BYTES of memory that is read into. */
  constructor(kernel: Kernel, net: NetCore, mappings: UserMappings, user: PayloadRegion, options: SocketReadersOptions) {
    const { sockets } = options;
    if (!Number.isInteger(sockets) || sockets < 1 || sockets > MOST_SOCKETS) throw new UsageError("machine", "sockets", sockets, `give 1 to ${MOST_SOCKETS}`);
    this.kernel = kernel;
    this.net = net;
    this.options = options;
    this.user = user;
    this.mostFilled = user.bytes.length - MOST_BYTES_OF_A_READ;
    this.mappings = mappings;
    this.reads = options.reads;
    this.udpGro = options.udpGro ?? false;
    this.task = kernel.scheduler.spawn({ name: "readers", cpu: options.cpu, run: () => this.run() });
    const rcvbuf = options.rcvbufBytes === undefined ? {} : { rcvbufBytes: options.rcvbufBytes };
    for (let i = 0; i < sockets; i++) {
      const reading: Reading = new Reading(i, net.inet.udpBind({ name: `udp ${i}`, port: null, ...rcvbuf, gro: this.udpGro, dataReady: () => this.wake(reading) }) as UdpSocket);
      this.all.push(reading);
    }
    this.listener = net.inet.tcpListen({ name: "tcp", port: null, ...rcvbuf, accept: (socket) => this.accept(socket) }) as TcpListener;
    net.receive.setProtocol(net.inet);
  }

  /** From now on everything is read, unless nothing ever is. */
  drain(): void {
    if (this.reads === "late") this.reads = "prompt";
    this.kernel.scheduler.wake(this.task);
  }

  /** Of UDP, that nobody has read. */
  waitingPackets(): number {
    return this.all.slice(0, this.options.sockets).reduce((sum, { socket }) => sum + socket.packets().length, 0);
  }

  close(): void {
    this.flush(-1);
    this.kernel.scheduler.remove(this.task);
    this.listener.close();
    this.net.receive.setProtocol(null);
    for (const { socket, zc, stream } of this.all) {
      stream?.close();
      socket.close();
      if (zc !== null) this.mappings.munmap(zc.area);
    }
  }

  private accept(socket: TcpSocket): void {
    const reading = new Reading(this.all.length, socket);
    this.all.push(reading);
    this.connections++;
    reading.stream = this.options.binding?.openStream(socket) ?? null;
    const area = this.options.zerocopy === true ? socket.mmap(PROT_READ, MAPPED_PAGES * PAGE_SIZE) : -1;
    if (typeof area !== "number") reading.zc = { area, address: area.vmStart, length: 0, recvSkipHint: 0, copybuf: null, copybufOffset: 0, copybufLen: 0, flags: 0, inq: 0, err: 0 };
    socket.setDataReady(() => this.wake(reading));
  }

  private wake(reading: Reading): void {
    if (reading.ready === true) return;
    reading.ready = true;
    if (this.lastReady === null) this.firstReady = reading;
    else this.lastReady.nextReady = reading;
    this.lastReady = reading;
    if (this.reads === "prompt") this.kernel.scheduler.wake(this.task);
  }

  private run(): number {
    if (this.reads !== "prompt") return TASK_SLEEP;
    for (let reading = this.firstReady; reading !== null; reading = this.firstReady) {
      this.firstReady = reading.nextReady;
      if (this.firstReady === null) this.lastReady = null;
      reading.nextReady = null;
      this.read(reading);
    }
    return TASK_SLEEP;
  }

  private read(reading: Reading): void {
    const { socket, index } = reading;
    reading.ready = false;
    const isDatagrams = index < this.options.sockets;
    if (reading.stream !== null) {
      this.flush(index);
      this.readFromModel(index, reading.stream);
      return;
    }
    if (reading.zc !== null) {
      this.flush(index);
      this.readMapped(reading, socket as TcpSocket, reading.zc);
      return;
    }
    for (;;) {
      if (index !== this.filledFrom || this.filled > this.mostFilled) this.flush(index);
      const got = socket.recvmsg(this.user, this.filled, MOST_BYTES_OF_A_READ);
      // 0 is the end of a stream, and an empty datagram.
      if (got < 0 || (got === 0 && !isDatagrams)) return;
      this.bytes += got;
      this.filled += got;
      this.packets++;
      if (!isDatagrams) continue;
      this.datagrams++;
      if (this.udpGro === true) this.countMerged(got, (socket as UdpSocket).gsoSize());
    }
  }

  private countMerged(bytes: number, gsoSize: number): void {
    if (gsoSize === 0) return;
    const others = ((bytes - 1) / gsoSize) | 0;
    this.mergedDatagrams += others;
    this.packets += others;
    this.datagrams += others;
  }

  /** Each piece is looked at where it lies. */
  private readFromModel(index: number, stream: MemoryStream): void {
    const got = stream.read(({ bytes }, offset, length) => this.options.onBytes(index, bytes.subarray(offset, offset + length)));
    if (got <= 0) return;
    this.packets++;
    this.bytes += got;
  }

  /** What fills pages is looked at where it lies; what does not is copied, as `recvSkipHint` says. */
  private readMapped(reading: Reading, socket: TcpSocket, zc: TcpZerocopyReceive): void {
    const { area } = zc;
    for (;;) {
      zc.length = area.vmEnd - area.vmStart;
      zc.copybufLen = 0;
      const errno = socket.zerocopyReceive(zc);
      // A read says so, too, and lets go of the packet that it came with.
      if (errno === -EIO) socket.recvmsg(this.user, 0, 1);
      if (errno < 0) return;
      if (zc.length > 0) {
        this.flush(reading.index);
        for (let i = 0; i < zc.length / PAGE_SIZE; i++) {
          const { region, base } = area.mapped[i]!;
          this.options.onBytes(reading.index, region.bytes.subarray(base, base + PAGE_SIZE));
        }
        this.packets++;
        this.bytes += zc.length;
        this.mappedBytes += zc.length;
      }
      if (zc.recvSkipHint > 0) {
        if (this.filled > this.mostFilled) this.flush(reading.index);
        const got = socket.recvmsg(this.user, this.filled, Math.min(zc.recvSkipHint, MOST_BYTES_OF_A_READ));
        if (got <= 0) return;
        this.packets++;
        this.bytes += got;
        this.filled += got;
      } else if (zc.length === 0) return;
    }
  }

  /** Hands over what was read; what is read next is of the socket `index`. */
  private flush(index: number): void {
    if (this.filled > 0) this.options.onBytes(this.filledFrom, this.user.bytes.subarray(0, this.filled));
    this.filled = 0;
    this.filledFrom = index;
  }
}
