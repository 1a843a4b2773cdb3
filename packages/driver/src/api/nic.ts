import type { PayloadRegion } from "@netmem/mm/api";

/** What a receive descriptor has more where headers and payload of a frame go into buffers of their own. */
export interface HeaderSplitFormat {
  /** Word with the device address of the header buffer, written by the driver. */
  readonly headerAddressWord: number;
  /** Word and shift of the bytes that are in it, 16 bits; valid in the first descriptor of a frame. */
  readonly headerSizeWord: number;
  readonly headerSizeShift: number;
  /** Status bit: the frame was cut where its payload begins. Without it the header buffer has as much of the frame as fits. */
  readonly splitBit: number;
}

/** What a receive descriptor has more where buffers come from the NIC's buffer pools, and not from the driver's descriptors. */
export interface BufferManagerFormat {
  /** Pools that the NIC has. */
  readonly pools: number;
  /** Word with the buffer's cookie, written by the NIC. */
  readonly cookieWord: number;
  /** Shift, in the status word, of the pool that the buffer is from. */
  readonly poolShift: number;
}

/** What a receive descriptor is where it brings the memory of many frames, which take strides of it and complete in a queue of their own. @kernel struct mlx5e_rx_wqe_ll, mlx5_cqe64 (drivers/net/ethernet/mellanox/mlx5) */
export interface StridingFormat {
  /** Pages that a descriptor brings: their device addresses stand in as many words from `addressWord` on, and to the NIC they are one buffer. */
  readonly pages: number;
  /** An entry of the completion queue. */
  readonly completionBytes: number;
  /** Its word with the descriptor, and in the upper half the frame's first stride. */
  readonly strideWord: number;
  /** Its word with the frame's bytes, and in the upper half the strides that it took. */
  readonly bytesWord: number;
  /** Its word with the bits that a descriptor's status word has otherwise. */
  readonly completionStatusWord: number;
  /** No frame: the rest of a descriptor's strides, which a frame did not fit into. */
  readonly fillerBit: number;
}

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
  /** Device address of the buffer, written by the driver; by the NIC where that manages buffers. */
  readonly addressWord: number;
  /** Bits of the status word. */
  readonly firstBit: number;
  readonly lastBit: number;
  readonly errorBit: number;
  /** Zero bytes that the NIC puts in front of each frame. */
  readonly prefixBytes: number;
  /** Checksum bytes behind each frame: counted in the size, not transferred. */
  readonly fcsBytes: number;
  /** Status bit of the first descriptor: the NIC has verified the checksums of an IPv4 packet of TCP or UDP, and they are right. Absent: it verifies none. */
  readonly checksumBit?: number;
  /** Absent: it cannot split. */
  readonly headerSplit?: HeaderSplitFormat;
  /** Absent: each descriptor brings its buffer. Present: a frame is one descriptor, and one buffer. */
  readonly bufferManager?: BufferManagerFormat;
  /** Absent: a descriptor completes with its frame. Present: with nothing; frames complete elsewhere. */
  readonly striding?: StridingFormat;
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

/** A pool of buffers that the NIC takes from as frames arrive, oldest first. */
export interface NicBufferPool {
  /** Room for so many buffers, each of so many bytes. It is empty then; what was in it is forgotten. */
  readonly configure: (capacity: number, bufferBytes: number) => void;
  /** Buffers in it. */
  readonly buffers: () => number;
  /** One more, the device's now. `cookie`, 32 bits, comes back with it. False: it is full, and the buffer stays the caller's. */
  readonly put: (dmaAddr: number, cookie: number) => boolean;
  /** The oldest one is taken out, the caller's: its cookie, or −1. */
  readonly take: () => number;
}

/** The registers of one receive queue, as the driver programs it. */
export interface NicRxQueue {
  /** Ring base, entries, and the bytes a buffer takes; with strides those of the longest frame. Only while stopped. */
  readonly configure: (ringDmaAddr: number, entries: number, bufferBytes: number) => void;
  /** Header buffers take so many bytes; 0: there are none, and whole frames go into the others. Only while stopped. */
  readonly setHeaderSplit: (headerBufferBytes: number) => void;
  /** Pools that its buffers come from, by number: the first for frames that fit into its buffers, the second for others. Only while stopped. */
  readonly setBufferPools: (small: number, large: number) => void;
  /** Where frames complete, how many may wait there, and how the memory of a descriptor is cut; each frame begins `headroomBytes` into its strides. Throws for strides that are no part of that memory, and where there are none. Only while stopped. */
  readonly setStrides: (completionDmaAddr: number, completions: number, strideBytes: number, headroomBytes: number) => void;
  /** `n` more descriptors, behind those posted before, may be filled. The doorbell. */
  readonly addNonOccupied: (n: number) => void;
  /** Descriptors filled, or frames completed, and not handed back yet. */
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
  /** Frames lost because the ring had no descriptor, or the pools no buffer for them. */
  overruns: number;
  /** Frames given up because the IOMMU refused a transfer, or that arrived damaged. */
  faults: number;
  /** Frames, and bytes of them, put on the wire. */
  sentFrames: number;
  sentBytes: number;
}

/** Entries of the table that spreads flows over queues. */
export const RXFH_INDIR_SIZE = 128;
/** Bytes of the key that flows are hashed with. */
export const RXFH_KEY_SIZE = 40;

/** Frames of a flow that go to one queue, whatever their hash: IPv4, and of it what is named. @kernel struct ethtool_rx_flow_spec (include/uapi/linux/ethtool.h) */
export interface RxFlowRule {
  /** IPPROTO_TCP or IPPROTO_UDP; absent: either. */
  readonly protocol?: number;
  /** Addresses as unsigned numbers, ports; absent: any. */
  readonly saddr?: number;
  readonly daddr?: number;
  readonly sport?: number;
  readonly dport?: number;
  readonly queue: number;
}

/** Which queue a frame goes to: a rule's, or by its flow's hash the table's; what is no IPv4 goes to the first. */
export interface NicSteering {
  /** Which queue each of the RXFH_INDIR_SIZE entries names. Throws for another number of them, or a queue that there is not. @kernel ethtool_rxfh_param.indir */
  readonly setIndirection: (queues: readonly number[]) => void;
  /** Throws for another number of bytes than RXFH_KEY_SIZE. @kernel ethtool_rxfh_param.key, Toeplitz hash */
  readonly setKey: (key: Uint8Array) => void;
  /** The first rule that fits counts. Its id; throws for a queue that there is not. @kernel ETHTOOL_SRXCLSRLINS */
  readonly insertRule: (rule: RxFlowRule) => number;
  /** False: there is none. @kernel ETHTOOL_SRXCLSRLDEL */
  readonly deleteRule: (id: number) => boolean;
}

/** A NIC from the driver's side. */
export interface NicHardware {
  readonly name: string;
  readonly stats: NicStats;
  readonly rxQueues: readonly NicRxQueue[];
  /** As many as the descriptor format says. */
  readonly bufferPools: readonly NicBufferPool[];
  /** One; a frame sent interrupts as a frame received does, on the line of receive queue 0. */
  readonly txQueues: readonly NicTxQueue[];
  readonly steering: NicSteering;
  /** Wires the queue's interrupt to a CPU. @kernel request_irq */
  readonly requestIrq: (queue: number, cpu: number, handler: () => void) => void;
  readonly freeIrq: (queue: number) => void;
}

/** What stands between a driver and its NIC: answers what the driver is given in the NIC's place, and passes on what it likes. */
export type NicMiddleware = (nic: NicHardware) => NicHardware;

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
