import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { createMachine, PRESET_NAMES, Wire, wireBytes, type WireFrame } from "@netmem/machine";
import type { Page } from "@netmem/mm/api";
import type { SkBuff, TcpSocket, UdpSocket } from "@netmem/net-core/api";
import { conservationFaults, tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";

/** Pages of packets. */
function pagesOf(packets: Iterable<SkBuff>): Set<Page> {
  const pages = new Set<Page>();
  for (const skb of packets) {
    const { headPage, frags, nrFrags, fragList } = skb.shinfo!;
    if (headPage !== null) pages.add(headPage.head);
    for (let i = 0; i < nrFrags; i++) {
      const { netmem } = frags[i]!;
      if (!netmem!.isNetIov) pages.add(netmem!.head);
    }
    for (let member = fragList; member !== null; member = member.next) for (const page of pagesOf([member])) pages.add(page);
  }
  return pages;
}

const packet = fc.record({ kind: fc.constantFrom("udp", "tcp", "other", "wrong"), bytes: fc.nat(1400), flow: fc.nat(5) });

describe.each(PRESET_NAMES)("under %s", (preset) => {
  test("skb-mm row 83: hold − release is cache, ring, posted buffers and packets, at every step of any traffic into sockets, taps and pipes; and nothing, at the end", () => {
    fc.assert(fc.property(fc.array(packet, { minLength: 1, maxLength: 150 }), fc.boolean(), fc.boolean(), fc.integer({ min: 1, max: 9 }), (packets, gro, tapped, every) => {
      const seqs = new Map<number, number>();
      const frames: WireFrame[] = packets.map(({ kind, bytes, flow }, i) => {
        const seq = seqs.get(flow) ?? 1;
        let frame = testFrame(60 + bytes, i);
        if (kind !== "other") frame = kind === "udp" ? udpFrame(testPayload(bytes, i), { sport: flow }) : tcpFrame(testPayload(bytes, i), { sport: flow, seq, ipId: i });
        if (kind === "tcp") seqs.set(flow, seq + bytes);
        if (kind === "wrong") frame[36] = frame[36]! ^ 0x10;
        return { bytes: frame, offset: 0, lengthBytes: frame.length, arrivalNs: 0 };
      });
      const machine = createMachine({ preset, nrPages: 4096, extraBytes: wireBytes(frames) + (1 << 17) });
      const { net, kernel, mm } = machine;
      const device = machine.attach(mvneta, { rxRingSize: 64 });
      device.netif.dev.gro = gro;
      device.netif.open();
      const pool = machine.pagePools.pools().find(({ system }) => !system)!;
      net.receive.setProtocol(net.inet);
      const tap = net.sockets.openTap({ name: "tap" });
      if (tapped) net.receive.addTap(tap);
      const udp = net.inet.udpBind({ name: "udp", port: null, rcvbufBytes: 40_000 }) as UdpSocket;
      const streams: TcpSocket[] = [];
      net.inet.tcpListen({ name: "tcp", port: null, accept: (socket) => void streams.push(socket) });
      const user = mm.payload.addRegion("user", 1 << 16, true);
      const pipe = net.inet.createPipe();
      new Wire(kernel, mm.payload, frames, "back-to-back").connect(device.nic);
      let step = 0;
      const read = (): void => {
        // One at an odd step, all at an even one.
        for (let left = step % 2 === 0 ? udp.length() : 1; left > 0; left--) udp.recvmsg(user, 0, 1 << 16);
        for (const [i, socket] of streams.entries()) {
          if ((i + step) % 2 === 0) socket.spliceRead(pipe, 3000);
          else socket.recvmsg(user, 0, 2000);
        }
        pipe.read(user, 0, 5000);
      };
      while (kernel.scheduler.step()) {
        if (++step % every === 0) read();
        expect(conservationFaults(machine, [pool])).toEqual([]);
      }
      // Quiet: what is out is posted, or in a packet that somebody has, unless it has left its pool for that.
      const held = pagesOf([...udp.packets(), ...streams.flatMap((socket) => socket.packets())]);
      const ours = [...held].filter((page) => page.signature !== 0 || (page.ppMagic & ~3) !== 0).length;
      if (!tapped && pipe.bytes() === 0 && preset !== "stock") {
        machine.flushDeferred();
        expect(pool.inflight()).toBe(pool.cacheCount + pool.ringCount() + 64 + ours);
      }
      net.receive.removeTap(tap);
      for (const end of [tap, udp, ...streams, pipe]) end.close();
      machine.flushDeferred();
      expect(conservationFaults(machine, [pool])).toEqual([]);
      machine.shutdown();
      const system = machine.systemPools.reduce((sum, each) => sum + each.inflight(), 0);
      expect([pool.inflight(), pool.dead, net.lifetime.stats.live, mm.pages.nrPages - mm.pages.freePages() - system, kernel.reports.counts()]).toEqual([0, true, 0, 0, []]);
    }), { numRuns: 25 });
  });
});
