import { headerSplit } from "@netmem/driver-header-split";
import { Wire, type Machine } from "@netmem/machine";
import { bindingOf, type MemoryBinding, type MemoryModel, type MemoryModelDeps, type ProvidedArea } from "@netmem/memory-model/api";
import { devmem } from "@netmem/memory-model-devmem";
import { netgpu } from "@netmem/memory-model-netgpu";
import { zcrx } from "@netmem/memory-model-zcrx";
import { NET_IOV_IOURING, PAGE_SIZE, type Netmem } from "@netmem/mm/api";
import type { MemoryProvider, ProviderPool } from "@netmem/page-pool/api";
import { tcpFrame, testPayload } from "@netmem/testkit";
import type { NetdevRxQueue } from "@netmem/xdp/api";

const MODELS = 8;
const BUFFERS = 512;
/** Connections, enough for each queue to have some, and segments of each. */
const FLOWS = 200;
const SEGMENTS = 150;

/** The least that a model can be; each call makes a class of its own, as each plugin has one. */
function plainModel(name: string): MemoryModel {
  class PlainProvider implements MemoryProvider {
    readonly name = name;
    readonly provided: ProvidedArea;

    constructor(deps: MemoryModelDeps, buffers: number) {
      this.provided = deps.areas.create(name, NET_IOV_IOURING, buffers, true);
    }

    init(pool: ProviderPool): number {
      return this.provided.addPool(pool);
    }

    allocNetmems(pool: ProviderPool): Netmem | null {
      return this.provided.takeFree(pool);
    }

    releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
      if (!netmem.isNetIov) return true;
      this.provided.release(pool, netmem);
      return false;
    }

    destroy(pool: ProviderPool): void {
      this.provided.removePool(pool);
    }

    nlFill(): object {
      return {};
    }

    uninstall(queue: NetdevRxQueue): void {
      queue.memoryProvider = null;
    }
  }
  return {
    name,
    bind: (deps, { dev, queueIndex, buffers }): MemoryBinding | number => {
      const provider = new PlainProvider(deps, buffers);
      const errno = deps.providers.openRxq(dev, queueIndex, provider);
      if (errno !== 0) return errno;
      return bindingOf(() => [provider.provided], () => ({ read: () => 0, close: () => undefined }), () => deps.providers.closeRxq(dev, queueIndex, provider));
    },
  };
}

/** Bytes beside its pages that a machine with the eight needs. */
export const EIGHT_MODELS_BYTES: number = MODELS * BUFFERS * PAGE_SIZE + FLOWS * SEGMENTS * 256;

/** Binds eight models to a queue each of one device, and has packets received into all of them, and freed. */
export function withEightModels(machine: Machine): void {
  const { net } = machine;
  const device = machine.attach(headerSplit, { rxQueueCount: MODELS + 1, rxRingSize: 64 });
  if (device.netif.open() !== 0) throw new Error("the interface did not come up");
  const models = [netgpu, devmem, zcrx, ...Array.from({ length: MODELS - 3 }, (_, i) => plainModel(`plain ${i}`))];
  const bindings = models.map((model, i) => {
    const binding = machine.bindMemoryModel(model, device, i + 1, BUFFERS);
    if (typeof binding === "number") throw new Error(`${model.name} was not bound: errno ${binding}`);
    return binding;
  });
  let packets = 0;
  net.receive.setProtocol({ packetRcv: (skb) => {
    packets++;
    net.lifetime.consumeSkb(skb);
  } });
  const flows = Array.from({ length: FLOWS }, (_, i) => tcpFrame(testPayload(100, i), { sport: 1000 + i }));
  const frames = Array.from({ length: FLOWS * SEGMENTS }, (_, i) => ({ bytes: flows[i % FLOWS]!, offset: 0, lengthBytes: flows[i % FLOWS]!.length, arrivalNs: 0 }));
  new Wire(machine.kernel, machine.mm.payload, frames, "back-to-back").connect(device.nic);
  machine.kernel.scheduler.runFor(0);
  if (packets !== FLOWS * SEGMENTS || bindings.some((binding) => binding.free() === BUFFERS)) throw new Error("not every model had packets");
}
