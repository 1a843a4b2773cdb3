/** @kernel (none): LINKTYPE_ETHERNET of the capture formats */
export const LINKTYPE_ETHERNET = 1;

/** One packet of a capture; its bytes stay in the file's buffer. */
export interface CapturedPacket {
  /** Byte offset of the packet's record in the file. */
  readonly recordOffset: number;
  /** Byte offset and number of the captured bytes. */
  readonly dataOffset: number;
  readonly capturedBytes: number;
  /** Bytes the packet had on the wire; more than captured when a snap length cut it. */
  readonly wireBytes: number;
  /** Time of capture: seconds since the epoch, and nanoseconds within. −1 for a record without a time. */
  readonly timeSeconds: number;
  readonly timeNanoseconds: number;
  readonly linkType: number;
}

/** A whole capture file, read. */
export interface Capture {
  readonly path: string;
  readonly format: "pcap" | "pcapng";
  readonly bytes: Uint8Array;
  readonly packets: readonly CapturedPacket[];
  /** Link types in order of first appearance; of the file's header if it holds no packet. */
  readonly linkTypes: readonly number[];
  /** Packets with fewer bytes than were on the wire. */
  readonly snapped: number;
  /** Set when the file ends within a record: where that record starts, and how many bytes are missing. */
  readonly cutOff: { readonly recordOffset: number; readonly missingBytes: number } | null;
}

/** The file is not what it says, or not a capture: what, where, and what to do. */
export class CaptureError extends Error {
  readonly path: string;
  readonly byteOffset: number;

  constructor(path: string, byteOffset: number, message: string) {
    super(`${path}: byte ${byteOffset}: ${message}`);
    this.name = "CaptureError";
    this.path = path;
    this.byteOffset = byteOffset;
  }
}

const LINKTYPE_NAMES: Readonly<Record<number, string>> = {
  0: "NULL", 1: "ETHERNET", 101: "RAW", 105: "IEEE802_11", 108: "LOOP", 113: "LINUX_SLL", 127: "IEEE802_11_RADIOTAP",
  147: "USER0", 228: "IPV4", 229: "IPV6", 276: "LINUX_SLL2",
};

/** `276 (LINUX_SLL2)`. */
export function linkTypeName(linkType: number): string {
  const name = LINKTYPE_NAMES[linkType];
  return name === undefined ? String(linkType) : `${linkType} (${name})`;
}
