import type { DmaDevice, Page, PayloadRegion } from "@netmem/mm/api";
import type { XdpBuff } from "./buff.ts";
import type { NetDevice } from "./net-device.ts";
import type { XdpRxqInfo } from "./rxq.ts";

/** Of a bind. @kernel XDP_SHARED_UMEM, XDP_COPY, XDP_ZEROCOPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG (include/uapi/linux/if_xdp.h) */
export const XDP_SHARED_UMEM: number = 1 << 0;
export const XDP_COPY: number = 1 << 1;
export const XDP_ZEROCOPY: number = 1 << 2;
export const XDP_USE_NEED_WAKEUP: number = 1 << 3;
/** Packets in several buffers. From 6.6. */
export const XDP_USE_SG: number = 1 << 4;
/** Of a umem: chunks may lie anywhere. @kernel XDP_UMEM_UNALIGNED_CHUNK_FLAG */
export const XDP_UMEM_UNALIGNED_CHUNK_FLAG: number = 1 << 0;
/** In a ring's flags: the kernel sleeps, wake it by a system call. @kernel XDP_RING_NEED_WAKEUP */
export const XDP_RING_NEED_WAKEUP: number = 1 << 0;
/** In a descriptor's options: the packet goes on in the next. @kernel XDP_PKT_CONTD */
export const XDP_PKT_CONTD: number = 1 << 0;
/** Smallest chunk. @kernel XDP_UMEM_MIN_CHUNK_SIZE (net/xdp/xdp_umem.c) */
export const XDP_UMEM_MIN_CHUNK_SIZE = 2048;
/** Descriptors that one call, or one look at a socket, sends at most. @kernel TX_BATCH_SIZE, MAX_PER_SOCKET_BUDGET (net/xdp/xsk.c) */
export const TX_BATCH_SIZE = 32;
/** Of `sendmsg` and `recvmsg`. @kernel MSG_DONTWAIT (include/linux/socket.h) */
export const MSG_DONTWAIT = 0x40;
/** Of `poll`. @kernel EPOLLIN, EPOLLOUT (include/uapi/linux/eventpoll.h) */
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;

/** What a driver, or a direct transmit, answers for a packet. @kernel NETDEV_TX_OK, NET_XMIT_DROP, NETDEV_TX_BUSY (include/linux/netdevice.h) */
export const NETDEV_TX_OK = 0;
export const NET_XMIT_DROP = 1;
export const NETDEV_TX_BUSY = 0x10;

/**
 * One ring, as kernel and user both see it: indices run freely, 32 bits, and are masked at each use. Rx and completion ring: the kernel
 * produces. Fill and tx ring: the user does. Whoever produces writes entries behind `producer`, then `producer`; whoever consumes moves `consumer`.
 * @kernel struct xdp_ring (net/xdp/xsk_queue.h)
 */
export class XskRing {
  declare private readonly nominal: "XskRing";
  producer: number;
  consumer: number;
  /** Bits of XDP_RING_*. Written by the kernel. */
  flags: number;
  readonly entries: number;
  readonly mask: number;
  /** The low 48 bits of each address: bytes from the umem's start. */
  readonly addr: Int32Array;
  /** The high 16 bits: in unaligned mode, where in the chunk the data starts. */
  readonly offset: Int32Array;
  /** Of rx and tx entries only. */
  readonly len: Int32Array;
  readonly options: Int32Array;

  constructor(entries: number) {
    this.producer = 0;
    this.consumer = 0;
    this.flags = 0;
    this.entries = entries;
    this.mask = entries - 1;
    this.addr = new Int32Array(entries);
    this.offset = new Int32Array(entries);
    this.len = new Int32Array(entries);
    this.options = new Int32Array(entries);
  }
}

/** One entry of a tx or rx ring. @kernel struct xdp_desc (include/uapi/linux/if_xdp.h) */
export class XdpDesc {
  declare private readonly nominal: "XdpDesc";
  /** Bytes from the umem's start, the offset added. */
  addr: number;
  /** The address as the user wrote it, in its two parts: it goes back so. */
  base: number;
  offset: number;
  len: number;
  options: number;

  constructor() {
    this.addr = 0;
    this.base = 0;
    this.offset = 0;
    this.len = 0;
    this.options = 0;
  }
}

/** User memory that packets are received into and sent from. The pages are pinned while a socket has it. @kernel struct xdp_umem (include/net/xdp_sock.h) */
export class XdpUmem {
  declare private readonly nominal: "XdpUmem";
  /** In order; page n holds the bytes from n × 4096. The user's. */
  readonly pages: readonly Page[];
  readonly sizeBytes: number;
  readonly chunkSize: number;
  /** Bytes that the user keeps free at each chunk's start, beside XDP_PACKET_HEADROOM. */
  readonly headroom: number;
  readonly unaligned: boolean;
  /** Sockets that have it. */
  users: number;
  /** In zero-copy use. @kernel zc */
  zc: boolean;
  /** Packets in several buffers. @kernel XDP_UMEM_SG_FLAG */
  sg: boolean;

  constructor(pages: readonly Page[], chunkSize: number, headroom: number, unaligned: boolean, pageSize: number) {
    this.pages = pages;
    this.sizeBytes = pages.length * pageSize;
    this.chunkSize = chunkSize;
    this.headroom = headroom;
    this.unaligned = unaligned;
    this.users = 0;
    this.zc = false;
    this.sg = false;
  }
}

/** A chunk while the kernel has it, and the packet in it. @kernel struct xdp_buff_xsk (include/net/xsk_buff_pool.h) */
export class XdpBuffXsk {
  declare private readonly nominal: "XdpBuffXsk";
  readonly xdp: XdpBuff;
  readonly pool: XskBuffPool;
  /** Start of the chunk in the umem. @kernel orig_addr */
  origAddr: number;
  /** Device address of the chunk's start, and of where packets go: 0 without a device. */
  frameDma: number;
  dma: number;
  /** On the pool's list of recycled chunks. */
  free: boolean;
  next: XdpBuffXsk | null;
  /** The next buffer of the same packet. */
  nextFrag: XdpBuffXsk | null;

  constructor(xdp: XdpBuff, pool: XskBuffPool) {
    this.xdp = xdp;
    this.pool = pool;
    this.origAddr = 0;
    this.frameDma = 0;
    this.dma = 0;
    this.free = false;
    this.next = null;
    this.nextFrag = null;
  }
}

/**
 * Chunks of a umem on their way through one queue: user → fill ring → pool → driver → rx ring → user. A chunk that the driver gives up goes to
 * the pool's own list, not to a ring. Softirq.
 * @kernel struct xsk_buff_pool (include/net/xsk_buff_pool.h); drivers: include/net/xdp_sock_drv.h
 */
export interface XskBuffPool {
  readonly umem: XdpUmem;
  readonly dev: NetDevice | null;
  readonly queueId: number;
  /** Bytes a packet may take in one chunk. @kernel xsk_pool_get_rx_frame_size */
  readonly rxFrameSize: number;
  /** Recycled chunks. @kernel free_list_cnt */
  readonly freeListCnt: number;
  /** All buffers know this queue from now on. @kernel xsk_pool_set_rxq_info */
  readonly setRxqInfo: (rxq: XdpRxqInfo) => void;
  /** Maps the umem for a device, both directions: 0 or -ENOMEM, nothing left mapped. Process context. @kernel xsk_pool_dma_map */
  readonly dmaMap: (dma: DmaDevice) => number;
  /** @kernel xsk_pool_dma_unmap */
  readonly dmaUnmap: () => void;
  /** An empty chunk, the caller's: one recycled, else one from the fill ring. Null when there is none. @kernel xsk_buff_alloc, xp_alloc */
  readonly xskBuffAlloc: () => XdpBuff | null;
  /** Up to `n` into `out`, the caller's; how many. @kernel xsk_buff_alloc_batch, xp_alloc_batch */
  readonly xskBuffAllocBatch: (out: (XdpBuff | null)[], n: number) => number;
  /** Whether `n` are there, as far as can be said without looking at them. @kernel xsk_buff_can_alloc, xp_can_alloc */
  readonly xskBuffCanAlloc: (n: number) => boolean;
  /** With the fragments behind it, to the pool's list; again: nothing. Consumes. @kernel xsk_buff_free, xp_free */
  readonly xskBuffFree: (buff: XdpBuff) => void;
  /** `bytes` were received. The packet stays the caller's. @kernel xsk_buff_set_size */
  readonly xskBuffSetSize: (buff: XdpBuff, bytes: number) => void;
  /** `frag` is the next part of the packet that begins in `buff`. Keeps it; false with MAX_SKB_FRAGS, and it stays the caller's. @kernel xsk_buff_add_frag, xsk_buff_get_frag */
  readonly xskBuffAddFrag: (buff: XdpBuff, frag: XdpBuff) => boolean;
  /** Of a mapped pool. The packet stays the caller's. @kernel xsk_buff_xdp_get_dma */
  readonly xskBuffGetDma: (buff: XdpBuff) => number;
  /** The CPU may read it. The packet stays the caller's. @kernel xsk_buff_dma_sync_for_cpu */
  readonly xskBuffDmaSyncForCpu: (buff: XdpBuff) => void;
  /** The next descriptor to send, its completion reserved; at most 32 of a socket before the next one's turn. False: none, or the completion ring is full. @kernel xsk_tx_peek_desc (net/xdp/xsk.c) */
  readonly xskTxPeekDesc: (desc: XdpDesc) => boolean;
  /** Up to `n` at once into `out`, in whole packets; only of a pool with one socket, else one by one. How many. @kernel xsk_tx_peek_release_desc_batch */
  readonly xskTxPeekReleaseDescBatch: (out: readonly XdpDesc[], n: number) => number;
  /** The user sees what was consumed. @kernel xsk_tx_release */
  readonly xskTxRelease: () => void;
  /** The oldest `n` were sent: their chunks are the user's again. @kernel xsk_tx_completed */
  readonly xskTxCompleted: (n: number) => void;
  /** Device address of a byte of the umem. @kernel xsk_buff_raw_get_dma */
  readonly xskBuffRawGetDma: (addr: number) => number;
  /** The device may read `bytes` from there on, which the user wrote. @kernel xsk_buff_raw_dma_sync_for_device */
  readonly xskBuffRawDmaSyncForDevice: (dmaAddr: number, bytes: number) => void;
  readonly xskSetRxNeedWakeup: () => void;
  readonly xskClearRxNeedWakeup: () => void;
  readonly xskSetTxNeedWakeup: () => void;
  readonly xskClearTxNeedWakeup: () => void;
  /** @kernel xsk_uses_need_wakeup */
  readonly usesNeedWakeup: boolean;
}

/** The kernel's `rxInvalidDescs` is the rx ring's, where nothing is counted; here it is the fill ring's. @kernel struct xdp_statistics (include/uapi/linux/if_xdp.h) */
export interface XdpStatistics {
  readonly rxDropped: number;
  readonly rxInvalidDescs: number;
  readonly txInvalidDescs: number;
  readonly rxRingFull: number;
  readonly rxFillRingEmptyDescs: number;
  readonly txRingEmptyDescs: number;
}

/** An AF_XDP socket, as its user has it. Answers are 0 or negative errnos. Process context. @kernel struct xdp_sock (include/net/xdp_sock.h); net/xdp/xsk.c */
export interface XdpSocket {
  /** Null until made. The user's view of them. */
  readonly rx: XskRing | null;
  readonly tx: XskRing | null;
  readonly fill: XskRing | null;
  readonly completion: XskRing | null;
  readonly umem: XdpUmem | null;
  readonly pool: XskBuffPool | null;
  readonly dev: NetDevice | null;
  readonly queueId: number;
  /** Bound for zero copy. */
  readonly zc: boolean;
  /**
   * Registers user memory. -EBUSY (has one, or is bound), -EINVAL (no pages; chunk size below 2048, above a page, or, aligned, no power of two; headroom
   * that leaves no room; unknown flags). The pages are pinned until release, and remain the caller's. @kernel XDP_UMEM_REG, xdp_umem_reg (net/xdp/xdp_umem.c)
   */
  readonly umemReg: (pages: readonly Page[], chunkSize: number, headroom: number, flags: number) => number;
  /** `entries` a power of two. -EINVAL, or -EBUSY once bound; fill and completion ring need no umem of one's own. @kernel XDP_RX_RING, xsk_init_queue */
  readonly rxRing: (entries: number) => number;
  readonly txRing: (entries: number) => number;
  readonly fillRing: (entries: number) => number;
  readonly completionRing: (entries: number) => number;
  /**
   * To a queue of a device. -EINVAL (flags, rings missing, no such queue, several at odds), -EBUSY (bound before; or the queue is taken), -ENODEV (it is gone), -EBADF for a socket without what is to be
   * shared, and, with XDP_ZEROCOPY, what kept the driver from it; without it, copy mode then. `shared`: whose umem to share, with XDP_SHARED_UMEM. @kernel xsk_bind
   */
  readonly bind: (dev: NetDevice, queueId: number, flags: number, shared: XdpSocket | null) => number;
  /** Kicks transmission. -ENXIO, -ENETDOWN, -EOPNOTSUPP (would block), -ENOBUFS (no tx ring), -EAGAIN (more to do, or the completion ring is full), or of the packet. @kernel xsk_sendmsg */
  readonly sendmsg: (flags: number) => number;
  /** Kicks reception. @kernel xsk_recvmsg */
  readonly recvmsg: (flags: number) => number;
  /** EPOLLIN, EPOLLOUT; and wakes a driver that asked for it. @kernel xsk_poll */
  readonly poll: () => number;
  /** @kernel XDP_STATISTICS */
  readonly statistics: () => XdpStatistics;
  /** Called when something has come, in softirq; null for nobody. The user's to set. @kernel sk_data_ready */
  dataReady: (() => void) | null;
  /** -ENETDOWN once, after its device has gone. @kernel SO_ERROR, sk_err */
  readonly soError: () => number;
  /** @kernel xsk_release */
  readonly release: () => void;
}

/** A packet on its way out in copy mode; whoever builds it takes its bytes, and says when it is gone. */
export interface XskTxPacket {
  readonly len: number;
  /** All bytes to `target`. */
  readonly copyTo: (target: PayloadRegion, targetOffset: number) => void;
  /** The packet is freed, sent or not: the chunks may go back to the user. @kernel xsk_destruct_skb */
  readonly destruct: () => void;
}

/** The stack's transmit path, for sockets in copy mode. net-core implements it. */
export interface XskTransmitter {
  /**
   * Builds a packet and sends it, past all queues. NETDEV_TX_OK; NET_XMIT_DROP: it is gone; NETDEV_TX_BUSY: not sent, and not destructed; -EAGAIN without
   * memory. @kernel xsk_build_skb, __dev_direct_xmit
   */
  readonly directXmit: (dev: NetDevice, queueId: number, packet: XskTxPacket) => number;
}

export interface AfXdp {
  /** @kernel xsk_create */
  readonly createSocket: () => XdpSocket;
  /** Kernels before 6.6 know no XDP_USE_SG. */
  readonly hasMultiBuffer: boolean;
}
