import { UsageError } from "@netmem/kernel/api";
import { MemInfo, NapiStruct, NetDevice, NetdevRxQueue, XdpBuff, XdpDesc, XdpFrameBulk, XdpRxqInfo, type NapiPoller, type XdpStructs } from "./api/index.ts";

export const structs: XdpStructs = {
  createNetDevice: (name: string, ifindex: number, rxQueueCount: number): NetDevice => {
    if (!Number.isInteger(rxQueueCount) || rxQueueCount < 1) throw new UsageError("xdp", `rx queues of ${name}`, rxQueueCount, "give 1 or more");
    const dev = new NetDevice(name, ifindex);
    for (let i = 0; i < rxQueueCount; i++) dev.rxQueues.push(new NetdevRxQueue(dev, i, new XdpRxqInfo()));
    return dev;
  },
  createNapi: (dev: NetDevice, poller: NapiPoller, weight: number): NapiStruct => new NapiStruct(dev, poller, weight),
  createXdpBuff: (rxq: XdpRxqInfo): XdpBuff => new XdpBuff(rxq),
  createMemInfo: (): MemInfo => new MemInfo(),
  createXdpRxqInfo: (): XdpRxqInfo => new XdpRxqInfo(),
  createFrameBulk: (): XdpFrameBulk => new XdpFrameBulk(),
  createXdpDesc: (): XdpDesc => new XdpDesc(),
};
