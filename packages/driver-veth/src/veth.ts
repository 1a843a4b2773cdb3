import type { InRings, Link, LinkDeps, LinkDriver, LinkEnd, LinkOptions } from "@netmem/driver/api";
import { EINVAL, ENOSPC, ENOTCONN, ENXIO, ERANGE, UsageError } from "@netmem/kernel/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { NET_RX_SUCCESS, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import {
  ETH_HLEN, ETH_MAX_MTU, MAX_SKB_FRAGS, MEM_TYPE_PAGE_SHARED, NETDEV_TX_OK, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_NDO_XMIT, NETDEV_XDP_ACT_NDO_XMIT_SG, NETDEV_XDP_ACT_REDIRECT, NETDEV_XDP_ACT_RX_SG, NET_XMIT_DROP,
  SKB_SHARED_INFO_BYTES, XDP_PACKET_HEADROOM, XDP_XMIT_FLUSH, xdpGetFrameLen, xdpOkFwdDev, type NetDevice, type XdpFrame, type XdpProg,
} from "@netmem/xdp/api";
import { VethQueue, isFrame, type VethQueueStats } from "./queue.ts";
import { VETH_RULES, VETH_RULES_4_14, VETH_RULES_5_18, VETH_RULES_6_7, type VethRules } from "./rules.ts";

/** Of one end. @kernel veth_get_stats64, veth_get_ethtool_stats */
export interface VethStats {
  /** What its NAPI received, by queue. */
  readonly queues: readonly Readonly<VethQueueStats>[];
  /** Packets in its rings. */
  readonly waiting: number;
  /** Sent by way of the peer's backlog. */
  readonly txPackets: number;
  /** Not sent: the peer was gone, down, full, or had no NAPI for frames, those that its own poll would have sent back among them. */
  readonly txDropped: number;
}

/** One end. @kernel struct veth_priv */
export class VethEnd implements LinkEnd {
  readonly dev: NetDevice;
  readonly #deps: LinkDeps;
  readonly #rules: VethRules;
  readonly #queues: VethQueue[];
  /** Null when the link is gone. */
  #peer: VethEnd | null = null;
  #prog: XdpProg | null = null;
  /** Whatever XDP makes of it. @kernel wanted_features */
  #groRequested = false;
  #txPackets = 0;
  #txDropped = 0;

  constructor(deps: LinkDeps, name: string, rxQueueCount: number, rules: VethRules) {
    this.#deps = deps;
    this.#rules = rules;
    this.dev = deps.registerNetdev(name, rxQueueCount);
    this.dev.gsoSoftware = true;
    this.dev.hwCsum = true;
    this.dev.fragList = true;
    this.dev.maxMtu = ETH_MAX_MTU;
    this.dev.disableNetpoll = rules.refusesNetpoll;
    const back = { sendFrames: (frames: (XdpFrame | null)[], n: number) => this.#sendFrames(frames, n, 0), flush: () => this.#flushPeer() };
    this.#queues = this.dev.rxQueues.map((queue) => new VethQueue(deps, queue, rules, back));
    this.dev.xdpOps = {
      xdpSetupProg: (prog) => this.#xdpSet(prog),
      xdpXmit: (frames, n, flags) => this.#xdpXmit(frames, n, flags),
      xskSetupPool: null,
      xskWakeup: null,
    };
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb, _dev, queueId) => this.#startXmit(skb, queueId) });
  }

  get stats(): VethStats {
    const queues = this.#queues.map(({ stats }) => stats);
    const unsent = queues.reduce((sum, { xdpTxErr }) => sum + xdpTxErr, 0) + (this.#peer === null ? 0 : this.#peer.#queues.reduce((sum, { stats }) => sum + stats.peerTqXdpXmitErr, 0));
    return { queues, waiting: this.#queues.reduce((sum, queue) => sum + queue.waiting().length, 0), txPackets: this.#txPackets, txDropped: this.#txDropped + unsent };
  }

  inRings(): InRings {
    const items = this.#queues.flatMap((queue) => queue.waiting());
    return { skbs: items.filter((item) => !isFrame(item)), frames: items.filter(isFrame) };
  }

  join(peer: VethEnd): void {
    this.#peer = peer;
    this.#setXdpFeatures();
  }

  /** @kernel veth_open */
  open(): number {
    if (this.#peer === null) return -ENOTCONN;
    if (this.dev.up) return -EINVAL;
    const errno = this.#prog !== null ? this.#enableXdp(this.#prog) : this.#groRequested ? this.#enableNapi() : 0;
    if (errno < 0) return errno;
    this.dev.up = true;
    this.#setXdpFeatures();
    return 0;
  }

  /** @kernel veth_close */
  stop(): void {
    if (!this.dev.up) return;
    this.dev.up = false;
    if (this.#prog !== null) this.#disableXdp();
    else this.#disableNapi();
  }

  /** While it is down, or has a program, no NAPI comes or goes, and the peer is told nothing. @kernel veth_set_features */
  setGro(on: boolean): number {
    if (on === this.#groRequested) return 0;
    if (this.dev.up && this.#prog === null) {
      const errno = on ? this.#enableNapi() : 0;
      if (errno < 0) return errno;
      if (this.#peer !== null) this.#peer.#setRedirectTarget(on);
      if (!on) this.#disableNapi();
    }
    this.#groRequested = on;
    this.#updateGro();
    return 0;
  }

  /** Nothing is sent from one to the other any more. */
  part(): void {
    this.#peer = null;
  }

  unregister(): void {
    this.#deps.transmit.setStartXmit(this.dev, null);
    this.#deps.unregisterNetdev(this.dev);
  }

  /** @kernel veth_xmit */
  #startXmit(skb: SkBuff, queueId: number): number {
    const { lifetime, edit, receive } = this.#deps;
    const rcv = this.#peer;
    if (rcv === null || !edit.pskbMayPull(skb, ETH_HLEN)) {
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return this.#drops(null);
    }
    const queue = rcv.#queues[queueId] ?? null;
    // A packet of several segments has been merged as far as it can be.
    const ring = queue !== null && queue.napi !== null && !this.dev.gsoSoftware ? queue : null;
    if (receive.devForwardSkb(rcv.dev, skb) !== NET_RX_SUCCESS) return this.#drops(ring);
    if (ring === null) {
      if (receive.netifRx(skb) !== NET_RX_SUCCESS) return this.#drops(null);
      this.#txPackets++;
      return NETDEV_TX_OK;
    }
    // No queueing discipline would send it again.
    if (!ring.produce(skb)) {
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return this.#drops(ring);
    }
    ring.notify();
    return NETDEV_TX_OK;
  }

  /** `ring`: that would have had it. */
  #drops(ring: VethQueue | null): number {
    this.#txDropped++;
    if (ring !== null && this.#rules.dropsNotify) ring.notify();
    return this.#rules.tellsDrops ? NET_XMIT_DROP : NETDEV_TX_OK;
  }

  /** @kernel veth_ndo_xdp_xmit */
  #xdpXmit(frames: (XdpFrame | null)[], n: number, flags: number): number {
    const sent = (flags & ~XDP_XMIT_FLUSH) !== 0 ? -EINVAL : this.#sendFrames(frames, n, flags);
    const queue = sent < 0 ? null : this.#receivingQueue();
    if (queue === null) this.#txDropped += n;
    else {
      queue.stats.peerTqXdpXmit += sent;
      queue.stats.peerTqXdpXmitErr += n - sent;
    }
    return sent;
  }

  /** @kernel veth_xdp_xmit */
  #sendFrames(frames: (XdpFrame | null)[], n: number, flags: number): number {
    const queue = this.#receivingQueue();
    if (queue === null || queue.napi === null) return -ENXIO;
    const { dev } = this.#peer!;
    let sent = 0;
    while (sent < n && xdpOkFwdDev(dev, xdpGetFrameLen(frames[sent]!)) === 0 && queue.produce(frames[sent]!)) sent++;
    if ((flags & XDP_XMIT_FLUSH) !== 0) queue.notify();
    return sent;
  }

  /** @kernel veth_xdp_flush */
  #flushPeer(): void {
    const queue = this.#receivingQueue();
    // With GRO alone it is not told, as in the kernel: the frames wait for another packet.
    if (queue !== null && queue.prog !== null) queue.notify();
  }

  /** Of the peer. @kernel veth_select_rxq */
  #receivingQueue(): VethQueue | null {
    if (this.#peer === null) return null;
    const queues = this.#peer.#queues;
    return queues[this.#deps.kernel.context.cpu % queues.length]!;
  }

  /** @kernel veth_xdp_set */
  #xdpSet(prog: XdpProg | null): number {
    const peer = this.#peer;
    if (prog !== null) {
      if (peer === null) return -ENOTCONN;
      const maxMtu = PAGE_SIZE - XDP_PACKET_HEADROOM - SKB_SHARED_INFO_BYTES - peer.dev.hardHeaderLen + (prog.hasFrags ? PAGE_SIZE * MAX_SKB_FRAGS : 0);
      if (peer.dev.mtu > maxMtu) return -ERANGE;
      if (this.#queues.length < peer.#queues.length) return -ENOSPC;
      const errno = this.dev.up ? this.#enableXdp(prog) : 0;
      if (errno < 0) return errno;
      // Of the first: what replaces it asks for its own, and leaves that.
      if (this.#prog === null) peer.dev.maxMtu = maxMtu;
    } else if (this.dev.up && this.#prog !== null) this.#disableXdp();
    this.#prog = prog;
    this.#updateGro();
    if (peer !== null) {
      peer.dev.gsoSoftware = prog === null;
      if (prog === null) peer.dev.maxMtu = ETH_MAX_MTU;
      if (prog !== null || !this.#groRequested) peer.#setRedirectTarget(prog !== null);
    }
    return 0;
  }

  /** @kernel veth_enable_xdp */
  #enableXdp(prog: XdpProg): number {
    const { xdpRxqs } = this.#deps;
    // Another program in place of one.
    if (this.#queues[0]!.prog === null) {
      for (const [i, { xdpRxq }] of this.dev.rxQueues.entries()) {
        xdpRxqs.xdpRxqInfoReg(xdpRxq, this.dev, i);
        xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_SHARED, null);
      }
      const errno = this.#enableNapi();
      if (errno < 0) {
        this.#unregisterQueues();
        return errno;
      }
    }
    for (const queue of this.#queues) queue.prog = prog;
    return 0;
  }

  /** @kernel veth_disable_xdp */
  #disableXdp(): void {
    for (const queue of this.#queues) queue.prog = null;
    if (!this.dev.up || !this.#groRequested) this.#disableNapi();
    this.#unregisterQueues();
  }

  #unregisterQueues(): void {
    for (const { xdpRxq } of this.dev.rxQueues) {
      // It may have been that of a frame.
      xdpRxq.mem.type = MEM_TYPE_PAGE_SHARED;
      xdpRxq.mem.id = 0;
      this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    }
  }

  /** All queues or none. @kernel __veth_napi_enable_range */
  #enableNapi(): number {
    if (this.#queues[0]!.napi !== null) return 0;
    for (const queue of this.#queues) {
      const errno = queue.createPool();
      if (errno < 0) {
        for (const other of this.#queues) other.destroyPool();
        return errno;
      }
    }
    for (const queue of this.#queues) queue.enableNapi();
    return 0;
  }

  /** Nobody polls any more before the first ring is emptied, and all rings are empty before the first pool goes. @kernel veth_napi_del_range */
  #disableNapi(): void {
    if (this.#queues[0]!.napi === null) return;
    for (const queue of this.#queues) queue.disableNapi();
    for (const queue of this.#queues) queue.emptyRing();
    for (const queue of this.#queues) queue.destroyPool();
  }

  #updateGro(): void {
    this.dev.gro = this.#groRequested || (this.#rules.xdpBringsGro && this.#prog !== null);
  }

  /** Frames can be sent through it while its peer has NAPI. @kernel veth_set_xdp_features */
  #setXdpFeatures(): void {
    const peer = this.#peer;
    const matches = peer !== null && peer.#queues.length <= this.#queues.length;
    this.#deps.xdpFeatures.xdpSetFeaturesFlag(this.dev, matches ? NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_RX_SG : 0);
    if (matches && (peer.#prog !== null || peer.#groRequested)) this.#setRedirectTarget(true);
  }

  /** @kernel xdp_features_set_redirect_target, xdp_features_clear_redirect_target (net/core/xdp.c) */
  #setRedirectTarget(on: boolean): void {
    const flags = NETDEV_XDP_ACT_NDO_XMIT | NETDEV_XDP_ACT_NDO_XMIT_SG;
    this.#deps.xdpFeatures.xdpSetFeaturesFlag(this.dev, on ? this.dev.xdpFeatures | flags : this.dev.xdpFeatures & ~flags);
  }
}

/** A pair, and each end as what it is. */
export interface VethLink extends Link {
  readonly ends: readonly [VethEnd, VethEnd];
}

export type VethDriver = LinkDriver<VethLink>;

function newlink(deps: LinkDeps, { names, rxQueueCount }: LinkOptions, rules: VethRules): VethLink {
  if (!Number.isInteger(rxQueueCount) || rxQueueCount < 1 || rxQueueCount > 64) throw new UsageError("driver-veth", "rxQueueCount", rxQueueCount, "give 1 to 64 queues");
  const ends = [new VethEnd(deps, names[0], rxQueueCount, rules), new VethEnd(deps, names[1], rxQueueCount, rules)] as const;
  ends[0].join(ends[1]);
  ends[1].join(ends[0]);
  return { ends, dellink: () => dellink(ends) };
}

/** They are no pair any more before the first goes down. @kernel veth_dellink, unregister_netdevice_many */
function dellink(ends: readonly VethEnd[]): void {
  for (const end of ends) end.part();
  for (const end of ends) end.stop();
  for (const end of ends) end.unregister();
}

/** Two devices back to back, as in 6.18: for XDP, packets are copied into fragments of a page_pool. @kernel drivers/net/veth.c */
export const veth: VethDriver = { name: "veth", newlink: (deps, options) => newlink(deps, options, VETH_RULES) };

/** The same in 6.7 and 6.8: a program brings GRO with it. */
export const veth67: VethDriver = { name: "veth", newlink: (deps, options) => newlink(deps, options, VETH_RULES_6_7) };

/** The same from 5.18 to 6.1: into pages of nobody's. */
export const veth518: VethDriver = { name: "veth", newlink: (deps, options) => newlink(deps, options, VETH_RULES_5_18) };

/** The same before: into one page, or not at all. */
export const veth414: VethDriver = { name: "veth", newlink: (deps, options) => newlink(deps, options, VETH_RULES_4_14) };
