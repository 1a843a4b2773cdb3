/** What kind of kernel memory a region stands for, which decides whether a driver may map it. */
export type RegionKind = "linear" | "vmalloc" | "stack" | "rodata" | "device";

/**
 * A run of bytes with one backing: host memory, a wire's staging area, a provider's device memory. Offsets are bytes
 * from the region's start.
 */
export class PayloadRegion {
  declare private readonly nominal: "PayloadRegion";
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The same bytes as 32-bit words, for descriptors. Byte offset ÷ 4 indexes it. Empty if adopted bytes do not start on a word. */
  readonly words: Int32Array;
  /** False for device memory: a CPU access is a report and does nothing. */
  readonly cpuReadable: boolean;
  /** Offset of byte 0 within the machine's backing buffer; −1 if it has a buffer of its own. */
  readonly base: number;
  readonly kind: RegionKind;

  constructor(name: string, bytes: Uint8Array, words: Int32Array, cpuReadable: boolean, base: number, kind: RegionKind) {
    this.name = name;
    this.bytes = bytes;
    this.words = words;
    this.cpuReadable = cpuReadable;
    this.base = base;
    this.kind = kind;
  }
}

/** The memory a machine's bytes live in. A caller may supply its own: a WebAssembly memory, an AF_XDP UMEM. */
export interface PayloadBacking {
  readonly buffer: ArrayBuffer;
  /** Whoever gives it vouches that as many bytes as the machine asks for are 0, which need not be copied then where the CPU's cache is modelled; it gets no more. */
  readonly zeroed?: boolean;
  /** Copies within `buffer`, ranges apart. Absent: a portable loop is used. */
  readonly copyWithin?: (target: number, source: number, lengthBytes: number) => void;
  /**
   * Sum of the 16-bit words of `buffer` from `at` on, as a little-endian machine reads them, an odd last byte being a word of its own: not folded,
   * below 2^31. `lengthBytes` is at most 65,536. Absent: a portable loop is used.
   */
  readonly sum16?: (at: number, lengthBytes: number) => number;
}

/** Every access of a CPU to packet bytes. */
export interface PayloadMemory {
  /** Reserves `lengthBytes` (multiple of 8) of the backing, as `vmalloc` memory or, unreadable, `device` memory unless said otherwise. Throws when the machine was created with too few bytes. */
  readonly addRegion: (name: string, lengthBytes: number, cpuReadable: boolean, kind?: RegionKind) => PayloadRegion;
  /** A region over bytes that stay the caller's. */
  readonly adoptRegion: (name: string, bytes: Uint8Array, cpuReadable: boolean) => PayloadRegion;
  /**
   * CPU copy of `lengthBytes`, the ranges apart. Either side unreadable: report `unreadable-access`, nothing copied,
   * false.
   */
  readonly copy: (
    target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number,
  ) => boolean;
  /** The same for a DMA engine, which may reach device memory. */
  readonly dmaCopy: (
    target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number,
  ) => void;
  /**
   * One's complement sum of the bytes as 16-bit words in network order, 0 … 65535, folded and not inverted; an odd last byte is the high half of a word.
   * Unreadable: report `unreadable-access`, 0. @kernel csum_partial, csum_fold (lib/checksum.c)
   */
  readonly checksum: (region: PayloadRegion, offset: number, lengthBytes: number) => number;
  /** One byte, 0 … 255, or −1 with a report when the region is not readable. */
  readonly readByte: (region: PayloadRegion, offset: number) => number;
}
