import {
  NETDEV_REGISTER, NETDEV_UNREGISTER, NETDEV_XDP_ACT_MASK, NETDEV_XDP_FEAT_CHANGE, type DevicesByIndex, type NetDevice, type NetdeviceNotifier, type NetdeviceNotifiers, type XdpDeviceFeatures,
} from "./api/index.ts";

/** @kernel xdp_set_features_flag (net/core/xdp.c) */
export class DeviceFeatures implements XdpDeviceFeatures {
  private readonly devices: DeviceTable;
  private readonly notifiers: NetdeviceNotifiers;

  constructor(devices: DeviceTable, notifiers: NetdeviceNotifiers) {
    this.devices = devices;
    this.notifiers = notifiers;
  }

  xdpSetFeaturesFlag(dev: NetDevice, features: number): void {
    const known = features & NETDEV_XDP_ACT_MASK;
    if (dev.xdpFeatures === known) return;
    dev.xdpFeatures = known;
    if (this.devices.devGetByIndex(dev.ifindex) === dev) this.notifiers.callNetdeviceNotifiers(NETDEV_XDP_FEAT_CHANGE, dev);
  }
}

/** Registered devices by ifindex, as heard from the notifier chain; devmaps hear of their end before they are forgotten. @kernel dev_map_notification (kernel/bpf/devmap.c) */
export class DeviceTable implements DevicesByIndex, NetdeviceNotifier {
  private readonly byIndex: (NetDevice | null)[];
  private readonly gone: ((dev: NetDevice) => void)[];

  constructor() {
    this.byIndex = [];
    this.gone = [];
  }

  devGetByIndex(ifindex: number): NetDevice | null {
    return this.byIndex[ifindex] ?? null;
  }

  netdeviceEvent(event: number, dev: NetDevice): void {
    if (event === NETDEV_REGISTER) {
      while (this.byIndex.length < dev.ifindex) this.byIndex.push(null);
      this.byIndex[dev.ifindex] = dev;
    } else if (event === NETDEV_UNREGISTER) {
      for (const tell of this.gone) tell(dev);
      this.byIndex[dev.ifindex] = null;
    }
  }

  onGone(tell: (dev: NetDevice) => void): void {
    this.gone.push(tell);
  }
}
