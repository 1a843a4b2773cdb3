import { createHash, type Hash } from "node:crypto";
import { TASK_SLEEP } from "@netmem/kernel/api";
import type { NicWire } from "@netmem/driver/api";
import { Reader, SocketReaders, USER_BUFFER_BYTES, pageHolders, type Machine, type PageHolder } from "@netmem/machine";
import type { MemoryBinding } from "@netmem/memory-model/api";
import type { PayloadRegion } from "@netmem/mm/api";
import type { InetStats } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import type { NetDevice } from "@netmem/xdp/api";
import type { ReplayOptions } from "./options.ts";

/** Where the packets of a replay end. */
export interface TrafficEnd {
  /** So far: packets that were read, or sent on. */
  readonly packets: () => number;
  readonly bytes: () => number;
  /** Of all bytes, in order; only once. */
  readonly sha256: () => string;
  /** Of the time since the start, what checking took: it is not the model's. */
  readonly checkingNs: () => bigint;
  /** What waits is read now. */
  readonly drain: () => void;
  readonly close: () => void;
}

/** What only IPv4 tells. The names are those of the JSON document. */
export interface InetRun {
  readonly datagrams: number;
  readonly connections: number;
  /** Bytes of streams that were read where they lay. */
  readonly mappedBytes: number;
  /** Frames that left. */
  readonly forwarded: number;
  readonly dropped: { readonly notIpv4: number; readonly badHeader: number; readonly checksum: number; readonly unknownProtocol: number; readonly noSocket: number; readonly socketFull: number; readonly notSent: number; readonly other: number };
  /** What `other` is made of: segments that a connection does not take for their flags, sequence or memory; packets without memory, with a way to go of their own, or of addresses that none may have; longer than the next device takes; pieces, and what they make, that do not fit together in time. */
  readonly other: { readonly segments: number; readonly noMemory: number; readonly sourceRoute: number; readonly martian: number; readonly tooLong: number; readonly reassembly: number };
  /** Frames that the device has received, and that are not among what was merged, read, waits, was sent on or dropped: 0, or a bug of the model. */
  readonly unaccounted: number;
}

/** Where pages are when the traffic is over. The names are those of the JSON document. */
export interface HeldAtEnd {
  /** By whom, and since when: simulated ns, or back to back, when no time passes, the number of the frame that the NIC had taken last. */
  readonly by: readonly (Omit<PageHolder, "since" | "kind"> & { readonly kind: PageHolder["kind"] | "user"; readonly sinceNs?: number | null; readonly sinceFrame?: number | null })[];
  /** Of the device's pools: in buffers that are posted, or on their way. */
  readonly posted: number;
}

class Checked {
  readonly hash: Hash = createHash("sha256");
  ns = 0n;

  update(bytes: Uint8Array): void {
    const before = process.hrtime.bigint();
    this.hash.update(bytes);
    this.ns += process.hrtime.bigint() - before;
  }
}

/** A reader of whole frames. */
export function frameReader(machine: Machine, user: PayloadRegion, options: ReplayOptions): TrafficEnd & { readonly reader: Reader } {
  const checked = new Checked();
  const reader = new Reader(machine.kernel, machine.net, user, {
    cpu: options.readerCpu, lag: options.readerLag, tap: options.tap, expand: options.expand, freeOrder: options.freeOrder, onBytes: (bytes) => checked.update(bytes),
  });
  return { reader, packets: () => reader.packets, bytes: () => reader.bytes, sha256: () => checked.hash.digest("hex"), checkingNs: () => checked.ns, drain: () => reader.drain(), close: () => reader.close() };
}

/** A process that a memory model gives whole frames. */
export function modelFrames({ kernel }: Machine, binding: MemoryBinding, options: ReplayOptions): TrafficEnd {
  const checked = new Checked();
  let packets = 0;
  let bytes = 0;
  const task = kernel.scheduler.spawn({ name: "reader", cpu: options.readerCpu, run: () => {
    frames.read((region, offset, lengthBytes) => {
      packets++;
      bytes += lengthBytes;
      checked.update(region.bytes.subarray(offset, offset + lengthBytes));
    });
    return TASK_SLEEP;
  } });
  const frames = binding.openFrames!(() => kernel.scheduler.wake(task));
  return {
    packets: () => packets, bytes: () => bytes, sha256: () => checked.hash.digest("hex"), checkingNs: () => checked.ns, drain: () => kernel.scheduler.wake(task),
    close: () => {
      kernel.scheduler.remove(task);
      frames.close();
    },
  };
}

/** Sockets; of each that was read its bytes have a hash, and all of these one: those of UDP first, then connections as they began. */
export function socketReaders(machine: Machine, user: PayloadRegion, options: ReplayOptions, binding: MemoryBinding | null): TrafficEnd & { readonly readers: SocketReaders } {
  const each: (Checked | null)[] = [];
  const readers = new SocketReaders(machine.kernel, machine.net, machine.mm.userMappings, user, {
    cpu: options.readerCpu, sockets: options.sockets!, udpGro: options.udpGro, reads: options.reader, zerocopy: options.zerocopy, ...(binding === null ? {} : { binding }), ...(options.rcvbuf === undefined ? {} : { rcvbufBytes: options.rcvbuf }),
    onBytes: (socket, bytes) => {
      while (each.length <= socket) each.push(null);
      const checked = each[socket] ?? new Checked();
      each[socket] = checked;
      checked.update(bytes);
    },
  });
  return {
    readers, packets: () => readers.packets, bytes: () => readers.bytes,
    sha256: () => {
      const all = createHash("sha256");
      for (const checked of each) if (checked !== null) all.update(checked.hash.digest());
      return all.digest("hex");
    },
    checkingNs: () => each.reduce((sum, checked) => sum + (checked?.ns ?? 0n), 0n), drain: () => readers.drain(), close: () => readers.close(),
  };
}

/** Everything leaves by the second device. */
export function forwarder(machine: Machine, out: PayloadRegion, dev: NetDevice, wire: NicWire): TrafficEnd {
  const { net } = machine;
  const checked = new Checked();
  let packets = 0;
  let bytes = 0;
  net.inet.routeAdd({ destination: 0, prefixLength: 0, dev, neighbour: new Uint8Array([2, 0, 0, 0, 0, 0xfe]) });
  net.receive.setProtocol(net.inet);
  wire.connectSink({
    region: out, offset: () => 0, roomBytes: () => USER_BUFFER_BYTES,
    frameSent: (lengthBytes) => {
      packets++;
      bytes += lengthBytes;
      checked.update(out.bytes.subarray(0, lengthBytes));
    },
  });
  return { packets: () => packets, bytes: () => bytes, sha256: () => checked.hash.digest("hex"), checkingNs: () => checked.ns, drain: () => undefined, close: () => net.receive.setProtocol(null) };
}

export function inetRun(machine: Machine, readers: SocketReaders | null, sentOn: number): InetRun {
  const { inet, receive, transmit } = machine.net;
  return {
    datagrams: readers?.datagrams ?? 0,
    connections: readers?.connections ?? 0,
    mappedBytes: readers?.mappedBytes ?? 0,
    forwarded: sentOn,
    dropped: droppedOf(inet.stats, receive.stats.unhandled, transmit.stats.dropped),
    other: otherOf(inet.stats),
    unaccounted: unaccountedFrames(machine, readers),
  };
}

/** Each layer has seen what the one below it passed up, and what was read or waits is what the sockets took. */
function unaccountedFrames({ devices, net }: Machine, readers: SocketReaders | null): number {
  const { stats } = net.inet;
  const { rxPackets, rxDropped } = devices[0]!.netif.dev;
  const { received, groMerged } = net.receive.stats;
  const waiting = readers?.waitingPackets() ?? 0;
  const decided = stats.ipInHdrErrors + stats.ipInTruncatedPkts + stats.ipInDiscards + stats.ipInUnknownProtos + stats.ipSourceRoutes + stats.ipMartians + stats.ipExceedsMtu + stats.ipForwDatagrams + stats.ipReasmReqds - stats.ipReasmOks + waiting + stats.udpInDatagrams + stats.udpNoPorts + stats.udpInErrors + stats.tcpInSegs;
  const differences = [
    devices[0]!.nic.stats.frames - rxPackets - rxDropped, rxPackets - received - groMerged, received - stats.ipInReceives - net.receive.stats.unhandled,
    stats.ipInReceives - decided, stats.udpInDatagrams - (readers === null ? 0 : readers.datagrams - readers.mergedDatagrams),
  ];
  return differences.reduce((sum, difference) => sum + Math.abs(difference), 0);
}

/** `user`: who a memory model has given buffers to, and how many it holds; null without one. */
export function heldAtEnd(machine: Machine, pools: readonly PagePool[], timing: ReplayOptions["timing"], user: { readonly name: string; readonly holds: number } | null): HeldAtEnd {
  const by: HeldAtEnd["by"][number][] = pageHolders(machine).map(({ since, ...holder }) => ({ ...holder, ...(timing === "capture" ? { sinceNs: since } : { sinceFrame: since }) }));
  if (user !== null && user.holds > 0) by.push({ kind: "user", name: `of ${user.name}`, packets: 0, pages: user.holds, poolPages: user.holds });
  const away = pools.reduce((sum, pool) => sum + pool.inflight() - pool.cacheCount - pool.ringCount(), 0);
  return { by, posted: Math.max(0, away - by.reduce((sum, { poolPages }) => sum + poolPages, 0)) };
}

function droppedOf(stats: InetStats, notIpv4: number, unsent: number): InetRun["dropped"] {
  const checksum = stats.udpCsumErrors + stats.tcpCsumErrors;
  return {
    notIpv4,
    badHeader: stats.ipInHdrErrors + stats.ipInTruncatedPkts + stats.udpInErrors - stats.udpCsumErrors - stats.udpRcvbufErrors + stats.tcpInErrs - stats.tcpCsumErrors,
    checksum,
    unknownProtocol: stats.ipInUnknownProtos,
    noSocket: stats.udpNoPorts + stats.tcpNoPorts,
    notSent: unsent,
    socketFull: stats.udpRcvbufErrors + stats.udpRcvbufMerged + stats.tcpRcvbufErrors,
    other: sumOf(otherOf(stats)),
  };
}

function otherOf({ tcpNotTaken, ipInDiscards, ipSourceRoutes, ipMartians, ipFragFails, ipReasmFails }: InetStats): InetRun["other"] {
  return { segments: tcpNotTaken, noMemory: ipInDiscards, sourceRoute: ipSourceRoutes, martian: ipMartians, tooLong: ipFragFails, reassembly: ipReasmFails };
}

export function droppedInAll(dropped: InetRun["dropped"]): number {
  return sumOf(dropped);
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
