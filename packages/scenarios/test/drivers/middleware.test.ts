import { describe, expect, test } from "vitest";
import { traceNic, type NicAccess } from "@netmem/driver";
import { headerSplit } from "@netmem/driver-header-split";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import { splitPage } from "@netmem/driver-split-page";
import { striding } from "@netmem/driver-striding";
import { xsk } from "@netmem/driver-xsk";
import type { NicHardware } from "@netmem/driver/api";
import { Wire, createMachine } from "@netmem/machine";
import { testFrame } from "@netmem/testkit";
import { wire } from "./driver-rig.ts";

function line({ where, access, args, answer }: NicAccess): string {
  return `${where} ${access}(${args.join()})${answer === null ? "" : ` = ${answer}`}`;
}

test("a tracer hears what a driver does to its NIC, and each interrupt, in order", () => {
  const heard: string[] = [];
  const machine = createMachine({ nrPages: 2048, extraBytes: 65_536 });
  const { nic, netif } = machine.attach(mvneta, { rxRingSize: 32, middleware: traceNic((access) => void heard.push(line(access))) });
  expect(netif.open()).toBe(0);
  expect(heard.splice(0).map((text) => text.replace(/configure\(\d+/, "configure(RING"))).toEqual([
    "rx 0 configure(RING,32,3520)", "rx 0 addNonOccupied(32)", "tx 0 configure(RING,1024)", "tx 0 start()", "nic requestIrq(0,0)", "rx 0 start()", "rx 0 enableIrq()",
  ]);
  machine.net.receive.setProtocol({ packetRcv: (skb) => machine.net.lifetime.consumeSkb(skb) });
  new Wire(machine.kernel, machine.mm.payload, wire([testFrame(100, 1)]), "back-to-back").connect(nic);
  while (machine.kernel.scheduler.step());
  expect(heard.splice(0)).toEqual(["rx 0 interrupt()", "rx 0 disableIrq()", "tx 0 sent() = 0", "rx 0 occupied() = 1", "rx 0 decOccupied(1)", "rx 0 addNonOccupied(1)", "rx 0 enableIrq()"]);
  netif.stop();
  expect(heard).toEqual(["rx 0 stop()", "nic freeIrq(0)", "tx 0 stop()"]);
  machine.shutdown();
});

describe.each([mvneta, mvpp2, headerSplit, splitPage, striding, xsk])("$name", (driver) => {
  test("with a tracer it does what it does without one", () => {
    const run = (traced: boolean): { readonly accesses: number; readonly outcome: unknown } => {
      let accesses = 0;
      const machine = createMachine({ nrPages: 16_384, extraBytes: 1 << 20 });
      const device = machine.attach(driver, { rxRingSize: 64, ...(traced ? { middleware: traceNic(() => void accesses++) } : {}) });
      device.netif.dev.mtu = 1500;
      expect(device.netif.open()).toBe(0);
      let bytes = 0;
      machine.net.receive.setProtocol({ packetRcv: (skb) => {
        bytes += skb.len;
        machine.net.lifetime.consumeSkb(skb);
      } });
      new Wire(machine.kernel, machine.mm.payload, wire(Array.from({ length: 200 }, (_, i) => testFrame(60 + 5 * i, i))), "back-to-back").connect(device.nic);
      while (machine.kernel.scheduler.step());
      machine.shutdown();
      return { accesses, outcome: [bytes, { ...device.nic.stats }, { ...device.dma.stats }, machine.kernel.reports.counts(), machine.kernel.clock.nowNs] };
    };
    const [plain, traced] = [run(false), run(true)];
    expect([traced.outcome, plain.accesses, traced.accesses > 30]).toEqual([plain.outcome, 0, true]);
  });

  test("a middleware of somebody's own: of every other interrupt nothing is heard, and the driver comes by with all frames all the same", () => {
    let raised = 0;
    const deaf = (nic: NicHardware): NicHardware => ({
      name: nic.name, stats: nic.stats, rxQueues: nic.rxQueues, txQueues: nic.txQueues, bufferPools: nic.bufferPools, steering: nic.steering, freeIrq: (queue) => nic.freeIrq(queue),
      requestIrq: (queue, cpu, handler) => nic.requestIrq(queue, cpu, () => {
        if (raised++ % 2 === 1) handler();
      }),
    });
    const machine = createMachine({ nrPages: 16_384, extraBytes: 1 << 20 });
    const device = machine.attach(driver, { rxRingSize: 64, middleware: deaf });
    device.netif.dev.mtu = 1500;
    expect(device.netif.open()).toBe(0);
    let packets = 0;
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      packets++;
      machine.net.lifetime.consumeSkb(skb);
    } });
    for (let i = 0; i < 100; i++) {
      new Wire(machine.kernel, machine.mm.payload, wire([testFrame(60 + i, i)]), "back-to-back").connect(device.nic);
      while (machine.kernel.scheduler.step());
    }
    expect([raised, packets]).toEqual([100, 100]);
    machine.shutdown();
    expect(machine.kernel.reports.counts()).toEqual([]);
  });
});
