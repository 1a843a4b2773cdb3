import { EBADF, EINVAL, ENOTCONN } from "@netmem/kernel/api";
import { PAGE_SIZE, type VmArea } from "@netmem/mm/api";
import type { TcpListenOptions, TcpListener, TcpZerocopyReceive } from "../api/index.ts";
import type { PortTable } from "./ports.ts";
import type { TcpZerocopy } from "./tcp-zerocopy.ts";

/** @kernel TCP_LISTEN (net/ipv4/tcp.c) */
export class ListeningSocket implements TcpListener {
  readonly name: string;
  readonly #listeners: PortTable<TcpListenOptions>;
  readonly #options: TcpListenOptions;
  readonly #zerocopy: TcpZerocopy;
  #closed: boolean = false;

  constructor(listeners: PortTable<TcpListenOptions>, options: TcpListenOptions, zerocopy: TcpZerocopy) {
    this.name = options.name;
    this.#listeners = listeners;
    this.#options = options;
    this.#zerocopy = zerocopy;
  }

  recvmsg(): number {
    return this.#closed ? -EBADF : -ENOTCONN;
  }

  readSock(): number {
    return this.#closed ? -EBADF : -ENOTCONN;
  }

  spliceRead(): number {
    return this.#closed ? -EBADF : -ENOTCONN;
  }

  mmap(prot: number, lengthBytes: number): VmArea | number {
    return this.#closed ? -EBADF : this.#zerocopy.mmap(prot, lengthBytes, this.name);
  }

  zerocopyReceive(zc: TcpZerocopyReceive): number {
    if (this.#closed) return -EBADF;
    return zc.address % PAGE_SIZE === 0 ? -ENOTCONN : -EINVAL;
  }

  close(): void {
    this.#closed = true;
    this.#listeners.remove(this.#options.port, this.#options);
  }
}
