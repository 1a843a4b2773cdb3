import fc from "fast-check";
import { expect, test } from "vitest";
import { pageHolders } from "@netmem/machine";
import { conservationFaults, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_NO_SOCKET, SKB_DROP_REASON_SOCKET_RCVBUFF, type TcpSocket, type UdpSocket } from "@netmem/net-core/api";
import { VethRig } from "../veth/veth-rig.ts";

const SOCKETS = 1000;

test("a thousand sockets with slow readers, closed in any order: every page home, every datagram delivered once, as it was, or dropped with a reason", () => {
  const reached: number[] = [];
  fc.assert(fc.property(fc.array(fc.record({ first: fc.nat(SOCKETS - 1), count: fc.integer({ min: 1, max: 400 }), bytes: fc.integer({ min: 4, max: 1400 }), read: fc.nat(300), close: fc.nat(120), step: fc.integer({ min: 1, max: 999 }) }), { minLength: 4, maxLength: 10 }), fc.integer({ min: 3000, max: 20_000 }), (rounds, rcvbufBytes) => {
    const rig = new VethRig({ nrPages: 16_384, traceEntries: 1 << 17 });
    const { machine } = rig;
    const { inet } = machine.net;
    machine.net.receive.setProtocol(inet);
    rig.attachPass(rig.b);
    const pools = machine.pagePools.pools();
    const user = machine.mm.payload.adoptRegion("user", new Uint8Array(2048), true);
    const sockets: (UdpSocket | null)[] = [];
    for (let port = 0; port < SOCKETS; port++) {
      const socket = inet.udpBind({ name: `udp ${port}`, port, rcvbufBytes });
      if (typeof socket === "number") throw new Error("refused");
      sockets.push(socket);
    }
    /** What is still to be read of each, in order; what a full buffer drops is known by what is read instead. */
    const expected: number[][] = sockets.map(() => []);
    let sent = 0;
    let read = 0;
    let sequence = 0;
    const recv = (port: number): void => {
      const socket = sockets[port]!;
      const got = socket.recvmsg(user, 0, 2048);
      if (got < 0) return;
      read++;
      const number = new DataView(user.bytes.buffer).getUint32(0);
      const at = expected[port]!.indexOf(number);
      expect(at).toBeGreaterThanOrEqual(0);
      // Those before it were dropped; none comes twice, none out of turn.
      expected[port]!.splice(0, at + 1);
      expect([...user.bytes.subarray(4, got)]).toEqual([...testPayload(got, number).subarray(4)]);
    };
    for (const { first, count, bytes, read: reads, close, step } of rounds) {
      rig.softirq(0, () => {
        for (let i = 0; i < count; i++) {
          const port = (first + i * step) % SOCKETS;
          const payload = testPayload(bytes, ++sequence);
          new DataView(payload.buffer, payload.byteOffset).setUint32(0, sequence);
          expected[port]!.push(sequence);
          sent++;
          machine.net.transmit.devDirectXmit(rig.skb(udpFrame(payload, { dport: port })), rig.a.dev, 0);
        }
      });
      expect(conservationFaults(machine, pools)).toEqual([]);
      rig.softirq(1, () => {
        for (let i = 0; i < reads; i++) if (sockets[(first + i * step) % SOCKETS] !== null) recv((first + i * step) % SOCKETS);
      });
      for (let i = 0; i < close; i++) {
        const port = (first + i * step) % SOCKETS;
        sockets[port]?.close();
        sockets[port] = null;
      }
      expect(conservationFaults(machine, pools)).toEqual([]);
    }
    for (let port = SOCKETS - 1; port >= 0; port--) {
      const socket = sockets[port]!;
      if (socket === null) continue;
      if (port % 2 === 0) while (socket.length() > 0) recv(port);
      socket.close();
    }
    machine.kernel.rcu.rcuBarrier();
    machine.flushDeferred();
    const ended = new Map<number, number>();
    for (const line of machine.kernel.trace!.lines()) {
      const reason = /skb_freed: .*reason=(\d+)/.exec(line)?.[1];
      if (reason !== undefined) ended.set(Number(reason), (ended.get(Number(reason)) ?? 0) + 1);
    }
    expect(machine.kernel.trace!.overwritten()).toBe(0);
    expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
    const { udpInDatagrams, udpRcvbufErrors, udpNoPorts } = inet.stats;
    // Neither a closed socket nor a full ring says why.
    const closed = (ended.get(SKB_DROP_REASON_NOT_SPECIFIED) ?? 0) - rig.a.stats.txDropped;
    expect([sent, udpInDatagrams]).toEqual([read + closed + udpRcvbufErrors + udpNoPorts + rig.a.stats.txDropped, read]);
    expect([ended.get(SKB_DROP_REASON_SOCKET_RCVBUFF) ?? 0, ended.get(SKB_DROP_REASON_NO_SOCKET) ?? 0]).toEqual([udpRcvbufErrors, udpNoPorts]);
    reached.push(Math.sign(udpRcvbufErrors) + 2 * Math.sign(udpNoPorts) + 4 * Math.sign(closed) + 8 * Math.sign(read));
  }), { numRuns: 12 });
  // Full, unbound, closed while full, read: all of it happened.
  expect(reached.reduce((all, one) => all | one, 0)).toBe(15);
}, 60_000);

/** Byte `at` of a connection's stream. */
function byteOf(port: number, at: number): number {
  return (Math.imul(port + 1, 0x9e3779b1) ^ Math.imul(at + 1, 0x85ebca6b)) >>> 24;
}

interface Connection {
  socket: TcpSocket | null;
  /** Bytes that the receiver has taken, as its sender is told; and that were read. */
  taken: number;
  read: number;
  closed: boolean;
}

test("a thousand connections with slow readers, closed in any order: every page home, every byte read once and in order, or its segment dropped and counted", () => {
  const reached = { full: 0, closedFull: 0, afterClose: 0, read: 0 };
  const round = fc.record({ first: fc.nat(SOCKETS - 1), count: fc.integer({ min: 1, max: 250 }), bytes: fc.integer({ min: 1, max: 1400 }), burst: fc.integer({ min: 1, max: 4 }), swap: fc.boolean(), read: fc.nat(250), close: fc.nat(100), step: fc.integer({ min: 1, max: 999 }) });
  fc.assert(fc.property(fc.array(round, { minLength: 4, maxLength: 10 }), fc.integer({ min: 2000, max: 20_000 }), fc.boolean(), (rounds, rcvbufBytes, gro) => {
    const rig = new VethRig({ nrPages: 16_384 });
    const { machine } = rig;
    const { inet } = machine.net;
    machine.net.receive.setProtocol(inet);
    rig.attachPass(rig.b);
    rig.b.dev.gro = gro;
    const pools = machine.pagePools.pools();
    const user = machine.mm.payload.adoptRegion("user", new Uint8Array(8192), true);
    const connections: Connection[] = Array.from({ length: SOCKETS }, () => ({ socket: null, taken: 0, read: 0, closed: false }));
    inet.tcpListen({ name: "tcp", port: 80, rcvbufBytes, accept: (socket) => {
      const connection = connections[socket.sport]!;
      if (!connection.closed) connection.socket = socket;
      else {
        reached.afterClose++;
        socket.close();
      }
    } });
    let sent = 0;
    const send = (port: number, at: number, bytes: number): void => {
      const payload = Uint8Array.from({ length: bytes }, (_, i) => byteOf(port, at + i));
      sent++;
      machine.net.transmit.devDirectXmit(rig.skb(tcpFrame(payload, { sport: port, dport: 80, seq: 1 + at })), rig.a.dev, 0);
    };
    const recv = (connection: Connection, port: number): void => {
      const { socket } = connection;
      if (socket === null) return;
      const got = socket.recvmsg(user, 0, user.bytes.length);
      for (let i = 0; i < got; i++) if (user.bytes[i] !== byteOf(port, connection.read + i)) throw new Error(`connection ${port}: byte ${connection.read + i} is another`);
      connection.read += Math.max(0, got);
      reached.read += Math.max(0, got);
    };
    for (const { first, count, bytes, burst, swap, read, close, step } of rounds) {
      rig.softirq(0, () => {
        for (let i = 0; i < count; i++) {
          const port = (first + i * step) % SOCKETS;
          const from = connections[port]!.taken;
          const order = Array.from({ length: burst }, (_, part) => part);
          // The last ones first: they wait for those before them.
          for (const part of swap && from > 0 ? order.toReversed() : order) send(port, from + part * bytes, bytes);
        }
      });
      for (const connection of connections) if (connection.socket !== null) connection.taken = connection.read + connection.socket.available();
      expect(conservationFaults(machine, pools)).toEqual([]);
      rig.softirq(1, () => {
        for (let i = 0; i < read; i++) recv(connections[(first + i * step) % SOCKETS]!, (first + i * step) % SOCKETS);
      });
      for (let i = 0; i < close; i++) {
        const connection = connections[(first + i * step) % SOCKETS]!;
        if (connection.socket !== null && connection.socket.packets().length > 0) reached.closedFull++;
        connection.socket?.close();
        connection.closed = true;
        connection.socket = null;
      }
      expect(conservationFaults(machine, pools)).toEqual([]);
    }
    for (const [port, connection] of connections.entries()) {
      if (connection.socket === null) continue;
      if (port % 2 === 0) {
        while (connection.socket.available() > 0) recv(connection, port);
        expect(connection.read).toBe(connection.taken);
      }
      connection.socket.close();
    }
    machine.flushDeferred();
    const { tcpInSegs, tcpRcvbufErrors } = inet.stats;
    expect([sent - rig.a.stats.txDropped - machine.net.receive.stats.groMerged, pageHolders(machine)]).toEqual([tcpInSegs, []]);
    reached.full += tcpRcvbufErrors;
    expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
  }), { numRuns: 12 });
  expect(Object.values(reached).every((times) => times > 0), JSON.stringify(reached)).toBe(true);
}, 60_000);
