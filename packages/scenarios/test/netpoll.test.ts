import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import type { SkBuff } from "@netmem/net-core/api";
import { testFrame } from "@netmem/testkit";
import { NOTHING_LEFT, driverRig, wire } from "./drivers/driver-rig.ts";

test("a packet with a pool's page that waits for the transmit softirq is freed by netpoll with interrupts off, where its pool may not be put to: the kernel's own trap, reported", () => {
  const rig = driverRig(mvneta, { mtu: 1500 });
  const { machine: { net, kernel }, device } = rig;
  const { live } = net.lifetime.stats;
  const received: SkBuff[] = [];
  net.receive.setProtocol({ packetRcv: (skb) => void received.push(skb) });
  rig.send(wire([testFrame(200, 1), testFrame(200, 2)]));
  const [softirq, netpoll] = received as [SkBuff, SkBuff];
  const end = (skb: SkBuff): void => kernel.irqs.withIrqsOff(() => net.lifetime.devConsumeSkbAny(skb));
  end(softirq);
  while (kernel.scheduler.step());
  expect([softirq.free, kernel.reports.counts()]).toEqual([true, []]);
  end(netpoll);
  expect([net.netpoll.netpollPollDev(device.netif.dev), netpoll.free, kernel.reports.counts()]).toEqual([0, true, [{ kind: "pp-put-in-hardirq", count: 1 }]]);
  expect([net.lifetime.stats.live - live, { ...rig.end(), reports: [] }]).toEqual([0, NOTHING_LEFT]);
});
