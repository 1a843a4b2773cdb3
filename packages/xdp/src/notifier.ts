import type { NetDevice, NetdeviceNotifier, NetdeviceNotifiers } from "./api/index.ts";

export class NetdevChain implements NetdeviceNotifiers {
  readonly #notifiers: NetdeviceNotifier[] = [];

  registerNetdeviceNotifier(notifier: NetdeviceNotifier): void {
    this.#notifiers.push(notifier);
  }

  callNetdeviceNotifiers(event: number, dev: NetDevice): void {
    for (const notifier of this.#notifiers) notifier.netdeviceEvent(event, dev);
  }
}
