import { TASK_SLEEP, UsageError, type Kernel, type Runnable } from "@netmem/kernel/api";
import { GFP_KERNEL, type PayloadRegion } from "@netmem/mm/api";
import type { NetCore, ReceiveSocket, SkBuff } from "@netmem/net-core/api";
import { ETH_HLEN } from "@netmem/xdp/api";

/** Which of a packet and its tapped clone is let go of first. */
export type FreeOrder = "original" | "clone" | "alternate";
export const FREE_ORDERS: readonly FreeOrder[] = ["original", "clone", "alternate"];

/** Bytes that a reader collects before it hands them over. */
export const USER_BUFFER_BYTES = 131_072;

export interface ReaderOptions {
  /** CPU the reading process runs on. */
  readonly cpu: number;
  /** Packets it leaves waiting in the socket, until `drain`. */
  readonly lag: number;
  /** Every packet is cloned to a tap, which frees later. */
  readonly tap: boolean;
  /** The clone's head is made private before it is freed. */
  readonly expand: boolean;
  readonly freeOrder: FreeOrder;
  /** Gets the bytes read, MAC headers included, in order; they are reused afterwards. */
  readonly onBytes: (bytes: Uint8Array) => void;
}

/** A process that reads a socket: copies each packet out, as recv does, then lets go of it. */
export class Reader {
  packets = 0;
  bytes = 0;
  /** Clones that could not be made private, for lack of memory. */
  expandFailures = 0;
  readonly #net: NetCore;
  readonly #kernel: Kernel;
  readonly #options: ReaderOptions;
  readonly #socket: ReceiveSocket;
  readonly #tap: ReceiveSocket | null;
  readonly #task: Runnable;
  readonly #user: PayloadRegion;
  #filled = 0;
  #lag: number;

  /** `user`: USER_BUFFER_BYTES of memory that the packets are read into. */
  constructor(kernel: Kernel, net: NetCore, user: PayloadRegion, options: ReaderOptions) {
    if (!FREE_ORDERS.includes(options.freeOrder)) throw new UsageError("machine", "freeOrder", options.freeOrder, `choose ${FREE_ORDERS.join(", ")}`);
    if (!Number.isInteger(options.lag) || options.lag < 0) throw new UsageError("machine", "lag", options.lag, "give a whole number of packets, 0 or more");
    this.#kernel = kernel;
    this.#net = net;
    this.#options = options;
    this.#lag = options.lag;
    this.#user = user;
    this.#task = kernel.scheduler.spawn({ name: "reader", cpu: options.cpu, run: () => this.#run() });
    this.#socket = net.sockets.open({ name: "reader", dataReady: () => kernel.scheduler.wake(this.#task) });
    net.receive.setProtocol(this.#socket);
    this.#tap = options.tap ? net.sockets.openTap({ name: "tap" }) : null;
    if (this.#tap !== null) net.receive.addTap(this.#tap);
  }

  /** Packets waiting in the socket. */
  waiting(): number {
    return this.#socket.length();
  }

  /** From now on nothing is left waiting. */
  drain(): void {
    this.#lag = 0;
    this.#kernel.scheduler.wake(this.#task);
  }

  /** Hands over what is left, and closes. */
  close(): void {
    this.#flush();
    this.#kernel.scheduler.remove(this.#task);
    this.#net.receive.setProtocol(null);
    this.#socket.close();
    if (this.#tap === null) return;
    this.#net.receive.removeTap(this.#tap);
    this.#tap.close();
  }

  #run(): number {
    while (this.#socket.length() > this.#lag) {
      const skb = this.#socket.dequeue()!;
      this.#read(skb);
      const clone = this.#tap === null ? null : this.#tap.dequeue();
      if (clone === null) this.#net.lifetime.skbAttemptDeferFree(skb);
      else this.#freePair(skb, clone);
      this.packets++;
    }
    return TASK_SLEEP;
  }

  /** The frame as it arrived: from the MAC header, which receive has pulled. */
  #read(skb: SkBuff): void {
    const headers = skb.macHeader < 0 ? 0 : skb.data - skb.macHeader;
    const length = skb.len + headers;
    if (this.#filled + length > this.#user.bytes.length) this.#flush();
    for (let done = 0; done < length;) {
      const bytes = Math.min(length - done, this.#user.bytes.length - this.#filled);
      if (this.#net.edit.skbCopyBits(skb, done - headers, this.#user, this.#filled, bytes) < 0) return;
      this.#filled += bytes;
      done += bytes;
      if (done < length) this.#flush();
    }
    this.bytes += length;
  }

  /** Freed here and now, since the order is what is being shown. */
  #freePair(original: SkBuff, clone: SkBuff): void {
    const { lifetime, edit } = this.#net;
    if (this.#options.expand && edit.pskbExpandHead(clone, ETH_HLEN, 0, GFP_KERNEL) < 0) this.expandFailures++;
    const { freeOrder } = this.#options;
    const cloneFirst = freeOrder === "clone" || (freeOrder === "alternate" && (this.packets & 1) === 1);
    lifetime.consumeSkb(cloneFirst ? clone : original);
    lifetime.consumeSkb(cloneFirst ? original : clone);
  }

  #flush(): void {
    if (this.#filled > 0) this.#options.onBytes(this.#user.bytes.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
