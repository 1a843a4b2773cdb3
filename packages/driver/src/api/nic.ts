import type { PayloadRegion } from "@netmem/mm/api";

/**
 * Where a receive descriptor keeps what, in 32-bit words from its start: a NIC is built for one such layout, and its
 * driver knows it.
 */
export interface RxDescFormat {
  readonly sizeBytes: number;
  /** Status word, written by the NIC when the descriptor is done. */
  readonly statusWord: number;
  /** Word and shift of the frame size, 16 bits, valid in the first descriptor of a frame. */
  readonly sizeWord: number;
  readonly sizeShift: number;
  /** Device address of the buffer, written by the driver. */
  readonly addressWord: number;
  /** Bits of the status word. */
  readonly firstBit: number;
  readonly lastBit: number;
  readonly errorBit: number;
  /** Zero bytes that the NIC puts in front of each frame. */
  readonly prefixBytes: number;
  /** Checksum bytes behind each frame: counted in the size, not transferred. */
  readonly fcsBytes: number;
}

/** Where a transmit descriptor keeps what; the driver writes all of it. */
export interface TxDescFormat {
  readonly sizeBytes: number;
  readonly commandWord: number;
  /** Word and shift of the bytes in this descriptor's buffer, 16 bits. */
  readonly sizeWord: number;
  readonly sizeShift: number;
  /** Device address of the bytes. */
  readonly addressWord: number;
  /** Bits of the command word. */
  readonly firstBit: number;
  readonly lastBit: number;
}

/** The registers of one transmit queue. */
export interface NicTxQueue {
  /** Ring base and entries. Only while stopped. */
  readonly configure: (ringDmaAddr: number, entries: number) => void;
  /** `n` more descriptors, behind those before, are to be sent. The doorbell. */
  readonly addPending: (n: number) => void;
  /** Descriptors sent and not taken back yet. */
  readonly sent: () => number;
  /** The driver is done with the oldest `n` of them. */
  readonly decSent: (n: number) => void;
  readonly start: () => void;
  /** No descriptor is read after this. */
  readonly stop: () => void;
}

/** The registers of one receive queue, as the driver programs it. */
export interface NicRxQueue {
  /** Ring base, entries, and the bytes a buffer takes. Only while stopped. */
  readonly configure: (ringDmaAddr: number, entries: number, bufferBytes: number) => void;
  /** `n` more descriptors, behind those posted before, may be filled. The doorbell. */
  readonly addNonOccupied: (n: number) => void;
  /** Descriptors filled and not handed back yet. */
  readonly occupied: () => number;
  /** The driver is done with the oldest `n`. */
  readonly decOccupied: (n: number) => void;
  /** An occupied queue interrupts at once. */
  readonly enableIrq: () => void;
  readonly disableIrq: () => void;
  readonly start: () => void;
  /** No descriptor is read or written after this. */
  readonly stop: () => void;
}

export interface NicStats {
  frames: number;
  bytes: number;
  /** Frames lost because the ring had no descriptor. */
  overruns: number;
  /** Frames given up because the IOMMU refused a transfer. */
  faults: number;
  /** Frames, and bytes of them, put on the wire. */
  sentFrames: number;
  sentBytes: number;
}

/** A NIC from the driver's side. */
export interface NicHardware {
  readonly name: string;
  readonly stats: NicStats;
  readonly rxQueues: readonly NicRxQueue[];
  /** One; a frame sent interrupts as a frame received does, on the line of receive queue 0. */
  readonly txQueues: readonly NicTxQueue[];
  /** Wires the queue's interrupt to a CPU. @kernel request_irq */
  readonly requestIrq: (queue: number, cpu: number, handler: () => void) => void;
  readonly freeIrq: (queue: number) => void;
}

/**
 * What arrives on the wire. The NIC asks for the next frame when it can take it; `prefixBytes` zero bytes must stand
 * before each frame in `region`.
 */
export interface FrameSource {
  readonly region: PayloadRegion;
  /** True: a full ring stops the wire. False: the frame is lost, and counted. */
  readonly lossless: boolean;
  /** Bytes of the frame that has arrived, or −1. */
  readonly peekBytes: () => number;
  /** Where it starts in `region`. */
  readonly peekOffset: () => number;
  /** On to the next one. */
  readonly advance: () => void;
}

/** Where sent frames go. */
export interface FrameSink {
  /** The bytes are put here by the NIC, from `offset`, at most `roomBytes`; what is longer is cut. */
  readonly region: PayloadRegion;
  readonly offset: () => number;
  readonly roomBytes: () => number;
  readonly frameSent: (bytes: number) => void;
}

/** A NIC from the wire's side. */
export interface NicWire {
  /** Keeps the source. */
  readonly connect: (source: FrameSource) => void;
  /** A frame has arrived at the source. */
  readonly frameArrived: () => void;
  /** Where the other end listens; null: nowhere, and frames are only counted. Keeps the sink. */
  readonly connectSink: (sink: FrameSink | null) => void;
}

export interface NicProbe {
  readonly received: (queue: number, bytes: number, descriptors: number) => void;
  readonly overrun: (queue: number, bytes: number) => void;
  readonly transmitted: (queue: number, bytes: number, descriptors: number) => void;
}
