import { PAGE_SIZE } from "@netmem/mm/api";
import { ETH_FCS_LEN } from "@netmem/net-core/api";
import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";

export const SP_MOST_QUEUES = 16;
/** Receive descriptors. @kernel IXGBE_MIN_RXD, IXGBE_MAX_RXD_82599 (drivers/net/ethernet/intel/ixgbe/ixgbe.h) */
export const SP_RING_LIMITS: RingLimits = { least: 64, most: 8192 };
/** @kernel IXGBE_DEFAULT_TXD */
export const SP_TX_DESCRIPTORS = 512;
/** Of a page, for one packet. @kernel ixgbe_rx_pg_size(rx_ring) / 2 */
export const SP_TRUESIZE: number = PAGE_SIZE / 2;
/** Bytes that the hardware may fill of it. @kernel IXGBE_RXBUFFER_1536, IXGBE_MAX_2K_FRAME_BUILD_SKB */
export const SP_BUFFER_BYTES = 1536;
/** In front of them: what is left beside the shared info. @kernel IXGBE_SKB_PAD, ixgbe_compute_pad */
export const SP_HEADROOM: number = SP_TRUESIZE - SP_BUFFER_BYTES - skbDataAlign(SKB_SHARED_INFO_BYTES);
/** References that a driver takes of a page at a time, so that it need not count each packet. @kernel USHRT_MAX, as the initial pagecnt_bias */
export const SP_BIAS_MAX = 0xffff;
/** Descriptors that are filled again at a time. @kernel IXGBE_RX_BUFFER_WRITE */
export const SP_REFILL_BATCH = 16;
/** A head and seventeen frags full of bytes. */
export const SP_MAX_FRAME_BYTES: number = (MAX_SKB_FRAGS + 1) * SP_BUFFER_BYTES - ETH_FCS_LEN;

export const SP_RXD_FIRST: number = 1 << 0;
/** @kernel IXGBE_RXD_STAT_EOP */
export const SP_RXD_LAST: number = 1 << 1;
export const SP_RXD_ERROR: number = 1 << 2;
export const SP_RXD_CSUM_OK: number = 1 << 3;

/** Little endian: status, frame bytes, buffer address. 16 bytes. */
export const SP_RX_DESC: RxDescFormat = {
  sizeBytes: 16, statusWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: SP_RXD_FIRST, lastBit: SP_RXD_LAST, errorBit: SP_RXD_ERROR, prefixBytes: 0, fcsBytes: 0, checksumBit: SP_RXD_CSUM_OK,
};
/** Little endian: command, bytes, address. 16 bytes. */
export const SP_TX_DESC: TxDescFormat = { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: 1, lastBit: 2 };
