import { PAGE_SIZE } from "@netmem/mm/api";
import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";

/** Two zero bytes before the Ethernet header. @kernel MVPP2_MH_SIZE (drivers/net/ethernet/marvell/mvpp2/mvpp2.h) */
export const MVPP2_MH_SIZE = 2;
/** What the hardware can leave free: less than XDP_PACKET_HEADROOM. @kernel MVPP2_SKB_HEADROOM */
export const MVPP2_SKB_HEADROOM = 224;
/** Pools of buffers in the hardware. @kernel MVPP2_BM_MAX_POOLS */
export const MVPP2_BM_MAX_POOLS = 8;
/** Each has two of them. @kernel MVPP2_PORT_MAX_RXQ, as far as the pools suffice */
export const MVPP2_MOST_QUEUES: number = MVPP2_BM_MAX_POOLS / 2;
/** Receive descriptors. @kernel MVPP2_MAX_RXD_MAX */
export const MVPP2_RING_LIMITS: RingLimits = { least: 32, most: 1024 };
/** @kernel MVPP2_MAX_TXD_DFLT */
export const MVPP2_MAX_TXD_DFLT = 1024;

/** A pool of the buffer manager, and the page pool behind it. */
export interface BmPoolKind {
  /** Bytes of a frame that a buffer takes. */
  readonly pktSize: number;
  /** Buffers in it. */
  readonly bufNum: number;
}
/** @kernel MVPP2_BM_SHORT_PKT_SIZE, MVPP2_BM_SHORT_BUF_NUM */
export const MVPP2_BM_SHORT: BmPoolKind = { pktSize: 128, bufNum: 2048 };
/** @kernel MVPP2_BM_LONG_PKT_SIZE, MVPP2_BM_LONG_BUF_NUM */
export const MVPP2_BM_LONG: BmPoolKind = { pktSize: 1664, bufNum: 1024 };

/** Of a page, for an skb over a buffer of such a pool. @kernel bm_pool.frag_size, as mvpp2_bm_pool_use_percpu sets it */
export function fragSize({ pktSize }: BmPoolKind): number {
  return skbDataAlign(MVPP2_SKB_HEADROOM + pktSize) + skbDataAlign(SKB_SHARED_INFO_BYTES);
}

/** With a program, which may move the ends further than that. @kernel MVPP2_MAX_RX_BUF_SIZE */
export const MVPP2_MAX_RX_BUF_SIZE: number = PAGE_SIZE - skbDataAlign(SKB_SHARED_INFO_BYTES) - MVPP2_SKB_HEADROOM;
/** One buffer takes one frame. */
export const MVPP2_MAX_FRAME_BYTES: number = MVPP2_BM_LONG.pktSize - MVPP2_MH_SIZE;

/** @kernel MVPP2_RXD_ERR_SUMMARY, MVPP2_RXD_BM_POOL_ID_OFFS, MVPP2_RXD_BM_POOL_ID_MASK, MVPP2_RXD_L4_CSUM_OK */
export const MVPP2_RXD_ERR_SUMMARY: number = 1 << 15;
export const MVPP2_RXD_BM_POOL_ID_OFFS = 16;
export const MVPP2_RXD_BM_POOL_ID_MASK = 0x7;
export const MVPP2_RXD_L4_CSUM_OK: number = 1 << 22;

/** @kernel struct mvpp22_rx_desc, little endian: status, (reserved, data_size), reserved, timestamp, buf_dma_addr, buf_cookie. 32 bytes */
export const MVPP2_RX_DESC: RxDescFormat = {
  sizeBytes: 32, statusWord: 0, sizeWord: 1, sizeShift: 16, addressWord: 4, firstBit: 0, lastBit: 0, errorBit: MVPP2_RXD_ERR_SUMMARY, prefixBytes: MVPP2_MH_SIZE, fcsBytes: 0,
  checksumBit: MVPP2_RXD_L4_CSUM_OK, bufferManager: { pools: MVPP2_BM_MAX_POOLS, cookieWord: 6, poolShift: MVPP2_RXD_BM_POOL_ID_OFFS },
};
/** @kernel struct mvpp22_tx_desc, little endian: command, (packet_offset, phys_txq, data_size), …, buf_dma_addr. 32 bytes; MVPP2_TXD_F_DESC, MVPP2_TXD_L_DESC */
export const MVPP2_TX_DESC: TxDescFormat = { sizeBytes: 32, commandWord: 0, sizeWord: 1, sizeShift: 16, addressWord: 4, firstBit: 1 << 29, lastBit: 1 << 28 };
