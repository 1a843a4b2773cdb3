import type { AfXdp, XdpSocket } from "../api/index.ts";
import { XskSocket, type SocketParts } from "./socket.ts";

/** @kernel xsk_create (net/xdp/xsk.c) */
export class XskSockets implements AfXdp {
  readonly hasMultiBuffer: boolean;
  readonly #parts: SocketParts;

  constructor(parts: SocketParts) {
    this.hasMultiBuffer = parts.hasMultiBuffer;
    this.#parts = parts;
  }

  createSocket(): XdpSocket {
    const socket = new XskSocket(this.#parts);
    this.#parts.binding.sockets.add(socket);
    return socket;
  }
}
