import { ENOSPC } from "@netmem/kernel/api";
import { bindingOf, type MemoryBinding, type MemoryModel, type MemoryModelDeps, type MemoryModelOptions, type MemoryStream, type OnBytes } from "@netmem/memory-model/api";
import { ZcrxIfq } from "./ifq.ts";
import { ZcrxReceive } from "./recv.ts";

const MOST_CQES = 1024;
/** Bytes asked for at a time: all that a socket can have. */
const ALL = 0x7fff_ffff;

/** A user that looks at each piece where it lies, and puts its buffer into the refill ring. */
class Stream implements MemoryStream {
  readonly #ifq: ZcrxIfq;
  readonly #receive: ZcrxReceive;

  constructor(ifq: ZcrxIfq, receive: ZcrxReceive) {
    this.#ifq = ifq;
    this.#receive = receive;
  }

  read(onBytes: OnBytes): number {
    const { region } = this.#ifq.provided.area;
    let total = 0;
    for (;;) {
      const got = this.#receive.receive(ALL);
      if (got <= 0 && got !== -ENOSPC) return total > 0 ? total : got;
      total += Math.max(0, got);
      for (let cqe = this.#receive.nextCqe(); cqe !== null; cqe = this.#receive.nextCqe()) {
        onBytes(region, cqe.off, cqe.len);
        this.#giveBack(cqe.off);
      }
    }
  }

  close(): void {
    for (let cqe = this.#receive.nextCqe(); cqe !== null; cqe = this.#receive.nextCqe()) this.#giveBack(cqe.off);
  }

  #giveBack(offset: number): void {
    if (this.#ifq.refill(offset)) return;
    this.#ifq.flushRefills();
    this.#ifq.refill(offset);
  }
}

/** io_uring zero-copy receive: one area, one queue, a refill ring that has room for every buffer. */
export const zcrx: MemoryModel = {
  name: "zcrx",
  bind: (deps: MemoryModelDeps, { dev, queueIndex, buffers }: MemoryModelOptions): MemoryBinding | number => {
    const ifq = new ZcrxIfq(deps, dev, queueIndex, buffers, 2 ** Math.ceil(Math.log2(buffers)));
    const errno = ifq.open();
    return errno < 0 ? errno : bindingOf(() => [ifq.provided], (socket) => new Stream(ifq, new ZcrxReceive(deps, ifq, socket, MOST_CQES)), () => ifq.close());
  },
};
