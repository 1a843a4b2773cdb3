import { CaptureError, type Capture, type CapturedPacket } from "../src/api/index.ts";
import { readCapture } from "../src/index.ts";

/** Numbers and bytes, one behind the other, in one byte order. */
class Writer {
  readonly #bytes: number[] = [];
  readonly #little: boolean;

  constructor(little: boolean) {
    this.#little = little;
  }

  uint(value: number | bigint, bytes: number): this {
    for (let i = 0; i < bytes; i++) {
      const shift = BigInt(8 * (this.#little ? i : bytes - 1 - i));
      this.#bytes.push(Number((BigInt(value) >> shift) & 0xffn));
    }
    return this;
  }

  u16(...values: readonly number[]): this {
    for (const value of values) this.uint(value, 2);
    return this;
  }

  u32(...values: readonly number[]): this {
    for (const value of values) this.uint(value, 4);
    return this;
  }

  bytes(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  /** Zeros up to a multiple of 4. */
  pad(): this {
    while (this.#bytes.length % 4 !== 0) this.#bytes.push(0);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** `n` bytes, each its index. */
export function bytes(n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => i);
}

/** What is written of a packet. `fraction` is in the file's own unit. */
export interface Written {
  readonly bytes: Uint8Array;
  /** Default: as many as there are bytes. */
  readonly wireBytes?: number;
  readonly seconds?: number;
  readonly fraction?: number;
}

export interface ClassicOptions {
  readonly little?: boolean;
  readonly nanoseconds?: boolean;
  readonly linkType?: number;
}

export const CLASSIC_HEADER = 24;
export const CLASSIC_RECORD = 16;

/** A classic pcap file. */
export function classic(packets: readonly Written[], { little = true, nanoseconds = false, linkType = 1 }: ClassicOptions = {}): Uint8Array {
  const out = new Writer(little).u32(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4).u16(2, 4).u32(0, 0, 262_144, linkType);
  for (const { bytes, wireBytes = bytes.length, seconds = 0, fraction = 0 } of packets) {
    out.u32(seconds, fraction, bytes.length, wireBytes).bytes(bytes);
  }
  return out.done();
}

/** A pcapng block, in the byte order of the section it will be in. */
export type Block = (little: boolean) => Uint8Array;

/** A block of any type, its body padded. */
export function block(type: number, write: (body: Writer) => Writer): Block {
  return (little) => {
    const body = write(new Writer(little)).pad().done();
    const length = body.length + 12;
    return new Writer(little).u32(type, length).bytes(body).u32(length).done();
  };
}

export interface InterfaceOptions {
  readonly linkType?: number;
  readonly snapLength?: number;
  /** The option byte: an exponent of ten, or with bit 7 of two. */
  readonly tsresol?: number;
  readonly tsoffset?: bigint;
}

export function iface({ linkType = 1, snapLength = 0, tsresol, tsoffset }: InterfaceOptions = {}): Block {
  return block(1, (body) => {
    body.u16(linkType, 0).u32(snapLength);
    // A name first, of a length that needs padding: what is not known is passed over.
    body.u16(2, 5).bytes([0x65, 0x74, 0x68, 0x31, 0x30]).pad();
    if (tsresol !== undefined) body.u16(9, 1).bytes([tsresol]).pad();
    if (tsoffset !== undefined) body.u16(14, 8).uint(tsoffset, 8);
    return body.u16(0, 0);
  });
}

export interface NgPacket {
  readonly bytes: Uint8Array;
  readonly wireBytes?: number;
  readonly interfaceId?: number;
  /** Units of the interface's resolution since the epoch. */
  readonly units?: bigint;
}

/** Enhanced packet block, with a comment behind the data. */
export function enhanced({ bytes, wireBytes = bytes.length, interfaceId = 0, units = 0n }: NgPacket): Block {
  return block(6, (body) =>
    body.u32(interfaceId, Number(units >> 32n), Number(units & 0xffffffffn), bytes.length, wireBytes).bytes(bytes).pad()
      .u16(1, 3).bytes([0x68, 0x69, 0x21]).pad().u16(0, 0));
}

/** The obsolete packet block: a 16-bit interface, and a count of drops beside it. */
export function obsolete({ bytes, wireBytes = bytes.length, interfaceId = 0, units = 0n }: NgPacket, drops = 0): Block {
  return block(2, (body) =>
    body.u16(interfaceId, drops).u32(Number(units >> 32n), Number(units & 0xffffffffn), bytes.length, wireBytes).bytes(bytes));
}

/** Simple packet block: the bytes, and how many there were on the wire. */
export function simple(bytes: Uint8Array, wireBytes: number = bytes.length): Block {
  return block(3, (body) => body.u32(wireBytes).bytes(bytes));
}

export const SECTION_HEADER = 28;

/** A section header and its blocks. */
export function section(little: boolean, ...blocks: readonly Block[]): Uint8Array {
  const header = block(0x0a0d0d0a, (body) => body.u32(0x1a2b3c4d).u16(1, 0).uint(-1n, 8));
  return concat(header(little), ...blocks.map((part) => part(little)));
}

/** The file with one 32-bit number changed. */
export function patched(file: Uint8Array, offset: number, value: number, little = true): Uint8Array {
  const copy = file.slice();
  new DataView(copy.buffer).setUint32(offset, value, little);
  return copy;
}

export function read(file: Uint8Array): Capture {
  return readCapture("test.pcap", file);
}

export function captureErrorOf(file: Uint8Array): CaptureError {
  try {
    read(file);
  } catch (error) {
    if (error instanceof CaptureError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** A capture, or null where it is refused; anything else that is thrown comes through. */
export function readOrRefuse(file: Uint8Array): Capture | null {
  try {
    return read(file);
  } catch (error) {
    if (error instanceof CaptureError) return null;
    throw error;
  }
}

export function dataOf(capture: Capture, packet: CapturedPacket): number[] {
  return [...capture.bytes.subarray(packet.dataOffset, packet.dataOffset + packet.capturedBytes)];
}

/** Seconds and nanoseconds of each packet, as one number of nanoseconds. */
export function timesOf(capture: Capture): bigint[] {
  return capture.packets.map((packet) => BigInt(packet.timeSeconds) * 1_000_000_000n + BigInt(packet.timeNanoseconds));
}
