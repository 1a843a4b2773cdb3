import { PAGE_SIZE } from "@netmem/mm/api";
import { NET_SKB_PAD } from "@netmem/net-core/api";
import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, XDP_PACKET_HEADROOM, skbDataAlign } from "@netmem/xdp/api";

export const ST_MOST_QUEUES = 16;
/** Frames, as it is counted for users; descriptors are made of so many. @kernel MLX5E_PARAMS_MINIMUM_LOG_RQ_SIZE_MPW (drivers/net/ethernet/mellanox/mlx5/core/en.h) */
export const ST_RING_LIMITS: RingLimits = { least: 64, most: 8192 };
export const ST_TX_DESCRIPTORS = 512;
/** Pages of a descriptor's memory; the original has 64. @kernel MLX5_MPWRQ_MAX_PAGES_PER_WQE */
export const ST_PAGES_PER_WQE = 16;
/** Descriptors at least, so that one can be filled while another is emptied. @kernel MLX5E_RX_MPW… of log_rq_size */
export const ST_LEAST_WQES = 2;
/** Strides of packets that may take any number of them. @kernel MLX5_MPWRQ_MIN_LOG_STRIDE_SZ */
export const ST_SMALL_STRIDE_BYTES = 64;
/** Bytes of a packet that are copied into a head of its own, where it lies in many strides. @kernel MLX5E_RX_MAX_HEAD (drivers/net/ethernet/mellanox/mlx5/core/en_rx.c) */
export const ST_HEAD_BYTES = 256;
/** Holders that a page has while it is posted: as many as there can be packets in it. @kernel MLX5E_PAGECNT_BIAS_MAX */
export const ST_PAGECNT_BIAS_MAX: number = PAGE_SIZE / ST_SMALL_STRIDE_BYTES;
/** In front of a packet that is the page's: room to push headers; with a program, what it may want. @kernel MLX5_RX_HEADROOM, mlx5e_get_linear_rq_headroom */
export const ST_HEADROOM: number = NET_SKB_PAD;
export const ST_XDP_HEADROOM: number = XDP_PACKET_HEADROOM;
/** Behind it: the shared info. */
export const ST_TAIL_BYTES: number = skbDataAlign(SKB_SHARED_INFO_BYTES);
/** A packet must fit into one descriptor's memory, and have no more frags than an skb can hold. */
export const ST_MAX_FRAME_BYTES: number = Math.min(ST_PAGES_PER_WQE, MAX_SKB_FRAGS - 1) * PAGE_SIZE;

export const ST_CQE_VALID: number = 1 << 0;
export const ST_CQE_ERROR: number = 1 << 1;
export const ST_CQE_CSUM_OK: number = 1 << 2;
/** @kernel MPWRQ filler, mpwrq_is_filler_cqe */
export const ST_CQE_FILLER: number = 1 << 3;
export const ST_CQE_STRIDE_WORD = 0;
export const ST_CQE_BYTES_WORD = 1;
export const ST_CQE_STATUS_WORD = 2;
export const ST_CQE_BYTES = 16;

/** Little endian: the addresses of the pages. */
export const ST_RX_DESC: RxDescFormat = {
  sizeBytes: ST_PAGES_PER_WQE * 4, statusWord: 0, sizeWord: 0, sizeShift: 0, addressWord: 0, firstBit: ST_CQE_VALID, lastBit: 0, errorBit: ST_CQE_ERROR, prefixBytes: 0, fcsBytes: 0, checksumBit: ST_CQE_CSUM_OK,
  striding: { pages: ST_PAGES_PER_WQE, completionBytes: ST_CQE_BYTES, strideWord: ST_CQE_STRIDE_WORD, bytesWord: ST_CQE_BYTES_WORD, completionStatusWord: ST_CQE_STATUS_WORD, fillerBit: ST_CQE_FILLER },
};
/** Little endian: command, bytes, address. 16 bytes. */
export const ST_TX_DESC: TxDescFormat = { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: 1, lastBit: 2 };
