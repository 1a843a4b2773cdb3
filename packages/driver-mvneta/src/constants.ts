import { PAGE_SIZE } from "@netmem/mm/api";
import { ETH_FCS_LEN } from "@netmem/net-core/api";
import type { RingLimits, RxDescFormat, TxDescFormat } from "@netmem/driver/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, XDP_PACKET_HEADROOM, skbDataAlign } from "@netmem/xdp/api";

/** Two zero bytes before the Ethernet header, so that the IP header is aligned. @kernel MVNETA_MH_SIZE (drivers/net/ethernet/marvell/mvneta.c) */
export const MVNETA_MH_SIZE = 2;
/** @kernel MVNETA_MAX_RXD */
export const MVNETA_MAX_RXD = 512;
/** Receive descriptors. */
export const MVNETA_RING_LIMITS: RingLimits = { least: 32, most: MVNETA_MAX_RXD };
/** @kernel MVNETA_SKB_HEADROOM */
export const MVNETA_SKB_HEADROOM: number = XDP_PACKET_HEADROOM;
/** Bytes of a page that the hardware may fill: between headroom and shared info. @kernel MVNETA_MAX_RX_BUF_SIZE */
export const MVNETA_MAX_RX_BUF_SIZE: number = PAGE_SIZE - skbDataAlign(SKB_SHARED_INFO_BYTES + MVNETA_SKB_HEADROOM);
/** Descriptors put back at most in one poll. */
export const MVNETA_REFILL_BATCH = 64;

/** @kernel MVNETA_RXD_ERR_SUMMARY, MVNETA_RXD_LAST_DESC, MVNETA_RXD_FIRST_DESC */
export const MVNETA_RXD_ERR_SUMMARY: number = 1 << 16;
export const MVNETA_RXD_LAST_DESC: number = 1 << 26;
export const MVNETA_RXD_FIRST_DESC: number = 1 << 27;
/** The hardware has looked at the headers of an IPv4 packet, and at its transport's checksum, and both are right. @kernel MVNETA_RXD_L3_IP4, MVNETA_RXD_L4_CSUM_OK */
export const MVNETA_RXD_CSUM_OK: number = (1 << 25) | (1 << 30);

/** @kernel MVNETA_MAX_TXD, MVNETA_TXD_F_DESC, MVNETA_TXD_L_DESC, MVNETA_TXD_Z_PAD */
export const MVNETA_MAX_TXD = 1024;
export const MVNETA_TXD_Z_PAD: number = 1 << 19;
export const MVNETA_TXD_L_DESC: number = 1 << 20;
export const MVNETA_TXD_F_DESC: number = 1 << 21;

/** @kernel struct mvneta_tx_desc, little endian: command, (reserved, data_size), buf_phys_addr, … 32 bytes */
export const MVNETA_TX_DESC: TxDescFormat = {
  sizeBytes: 32,
  commandWord: 0,
  sizeWord: 1,
  sizeShift: 16,
  addressWord: 2,
  firstBit: MVNETA_TXD_F_DESC,
  lastBit: MVNETA_TXD_L_DESC | MVNETA_TXD_Z_PAD,
};

/** A head and seventeen frags full of bytes. */
export const MVNETA_MAX_FRAME_BYTES: number = (MAX_SKB_FRAGS + 1) * MVNETA_MAX_RX_BUF_SIZE - MVNETA_MH_SIZE - ETH_FCS_LEN;

/** Bytes of a descriptor, as a shift, and of that where its words are. */
export const MVNETA_RXD_SHIFT = 5;
export const MVNETA_RXD_STATUS = 0;
export const MVNETA_RXD_SIZE = 4;
export const MVNETA_RXD_ADDRESS = 8;
/** Of the word with the frame's length, which is its upper half. */
export const MVNETA_RXD_SIZE_SHIFT = 16;

/** @kernel struct mvneta_rx_desc, little endian: status, (reserved, data_size), buf_phys_addr, … 32 bytes */
export const MVNETA_RX_DESC: RxDescFormat = {
  sizeBytes: 1 << MVNETA_RXD_SHIFT,
  statusWord: MVNETA_RXD_STATUS >> 2,
  sizeWord: MVNETA_RXD_SIZE >> 2,
  sizeShift: MVNETA_RXD_SIZE_SHIFT,
  addressWord: MVNETA_RXD_ADDRESS >> 2,
  firstBit: MVNETA_RXD_FIRST_DESC,
  lastBit: MVNETA_RXD_LAST_DESC,
  errorBit: MVNETA_RXD_ERR_SUMMARY,
  prefixBytes: MVNETA_MH_SIZE,
  fcsBytes: ETH_FCS_LEN,
  checksumBit: MVNETA_RXD_CSUM_OK,
};
