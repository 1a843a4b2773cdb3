import { ENOMEM } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, GFP_KERNEL, type CoherentMemory, type DmaDevice, type Netmem, type Page } from "@netmem/mm/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbRegion, type SkBuff, type SkbLifetime } from "@netmem/net-core/api";
import { NETDEV_TX_BUSY, NETDEV_TX_OK, XDP_FLAGS_HAS_FRAGS, type XdpFrame, type XdpFrameBulk, type XdpReturn, type XdpStructs, type XskBuffPool } from "@netmem/xdp/api";
import type { InRings, NicTxQueue, SentSkbs, TxDescFormat, TxRing, TxRings } from "./api/index.ts";

export interface TxRingParts {
  readonly dma: DmaDevice;
  readonly hw: NicTxQueue;
  readonly format: TxDescFormat;
  readonly lifetime: Pick<SkbLifetime, "napiConsumeSkb" | "devConsumeSkbAny" | "devKfreeSkbAny" | "kfreeSkb">;
  readonly xdpReturn: Pick<XdpReturn, "xdpReturnFrameRxNapi" | "xdpReturnFrameBulk" | "xdpFlushFrameBulk">;
  readonly xdpStructs: Pick<XdpStructs, "createFrameBulk">;
}

/** Whose line a transmit queue interrupts on, and whose poll takes back what it has sent. */
const POLLING_RX_QUEUE = 0;

/** What a descriptor sends. @kernel enum mvneta_tx_buf_type (drivers/net/ethernet/marvell/mvneta.c) */
const TYPE_SKB = 0;
/** A packet of our own pool, mapped for as long as that has it; or another device's, mapped for this transmit. */
const TYPE_XDP_TX = 1;
const TYPE_XDP_NDO = 2;
/** Memory of an AF_XDP user, mapped for as long as its pool is the queue's. @kernel STMMAC_TXBUF_T_XSK_TX (drivers/net/ethernet/stmicro/stmmac/stmmac.h) */
const TYPE_XSK = 3;

/** @kernel struct mvneta_tx_buf */
class TxBuf {
  type = TYPE_SKB;
  frame: XdpFrame | null = null;
  skb: SkBuff | null = null;
  xsk: XskBuffPool | null = null;
  dmaAddr = 0;
  bytes = 0;
  /** Whose pool a frame of our own is of. */
  rxQueue = -1;
}

function isMappedForTransmit({ type }: TxBuf): boolean {
  return type === TYPE_SKB || type === TYPE_XDP_NDO;
}

/** A transmit ring, and who waits in it. @kernel struct mvneta_tx_queue */
class DescriptorRing implements TxRing {
  readonly #parts: TxRingParts;
  readonly #entries: number;
  readonly #sentSkbs: SentSkbs;
  readonly #ring: CoherentMemory;
  readonly #bufs: TxBuf[] = [];
  readonly #bulk: XdpFrameBulk;
  #put = 0;
  #get = 0;
  #count = 0;
  /** Filled, and the hardware not told. */
  #pending = 0;

  constructor(parts: TxRingParts, ring: CoherentMemory, entries: number, sentSkbs: SentSkbs) {
    this.#parts = parts;
    this.#entries = entries;
    this.#sentSkbs = sentSkbs;
    this.#ring = ring;
    this.#bulk = parts.xdpStructs.createFrameBulk();
    for (let i = 0; i < entries; i++) this.#bufs.push(new TxBuf());
    parts.hw.configure(ring.dmaAddr, entries);
    parts.hw.start();
  }

  /** @kernel mvneta_xdp_submit_frame */
  submitFrame(frame: XdpFrame, rxQueue: number): boolean {
    const ours = rxQueue >= 0;
    const frags = (frame.flags & XDP_FLAGS_HAS_FRAGS) === 0 ? 0 : frame.nrFrags;
    if (frags >= this.room()) return false;
    const type = ours ? TYPE_XDP_TX : TYPE_XDP_NDO;
    for (let i = 0; i <= frags; i++) {
      const frag = i === 0 ? null : frame.frags[i - 1]!;
      const dmaAddr = frag === null ? this.#address(frame.head!, frame.data, frame.len, ours) : this.#address(frag.netmem!, frag.offset, frag.sizeBytes, ours);
      if (!ours && this.#parts.dma.mappingError(dmaAddr)) {
        this.#takeBack(i);
        return false;
      }
      this.#fill(type, dmaAddr, frag === null ? frame.len : frag.sizeBytes, i === 0, i === frags);
    }
    const first = this.#first(1 + frags);
    first.frame = frame;
    first.rxQueue = rxQueue;
    return true;
  }

  submitXsk(pool: XskBuffPool, dmaAddr: number, bytes: number): boolean {
    if (this.room() < 1) return false;
    this.#fill(TYPE_XSK, dmaAddr, bytes, true, true);
    this.#first(1).xsk = pool;
    return true;
  }

  /** One stays empty, so that a full ring is not an empty one. */
  room(): number {
    return this.#entries - this.#count - 1;
  }

  /** @kernel mvneta_tx */
  startXmit(skb: SkBuff): number {
    const info = skb.shinfo!;
    if (info.nrFrags >= this.room()) return NETDEV_TX_BUSY;
    const { dma } = this.#parts;
    for (let i = 0; i <= info.nrFrags; i++) {
      const frag = i === 0 ? null : info.frags[i - 1]!;
      const bytes = frag === null ? skb.len - skb.dataLen : frag.sizeBytes;
      const dmaAddr = frag === null ? dma.mapSingle(skbRegion(skb), skb.data, bytes, DMA_TO_DEVICE, 0) : this.#address(frag.netmem!, frag.offset, bytes, false);
      if (dma.mappingError(dmaAddr)) {
        this.#takeBack(i);
        this.#parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
        return NETDEV_TX_OK;
      }
      this.#fill(TYPE_SKB, dmaAddr, bytes, i === 0, i === info.nrFrags);
    }
    this.#first(1 + info.nrFrags).skb = skb;
    this.ring();
    return NETDEV_TX_OK;
  }

  inRing(): InRings {
    const bufs = Array.from({ length: this.#count }, (_, i) => this.#bufs[(this.#get + i) % this.#entries]!);
    return { skbs: bufs.map(({ skb }) => skb).filter((skb) => skb !== null), frames: bufs.map(({ frame }) => frame).filter((frame) => frame !== null) };
  }

  /** @kernel mvneta_txq_pend_desc_add */
  ring(): void {
    if (this.#pending > 0) this.#parts.hw.addPending(this.#pending);
    this.#pending = 0;
  }

  /** @kernel mvneta_txq_done, mvneta_txq_bufs_free */
  done(budget: number): void {
    const sent = this.#parts.hw.sent();
    const taken = budget === 0 ? this.#leadingSkbs(sent) : sent;
    if (taken === 0) return;
    this.#free(taken, budget, true);
    this.#parts.hw.decSent(taken);
  }

  /** Of the oldest `n`. */
  #leadingSkbs(n: number): number {
    for (let i = 0; i < n; i++) if (this.#bufs[(this.#get + i) % this.#entries]!.type !== TYPE_SKB) return i;
    return n;
  }

  /** @kernel mvneta_txq_done_force */
  destroy(): void {
    this.#parts.hw.stop();
    this.#free(this.#count, 0, false);
    this.#parts.dma.freeCoherent(this.#ring);
  }

  #free(n: number, budget: number, inPoll: boolean): void {
    const { dma, xdpReturn } = this.#parts;
    // A pool is told once of all that were sent one behind the other.
    let xskPool: XskBuffPool | null = null;
    let xskFrames = 0;
    for (let i = 0; i < n; i++) {
      const buf = this.#bufs[this.#get]!;
      this.#get = this.#get + 1 === this.#entries ? 0 : this.#get + 1;
      if (isMappedForTransmit(buf)) dma.unmapPage(buf.dmaAddr, buf.bytes, DMA_TO_DEVICE, 0);
      if (buf.xsk !== null) {
        if (buf.xsk !== xskPool) {
          if (xskPool !== null) xskPool.xskTxCompleted(xskFrames);
          xskPool = buf.xsk;
          xskFrames = 0;
        }
        xskFrames++;
      }
      if (buf.skb !== null) this.#freeSkb(buf.skb, budget, inPoll);
      if (buf.frame !== null) {
        // Another queue's pool has a poll of its own, which may run now.
        if (inPoll && buf.type === TYPE_XDP_TX && buf.rxQueue === POLLING_RX_QUEUE) xdpReturn.xdpReturnFrameRxNapi(buf.frame);
        else xdpReturn.xdpReturnFrameBulk(buf.frame, this.#bulk);
      }
      buf.skb = null;
      buf.frame = null;
      buf.xsk = null;
    }
    if (xskPool !== null) xskPool.xskTxCompleted(xskFrames);
    xdpReturn.xdpFlushFrameBulk(this.#bulk);
    this.#count -= n;
  }

  #freeSkb(skb: SkBuff, budget: number, isSent: boolean): void {
    const { lifetime } = this.#parts;
    if (!isSent || this.#sentSkbs === "dev_kfree_skb_any") lifetime.devKfreeSkbAny(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    else if (this.#sentSkbs === "napi_consume_skb") lifetime.napiConsumeSkb(skb, budget);
    else lifetime.devConsumeSkbAny(skb);
  }

  #address(netmem: Netmem, offset: number, bytes: number, ours: boolean): number {
    const { dma } = this.#parts;
    if (!ours) return dma.mapSingle(netmem.region, netmem.base + offset, bytes, DMA_TO_DEVICE, 0);
    dma.syncForDevice((netmem as Page).dmaAddr, offset, bytes, DMA_BIDIRECTIONAL);
    return netmem.dmaAddr + offset;
  }

  #fill(type: number, dmaAddr: number, bytes: number, isFirst: boolean, isLast: boolean): void {
    const buf = this.#bufs[this.#put]!;
    buf.type = type;
    buf.dmaAddr = dmaAddr;
    buf.bytes = bytes;
    const { format } = this.#parts;
    const at = this.#put * format.sizeBytes;
    this.#ring.write32(at + format.sizeWord * 4, bytes << format.sizeShift);
    this.#ring.write32(at + format.addressWord * 4, dmaAddr);
    this.#ring.write32(at + format.commandWord * 4, (isFirst ? format.firstBit : 0) | (isLast ? format.lastBit : 0));
    this.#put = this.#put + 1 === this.#entries ? 0 : this.#put + 1;
    this.#count++;
    this.#pending++;
  }

  /** The first of the newest `n`. */
  #first(n: number): TxBuf {
    return this.#bufs[(this.#put - n + this.#entries) % this.#entries]!;
  }

  /** The newest `n`, which nobody was told of. */
  #takeBack(n: number): void {
    for (let i = 0; i < n; i++) {
      this.#put = this.#put === 0 ? this.#entries - 1 : this.#put - 1;
      const buf = this.#bufs[this.#put]!;
      if (isMappedForTransmit(buf)) this.#parts.dma.unmapPage(buf.dmaAddr, buf.bytes, DMA_TO_DEVICE, 0);
      this.#count--;
      this.#pending--;
    }
  }
}

export function createTxRings(parts: TxRingParts): TxRings {
  return {
    create: (entries: number, sentSkbs: SentSkbs = "napi_consume_skb"): TxRing | number => {
      const ring = parts.dma.allocCoherent(entries * parts.format.sizeBytes, GFP_KERNEL);
      return ring === null ? -ENOMEM : new DescriptorRing(parts, ring, entries, sentSkbs);
    },
  };
}
