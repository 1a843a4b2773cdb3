import { ENOSPC } from "@netmem/kernel/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { bindingOf, type MemoryBinding, type MemoryModel, type MemoryModelDeps, type MemoryModelOptions, type MemoryStream, type OnBytes } from "@netmem/memory-model/api";
import { NetgpuContext } from "./context.ts";
import type { NetgpuIfq } from "./interface-queue.ts";
import type { NetgpuSkq } from "./socket-queue.ts";

/** Entries of a socket's delivery queue. */
const RX_ENTRIES = 1024;

/** A user that looks at each piece where it lies, and puts its address back on the fill queue. */
class Stream implements MemoryStream {
  readonly #context: NetgpuContext;
  readonly #ifq: NetgpuIfq;
  readonly #skq: NetgpuSkq;

  constructor(context: NetgpuContext, ifq: NetgpuIfq, skq: NetgpuSkq) {
    this.#context = context;
    this.#ifq = ifq;
    this.#skq = skq;
  }

  read(onBytes: OnBytes): number {
    let total = 0;
    for (;;) {
      const got = this.#skq.receive();
      if (got <= 0 && got !== -ENOSPC) return total > 0 ? total : got;
      total += Math.max(0, got);
      if (!this.#consume(onBytes)) return total > 0 ? total : -ENOSPC;
    }
  }

  /** False: the fill queue is full, and what was delivered waits. */
  #consume(onBytes: OnBytes): boolean {
    const { rx } = this.#skq;
    for (let address = rx.peekAddress(); address >= 0; address = rx.peekAddress()) {
      const bytes = rx.peekLength();
      const { provided, start } = this.#context.areaAt(address)!;
      if (this.#ifq.fill.count() === this.#ifq.fill.entries) return false;
      onBytes(provided.area.region, address - start, bytes);
      this.#ifq.giveBack(address);
      rx.advance();
    }
    return true;
  }

  close(): void {
    this.#skq.close();
  }
}

/** NetGPU, as far as reception goes: one area of device memory, all of it on the fill queue. */
export const netgpu: MemoryModel = {
  name: "netgpu",
  bind: (deps: MemoryModelDeps, { dev, queueIndex, buffers }: MemoryModelOptions): MemoryBinding | number => {
    const context = new NetgpuContext(deps);
    const start = context.attachRegion(buffers);
    if (start < 0) return start;
    // Every buffer may come back in two pieces.
    const ifq = context.prepareQueue(dev, queueIndex, 2 ** Math.ceil(Math.log2(2 * buffers)));
    for (let i = 0; i < buffers; i++) ifq.fill.push(start + i * PAGE_SIZE, PAGE_SIZE);
    const errno = context.bindQueue(ifq);
    return errno < 0 ? errno : bindingOf(() => context.areas.map(({ provided }) => provided), (socket) => new Stream(context, ifq, context.attachSocket(socket, RX_ENTRIES)), () => ifq.close());
  },
};
