import { ETH_HLEN } from "@netmem/xdp/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { ST_HEADROOM, ST_LEAST_WQES, ST_MAX_FRAME_BYTES, ST_PAGES_PER_WQE, ST_SMALL_STRIDE_BYTES, ST_TAIL_BYTES, ST_XDP_HEADROOM } from "./constants.ts";

/** How a queue cuts up the memory of its descriptors. @kernel mlx5e_build_rq_params, mlx5e_rx_mpwqe_is_linear_skb (drivers/net/ethernet/mellanox/mlx5/core/en/params.c) */
export interface StrideLayout {
  /** A packet is one stride, and its stride becomes its head; otherwise it is as many as it needs, and they become its frags. */
  readonly isLinear: boolean;
  readonly strideBytes: number;
  readonly headroomBytes: number;
  readonly stridesPerWqe: number;
  readonly wqes: number;
  /** Longer ones the hardware does not take. */
  readonly mostFrameBytes: number;
}

/** For packets of the interface's MTU; null: with a program each must be a page's at most. `packets` are those that the queue is to hold. */
export function layoutFor(mtu: number, hasProgram: boolean, packets: number): StrideLayout | null {
  const headroomBytes = hasProgram ? ST_XDP_HEADROOM : ST_HEADROOM;
  const needed = headroomBytes + mtu + ETH_HLEN + ST_TAIL_BYTES;
  const isLinear = needed <= PAGE_SIZE;
  if (!isLinear && hasProgram) return null;
  // With a program a page is one packet's, which may leave with it.
  const strideBytes = !isLinear ? ST_SMALL_STRIDE_BYTES : hasProgram || needed > PAGE_SIZE / 2 ? PAGE_SIZE : PAGE_SIZE / 2;
  const stridesPerWqe = (ST_PAGES_PER_WQE * PAGE_SIZE) / strideBytes;
  const packetsPerWqe = isLinear ? stridesPerWqe : Math.max(1, Math.floor((ST_PAGES_PER_WQE * PAGE_SIZE) / (mtu + ETH_HLEN)));
  return { isLinear, strideBytes, headroomBytes: isLinear ? headroomBytes : 0, stridesPerWqe, wqes: Math.max(ST_LEAST_WQES, Math.ceil(packets / packetsPerWqe)), mostFrameBytes: isLinear ? strideBytes - headroomBytes - ST_TAIL_BYTES : ST_MAX_FRAME_BYTES };
}
