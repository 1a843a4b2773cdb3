import type { NapiStruct, NetDevice } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";

/** A consumer of received packets: a protocol, a tap. @kernel struct packet_type (include/linux/netdevice.h) */
export interface PacketHandler {
  /** Ethertype of what it takes; absent: whatever there is. @kernel packet_type.type */
  readonly protocol?: number;
  /** Consumes one user of the skb. Softirq. */
  readonly packetRcv: (skb: SkBuff) => void;
}

/** @kernel NET_RX_SUCCESS, NET_RX_DROP (include/linux/netdevice.h) */
export const NET_RX_SUCCESS = 0;
export const NET_RX_DROP = 1;

export interface ReceiveStats {
  /** Packets that went up, those merged of several being one. */
  received: number;
  /** Packets that became part of another. */
  groMerged: number;
  /** Of no protocol that anybody takes: dropped, unless a tap has taken it. */
  unhandled: number;
}

export interface NetReceive {
  readonly stats: ReceiveStats;
  /** From a driver's poll: held to be merged with what comes, if its device has GRO; goes up with some others, at the latest when the poll completes. Consumes. @kernel napi_gro_receive (net/core/gro.c) */
  readonly napiGroReceive: (napi: NapiStruct, skb: SkBuff) => void;
  /** Those chained through `next`, in order: programs and taps see all of them before the protocol gets the first, as long as they are of one device and all for that. Consumes. @kernel netif_receive_skb_list (net/core/dev.c) */
  readonly netifReceiveSkbList: (first: SkBuff | null) => void;
  /** Consumes. @kernel netif_receive_skb (net/core/dev.c) */
  readonly netifReceiveSkb: (skb: SkBuff) => void;
  /** From a device without an instance of its own: goes up in the next receive softirq of this CPU. Any context. Consumes; NET_RX_DROP: dropped, its device being down or a thousand waiting. @kernel netif_rx (net/core/dev.c) */
  readonly netifRx: (skb: SkBuff) => number;
  /**
   * A packet that another device sent, its MAC header first, becomes one that `dev` has received, for the caller to pass up; what a user owns in it is copied. NET_RX_SUCCESS:
   * it stays the caller's. NET_RX_DROP: consumed, since `dev` is down, the packet is longer than its MTU, or there is no memory. @kernel __dev_forward_skb (net/core/dev.c)
   */
  readonly devForwardSkb: (dev: NetDevice, skb: SkBuff) => number;
  /** Sees every packet: what is received before the protocol does, one user more, or where no protocol takes it the last tap as its only one; those of all devices first, and the newest first; what is sent before the driver does, as a clone that is at its MAC header. What XDP sends it does not see. `dev`: only that device's. Keeps the handler. Process context. @kernel dev_add_pack with ETH_P_ALL */
  readonly addTap: (handler: PacketHandler, dev?: NetDevice | null) => void;
  readonly removeTap: (handler: PacketHandler) => void;
  /** Where packets end up, those of its `protocol`; others, and with null all, are dropped. @kernel dev_add_pack */
  readonly setProtocol: (handler: PacketHandler | null) => void;
}

/** A socket's receive queue. It holds skbs, and so their pages, until somebody reads. */
export interface ReceiveSocket extends PacketHandler {
  readonly name: string;
  /** Packets waiting. */
  readonly length: () => number;
  /** Bytes of `truesize` they pin. @kernel sk_rmem_alloc */
  readonly rmemAlloc: () => number;
  readonly drops: () => number;
  /** Those waiting, oldest first; they stay the socket's. For inspection. */
  readonly packets: () => readonly SkBuff[];
  /** The oldest, the caller's from now on, or null. @kernel skb_recv_datagram */
  readonly dequeue: () => SkBuff | null;
  /** Drops what waits and takes no more. @kernel sock_release */
  readonly close: () => void;
}

export interface SocketOptions {
  readonly name: string;
  /** Bytes of truesize it may hold; a packet beyond is dropped with SOCKET_RCVBUFF, of a tap only the next, with PACKET_SOCK_ERROR. Default: no limit. */
  readonly rcvbufBytes?: number;
  /** Called after a packet was queued, in softirq. @kernel sk_data_ready */
  readonly dataReady?: () => void;
}

export interface Sockets {
  readonly open: (options: SocketOptions) => ReceiveSocket;
  /** A tap: a socket that gets its own clone of every packet, from its link-layer header on. @kernel packet_rcv (net/packet/af_packet.c), of SOCK_RAW */
  readonly openTap: (options: SocketOptions) => ReceiveSocket;
}
