import { PAGE_SIZE } from "@netmem/mm/api";
import { bindingOf, type MemoryBinding, type MemoryModel, type MemoryModelDeps, type MemoryModelOptions, type MemoryStream, type OnBytes } from "@netmem/memory-model/api";
import type { TcpSocket } from "@netmem/net-core/api";
import { DmabufBinding } from "./binding.ts";
import { DevmemSocket, type DevmemCmsg } from "./socket.ts";

/** Bytes of one read, all of which may be in the host's memory. */
const READ_BYTES: number = 16 * PAGE_SIZE;

/** A user that looks at each piece where it lies, and returns its token. */
class Stream implements MemoryStream {
  readonly #binding: DmabufBinding;
  readonly #socket: DevmemSocket;
  readonly #user: ReturnType<MemoryModelDeps["payload"]["adoptRegion"]>;

  constructor(deps: MemoryModelDeps, binding: DmabufBinding, socket: TcpSocket) {
    this.#binding = binding;
    this.#socket = new DevmemSocket(deps, binding, socket);
    this.#user = deps.payload.adoptRegion("devmem reader", new Uint8Array(READ_BYTES), true);
  }

  read(onBytes: OnBytes): number {
    let total = 0;
    for (;;) {
      const cmsgs: DevmemCmsg[] = [];
      const got = this.#socket.recvmsg(READ_BYTES, this.#user, cmsgs);
      if (got <= 0) return total > 0 ? total : got;
      total += got;
      // Packets of the host's memory come without a word.
      if (cmsgs.length === 0) onBytes(this.#user, 0, got);
      let linear = 0;
      for (const cmsg of cmsgs) {
        if (cmsg.kind === "dmabuf") {
          onBytes(this.#binding.provided.area.region, cmsg.fragOffset, cmsg.fragSize);
          this.#socket.dontneed([{ tokenStart: cmsg.fragToken, tokenCount: 1 }]);
        } else {
          onBytes(this.#user, linear, cmsg.fragSize);
          linear += cmsg.fragSize;
        }
      }
    }
  }

  close(): void {
    this.#socket.close();
  }
}

/** devmem TCP: one dma-buf, bound to one queue. */
export const devmem: MemoryModel = {
  name: "devmem",
  bind: (deps: MemoryModelDeps, { dev, queueIndex, buffers }: MemoryModelOptions): MemoryBinding | number => {
    const binding = new DmabufBinding(deps, 1, buffers);
    const errno = binding.bindQueue(dev, queueIndex);
    return errno < 0 ? errno : bindingOf(() => [binding.provided], (socket) => new Stream(deps, binding, socket), () => binding.unbind());
  },
};
