import type { PayloadRegion, VmArea } from "@netmem/mm/api";
import type { NetDevice } from "@netmem/xdp/api";
import type { Pipe } from "./pipe.ts";
import type { PacketHandler } from "./receive.ts";
import type { SkBuff } from "./skbuff.ts";
import type { TcpZerocopyReceive } from "./tcp-zerocopy.ts";

/** Bytes of truesize that a socket may hold unless it says otherwise. @kernel net.core.rmem_default, net.ipv4.tcp_rmem[2] */
export const RMEM_DEFAULT = 212_992;
export const TCP_RMEM_MAX = 6_291_456;
/** How long the pieces of a datagram wait for the rest. @kernel IP_FRAG_TIME (include/net/ip.h) */
export const IP_FRAG_TIME_NS = 30_000_000_000;

/** What came in, by what became of it. @kernel struct ipstats_mib, udp_mib (include/net/snmp.h) */
export interface InetStats {
  ipInReceives: number;
  /** Version, length or checksum of a header. */
  ipInHdrErrors: number;
  /** Shorter than their header says. */
  ipInTruncatedPkts: number;
  /** Without memory. */
  ipInDiscards: number;
  /** Of protocols that nobody has. @kernel InUnknownProtos */
  ipInUnknownProtos: number;
  /** That say the way they went or are to go (LSRR, SSRR), which nobody lets them: dropped. @kernel accept_source_route */
  ipSourceRoutes: number;
  /** That were to be sent on, and whose addresses no network has, or that were not sent to this machine alone: dropped. @kernel martian_source, martian_destination (net/ipv4/route.c), ip_forward */
  ipMartians: number;
  ipForwDatagrams: number;
  /** Longer than the next device's MTU, and not to be cut. */
  ipExceedsMtu: number;
  /** Longer than that: cut into pieces; not, since they may not be or there was no memory; and the pieces. */
  ipFragOks: number;
  ipFragFails: number;
  ipFragCreates: number;
  /** Pieces of datagrams; datagrams put together of them; pieces and datagrams that were given up: of what does not fit together, had no room, or was not whole after half a minute. */
  ipReasmReqds: number;
  ipReasmOks: number;
  ipReasmFails: number;
  /** In the page allocator's reserves, and for a socket that may not have those. @kernel LINUX_MIB_PFMEMALLOCDROP */
  pfMemallocDrop: number;
  /** That were read; what was merged is one. */
  udpInDatagrams: number;
  udpNoPorts: number;
  udpInErrors: number;
  udpRcvbufErrors: number;
  /** What those had merged, beyond one datagram each. */
  udpRcvbufMerged: number;
  udpCsumErrors: number;
  tcpInSegs: number;
  tcpInErrs: number;
  tcpCsumErrors: number;
  tcpNoPorts: number;
  /** Segments that a full buffer had no room for, or had to give up; whose bytes were there already; and those behind the end, of a reset out of turn, with a SYN within the connection, or beside a FIN where one would begin, or without ACK, cut short in the header, or in reserves. */
  tcpRcvbufErrors: number;
  tcpRepeats: number;
  tcpNotTaken: number;
  /** Packets whose bytes a socket that was short of room has copied into others. @kernel LINUX_MIB_TCPRCVCOLLAPSED */
  tcpRcvCollapsed: number;
}

export interface InetSocketOptions {
  readonly name: string;
  /** Its port; null: all that no other socket has. Several with null share them out by connection. @kernel SO_REUSEPORT */
  readonly port: number | null;
  /** Bytes of truesize it may hold. Default RMEM_DEFAULT; TCP_RMEM_MAX for TCP. @kernel sk_rcvbuf */
  readonly rcvbufBytes?: number;
  /** There is something to read. Softirq. @kernel sk_data_ready */
  readonly dataReady?: () => void;
  /** The system swaps through it: packets that lie in the page allocator's reserves are its, and dropped by others. Default false. @kernel SOCK_MEMALLOC, sk_set_memalloc */
  readonly memalloc?: boolean;
}

export interface UdpSocketOptions extends InetSocketOptions {
  /** Datagrams of one flow may come as one packet, which a read gives whole: where GRO runs, up to 64 of one size, the last may be shorter. Default false. @kernel UDP_GRO (setsockopt) */
  readonly gro?: boolean;
}

/** What of a socket holds memory. */
export interface InetSocket {
  readonly name: string;
  /** Bytes of truesize. @kernel sk_rmem_alloc */
  readonly rmemAlloc: () => number;
  /** Packets it would not take. @kernel sk_drops */
  readonly drops: () => number;
  /** Packets that it holds, oldest first. For inspection. */
  readonly packets: () => readonly SkBuff[];
  /**
   * Takes no more, and lets go of what waits: of UDP in a softirq after a grace period, since a packet on its way may still have found it (holder `…, closed` until then); of TCP
   * at once, from 6.18 as if it had been read, by the CPUs that built it. Process context. @kernel sock_release
   */
  readonly close: () => void;
}

/** @kernel net/ipv4/udp.c */
export interface UdpSocket extends InetSocket {
  /** Packets waiting: datagrams, or as many as were merged. */
  readonly length: () => number;
  /** Of what was read last: bytes that each of its datagrams has, but the last, which may have fewer; 0: it is one. @kernel udp_cmsg_recv, UDP_GRO */
  readonly gsoSize: () => number;
  /**
   * The next datagram's payload, or that of as many as were merged, to `target` from `offset` on, at most `bytes`; what is longer is lost. How many bytes came; -EAGAIN without a datagram, -EFAULT of one that lies where the CPU cannot read, -EBADF once it is closed. Its packet is freed, from 6.18 by the CPU that built it, before by who reads.
   * Process context. @kernel udp_recvmsg
   */
  readonly recvmsg: (target: PayloadRegion, offset: number, bytes: number) => number;
}

/** Uses bytes of a packet from `offset` on, at most `bytes`: how many, fewer to be called no more for now; or a negative errno. The packet stays the caller's: what is to be kept takes a reference of its own. @kernel sk_read_actor_t */
export type SkbActor = (skb: SkBuff, offset: number, bytes: number) => number;

/** The receiving side of one connection, named after its listener and its sender. @kernel net/ipv4/tcp_input.c */
export interface TcpSocket extends InetSocket {
  /** Who sends: address and port, and the port it sends to. */
  readonly saddr: number;
  readonly sport: number;
  readonly dport: number;
  /** Called in place of the listener's `dataReady`. @kernel sk_data_ready */
  readonly setDataReady: (ready: () => void) => void;
  /** Bytes that can be read, and bytes received that some before are missing of. */
  readonly available: () => number;
  readonly outOfOrder: () => number;
  /**
   * The next bytes to `target` from `offset` on, at most `bytes`: how many; 0 at the end; -EAGAIN while there are none, -ECONNRESET when there will be none, -EFAULT where the CPU cannot read, -EBADF once it is closed. Packets read to their end are freed, by the
   * CPU that built them. Process context. @kernel tcp_recvmsg
   */
  readonly recvmsg: (target: PayloadRegion, offset: number, bytes: number) => number;
  /**
   * Hands the packets that have the next bytes, at most `bytes`, to `actor`, one after the other; those that are used up are freed, by the CPU that built them. How many bytes were used; what the first call
   * answers if that is negative; 0 at the end; -EAGAIN; -ECONNRESET. For readers of memory that the CPU cannot read. Process context. @kernel tcp_read_sock (net/ipv4/tcp.c)
   */
  readonly readSock: (bytes: number, actor: SkbActor) => number;
  /** The next bytes, at most `bytes`, into a pipe of `createPipe`, where their pages lie with a reference each; heads that are no page's, or shared, are copied. How many; 0 at the end; -EAGAIN for none, or a pipe that is full; -ECONNRESET; -EFAULT: the CPU cannot read them. Process context. @kernel tcp_splice_read */
  readonly spliceRead: (pipe: Pipe, bytes: number) => number;
  /** A range for `zerocopyReceive`; -EPERM unless it is only to be read. The caller's, until it is unmapped. Process context. @kernel tcp_mmap (net/ipv4/tcp.c) */
  readonly mmap: (prot: number, lengthBytes: number) => VmArea | number;
  /**
   * The next bytes that fill pages from their beginning to their end appear at an address, each page with a reference more, which keeps it as long as it is mapped; `zc` says how many, and how many bytes must be read instead. 0;
   * -EINVAL (an address that is no page's, or outside the area, or a page that cannot be), -EBUSY (a page is there, and the hint said otherwise), -EFAULT (no buffer for what is too little, or one that ends before), -EIO (the end), -EBADF once it is closed; with an errno `zc` stays as it was. A packet that ends the stream stays, read to its end or not, until a read has said so. Shares the pages. Process context.
   * @kernel tcp_zerocopy_receive
   */
  readonly zerocopyReceive: (zc: TcpZerocopyReceive) => number;
}

/** What only listens, and has no bytes. @kernel TCP_LISTEN */
export interface TcpListener extends Pick<TcpSocket, "name" | "recvmsg" | "readSock" | "spliceRead" | "mmap" | "zerocopyReceive"> {
  /** -ENOTCONN, as each of the others but `mmap`; -EBADF once it is closed, of all. @kernel tcp_recvmsg_locked (net/ipv4/tcp.c) */
  readonly recvmsg: TcpSocket["recvmsg"];
  /** -EINVAL for an address that is no page's, before -ENOTCONN. */
  readonly zerocopyReceive: TcpSocket["zerocopyReceive"];
  /** No connection begins here any more; those that did stay. Process context. */
  readonly close: () => void;
}

export interface TcpListenOptions extends InetSocketOptions {
  /** A connection is there, or one was met under way: the first segment seen is where its bytes begin. The socket is the listener's to keep. Softirq. */
  readonly accept: (socket: TcpSocket) => void;
}

/** Where packets go whose destination begins with a prefix. */
export interface InetRoute {
  /** Its address, 32 bits, signed or not, 0 behind the prefix. */
  readonly destination: number;
  /** How many bits that has, 0 … 32. */
  readonly prefixLength: number;
  readonly dev: NetDevice;
  /** Six bytes: the MAC address of whoever is next. */
  readonly neighbour: Uint8Array;
}

/** IPv4 on this machine: whatever the address, it is ours, unless there is a route. As the protocol of `NetReceive.setProtocol`, it receives. */
export interface Inet extends PacketHandler {
  readonly stats: InetStats;
  /** -EADDRINUSE: another has the port. Process context. @kernel inet_bind, udp_v4_get_port */
  readonly udpBind: (options: UdpSocketOptions) => UdpSocket | number;
  /** Connections to a port are received, no byte is ever sent. -EADDRINUSE as above. Process context. @kernel inet_listen */
  readonly tcpListen: (options: TcpListenOptions) => TcpListener | number;
  /** Empty; the caller's. Process context. @kernel pipe (fs/pipe.c) */
  readonly createPipe: () => Pipe;
  /** Packets for that prefix are sent on; the longest counts. 0, -EEXIST, -EINVAL (bits behind the prefix, a length above 32, no six bytes). Process context. @kernel ip_route_add, ip_forward (net/ipv4/ip_forward.c) */
  readonly routeAdd: (route: InetRoute) => number;
  /** 0 or -ENOENT. Process context. */
  readonly routeDel: (destination: number, prefixLength: number) => number;
}
