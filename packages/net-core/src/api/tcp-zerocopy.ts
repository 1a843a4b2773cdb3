import type { PayloadRegion, VmArea } from "@netmem/mm/api";

/** Of `TcpZerocopyReceive.flags`: nothing is mapped there, it need not be cleared first. @kernel TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT (include/uapi/linux/tcp.h) */
export const TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT = 1;

/** Asked, and answered in place, unless the call answers an errno, which leaves it as it was; the caller's. @kernel struct tcp_zerocopy_receive */
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
  /** How many may; how many did, or, where those behind pages could not be copied, a negative errno. In and out. */
  copybufLen: number;
  readonly flags: number;
  /** Bytes that can be read from here on, at least 1 once the end is known: whoever asks is to go on, and be told. Out. @kernel tcp_inq_hint */
  inq: number;
  /** Why there will be no more, a negative errno, said once; 0. Out. @kernel sock_error */
  err: number;
}
