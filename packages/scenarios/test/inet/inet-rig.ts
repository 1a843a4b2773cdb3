import { GFP_ATOMIC, PAGE_SIZE, type PayloadRegion } from "@netmem/mm/api";
import { skbRegion, type InetSocketOptions, type SkBuff, type TcpListenOptions, type TcpSocket, type UdpSocket } from "@netmem/net-core/api";
import { createMachine, type Machine, type MachineOptions } from "@netmem/machine";
import type { NetDevice } from "@netmem/xdp/api";

const USER_BYTES = 1 << 16;
/** Of a head that has the headers alone: what is behind does not fit, so that it is not copied there as a packet waits. */
const HEADER_BUFFER_BYTES = 512;
const MOST_HEADER_BYTES = 64;

/** IPv4 over packets that are put together here, in pages of nobody's: in one piece, or with headers in the head and the rest in a frag. */
export class InetRig {
  readonly machine: Machine;
  readonly dev: NetDevice;
  readonly user: PayloadRegion;
  readonly #freePages: number;

  constructor(options: MachineOptions = {}) {
    this.machine = createMachine({ nrPages: 2048, extraBytes: 1 << 20, ...options });
    const { net, mm } = this.machine;
    this.dev = net.registerNetdev("eth0", 1);
    this.dev.up = true;
    this.user = mm.payload.addRegion("user", USER_BYTES, true);
    net.receive.setProtocol(net.inet);
    mm.slab.shrink();
    this.#freePages = mm.pages.freePages();
  }

  skb(frame: Uint8Array, headBytes: number = frame.length, bufferBytes: number = headBytes <= MOST_HEADER_BYTES ? HEADER_BUFFER_BYTES : PAGE_SIZE): SkBuff {
    const { net, mm } = this.machine;
    const inHead = Math.min(headBytes, frame.length);
    const skb = net.lifetime.napiBuildSkb(mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, bufferBytes)!;
    net.edit.skbReserve(skb, 64);
    net.edit.skbPut(skb, inHead);
    skbRegion(skb).bytes.set(frame.subarray(0, inHead), skb.data);
    if (inHead < frame.length) {
      const page = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
      page.region.bytes.set(frame.subarray(inHead), page.base);
      net.edit.skbAddRxFrag(skb, page, 0, frame.length - inHead, PAGE_SIZE);
    }
    skb.dev = this.dev;
    net.edit.ethTypeTrans(skb);
    return skb;
  }

  receive(frames: readonly Uint8Array[], headBytes?: number, bufferBytes?: number): void {
    for (const frame of frames) this.machine.net.receive.netifReceiveSkb(this.skb(frame, headBytes, bufferBytes));
  }

  udp(port: number | null, options: Partial<InetSocketOptions> = {}): UdpSocket {
    const socket = this.machine.net.inet.udpBind({ name: `udp ${port}`, port, ...options });
    if (typeof socket === "number") throw new Error(`refused: ${socket}`);
    return socket;
  }

  /** Connections as they are met. */
  tcp(port: number | null, options: Partial<TcpListenOptions> = {}): TcpSocket[] {
    const sockets: TcpSocket[] = [];
    const listening = this.machine.net.inet.tcpListen({ name: `tcp ${port}`, port, accept: (socket) => void sockets.push(socket), ...options });
    if (typeof listening === "number") throw new Error(`refused: ${listening}`);
    return sockets;
  }

  /** What a read of `bytes` gives: bytes, or a negative errno. */
  read(socket: UdpSocket | TcpSocket, bytes: number = USER_BYTES): number[] | number {
    const got = socket.recvmsg(this.user, 0, bytes);
    return got < 0 ? got : [...this.user.bytes.subarray(0, got)];
  }

  /** Everything that can be read now, in pieces of `bytes`. */
  readAll(socket: TcpSocket, bytes: number = USER_BYTES): number[] {
    const all: number[] = [];
    for (;;) {
      const got = socket.recvmsg(this.user, 0, bytes);
      if (got <= 0) return all;
      for (let i = 0; i < got; i++) all.push(this.user.bytes[i]!);
    }
  }

  /** What is left when nobody holds anything, and grace periods are over: skbs, pages. */
  end(): { skbs: number; pages: number; reports: readonly string[] } {
    const { machine } = this;
    machine.kernel.rcu.rcuBarrier();
    machine.flushDeferred();
    machine.mm.slab.shrink();
    return { skbs: machine.net.lifetime.stats.live, pages: this.#freePages - machine.mm.pages.freePages(), reports: machine.kernel.reports.reports.map(({ kind }) => kind) };
  }
}
