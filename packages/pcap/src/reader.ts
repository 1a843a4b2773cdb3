import type { CapturedPacket } from "./api/index.ts";

/** A cursor-less view of the file's numbers in one byte order. */
export class NumberReader {
  readonly #view: DataView;
  readonly #little: boolean;

  constructor(bytes: Uint8Array, little: boolean) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = little;
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, this.#little);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, this.#little);
  }

  u64(offset: number): bigint {
    return this.#view.getBigUint64(offset, this.#little);
  }
}

/** What the two formats' readers fill. */
export class PacketTable {
  readonly packets: CapturedPacket[] = [];
  readonly linkTypes: number[] = [];
  snapped = 0;

  addLinkType(linkType: number): void {
    if (!this.linkTypes.includes(linkType)) this.linkTypes.push(linkType);
  }

  add(packet: CapturedPacket): void {
    this.packets.push(packet);
    if (packet.capturedBytes < packet.wireBytes) this.snapped++;
  }
}

export interface CutOff {
  readonly recordOffset: number;
  readonly missingBytes: number;
}
