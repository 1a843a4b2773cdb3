import type { LinkDeps } from "@netmem/driver/api";
import type { PtrRing } from "@netmem/kernel/api";
import { DMA_NONE, GFP_ATOMIC, NUMA_NO_NODE } from "@netmem/mm/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbShared, type SkBuff } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import {
  MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, NAPI_POLL_WEIGHT, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, xdpBuffHasFrags, xdpGetFrameLen,
  type FragSource, type NapiStruct, type NetDevice, type NetdevRxQueue, type XdpBuff, type XdpFrame, type XdpProg,
} from "@netmem/xdp/api";
import { VETH_RING_SIZE, VETH_XDP_BATCH, VETH_XDP_TX_BULK_SIZE } from "./constants.ts";
import { PageSource, writable } from "./private-copy.ts";
import type { VethRules } from "./rules.ts";

/** @kernel struct veth_stats (drivers/net/veth.c) */
export interface VethQueueStats {
  xdpPackets: number;
  xdpBytes: number;
  xdpRedirect: number;
  xdpDrops: number;
  xdpTx: number;
  xdpTxErr: number;
  /** Frames that the peer was asked to send, and here came into the ring, or had no room. @kernel peer_tq_xdp_xmit, peer_tq_xdp_xmit_err */
  peerTqXdpXmit: number;
  peerTqXdpXmitErr: number;
  rxDrops: number;
  /** What waited in the ring as NAPI went; the kernel counts it nowhere. */
  ringDrops: number;
}

/** Where the frames of a poll go that its program sends back. */
export interface VethTransmitter {
  /** How many of the first `n` it took, which it consumes; or a negative errno. @kernel veth_xdp_xmit */
  readonly sendFrames: (frames: (XdpFrame | null)[], n: number) => number;
  /** Whoever receives them is told. */
  readonly flush: () => void;
}

/** What one end receives on one queue: while it has NAPI, through a ring. @kernel struct veth_rq */
export class VethQueue {
  readonly stats: VethQueueStats = { xdpPackets: 0, xdpBytes: 0, xdpRedirect: 0, xdpDrops: 0, xdpTx: 0, xdpTxErr: 0, peerTqXdpXmit: 0, peerTqXdpXmitErr: 0, rxDrops: 0, ringDrops: 0 };
  /** Null: packets go by way of the backlog. @kernel veth_rq.napi */
  napi: NapiStruct | null;
  prog: XdpProg | null;
  private readonly deps: LinkDeps;
  private readonly dev: NetDevice;
  private readonly queue: NetdevRxQueue;
  private readonly rules: VethRules;
  private readonly back: VethTransmitter;
  private readonly buff: XdpBuff;
  private readonly bulk: (XdpFrame | null)[];
  private bulked: number;
  private readonly batch: (XdpFrame | null)[];
  /** For them. */
  private readonly structs: (SkBuff | null)[];
  private batched: number;
  private ring: PtrRing<SkBuff | XdpFrame> | null;
  private pool: PagePool | null;
  private source: FragSource | null;
  /** It has been told, and will look again before it sleeps. @kernel rx_notify_masked */
  private notifyMasked: boolean;
  private redirected: boolean;
  private sentBack: boolean;

  constructor(deps: LinkDeps, queue: NetdevRxQueue, rules: VethRules, back: VethTransmitter) {
    this.deps = deps;
    this.dev = queue.dev;
    this.queue = queue;
    this.rules = rules;
    this.back = back;
    this.buff = deps.xdpStructs.createXdpBuff(queue.xdpRxq);
    this.bulk = emptyFrames(VETH_XDP_TX_BULK_SIZE);
    this.bulked = 0;
    this.batch = emptyFrames(VETH_XDP_BATCH);
    this.structs = [];
    this.batched = 0;
    this.napi = null;
    this.prog = null;
    this.ring = null;
    this.pool = null;
    this.source = null;
    this.notifyMasked = false;
    this.redirected = false;
    this.sentBack = false;
  }

  /** 0 or a negative errno. Process context. @kernel veth_create_page_pool */
  createPool(): number {
    const { pagePools, xdpStructs, pages } = this.deps;
    const mem = xdpStructs.createMemInfo();
    if (this.rules.copies === "pool") {
      const pool = pagePools.createPercpu({
        flags: 0, order: 0, poolSize: VETH_RING_SIZE, nid: NUMA_NO_NODE, dev: null, napi: null, dmaDir: DMA_NONE, maxLen: 0, offset: 0, netdev: null,
      }, -1);
      if (typeof pool === "number") return pool;
      // No memory model: whoever frees its pages finds the pool in them.
      mem.type = MEM_TYPE_PAGE_POOL;
      this.pool = pool;
      this.source = pagePools.createFragSource(pool, mem);
    } else this.source = new PageSource(pages, mem);
    return 0;
  }

  /** Its pages may be out still. */
  destroyPool(): void {
    if (this.pool !== null) this.pool.destroy();
    this.pool = null;
    this.source = null;
  }

  enableNapi(): void {
    const { kernel, napi } = this.deps;
    this.ring = kernel.rings.create(VETH_RING_SIZE);
    this.napi = napi.netifNapiAdd(this.dev, { poll: (instance, budget) => this.poll(instance, budget) }, NAPI_POLL_WEIGHT);
    this.queue.napi = this.napi;
    napi.napiEnable(this.napi);
  }

  /** From now on nothing comes into its ring, and nothing is polled. Process context. */
  disableNapi(): void {
    const { napi } = this.deps;
    const instance = this.napi!;
    this.napi = null;
    this.queue.napi = null;
    napi.napiDisable(instance);
    napi.netifNapiDel(instance);
  }

  /** What waits in the ring is dropped. @kernel ptr_ring_cleanup, veth_ptr_free */
  emptyRing(): void {
    const { lifetime, xdpReturn } = this.deps;
    this.notifyMasked = false;
    const ring = this.ring!;
    this.ring = null;
    for (let item = ring.consume(); item !== null; item = ring.consume()) {
      this.stats.ringDrops++;
      if (isFrame(item)) xdpReturn.xdpReturnFrame(item);
      else lifetime.kfreeSkb(item, SKB_DROP_REASON_NOT_SPECIFIED);
    }
  }

  /** Keeps it, or answers false. */
  produce(packet: SkBuff | XdpFrame): boolean {
    return this.ring!.produce(packet);
  }

  /** In the ring, until it is polled. */
  waiting(): readonly (SkBuff | XdpFrame)[] {
    return this.ring === null ? [] : this.ring.items();
  }

  /** @kernel __veth_xdp_flush */
  notify(): void {
    if (!this.notifyMasked && this.napi !== null && this.deps.napi.napiSchedule(this.napi)) this.notifyMasked = true;
  }

  /** @kernel veth_poll */
  private poll(instance: NapiStruct, budget: number): number {
    const { xdpReturn, xdpRedirect } = this.deps;
    const { redirectsFirst, sendsBackFirst } = this.rules;
    this.redirected = false;
    this.sentBack = false;
    xdpReturn.xdpSetReturnFrameNoDirect();
    const done = this.receive(instance, budget);
    if (this.redirected && redirectsFirst) xdpRedirect.xdpDoFlush();
    if (sendsBackFirst) {
      this.sendBack();
      xdpReturn.xdpClearReturnFrameNoDirect();
      this.completes(instance, done, budget);
      return done;
    }
    this.completes(instance, done, budget);
    this.sendBack();
    if (this.redirected && !redirectsFirst) xdpRedirect.xdpDoFlush();
    xdpReturn.xdpClearReturnFrameNoDirect();
    return done;
  }

  private completes(instance: NapiStruct, done: number, budget: number): void {
    if (done === budget || !this.deps.napi.napiCompleteDone(instance, done)) return;
    this.notifyMasked = false;
    if (this.ring !== null && !this.ring.isEmpty()) this.notify();
  }

  /** @kernel veth_xdp_flush */
  private sendBack(): void {
    if (!this.sentBack) return;
    this.flushBack();
    this.back.flush();
  }

  /** @kernel veth_xdp_rcv */
  private receive(instance: NapiStruct, budget: number): number {
    const { stats } = this;
    let done = 0;
    for (; done < budget; done++) {
      // Somebody whom a packet was handed to may have taken the interface down, which is reported.
      const packet = this.ring === null ? null : this.ring.consume();
      if (packet === null) break;
      if (isFrame(packet)) {
        stats.xdpBytes += xdpGetFrameLen(packet);
        if (!this.passesFrame(packet)) continue;
        this.batch[this.batched++] = packet;
        if (this.batched === VETH_XDP_BATCH) this.framesUp(instance);
      } else {
        stats.xdpBytes += packet.len;
        const skb = this.passesSkb(packet);
        if (skb !== null) this.skbUp(instance, skb);
      }
    }
    this.framesUp(instance);
    stats.xdpPackets += done;
    return done;
  }

  private skbUp(instance: NapiStruct, skb: SkBuff): void {
    const { edit, receive } = this.deps;
    if (skbShared(skb) || edit.skbUnclone(skb, GFP_ATOMIC) !== 0) receive.netifReceiveSkb(skb);
    else receive.napiGroReceive(instance, skb);
  }

  /** @kernel veth_xdp_rcv_bulk_skb */
  private framesUp(instance: NapiStruct): void {
    const { xdpSkbs, xdpReturn, receive } = this.deps;
    const { batch, structs, batched } = this;
    // From 6.15 there may be some, and the kernel takes that for all of them: the others would be built around whatever lies there.
    const got = xdpSkbs.xdpAllocSkbBulk(structs, batched);
    for (let i = 0; i < batched; i++) {
      const frame = batch[i]!;
      batch[i] = null;
      const skb = i < got ? xdpSkbs.xdpBuildSkbAround(structs[i]!, frame, this.dev) : null;
      structs[i] = null;
      if (skb === null) {
        xdpReturn.xdpReturnFrame(frame);
        this.stats.rxDrops++;
      } else receive.napiGroReceive(instance, skb);
    }
    this.batched = 0;
  }

  /** True: it goes up, as the program left it. Else it is somebody else's, or gone. @kernel veth_xdp_rcv_one */
  private passesFrame(frame: XdpFrame): boolean {
    const { prog, buff, stats, dev } = this;
    if (prog === null) return true;
    const { xdpBuffs, xdpPrograms, xdpRedirect, xdpReturn } = this.deps;
    xdpBuffs.xdpConvertFrameToBuff(frame, buff);
    const act = xdpPrograms.bpfProgRunXdp(prog, buff);
    // Fragments that it gave up are gone.
    frame.nrFrags = buff.nrFrags;
    if (act === XDP_PASS && xdpBuffs.xdpUpdateFrameFromBuff(buff, frame) === 0) return true;
    if (act === XDP_TX || act === XDP_REDIRECT) {
      const { mem } = buff.rxq;
      mem.type = frame.memType;
      mem.id = frame.memId;
      if (act === XDP_TX ? this.queueBack() : xdpRedirect.xdpDoRedirect(dev, buff, prog) === 0) {
        // It travels in a struct of its own now.
        xdpBuffs.xdpScrubFrame(frame);
        if (act === XDP_REDIRECT) this.redirects();
        return false;
      }
      if (act === XDP_TX) xdpPrograms.xdpException(dev, prog, act);
      stats.rxDrops++;
    } else if (act !== XDP_PASS) this.countDrop(prog, act);
    xdpReturn.xdpReturnFrame(frame);
    return false;
  }

  /** The packet that goes up; null: it is somebody else's, or gone. @kernel veth_xdp_rcv_skb */
  private passesSkb(received: SkBuff): SkBuff | null {
    const { prog, buff, stats, dev } = this;
    const { lifetime, edit, xdpSkbs, xdpPrograms, xdpRedirect, xdpReturn } = this.deps;
    lifetime.skbOrphan(received);
    if (prog === null) return received;
    edit.skbPush(received, received.data - received.macHeader);
    const skb = writable(this.deps, received, this.rules.copies, this.source!);
    if (skb === null) {
      stats.rxDrops++;
      lifetime.consumeSkb(received);
      return null;
    }
    xdpSkbs.xdpBuffFromSkb(buff, skb);
    const act = xdpPrograms.bpfProgRunXdp(prog, buff);
    if (act === XDP_PASS) {
      xdpSkbs.skbFromXdpBuff(skb, buff);
      skb.dev = dev;
      edit.ethTypeTrans(skb);
      skb.shinfo!.metaLen = buff.data - buff.dataMeta;
      return skb;
    }
    if (act === XDP_TX || act === XDP_REDIRECT) {
      this.takeFromSkb(skb);
      if (act === XDP_TX ? this.queueBack() : xdpRedirect.xdpDoRedirect(dev, buff, prog) === 0) {
        if (act === XDP_REDIRECT) this.redirects();
        return null;
      }
      if (act === XDP_TX) xdpPrograms.xdpException(dev, prog, act);
      stats.rxDrops++;
      xdpReturn.xdpReturnBuff(buff);
      return null;
    }
    this.countDrop(prog, act);
    // Fragments that the program gave up are the skb's no more.
    xdpSkbs.skbFromXdpBuff(skb, buff);
    lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    return null;
  }

  /** The buffers are the packet's that travels on, by plain references: whoever frees it then knows of no pool. @kernel veth_xdp_get */
  private takeFromSkb(skb: SkBuff): void {
    const { buff } = this;
    const { pages, xdpSkbs, lifetime } = this.deps;
    xdpSkbs.skbFromXdpBuff(skb, buff);
    pages.getPage(skb.shinfo!.headPage!);
    const frags = xdpBuffHasFrags(buff) ? buff.nrFrags : 0;
    for (let i = 0; i < frags; i++) {
      const { netmem } = buff.frags[i]!;
      if (!netmem!.isNetIov) pages.getPage(netmem!.head);
    }
    lifetime.consumeSkb(skb);
    const { mem } = buff.rxq;
    mem.type = MEM_TYPE_PAGE_SHARED;
    mem.id = 0;
  }

  private redirects(): void {
    this.stats.xdpRedirect++;
    this.redirected = true;
  }

  private countDrop(prog: XdpProg, act: number): void {
    const { xdpPrograms } = this.deps;
    if (act !== XDP_DROP && act !== XDP_ABORTED) xdpPrograms.bpfWarnInvalidXdpAction(this.dev, prog, act);
    if (act !== XDP_DROP) xdpPrograms.xdpException(this.dev, prog, act);
    this.stats.xdpDrops++;
  }

  /** False: there is no room for a frame's struct, and the packet stays in the buff. @kernel veth_xdp_tx */
  private queueBack(): boolean {
    const frame = this.deps.xdpBuffs.xdpConvertBuffToFrame(this.buff);
    if (frame === null) return false;
    if (this.bulked === VETH_XDP_TX_BULK_SIZE) this.flushBack();
    this.bulk[this.bulked++] = frame;
    this.sentBack = true;
    return true;
  }

  /** @kernel veth_xdp_flush_bq */
  private flushBack(): void {
    const { bulk, bulked, stats } = this;
    const answer = this.back.sendFrames(bulk, bulked);
    const sent = Math.max(0, answer);
    for (let i = sent; i < bulked; i++) this.deps.xdpReturn.xdpReturnFrame(bulk[i]!);
    this.deps.xdpPrograms.xdpBulkTx(this.dev, sent, bulked - sent, Math.min(0, answer));
    bulk.fill(null);
    this.bulked = 0;
    stats.xdpTx += sent;
    stats.xdpTxErr += bulked - sent;
  }
}

/** Both lie in one ring. @kernel veth_is_xdp_frame */
export function isFrame(packet: SkBuff | XdpFrame): packet is XdpFrame {
  return "memType" in packet;
}

function emptyFrames(n: number): (XdpFrame | null)[] {
  return Array.from({ length: n }, () => null);
}
