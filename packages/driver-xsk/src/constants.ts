import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { ETH_FCS_LEN, NET_SKB_PAD } from "@netmem/net-core/api";
import { ETH_HLEN, XDP_PACKET_HEADROOM } from "@netmem/xdp/api";

/** @kernel MTL_MAX_RX_QUEUES (include/linux/stmmac.h) */
export const DW_MOST_QUEUES = 8;
/** Receive descriptors. @kernel DMA_MIN_RX_SIZE, DMA_MAX_RX_SIZE (drivers/net/ethernet/stmicro/stmmac/common.h) */
export const DW_RING_LIMITS: RingLimits = { least: 64, most: 1024 };
/** @kernel DMA_DEFAULT_TX_SIZE */
export const DW_TX_DESCRIPTORS = 512;
/** Chunks that are missing before more are asked for. @kernel STMMAC_RX_FILL_BATCH (drivers/net/ethernet/stmicro/stmmac/stmmac_main.c) */
export const DW_RX_FILL_BATCH = 16;
/** What a poll sends of a user's at most. @kernel STMMAC_XSK_TX_BUDGET_MAX */
export const DW_XSK_TX_BUDGET_MAX = 256;
/** Transmit descriptors that are left for others. @kernel STMMAC_TX_XSK_AVAIL */
export const DW_TX_XSK_AVAIL = 16;
/** A frame with two VLAN tags: a chunk must have room for it. @kernel stmmac_xdp_enable_pool (drivers/net/ethernet/stmicro/stmmac/stmmac_xdp.c) */
export const DW_LEAST_CHUNK_FRAME: number = 1514 + 2 * 4;
/** The largest MTU with programs. @kernel ETH_DATA_LEN */
export const DW_XDP_MTU = 1500;
/** @kernel JUMBO_LEN (drivers/net/ethernet/stmicro/stmmac/common.h) */
export const DW_MAX_FRAME_BYTES: number = 9000 + ETH_HLEN;
/** In front of a packet. @kernel stmmac_rx_offset (drivers/net/ethernet/stmicro/stmmac/stmmac.h) */
export const DW_HEADROOM: number = NET_SKB_PAD;
export const DW_XDP_HEADROOM: number = XDP_PACKET_HEADROOM;

/** Bytes that the hardware may fill of a buffer, for that MTU. The original goes on to 16 KiB, of several pages; here longer frames take several descriptors. @kernel stmmac_set_bfsize */
export function bufferBytesFor(mtu: number): number {
  return mtu > 1536 ? 2048 : 1536;
}

/** @kernel RDES3_FIRST_DESCRIPTOR, RDES3_LAST_DESCRIPTOR, RDES3_ERROR_SUMMARY (drivers/net/ethernet/stmicro/stmmac/dwmac4_descs.h) */
export const DW_RDES3_FIRST: number = 1 << 29;
export const DW_RDES3_LAST: number = 1 << 28;
export const DW_RDES3_ERROR: number = 1 << 15;
/** The checksums are right; the hardware says so by what it does not say in RDES1. */
export const DW_RDES3_CSUM_OK: number = 1 << 26;

/** Little endian: buffer address, nothing, frame bytes, status. The original has the bytes in the status of the last descriptor, this NIC in the first. 16 bytes. @kernel struct dma_desc (drivers/net/ethernet/stmicro/stmmac/descs.h) */
export const DW_RX_DESC: RxDescFormat = {
  sizeBytes: 16, statusWord: 3, sizeWord: 2, sizeShift: 0, addressWord: 0, firstBit: DW_RDES3_FIRST, lastBit: DW_RDES3_LAST, errorBit: DW_RDES3_ERROR, prefixBytes: 0, fcsBytes: ETH_FCS_LEN, checksumBit: DW_RDES3_CSUM_OK,
};
/** Little endian: buffer address, nothing, bytes, command. 16 bytes. @kernel TDES2_BUFFER1_SIZE_MASK, TDES3_FIRST_DESCRIPTOR, TDES3_LAST_DESCRIPTOR */
export const DW_TX_DESC: TxDescFormat = { sizeBytes: 16, commandWord: 3, sizeWord: 2, sizeShift: 0, addressWord: 0, firstBit: 1 << 29, lastBit: 1 << 28 };
