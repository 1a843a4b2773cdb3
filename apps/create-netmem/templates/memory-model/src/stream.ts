import { forEachPiece, type MemoryStream, type OnBytes, type SkbPieces } from "@netmem/memory-model/api";
import { skbRegion, type TcpSocket } from "@netmem/net-core/api";

/** All that a socket can have. */
const ALL = 0x7fff_ffff;

/**
 * A user who looks at the bytes of a connection where they lie, as long as the packet is there that brought them. One who wants to keep a piece takes a reference of its own, `ProvidedArea.giveToUser`, and gives it back, `putUser`.
 */
export class InPlaceStream implements MemoryStream {
  readonly #socket: TcpSocket;
  #onBytes: OnBytes = () => undefined;
  readonly #pieces: SkbPieces = {
    linear: (skb, offset, bytes) => {
      this.#onBytes(skbRegion(skb), skb.data + offset, bytes);
      return bytes;
    },
    frag: ({ netmem, offset }, skip, bytes) => {
      this.#onBytes(netmem!.region, netmem!.base + offset + skip, bytes);
      return bytes;
    },
  };

  constructor(socket: TcpSocket) {
    this.#socket = socket;
  }

  read(onBytes: OnBytes): number {
    this.#onBytes = onBytes;
    return this.#socket.readSock(ALL, (skb, offset, bytes) => forEachPiece(skb, offset, bytes, this.#pieces));
  }

  close(): void {
    this.#onBytes = () => undefined;
  }
}
