import { DMA_BIDIRECTIONAL, PAGE_SHIFT, PAGE_SIZE, type DmaDevice } from "@netmem/mm/api";
import {
  MAX_SKB_FRAGS, MEM_TYPE_XSK_BUFF_POOL, XDP_FLAGS_HAS_FRAGS, XDP_PACKET_HEADROOM, XDP_PKT_CONTD, XDP_RING_NEED_WAKEUP, XDP_WAKEUP_RX, XDP_WAKEUP_TX, XdpBuffXsk, XdpRxqInfo,
  type NetDevice, type XdpBuff, type XdpDesc, type XdpStructs, type XdpUmem, type XskBuffPool,
} from "../api/index.ts";
import type { XskQueue } from "./queue.ts";
import { PoolTx } from "./pool-tx.ts";
import type { Umems } from "./umem.ts";

/** @kernel struct xsk_buff_pool, net/xdp/xsk_buff_pool.c */
export class BuffPool implements XskBuffPool {
  readonly umem: XdpUmem;
  readonly fq: XskQueue;
  readonly cq: XskQueue;
  readonly tx: PoolTx;
  readonly rxFrameSize: number;
  dev: NetDevice | null;
  queueId: number;
  freeListCnt: number;
  /** Sockets bound with it. */
  users: number;
  cachedNeedWakeup: number;
  usesNeedWakeup: boolean;
  private readonly umems: Umems;
  private readonly chunkSize: number;
  private readonly headroom: number;
  private readonly unaligned: boolean;
  /** Bytes of the umem. @kernel addrs_cnt */
  private readonly addrsCnt: number;
  /** Of a tx descriptor; any other makes it invalid. */
  private readonly knownOptions: number;
  /** One a chunk; in unaligned mode any of them serves any chunk. */
  private readonly heads: XdpBuffXsk[];
  private readonly freeHeads: XdpBuffXsk[];
  private freeList: XdpBuffXsk | null;
  private dma: DmaDevice | null;
  private dmaPages: readonly number[];

  constructor(umem: XdpUmem, fq: XskQueue, cq: XskQueue, structs: XdpStructs, umems: Umems, hasMultiBuffer: boolean) {
    this.umem = umem;
    this.fq = fq;
    this.cq = cq;
    this.tx = new PoolTx(this);
    this.rxFrameSize = umem.chunkSize - umem.headroom - XDP_PACKET_HEADROOM;
    this.dev = null;
    this.queueId = 0;
    this.freeListCnt = 0;
    this.users = 1;
    this.cachedNeedWakeup = 0;
    this.usesNeedWakeup = false;
    this.umems = umems;
    this.chunkSize = umem.chunkSize;
    this.headroom = umem.headroom;
    this.unaligned = umem.unaligned;
    this.addrsCnt = umem.sizeBytes;
    this.knownOptions = hasMultiBuffer ? XDP_PKT_CONTD : 0;
    this.freeList = null;
    this.dma = null;
    this.dmaPages = [];
    this.heads = [];
    const rxq = new XdpRxqInfo();
    rxq.mem.type = MEM_TYPE_XSK_BUFF_POOL;
    const chunks = Math.floor(umem.sizeBytes / umem.chunkSize);
    for (let i = 0; i < chunks; i++) {
      const xskb = new XdpBuffXsk(structs.createXdpBuff(rxq), this);
      xskb.xdp.xsk = xskb;
      xskb.xdp.frameSz = this.chunkSize - this.headroom;
      if (!this.unaligned) this.place(xskb, i * this.chunkSize);
      this.heads.push(xskb);
    }
    this.freeHeads = this.unaligned ? this.heads.toReversed() : [];
  }

  setRxqInfo(rxq: XdpRxqInfo): void {
    for (const { xdp } of this.heads) xdp.rxq = rxq;
  }

  dmaMap(dma: DmaDevice): number {
    const addrs = this.umems.map(this.umem, dma);
    if (typeof addrs === "number") return addrs;
    this.dma = dma;
    this.dmaPages = addrs;
    if (!this.unaligned) for (const xskb of this.heads) this.place(xskb, xskb.origAddr);
    return 0;
  }

  dmaUnmap(): void {
    if (this.dma === null) return;
    this.umems.unmap(this.umem, this.dma);
    this.dma = null;
    this.dmaPages = [];
  }

  get dmaMapped(): boolean {
    return this.dma !== null;
  }

  /** @kernel xp_alloc */
  xskBuffAlloc(): XdpBuff | null {
    const xskb = this.takeFree() ?? this.takeFromFill();
    if (xskb === null) return null;
    this.reset(xskb);
    if (this.dma !== null && this.dma.needSync) this.dma.syncForDevice(xskb.dma, 0, this.rxFrameSize, DMA_BIDIRECTIONAL);
    return xskb.xdp;
  }

  xskBuffAllocBatch(out: (XdpBuff | null)[], n: number): number {
    let got = 0;
    if (this.dma !== null && this.dma.needSync) {
      for (; got < n; got++) {
        const buff = this.xskBuffAlloc();
        if (buff === null) break;
        out[got] = buff;
      }
      return got;
    }
    for (let xskb = got < n ? this.takeFree() : null; xskb !== null; xskb = got < n ? this.takeFree() : null) out[got++] = this.reset(xskb);
    if (got === n) return got;
    const asked = Math.min(this.fq.consNbEntries(Math.min(n - got, this.fq.ring.entries)), this.unaligned ? this.freeHeads.length : n);
    const before = got;
    // What is not valid is used up, and makes the answer smaller.
    for (let i = 0; i < asked; i++) {
      const xskb = this.headFor(this.fq.cachedCons & this.fq.ring.mask);
      this.fq.consRelease(1);
      if (xskb !== null) out[got++] = this.reset(xskb);
    }
    if (got === before) this.fq.queueEmptyDescs++;
    return got;
  }

  xskBuffCanAlloc(n: number): boolean {
    if (this.freeListCnt >= n) return true;
    const inFill = this.fq.consNbEntries(n - this.freeListCnt);
    if (inFill === 0) this.fq.queueEmptyDescs++;
    return this.freeListCnt + inFill >= n;
  }

  xskBuffFree(buff: XdpBuff): void {
    const xskb = buff.xsk!;
    for (let frag = xskb.nextFrag; frag !== null;) {
      const next: XdpBuffXsk | null = frag.nextFrag;
      frag.nextFrag = null;
      this.free(frag);
      frag = next;
    }
    xskb.nextFrag = null;
    buff.nrFrags = 0;
    this.free(xskb);
  }

  xskBuffSetSize(buff: XdpBuff, bytes: number): void {
    buff.data = buff.dataHardStart + XDP_PACKET_HEADROOM;
    buff.dataMeta = buff.data;
    buff.dataEnd = buff.data + bytes;
    buff.flags = 0;
  }

  xskBuffAddFrag(buff: XdpBuff, frag: XdpBuff): boolean {
    if ((buff.flags & XDP_FLAGS_HAS_FRAGS) === 0) {
      buff.flags |= XDP_FLAGS_HAS_FRAGS;
      buff.nrFrags = 0;
      buff.xdpFragsSize = 0;
      buff.xdpFragsTruesize = 0;
    }
    let last = buff.xsk!;
    const part = frag.xsk!;
    // A chunk that was posted twice is there already.
    for (; last !== part && last.nextFrag !== null; last = last.nextFrag);
    if (buff.nrFrags === MAX_SKB_FRAGS || last === part) return false;
    const bytes = frag.dataEnd - frag.data;
    const slot = buff.frags[buff.nrFrags++]!;
    slot.netmem = frag.head;
    slot.offset = frag.data;
    slot.sizeBytes = bytes;
    buff.xdpFragsSize += bytes;
    buff.xdpFragsTruesize += frag.frameSz;
    last.nextFrag = part;
    return true;
  }

  xskBuffGetDma(buff: XdpBuff): number {
    return buff.xsk!.dma;
  }

  xskBuffDmaSyncForCpu(buff: XdpBuff): void {
    if (this.dma !== null && this.dma.needSync) this.dma.syncForCpu(buff.xsk!.dma, 0, this.rxFrameSize, DMA_BIDIRECTIONAL);
  }

  xskTxPeekDesc(desc: XdpDesc): boolean {
    return this.tx.peekDesc(desc);
  }

  xskTxPeekReleaseDescBatch(out: readonly XdpDesc[], n: number): number {
    return this.tx.peekReleaseDescBatch(out, n);
  }

  xskTxRelease(): void {
    this.tx.release();
  }

  xskTxCompleted(n: number): void {
    this.cq.prodSubmitN(n);
  }

  xskBuffRawGetDma(addr: number): number {
    return this.dmaPages[addr >>> PAGE_SHIFT]! + (addr & (PAGE_SIZE - 1));
  }

  xskBuffRawDmaSyncForDevice(dmaAddr: number, bytes: number): void {
    if (this.dma !== null && this.dma.needSync) this.dma.syncForDevice(dmaAddr, 0, bytes, DMA_BIDIRECTIONAL);
  }

  xskSetRxNeedWakeup(): void {
    if ((this.cachedNeedWakeup & XDP_WAKEUP_RX) !== 0) return;
    this.fq.ring.flags |= XDP_RING_NEED_WAKEUP;
    this.cachedNeedWakeup |= XDP_WAKEUP_RX;
  }

  xskClearRxNeedWakeup(): void {
    if ((this.cachedNeedWakeup & XDP_WAKEUP_RX) === 0) return;
    this.fq.ring.flags &= ~XDP_RING_NEED_WAKEUP;
    this.cachedNeedWakeup &= ~XDP_WAKEUP_RX;
  }

  xskSetTxNeedWakeup(): void {
    if ((this.cachedNeedWakeup & XDP_WAKEUP_TX) !== 0) return;
    this.tx.setFlags(XDP_RING_NEED_WAKEUP);
    this.cachedNeedWakeup |= XDP_WAKEUP_TX;
  }

  xskClearTxNeedWakeup(): void {
    if ((this.cachedNeedWakeup & XDP_WAKEUP_TX) === 0) return;
    this.tx.setFlags(0);
    this.cachedNeedWakeup &= ~XDP_WAKEUP_TX;
  }

  /** @kernel xp_validate_desc (net/xdp/xsk_queue.h) */
  validateDesc(desc: XdpDesc): boolean {
    const { addr, len, options } = desc;
    if (len <= 0 || desc.base < 0 || (options & ~this.knownOptions) !== 0) return false;
    if (!this.unaligned) return desc.offset === 0 && addr < this.addrsCnt && (addr & (this.chunkSize - 1)) + len <= this.chunkSize;
    return desc.offset >= 0 && len <= this.chunkSize && addr + len <= this.addrsCnt && !this.crossesGap(addr, len);
  }

  /** A chunk is the user's again. Unaligned: its head may serve another. @kernel xp_release */
  release(xskb: XdpBuffXsk): void {
    if (this.unaligned) this.freeHeads.push(xskb);
  }

  /** Where in a chunk its packet starts, as the user is told: in aligned mode the address includes it. @kernel xp_get_handle */
  handleOffset(xskb: XdpBuffXsk): number {
    return this.headroom + xskb.xdp.data - xskb.xdp.dataHardStart;
  }

  isUnaligned(): boolean {
    return this.unaligned;
  }

  /** In the middle of a list it would be there twice: again is nothing. @kernel xp_free */
  private free(xskb: XdpBuffXsk): void {
    if (xskb.free) return;
    xskb.free = true;
    xskb.next = this.freeList;
    this.freeList = xskb;
    this.freeListCnt++;
  }

  private takeFree(): XdpBuffXsk | null {
    const xskb = this.freeList;
    if (xskb === null) return null;
    this.freeList = xskb.next;
    xskb.next = null;
    xskb.free = false;
    this.freeListCnt--;
    return xskb;
  }

  /** The first valid entry; those before it are counted, and used up. @kernel __xp_alloc */
  private takeFromFill(): XdpBuffXsk | null {
    if (this.unaligned && this.freeHeads.length === 0) return null;
    // A producer index that is no index would have the kernel look at 2^32 entries; a ring has no more than its own.
    for (let i = this.fq.ring.entries; i > 0; i--) {
      const slot = this.fq.consPeek();
      if (slot < 0) {
        this.fq.queueEmptyDescs++;
        return null;
      }
      const xskb = this.headFor(slot);
      this.fq.consRelease(1);
      if (xskb !== null) return xskb;
    }
    return null;
  }

  /** Null for an address that is not valid, which is counted. @kernel xp_check_aligned, xp_check_unaligned */
  private headFor(slot: number): XdpBuffXsk | null {
    const { ring } = this.fq;
    const addr = ring.addr[slot]!;
    if (this.unaligned) {
      if (addr >= 0 && addr + this.chunkSize <= this.addrsCnt && !this.crossesGap(addr, this.chunkSize)) {
        const xskb = this.freeHeads.pop()!;
        this.place(xskb, addr);
        return xskb;
      }
    } else if (addr >= 0 && addr < this.addrsCnt && ring.offset[slot] === 0) return this.heads[Math.floor(addr / this.chunkSize)]!;
    this.fq.invalidDescs++;
    return null;
  }

  /**
   * A device would run from one page into another that is none of this umem's. So would the CPU here, which in the kernel has the umem mapped in one
   * piece. @kernel xp_desc_crosses_non_contig_pg
   */
  private crossesGap(addr: number, bytes: number): boolean {
    if (this.dma === null) return false;
    const { pages } = this.umem;
    const last = (addr + bytes - 1) >>> PAGE_SHIFT;
    for (let i = addr >>> PAGE_SHIFT; i < last; i++) {
      if (this.dmaPages[i]! + PAGE_SIZE !== this.dmaPages[i + 1] || pages[i]!.region !== pages[i + 1]!.region || pages[i]!.base + PAGE_SIZE !== pages[i + 1]!.base) return true;
    }
    return false;
  }

  /** @kernel xp_init_xskb_addr, xp_init_xskb_dma */
  private place(xskb: XdpBuffXsk, addr: number): void {
    const { xdp } = xskb;
    xskb.origAddr = addr;
    xdp.head = this.umem.pages[addr >>> PAGE_SHIFT]!;
    xdp.dataHardStart = (addr & (PAGE_SIZE - 1)) + this.headroom;
    xskb.frameDma = this.dma === null ? 0 : this.xskBuffRawGetDma(addr);
    xskb.dma = this.dma === null ? 0 : xskb.frameDma + this.headroom + XDP_PACKET_HEADROOM;
  }

  private reset(xskb: XdpBuffXsk): XdpBuff {
    const { xdp } = xskb;
    xdp.data = xdp.dataHardStart + XDP_PACKET_HEADROOM;
    xdp.dataMeta = xdp.data;
    xdp.dataEnd = xdp.data;
    xdp.flags = 0;
    xdp.nrFrags = 0;
    return xdp;
  }
}
