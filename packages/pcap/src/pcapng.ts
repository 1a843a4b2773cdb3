import { CaptureError } from "./api/index.ts";
import { NumberReader, type CutOff, type PacketTable } from "./reader.ts";

export const BLOCK_SECTION = 0x0a0d0d0a;
const BLOCK_INTERFACE = 1;
const BLOCK_PACKET_OLD = 2;
const BLOCK_SIMPLE_PACKET = 3;
const BLOCK_ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;
/** Type, length, and the length again at the end. */
const FRAME_BYTES = 12;
/** Far above any real block; below it a length is taken at its word. */
const MAX_BLOCK = 16 * 1024 * 1024;

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  /** Timestamp units a second. */
  readonly unitsPerSecond: bigint;
  readonly offsetSeconds: number;
}

/**
 * pcapng: sections of blocks, each block `type, length, body, length`. A section has its own byte order and its own
 * interfaces. Blocks of other kinds (names, statistics, secrets, comments) are passed over, as the format asks.
 */
export function readPcapng(path: string, bytes: Uint8Array, table: PacketTable): CutOff | null {
  let numbers = new NumberReader(bytes, true);
  let interfaces: Interface[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + 8 > bytes.length) return { recordOffset: at, missingBytes: at + FRAME_BYTES - bytes.length };
    // The section block's type reads the same in both orders; its order is in the body.
    if (numbers.u32(at) === BLOCK_SECTION) {
      if (at + 12 > bytes.length) return { recordOffset: at, missingBytes: at + 28 - bytes.length };
      numbers = new NumberReader(bytes, sectionIsLittle(path, bytes, at));
      interfaces = [];
    }
    const type = numbers.u32(at);
    const length = numbers.u32(at + 4);
    if (length < FRAME_BYTES || length % 4 !== 0 || length > MAX_BLOCK) throw new CaptureError(path, at, `block of type ${type} claims ${length} bytes; the file is damaged here`);
    if (length > bytes.length) throw new CaptureError(path, at, `block of ${length} bytes, longer than the whole file of ${bytes.length}; the file is damaged or cut off here`);
    if (at + length > bytes.length) return { recordOffset: at, missingBytes: at + length - bytes.length };
    const trailer = numbers.u32(at + length - 4);
    if (trailer !== length) throw new CaptureError(path, at + length - 4, `block length ${trailer} at its end, ${length} at its start; the file is damaged here`);
    const block = new Block(path, numbers, at, length);
    switch (type) {
      case BLOCK_INTERFACE: {
        const added = readInterface(block);
        interfaces.push(added);
        table.addLinkType(added.linkType);
        break;
      }
      case BLOCK_ENHANCED_PACKET: addPacket(block, interfaces, block.u32(8, "interface"), 12, 28, table); break;
      case BLOCK_PACKET_OLD: addPacket(block, interfaces, block.u16(8, "interface"), 12, 28, table); break;
      case BLOCK_SIMPLE_PACKET: addSimplePacket(block, interfaces, table); break;
    }
    at += length;
  }
  return null;
}

/** A block, read with its bounds checked. */
class Block {
  readonly path: string;
  readonly numbers: NumberReader;
  readonly at: number;
  readonly length: number;

  constructor(path: string, numbers: NumberReader, at: number, length: number) {
    this.path = path;
    this.numbers = numbers;
    this.at = at;
    this.length = length;
  }

  u16(offset: number, what: string): number {
    this.need(offset + 2, what);
    return this.numbers.u16(this.at + offset);
  }

  u32(offset: number, what: string): number {
    this.need(offset + 4, what);
    return this.numbers.u32(this.at + offset);
  }

  /** Bytes from the block's start that its body must reach. */
  need(end: number, what: string): void {
    if (end > this.length - 4) throw new CaptureError(this.path, this.at, `block of ${this.length} bytes is too short for its ${what}; the file is damaged here`);
  }
}

function sectionIsLittle(path: string, bytes: Uint8Array, at: number): boolean {
  for (const little of [true, false]) if (new NumberReader(bytes, little).u32(at + 8) === BYTE_ORDER_MAGIC) return little;
  throw new CaptureError(path, at + 8, "section header without a byte-order magic; the file is damaged here");
}

function readInterface(block: Block): Interface {
  const { numbers, at } = block;
  block.need(16, "link type");
  let unitsPerSecond = 1_000_000n;
  let offsetSeconds = 0;
  for (let option = at + 16; option + 4 <= at + block.length - 4;) {
    const code = numbers.u16(option);
    const size = numbers.u16(option + 2);
    if (code === 0) break;
    block.need(option + 4 + size - at, "options");
    if (code === OPTION_TSRESOL && size >= 1) unitsPerSecond = unitsOf(numbers.u8(option + 4));
    if (code === OPTION_TSOFFSET && size >= 8) offsetSeconds = Number(BigInt.asIntN(64, numbers.u64(option + 4)));
    option += 4 + ((size + 3) & ~3);
  }
  return { linkType: numbers.u16(at + 8), snapLength: numbers.u32(at + 12), unitsPerSecond, offsetSeconds };
}

/** Bit 7 set: a power of two; clear: a power of ten. */
function unitsOf(resolution: number): bigint {
  const exponent = BigInt(resolution & 0x7f);
  return (resolution & 0x80) !== 0 ? 2n ** exponent : 10n ** exponent;
}

/** Enhanced and old packet blocks: interface, timestamp (high, low), captured, on the wire, data. */
function addPacket(block: Block, interfaces: readonly Interface[], index: number, timeOffset: number, dataOffset: number, table: PacketTable): void {
  const described = interfaceOf(block, interfaces, index);
  block.need(dataOffset, "header");
  const { numbers, at } = block;
  const capturedBytes = numbers.u32(at + 20);
  const wireBytes = numbers.u32(at + 24);
  block.need(dataOffset + capturedBytes, `${capturedBytes} captured bytes`);
  const units = (BigInt(numbers.u32(at + timeOffset)) << 32n) | BigInt(numbers.u32(at + timeOffset + 4));
  const { unitsPerSecond, offsetSeconds } = described;
  table.add({
    recordOffset: at, dataOffset: at + dataOffset, capturedBytes, wireBytes, linkType: described.linkType,
    timeSeconds: Number(units / unitsPerSecond) + offsetSeconds,
    timeNanoseconds: Number(((units % unitsPerSecond) * 1_000_000_000n) / unitsPerSecond),
  });
}

/** No time, and the captured length follows from the interface's snap length. */
function addSimplePacket(block: Block, interfaces: readonly Interface[], table: PacketTable): void {
  const { linkType, snapLength } = interfaceOf(block, interfaces, 0);
  const wireBytes = block.u32(8, "length");
  const capturedBytes = snapLength === 0 ? wireBytes : Math.min(wireBytes, snapLength);
  block.need(12 + capturedBytes, `${capturedBytes} captured bytes`);
  table.add({ recordOffset: block.at, dataOffset: block.at + 12, capturedBytes, wireBytes, linkType, timeSeconds: -1, timeNanoseconds: 0 });
}

function interfaceOf(block: Block, interfaces: readonly Interface[], index: number): Interface {
  const found = interfaces[index];
  if (found === undefined) throw new CaptureError(block.path, block.at, `packet of interface ${index}, but its section describes ${interfaces.length}; the file is damaged here`);
  return found;
}
