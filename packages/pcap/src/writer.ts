import { LINKTYPE_ETHERNET } from "./api/index.ts";
import { HEADER_BYTES, MAGIC_NANOSECONDS, MAX_SNAPLEN, RECORD_BYTES } from "./classic.ts";

/**
 * Writes a capture: classic pcap, little endian, nanoseconds, in memory. Packets are copied as they are added, and a longer one than any reader accepts is cut, as a
 * snap length cuts it. For the whole file: `toBytes`, as often as wanted.
 */
export class CaptureWriter {
  #bytes: Uint8Array = new Uint8Array(65_536);
  #view: DataView = new DataView(this.#bytes.buffer);
  #length: number = HEADER_BYTES;
  #packets = 0;

  /** `linkType`: LINKTYPE_… of all packets. */
  constructor(linkType: number = LINKTYPE_ETHERNET) {
    this.#u32(0, MAGIC_NANOSECONDS);
    // Version 2.4.
    this.#u32(4, 2 | (4 << 16));
    this.#u32(16, MAX_SNAPLEN);
    this.#u32(20, linkType);
  }

  get packets(): number {
    return this.#packets;
  }

  /**
   * `lengthBytes` of `bytes` from `offset`, which stay the caller's. Time: seconds since the epoch, 0 … 2^32 − 1, and nanoseconds within, 0 … 999 999 999. `wireBytes`: how long it was on the wire, if these are only its beginning.
   */
  add(bytes: Uint8Array, offset: number, lengthBytes: number, timeSeconds: number, timeNanoseconds: number, wireBytes: number = lengthBytes): void {
    const captured = Math.min(lengthBytes, MAX_SNAPLEN);
    const at = this.#length;
    this.#makeRoom(at + RECORD_BYTES + captured);
    this.#u32(at, timeSeconds);
    this.#u32(at + 4, timeNanoseconds);
    this.#u32(at + 8, captured);
    this.#u32(at + 12, wireBytes);
    this.#bytes.set(bytes.subarray(offset, offset + captured), at + RECORD_BYTES);
    this.#length = at + RECORD_BYTES + captured;
    this.#packets++;
  }

  /** The file so far; a copy. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(bytes, 2 * this.#bytes.length));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
