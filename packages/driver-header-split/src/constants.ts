import { L1_CACHE_BYTES, PAGE_SIZE } from "@netmem/mm/api";
import { NET_SKB_PAD } from "@netmem/net-core/api";
import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";

/** Queues, descriptors of one: as many as the smallest of the two NICs this is like. */
export const HS_MOST_QUEUES = 16;
/** Receive descriptors. */
export const HS_RING_LIMITS: RingLimits = { least: 32, most: 4096 };
export const HS_TX_DESCRIPTORS = 512;
/** Bytes of a header buffer: no header of IPv4 and TCP is longer. What is not split has its first bytes there. gve has 128 unless the device says otherwise. @kernel GVE_DEFAULT_HEADER_BUFFER_SIZE (drivers/net/ethernet/google/gve/gve.h) */
export const HS_HEADER_BYTES = 256;
/** Of a page, for one header: what the stack wants in front, the bytes, and the shared info. @kernel BNXT_RX_COPY_THRESH, rx_buf_size of a head pool (drivers/net/ethernet/broadcom/bnxt/bnxt.c) */
export const HS_HEADER_TRUESIZE: number = (skbDataAlign(NET_SKB_PAD + HS_HEADER_BYTES) + SKB_SHARED_INFO_BYTES + L1_CACHE_BYTES - 1) & -L1_CACHE_BYTES;
/** Of one descriptor's payload buffer. */
export const HS_PAYLOAD_BYTES: number = PAGE_SIZE;
/** Descriptors that are filled again at a time. */
export const HS_REFILL_BATCH = 64;
/** A header buffer, and seventeen frags full of bytes. */
export const HS_MAX_FRAME_BYTES: number = HS_HEADER_BYTES + MAX_SKB_FRAGS * HS_PAYLOAD_BYTES;

export const HS_RXD_FIRST: number = 1 << 0;
export const HS_RXD_LAST: number = 1 << 1;
export const HS_RXD_ERROR: number = 1 << 2;
export const HS_RXD_SPLIT: number = 1 << 3;
export const HS_RXD_CSUM_OK: number = 1 << 4;

/** Little endian: status, frame bytes, payload address, header address, header bytes. 32 bytes. */
export const HS_RX_DESC: RxDescFormat = {
  sizeBytes: 32,
  statusWord: 0,
  sizeWord: 1,
  // Frames of 64 KiB are more than sixteen bits.
  sizeShift: 0,
  addressWord: 2,
  firstBit: HS_RXD_FIRST,
  lastBit: HS_RXD_LAST,
  errorBit: HS_RXD_ERROR,
  prefixBytes: 0,
  fcsBytes: 0,
  checksumBit: HS_RXD_CSUM_OK,
  headerSplit: { headerAddressWord: 3, headerSizeWord: 4, headerSizeShift: 0, splitBit: HS_RXD_SPLIT },
};

export const HS_TXD_FIRST: number = 1 << 0;
export const HS_TXD_LAST: number = 1 << 1;

/** Little endian: command, bytes, address. 16 bytes. */
export const HS_TX_DESC: TxDescFormat = { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: HS_TXD_FIRST, lastBit: HS_TXD_LAST };
