import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { NET_SKB_PAD } from "@netmem/net-core/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";

/** A descriptor brings one page: room for headers that are pushed later, what the NIC may write, and what an skb keeps at its end. */
export const HEADROOM: number = NET_SKB_PAD;
export const BUFFER_BYTES: number = PAGE_SIZE - HEADROOM - skbDataAlign(SKB_SHARED_INFO_BYTES);
/** A head and as many fragments as an skb has room for. */
export const MAX_FRAME_BYTES: number = (1 + MAX_SKB_FRAGS) * BUFFER_BYTES;

export const RING_LIMITS: RingLimits = { least: 32, most: 4096 };
export const TX_DESCRIPTORS = 512;
/** How long a queue without memory waits before it tries again. */
export const REFILL_RETRY_NS = 1_000_000;

export const RXD_FIRST = 1;
export const RXD_LAST = 2;
export const RXD_ERROR = 4;

/** Where the NIC finds and puts what, in 32-bit words: status, frame bytes, buffer address. */
export const RX_DESC: RxDescFormat = { sizeBytes: 16, statusWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: RXD_FIRST, lastBit: RXD_LAST, errorBit: RXD_ERROR, prefixBytes: 0, fcsBytes: 0 };
export const TX_DESC: TxDescFormat = { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: 1, lastBit: 2 };
