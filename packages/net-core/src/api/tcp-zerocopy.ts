import type { PayloadRegion, VmArea } from "@netmem/mm/api";

/** Of `TcpZerocopyReceive.flags`: nothing is mapped there, it need not be cleared first. @kernel TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT (include/uapi/linux/tcp.h) */
export const TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT = 1;

/** Asked, and answered in place; the caller's. @kernel struct tcp_zerocopy_receive */
export interface TcpZerocopyReceive {
  /** Where pages are to appear: an area of `TcpSocket.mmap`, an address in it. In. */
  readonly area: VmArea;
  readonly address: number;
  /** Bytes that may be mapped; bytes that were. In and out. */
  length: number;
  /** Bytes that come next and cannot be mapped: to be read. Out. */
  recvSkipHint: number;
  /** Where bytes go that are too few to be mapped. In. */
  readonly copybuf: PayloadRegion | null;
  readonly copybufOffset: number;
  /** How many may; how many did. In and out. */
  copybufLen: number;
  readonly flags: number;
}
