import { ETH_DATA_LEN } from "@netmem/xdp/api";
import { IP_HLEN, TCP_HLEN, type SkBuff } from "../api/index.ts";

/** Ratios are 256ths. @kernel TCP_RMEM_TO_WIN_SCALE */
const TCP_RMEM_TO_WIN_SCALE = 8;
/** Bytes of payload that a segment is taken to have at first. @kernel TCP_MSS_DEFAULT */
const TCP_MSS_DEFAULT = 536;

/** How much payload fits into what a socket is charged, as its packets show. @kernel tcp_measure_rcv_mss (net/ipv4/tcp_input.c), tcp_win_from_space (include/net/tcp.h) */
export class ReceiveSpace {
  private readonly measures: boolean;
  private ratio: number;
  private mss: number;

  /** `measures`: else a half is payload, whatever comes. */
  constructor(measures: boolean, firstRatio: number) {
    this.measures = measures;
    this.ratio = firstRatio;
    this.mss = TCP_MSS_DEFAULT;
  }

  /** A segment, or as many as were merged: one that is longer than those before tells. */
  measure(skb: SkBuff): void {
    const { len, truesize } = skb;
    const segment = skb.shinfo!.gsoSize || len;
    if (segment <= this.mss || this.measures === false) return;
    this.ratio = Math.max(1, Math.floor((len << TCP_RMEM_TO_WIN_SCALE) / truesize)) & 0xff;
    this.mss = Math.min(segment, (skb.dev === null ? ETH_DATA_LEN : skb.dev.mtu) - IP_HLEN - TCP_HLEN);
  }

  winFromSpace(truesize: number): number {
    return this.measures ? Math.floor((truesize * this.ratio) / (1 << TCP_RMEM_TO_WIN_SCALE)) : truesize - (truesize >> 1);
  }
}
