import { EBUSY, EINVAL, callForeign, type ReportSink } from "@netmem/kernel/api";
import { LOOPBACK_IFINDEX, NETDEV_REGISTER, NETDEV_UNREGISTER, type NetDevice, type NetdevRxQueue, type NetdeviceNotifiers, type XdpStructs } from "@netmem/xdp/api";

/** Registration of devices, loopback first. @kernel net/core/dev.c */
export class NetDevices {
  readonly loopback: NetDevice;
  readonly #structs: XdpStructs;
  readonly #notifiers: NetdeviceNotifiers;
  readonly #reports: ReportSink;
  #nextIfindex: number = LOOPBACK_IFINDEX + 1;

  constructor(structs: XdpStructs, notifiers: NetdeviceNotifiers, reports: ReportSink) {
    this.#structs = structs;
    this.#notifiers = notifiers;
    this.#reports = reports;
    this.loopback = structs.createNetDevice("lo", LOOPBACK_IFINDEX, 1);
    this.loopback.up = true;
    notifiers.callNetdeviceNotifiers(NETDEV_REGISTER, this.loopback);
  }

  register(name: string, rxQueueCount: number): NetDevice {
    const dev = this.#structs.createNetDevice(name, this.#nextIfindex++, rxQueueCount);
    dev.loopback = this.loopback;
    this.#notifiers.callNetdeviceNotifiers(NETDEV_REGISTER, dev);
    return dev;
  }

  /** @kernel netif_set_mtu_ext (net/core/dev.c) */
  setMtu(dev: NetDevice, mtu: number): number {
    if (mtu === dev.mtu) return 0;
    if (!Number.isInteger(mtu) || mtu < dev.minMtu || mtu > dev.maxMtu) return -EINVAL;
    if (dev.up && dev.mtuNeedsDown) return -EBUSY;
    const errno = dev.changeMtu === null ? 0 : dev.changeMtu(mtu);
    if (errno === 0) dev.mtu = mtu;
    return errno;
  }

  /** `flush`: once it is marked, and before anybody else is told. */
  unregister(dev: NetDevice, flush: () => void): void {
    if (dev.unregistered) {
      this.#reports.report("netdev-unregistered", "warn", `netdev ${dev.name}`, dev.name, "unregistered again");
      return;
    }
    dev.unregistered = true;
    dev.up = false;
    flush();
    // Before anyone is told: whoever looks then finds no binding to a device that is gone.
    for (const queue of dev.rxQueues) this.#uninstall(queue);
    this.#notifiers.callNetdeviceNotifiers(NETDEV_UNREGISTER, dev);
  }

  /** The provider is somebody's plugin: whatever it throws, it is bound no more. */
  #uninstall(queue: NetdevRxQueue): void {
    const provider = queue.memoryProvider;
    if (provider === null) return;
    callForeign(() => provider.uninstall(queue), (reason) => {
      queue.memoryProvider = null;
      this.#reports.report("mp-threw", "warn", `rx queue ${queue.index}`, provider.name ?? "memory provider", `uninstall threw ${reason}: ${queue.dev.name} forgets it all the same`);
    });
  }
}
