import { describe, expect, test } from "vitest";
import { EAGAIN, EBADF, EBUSY, EEXIST, EINVAL, EIO, ENETDOWN, ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOSPC, ENXIO, EOPNOTSUPP, NSEC_PER_MSEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { GFP_KERNEL, PAGE_SIZE, type DmaDevice, type Page } from "@netmem/mm/api";
import { skbRegion } from "@netmem/net-core/api";
import {
  EPOLLIN, EPOLLOUT, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_XSK_BUFF_POOL, MSG_DONTWAIT, NETDEV_TX_BUSY, NETDEV_TX_OK, NETDEV_XDP_ACT_BASIC, NETDEV_XDP_ACT_REDIRECT, NETDEV_XDP_ACT_XSK_ZEROCOPY, XDP_COPY,
  XDP_PASS, XDP_PKT_CONTD, XDP_RING_NEED_WAKEUP, XDP_SHARED_UMEM, XDP_UMEM_UNALIGNED_CHUNK_FLAG, XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_WAKEUP_RX, XDP_WAKEUP_TX, XDP_ZEROCOPY,
  type XdpBuff, type XdpSocket, type XskBuffPool, type XskMap, type XskRing,
} from "@netmem/xdp/api";
import { XdpBench } from "./xdp-bench.ts";

const CHUNK = 2048;

interface Setup {
  readonly pages?: number;
  readonly chunk?: number;
  readonly headroom?: number;
  readonly umemFlags?: number;
  readonly entries?: number;
  readonly flags?: number;
  readonly queue?: number;
}

/** A process with a socket, and a driver that can do zero copy. */
class XskBench extends XdpBench {
  readonly socket: XdpSocket;
  readonly map: XskMap;
  pages: Page[] = [];
  /** Reasons of each wake-up of the driver. */
  readonly wakeups: number[] = [];
  zcAnswer = 0;
  zcMaps = true;
  /** The device that zero copy maps for. */
  zcDma: DmaDevice = this.dma;

  constructor(preset: PresetName) {
    super(preset);
    this.dev.up = true;
    this.dev.xdpFeatures = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_XSK_ZEROCOPY;
    this.dev.xdpZcMaxSegs = 17;
    this.dev.xdpOps = {
      xdpSetupProg: null, xdpXmit: null,
      xskSetupPool: (pool) => {
        if (pool === null) {
          this.socket.pool?.dmaUnmap();
          return 0;
        }
        if (this.zcAnswer !== 0) return this.zcAnswer;
        return this.zcMaps ? pool.dmaMap(this.zcDma) : 0;
      },
      xskWakeup: (_queue, flags) => {
        this.wakeups.push(flags);
        return 0;
      },
    };
    this.socket = this.machine.xdp.afXdp.createSocket();
    this.map = this.machine.xdp.maps.createXskMap(4) as XskMap;
  }

  userPages: (n: number) => Page[] = (n) => {
    return Array.from({ length: n }, () => this.machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
  };

  /** All that a bind needs, and the bind. */
  bindSocket({ pages = 8, chunk = CHUNK, headroom = 0, umemFlags = 0, entries = 16, flags = XDP_COPY, queue = 0 }: Setup = {}): number {
    this.pages = this.userPages(pages);
    const { socket } = this;
    const errnos = [socket.umemReg(this.pages, chunk, headroom, umemFlags), socket.rxRing(entries), socket.txRing(entries), socket.fillRing(entries), socket.completionRing(entries)];
    if (errnos.some((errno) => errno !== 0)) throw new Error(`refused: ${errnos.join()}`);
    const errno = socket.bind(this.dev, queue, flags, null);
    if (errno === 0) this.map.mapUpdateElem(0, socket, 0);
    return errno;
  }

  bytes(addr: number, n: number): number[] {
    return Array.from({ length: n }, (_, i) => {
      const page = this.pages[(addr + i) >>> 12]!;
      return page.region.bytes[page.base + ((addr + i) & (PAGE_SIZE - 1))]!;
    });
  }

  /** A packet of `len` bytes in `buff`, of a pool page and fragments of 1000. */
  packet(len: number): number[] {
    const frags = Math.max(0, Math.ceil((len - 3000) / 1000));
    this.receive(this.buff, this.pool, frags);
    const { buff } = this;
    buff.dataEnd = buff.data + Math.min(len, 3000);
    if (frags > 0) {
      buff.xdpFragsSize = len - 3000;
      buff.frags[frags - 1]!.sizeBytes = len - 3000 - (frags - 1) * 1000;
    }
    const parts: (readonly [Page, number, number])[] = [[buff.head as Page, buff.data, buff.dataEnd - buff.data], ...buff.frags.slice(0, buff.nrFrags).map((frag) => [frag.netmem as Page, frag.offset, frag.sizeBytes] as const)];
    return parts.flatMap(([page, offset, bytes], part) => Array.from({ length: bytes }, (_, i) => {
      const value = (i * 13 + part * 57 + len) & 0xff;
      page.region.bytes[page.base + offset + i] = value;
      return value;
    }));
  }

  /** The packet in `buff` to the socket; an errno leaves it there. */
  toSocket(buff: XdpBuff = this.buff): number {
    const prog = this.prog((ctx) => ctx.redirectMap(this.map, 0, XDP_PASS), "xsk", false);
    return this.softirq(0, () => {
      const errno = this.redirect(prog, buff);
      this.machine.xdp.redirect.xdpDoFlush();
      return errno;
    });
  }
}

/** What libxdp does for a user: adds entries to a ring of the user's. */
function produce(ring: XskRing, ...entries: readonly { readonly addr: number; readonly offset?: number; readonly len?: number; readonly options?: number }[]): void {
  for (const { addr, offset = 0, len = 0, options = 0 } of entries) {
    const slot = ring.producer & ring.mask;
    ring.addr[slot] = addr;
    ring.offset[slot] = offset;
    ring.len[slot] = len;
    ring.options[slot] = options;
    ring.producer = (ring.producer + 1) >>> 0;
  }
}

/** And takes entries from a ring of the kernel's. */
function consume(ring: XskRing): { addr: number; offset: number; len: number; options: number }[] {
  const out: { addr: number; offset: number; len: number; options: number }[] = [];
  for (; ring.consumer !== ring.producer; ring.consumer = (ring.consumer + 1) >>> 0) {
    const slot = ring.consumer & ring.mask;
    out.push({ addr: ring.addr[slot]!, offset: ring.offset[slot]!, len: ring.len[slot]!, options: ring.options[slot]! });
  }
  return out;
}

function fill(bench: XskBench, ...addrs: readonly number[]): void {
  produce(bench.socket.fill!, ...addrs.map((addr) => ({ addr })));
}

function poolOf(bench: XskBench): XskBuffPool {
  return bench.socket.pool!;
}

const SG_PRESETS = PRESET_NAMES.filter((name) => PRESETS[name].xdp.xskHasMultiBuffer);

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("pp-xdp row 69: a packet in user memory becomes a frame by a copy: too big, null, and the chunk stays; else ORDER0, and the chunk is on the free list", () => {
    const bench = new XskBench(preset);
    expect(bench.bindSocket({ chunk: 4096, flags: XDP_ZEROCOPY })).toBe(0);
    const { buffs, rxqs } = bench.machine.xdp;
    const { xdpRxq } = bench.dev.rxQueues[1]!;
    rxqs.xdpRxqInfoReg(xdpRxq, bench.dev, 1);
    rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_XSK_BUFF_POOL, null);
    const pool = poolOf(bench);
    pool.setRxqInfo(xdpRxq);
    fill(bench, 0);
    const buff = pool.xskBuffAlloc()!;
    pool.xskBuffSetSize(buff, 100);
    // One more than a page has behind the frame's struct.
    buff.dataEnd = buff.data + PAGE_SIZE - 40 + 1;
    expect([buffs.xdpConvertBuffToFrame(buff), pool.freeListCnt]).toEqual([null, 0]);
    pool.xskBuffSetSize(buff, 100);
    buff.dataMeta = buff.data - 8;
    const head = buff.head as Page;
    head.region.bytes.fill(7, head.base + buff.dataMeta, head.base + buff.dataEnd);
    const frame = buffs.xdpConvertBuffToFrame(buff)!;
    const copy = frame.head as Page;
    expect([frame.memType, frame.headroom, frame.len, frame.metasize, frame.frameSz, pool.freeListCnt, copy === head]).toEqual([MEM_TYPE_PAGE_ORDER0, 0, 100, 8, PAGE_SIZE, 1, false]);
    expect([...copy.region.bytes.subarray(copy.base + 40, copy.base + 148)].every((byte) => byte === 7)).toBe(true);
    bench.machine.xdp.xdpReturn.xdpReturnFrame(frame);
    expect([copy.refcount, bench.kinds()]).toEqual([0, []]);
  });

  test("pp-xdp row 80: a chunk freed twice is on the list once", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    fill(bench, 0, CHUNK);
    const pool = poolOf(bench);
    const [a, b] = [pool.xskBuffAlloc()!, pool.xskBuffAlloc()!];
    pool.xskBuffFree(a);
    pool.xskBuffFree(a);
    expect(pool.freeListCnt).toBe(1);
    pool.xskBuffFree(b);
    pool.xskBuffFree(a);
    expect([pool.freeListCnt, pool.xskBuffAlloc() === b, pool.xskBuffAlloc() === a, pool.xskBuffAlloc()]).toEqual([2, true, true, null]);
  });

  test("pp-xdp row 81: an empty fill ring counts, and so does an address outside the umem, behind which the next is tried", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ pages: 2 });
    const pool = poolOf(bench);
    expect([pool.xskBuffAlloc(), bench.socket.statistics().rxFillRingEmptyDescs]).toEqual([null, 1]);
    fill(bench, 2 * PAGE_SIZE, -1, 2 * PAGE_SIZE - 1);
    const buff = pool.xskBuffAlloc()!;
    // An address within a chunk stands for its start.
    expect([buff.xsk!.origAddr, bench.socket.statistics().rxInvalidDescs]).toEqual([2 * PAGE_SIZE - CHUNK, 2]);
  });

  test("pp-xdp row 82: what was freed is handed out again without a look at the fill ring", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    fill(bench, 0, CHUNK);
    const pool = poolOf(bench);
    const buff = pool.xskBuffAlloc()!;
    buff.dataEnd = buff.data + 77;
    pool.xskBuffFree(buff);
    const again = pool.xskBuffAlloc()!;
    expect([again === buff, again.dataEnd - again.data, again.data - again.dataHardStart]).toEqual([true, 0, 256]);
    expect(pool.xskBuffAlloc()!.xsk!.origAddr).toBe(CHUNK);
  });

  test("pp-xdp row 83: the user sees what was taken from the fill ring only when it is released, or when the kernel looks for more", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const ring = bench.socket.fill!;
    fill(bench, 0, CHUNK);
    const pool = poolOf(bench);
    pool.xskBuffAlloc();
    pool.xskBuffAlloc();
    expect(ring.consumer).toBe(0);
    pool.xskBuffAlloc();
    expect(ring.consumer).toBe(2);
    fill(bench, 2 * CHUNK);
    bench.packet(100);
    expect([bench.toSocket(), ring.consumer]).toEqual([0, 3]);
  });

  test("pp-xdp row 84: with a full completion ring nothing is sent, and the descriptor stays in the tx ring", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 2, flags: XDP_ZEROCOPY });
    const pool = poolOf(bench);
    const { tx, completion } = bench.socket as { tx: XskRing; completion: XskRing };
    const desc = bench.machine.xdp.structs.createXdpDesc();
    produce(tx, { addr: 0, len: 60 }, { addr: CHUNK, len: 60 });
    expect([pool.xskTxPeekDesc(desc), pool.xskTxPeekDesc(desc)]).toEqual([true, true]);
    pool.xskTxRelease();
    produce(tx, { addr: 2 * CHUNK, len: 60 });
    expect(pool.xskTxPeekDesc(desc)).toBe(false);
    pool.xskTxRelease();
    expect([tx.consumer, tx.producer]).toEqual([2, 3]);
    pool.xskTxCompleted(2);
    expect(consume(completion).map(({ addr }) => addr)).toEqual([0, CHUNK]);
    expect([pool.xskTxPeekDesc(desc), desc.addr]).toEqual([true, 2 * CHUNK]);
  });

  test("a new tx ring, and no other, asks to be woken: the first time who sends must say so, in either mode (xsk_setsockopt of net/xdp/xsk.c)", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_COPY });
    const { tx, rx, fill: fillRing, completion } = bench.socket;
    expect([tx, rx, fillRing, completion].map((ring) => ring!.flags)).toEqual([XDP_RING_NEED_WAKEUP, 0, 0, 0]);
  });

  test("pp-xdp row 86: asking twice to be woken writes the flag once", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP });
    const pool = poolOf(bench);
    const tx = bench.socket.tx!;
    let writes = 0;
    let value = 0;
    Object.defineProperty(tx, "flags", { get: () => value, set: (flags: number) => {
      value = flags;
      writes++;
    } });
    pool.xskClearTxNeedWakeup();
    expect([writes, value]).toEqual([1, 0]);
    pool.xskSetTxNeedWakeup();
    pool.xskSetTxNeedWakeup();
    expect([writes, value]).toEqual([2, XDP_RING_NEED_WAKEUP]);
    const fillRing = bench.socket.fill!;
    pool.xskSetRxNeedWakeup();
    expect(fillRing.flags).toBe(XDP_RING_NEED_WAKEUP);
    pool.xskClearRxNeedWakeup();
    expect([fillRing.flags, pool.usesNeedWakeup]).toEqual([0, true]);
  });

  test("pp-xdp row 87: zero copy that does not work becomes copy mode, unless it was asked for", () => {
    const reasons: readonly (readonly [string, number, (bench: XskBench) => void])[] = [
      ["the driver says so", -EIO, (bench) => void (bench.zcAnswer = -EIO)],
      ["the driver maps nothing", -EINVAL, (bench) => void (bench.zcMaps = false)],
      ["the driver has no such function", -EOPNOTSUPP, (bench) => void (bench.dev.xdpOps = null)],
      ["a memory provider has the queue", -EBUSY, (bench) => void (bench.dev.rxQueues[0]!.memoryProvider = { nlFill: () => ({}), uninstall: () => {} })],
    ];
    for (const [why, errno, spoil] of reasons) {
      const bench = new XskBench(preset);
      spoil(bench);
      expect([why, bench.bindSocket({ flags: 0 }), bench.socket.zc, bench.dev.rxQueues[0]!.xskBound]).toEqual([why, 0, false, true]);
      const forced = new XskBench(preset);
      spoil(forced);
      expect([why, forced.bindSocket({ flags: XDP_ZEROCOPY }), forced.socket.pool, forced.dev.rxQueues[0]!.xskBound]).toEqual([why, errno, null, false]);
      expect(forced.kinds()).toEqual(why === "the driver maps nothing" ? ["xsk-driver-no-dma"] : []);
    }
    const bench = new XskBench(preset);
    expect([bench.bindSocket({ flags: 0 }), bench.socket.zc]).toEqual([0, true]);
  });

  test("copy mode, one buffer: bytes and metadata are in the chunk, the descriptor says where, the packet's own page is home", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ headroom: 64 });
    fill(bench, 3 * CHUNK);
    const sent = bench.packet(200);
    const { buff } = bench;
    buff.dataMeta = buff.data - 4;
    const page = buff.head as Page;
    page.region.bytes.set([9, 8, 7, 6], page.base + buff.dataMeta);
    expect(bench.toSocket()).toBe(0);
    const [entry] = consume(bench.socket.rx!);
    expect(entry).toEqual({ addr: 3 * CHUNK + 64 + 256, offset: 0, len: 200, options: 0 });
    expect([bench.bytes(entry!.addr, 200), bench.bytes(entry!.addr - 4, 4), bench.socket.poll()]).toEqual([sent, [9, 8, 7, 6], EPOLLOUT]);
    expect([bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.buff.head, bench.kinds()]).toEqual([0, null, []]);
  });

  test("a packet for a socket that cannot have it stays where it was, and is counted", () => {
    const bench = new XskBench(preset);
    bench.packet(100);
    bench.map.mapUpdateElem(0, bench.socket, 0);
    expect(bench.toSocket()).toBe(-ENXIO);
    bench.bindSocket();
    expect([bench.toSocket(), bench.socket.statistics().rxDropped, bench.socket.statistics().rxFillRingEmptyDescs]).toEqual([-ENOMEM, 1, 1]);
    bench.buff.dataEnd = bench.buff.data + CHUNK - 256 + 1;
    fill(bench, 0);
    expect([bench.toSocket(), bench.socket.statistics().rxDropped]).toEqual([-ENOSPC, 2]);
    bench.buff.dataEnd = bench.buff.data + CHUNK - 256;
    bench.buff.rxq.queueIndex = 1;
    expect(bench.toSocket()).toBe(-EINVAL);
    bench.buff.rxq.queueIndex = 0;
    expect([bench.toSocket(), bench.kinds()]).toEqual([0, []]);
  });

  test("a full rx ring gives the chunk back to the pool's list, and counts", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 2 });
    fill(bench, 0, CHUNK);
    for (let i = 0; i < 2; i++) {
      bench.packet(100);
      expect(bench.toSocket()).toBe(0);
    }
    fill(bench, 2 * CHUNK);
    bench.packet(100);
    expect([bench.toSocket(), poolOf(bench).freeListCnt, bench.socket.statistics().rxRingFull, bench.buff.head !== null]).toEqual([-ENOBUFS, 1, 1, true]);
  });

  test("zero copy: the chunk itself reaches the user, and comes back by the fill ring", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_ZEROCOPY });
    const pool = poolOf(bench);
    const { xdpRxq } = bench.dev.rxQueues[0]!;
    bench.machine.xdp.rxqs.xdpRxqInfoUnregMemModel(xdpRxq);
    bench.machine.xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_XSK_BUFF_POOL, null);
    pool.setRxqInfo(xdpRxq);
    fill(bench, CHUNK, 2 * CHUNK);
    for (const addr of [CHUNK, 2 * CHUNK]) {
      const buff = pool.xskBuffAlloc()!;
      pool.xskBuffSetSize(buff, 64);
      expect([bench.toSocket(buff), pool.xskBuffGetDma(buff) === pool.xskBuffRawGetDma(addr) + 256]).toEqual([0, true]);
    }
    expect([consume(bench.socket.rx!), pool.freeListCnt, bench.socket.poll()]).toEqual([[{ addr: CHUNK + 256, offset: 0, len: 64, options: 0 }, { addr: 2 * CHUNK + 256, offset: 0, len: 64, options: 0 }], 0, EPOLLOUT]);
    const dropped = pool.xskBuffAlloc();
    fill(bench, CHUNK + 256);
    expect([dropped, pool.xskBuffAlloc()!.xsk!.origAddr]).toEqual([null, CHUNK]);
  });

  test("unaligned: chunks anywhere, the offset in an address of its own; not across pages that a device does not see side by side", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ chunk: 3000, umemFlags: XDP_UMEM_UNALIGNED_CHUNK_FLAG, headroom: 32 });
    const pool = poolOf(bench);
    fill(bench, 1000, 8 * PAGE_SIZE - 2999);
    const buff = pool.xskBuffAlloc()!;
    expect([buff.xsk!.origAddr, pool.xskBuffAlloc(), bench.socket.statistics().rxInvalidDescs]).toEqual([1000, null, 1]);
    pool.xskBuffFree(buff);
    const sent = bench.packet(100);
    expect(bench.toSocket()).toBe(0);
    const [entry] = consume(bench.socket.rx!);
    expect([entry, bench.bytes(1000 + 288, 100)]).toEqual([{ addr: 1000, offset: 288, len: 100, options: 0 }, sent]);

    for (const [order, allocates] of [["as they lie", true], ["reversed", false]] as const) {
      const zc = new XskBench(preset);
      // Addresses are physical ones: what lies side by side does so for the device.
      zc.zcDma = zc.machine.mm.attachDevice({ name: "direct", coherent: true, iommu: "off" }).dma;
      const block = zc.machine.mm.pages.allocPages(GFP_KERNEL, 3, 0)!;
      zc.machine.mm.pages.splitPage(block, 3);
      const { pages } = zc.machine.mm.pages;
      const side = pages.slice(pages.indexOf(block), pages.indexOf(block) + 8);
      zc.userPages = () => (order === "reversed" ? side.toReversed() : side);
      zc.bindSocket({ chunk: 3000, umemFlags: XDP_UMEM_UNALIGNED_CHUNK_FLAG, flags: XDP_ZEROCOPY });
      fill(zc, 3000, 0);
      const first = poolOf(zc).xskBuffAlloc()!.xsk!;
      expect([order, first.origAddr, zc.socket.statistics().rxInvalidDescs]).toEqual([order, allocates ? 3000 : 0, allocates ? 0 : 1]);
      expect(first.frameDma).toBe(poolOf(zc).xskBuffRawGetDma(0) + first.origAddr);
    }
  });

  test("unaligned zero copy: pages that lie side by side for the device but not here are not crossed either", () => {
    const bench = new XskBench(preset);
    const block = bench.machine.mm.pages.allocPages(GFP_KERNEL, 3, 0)!;
    bench.machine.mm.pages.splitPage(block, 3);
    const { pages } = bench.machine.mm.pages;
    bench.userPages = () => pages.slice(pages.indexOf(block), pages.indexOf(block) + 8).toReversed();
    bench.bindSocket({ chunk: 3000, umemFlags: XDP_UMEM_UNALIGNED_CHUNK_FLAG, flags: XDP_ZEROCOPY });
    expect(poolOf(bench).xskBuffRawGetDma(PAGE_SIZE)).toBe(poolOf(bench).xskBuffRawGetDma(0) + PAGE_SIZE);
    fill(bench, 3000, 100);
    expect([poolOf(bench).xskBuffAlloc()!.xsk!.origAddr, bench.socket.statistics().rxInvalidDescs]).toEqual([100, 1]);
  });

  test("copy-mode transmit: bytes leave by the stack, chunks are the user's again when the packets are freed, in that order", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const held: { readonly bytes: number[]; readonly free: () => void }[] = [];
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: (skb) => {
      held.push({ bytes: [...skbRegion(skb).bytes.subarray(skb.data, skb.data + skb.len)], free: () => bench.machine.net.lifetime.consumeSkb(skb) });
      return NETDEV_TX_OK;
    } });
    const [a, b] = [bench.pages[0]!, bench.pages[1]!];
    a.region.bytes.fill(1, a.base, a.base + 80);
    b.region.bytes.fill(2, b.base, b.base + 90);
    produce(bench.socket.tx!, { addr: 0, len: 80 }, { addr: PAGE_SIZE, len: 90 });
    expect([bench.socket.sendmsg(MSG_DONTWAIT), held.map(({ bytes }) => [bytes.length, bytes[79]]), bench.socket.tx!.consumer, bench.socket.completion!.producer]).toEqual([0, [[80, 1], [90, 2]], 2, 0]);
    held[1]!.free();
    held[0]!.free();
    expect(consume(bench.socket.completion!).map(({ addr }) => addr)).toEqual([PAGE_SIZE, 0]);
    expect(bench.kinds()).toEqual([]);
  });

  test("copy-mode transmit: a busy device gets it again, a full completion ring stops it, a bad descriptor is counted and passed over", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 4 });
    let busy = 1;
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: (skb) => {
      if (busy-- > 0) return NETDEV_TX_BUSY;
      bench.machine.net.lifetime.consumeSkb(skb);
      return NETDEV_TX_OK;
    } });
    const { socket } = bench;
    const { tx, completion } = socket as { tx: XskRing; completion: XskRing };
    produce(tx, { addr: 0, len: 60 }, { addr: CHUNK, len: CHUNK + 1 }, { addr: 2 * CHUNK, len: 60 });
    expect([socket.sendmsg(MSG_DONTWAIT), tx.consumer, completion.producer]).toEqual([-EAGAIN, 0, 0]);
    // The kernel's loop ends at an invalid one, which is used up.
    expect([socket.sendmsg(MSG_DONTWAIT), tx.consumer, socket.statistics().txInvalidDescs]).toEqual([0, 2, 1]);
    expect([socket.sendmsg(MSG_DONTWAIT), tx.consumer, completion.producer]).toEqual([0, 3, 2]);
    produce(tx, { addr: 0, len: 60 }, { addr: 0, len: 60 }, { addr: 0, len: 60 });
    expect([socket.sendmsg(MSG_DONTWAIT), completion.producer, tx.consumer]).toEqual([-EAGAIN, 4, 5]);
    consume(completion);
    expect([socket.sendmsg(MSG_DONTWAIT), tx.consumer]).toEqual([0, 6]);
    bench.machine.net.transmit.setStartXmit(bench.dev, null);
    produce(tx, { addr: 0, len: 60 });
    expect([socket.sendmsg(MSG_DONTWAIT), tx.consumer]).toEqual([-EBUSY, 7]);
    expect(bench.machine.net.lifetime.stats.live).toBe(0);
  });

  test("system calls: what each refuses, and whom it wakes", () => {
    const bench = new XskBench(preset);
    const { socket, dev } = bench;
    expect([socket.sendmsg(MSG_DONTWAIT), socket.recvmsg(MSG_DONTWAIT), socket.poll()]).toEqual([-ENXIO, -ENXIO, 0]);
    bench.bindSocket({ flags: XDP_ZEROCOPY });
    expect([socket.sendmsg(0), socket.recvmsg(0)]).toEqual([-EOPNOTSUPP, -EOPNOTSUPP]);
    dev.up = false;
    expect([socket.sendmsg(MSG_DONTWAIT), socket.recvmsg(MSG_DONTWAIT)]).toEqual([-ENETDOWN, -ENETDOWN]);
    dev.up = true;
    expect([socket.sendmsg(MSG_DONTWAIT), socket.recvmsg(MSG_DONTWAIT), bench.wakeups]).toEqual([0, 0, [XDP_WAKEUP_TX]]);
    poolOf(bench).xskSetRxNeedWakeup();
    poolOf(bench).xskClearTxNeedWakeup();
    expect([socket.sendmsg(MSG_DONTWAIT), socket.recvmsg(MSG_DONTWAIT), socket.poll(), bench.wakeups]).toEqual([0, 0, EPOLLOUT, [XDP_WAKEUP_TX, XDP_WAKEUP_RX, XDP_WAKEUP_RX]]);
    produce(socket.tx!, ...Array.from({ length: 9 }, () => ({ addr: 0, len: 60 })));
    expect(socket.poll() & EPOLLOUT).toBe(0);
    expect(EPOLLIN).toBe(1);
    const rxOnly = bench.machine.xdp.afXdp.createSocket();
    rxOnly.rxRing(4);
    rxOnly.umemReg(bench.userPages(1), CHUNK, 0, 0);
    rxOnly.fillRing(4);
    rxOnly.completionRing(4);
    expect([rxOnly.bind(dev, 1, XDP_COPY, null), rxOnly.sendmsg(MSG_DONTWAIT)]).toEqual([0, -ENOBUFS]);
  });

  test("what a umem, a ring and a bind are refused for", () => {
    const bench = new XskBench(preset);
    const { socket, dev } = bench;
    const pages = bench.userPages(2);
    const umems = [[[], CHUNK, 0, 0], [pages, 1024, 0, 0], [pages, 8192, 0, 0], [pages, 3000, 0, 0], [pages, CHUNK, CHUNK - 256, 0], [pages, CHUNK, 0, 2], [pages, CHUNK, -1, 0]] as const;
    expect(umems.map(([memory, chunk, headroom, flags]) => socket.umemReg(memory, chunk, headroom, flags))).toEqual(umems.map(() => -EINVAL));
    expect([socket.umemReg(pages, CHUNK, CHUNK - 257, 0), socket.umemReg(pages, CHUNK, 0, 0), pages[0]!.refcount]).toEqual([0, -EBUSY, 2]);
    expect([0, 3, -4, 1.5].map((entries) => socket.rxRing(entries))).toEqual([-EINVAL, -EINVAL, -EINVAL, -EINVAL]);
    expect(socket.bind(dev, 0, XDP_COPY, null)).toBe(-EINVAL);
    expect([socket.rxRing(8), socket.rxRing(8), socket.bind(dev, 0, XDP_COPY, null), socket.fillRing(8), socket.completionRing(8)]).toEqual([0, -EINVAL, -EINVAL, 0, 0]);
    expect([socket.bind(dev, 0, XDP_COPY | XDP_ZEROCOPY, null), socket.bind(dev, 9, XDP_COPY, null), socket.bind(dev, 0, 1 << 9, null)]).toEqual([-EINVAL, -EINVAL, -EINVAL]);
    expect(socket.bind(dev, 0, XDP_USE_SG | XDP_COPY, null)).toBe(PRESETS[preset].xdp.xskHasMultiBuffer ? 0 : -EINVAL);
    const other = new XskBench(preset);
    other.bindSocket();
    const second = other.machine.xdp.afXdp.createSocket();
    second.umemReg(other.userPages(1), CHUNK, 0, 0);
    second.rxRing(4);
    second.fillRing(4);
    second.completionRing(4);
    expect([second.bind(other.dev, 0, XDP_COPY, null), second.rxRing(4), other.socket.rxRing(8), other.socket.bind(other.dev, 1, XDP_COPY, null)]).toEqual([-EBUSY, -EINVAL, -EBUSY, -EBUSY]);
  });

  test("a umem shared: on the same queue the same pool, on another one its own rings; the memory is the user's when the last socket is gone", () => {
    const bench = new XskBench(preset);
    const { afXdp } = bench.machine.xdp;
    const shared = (rings: boolean): XdpSocket => {
      const socket = afXdp.createSocket();
      socket.txRing(8);
      if (rings) {
        socket.fillRing(8);
        socket.completionRing(8);
      }
      return socket;
    };
    const early = shared(false);
    expect(early.bind(bench.dev, 0, XDP_SHARED_UMEM, bench.socket)).toBe(-EBADF);
    bench.bindSocket();
    expect([early.bind(bench.dev, 0, XDP_SHARED_UMEM | XDP_COPY, bench.socket), early.bind(bench.dev, 1, XDP_SHARED_UMEM, bench.socket), early.bind(bench.dev, 0, XDP_SHARED_UMEM, bench.socket)]).toEqual([-EINVAL, -EINVAL, 0]);
    const elsewhere = shared(true);
    expect([elsewhere.bind(bench.dev, 0, XDP_SHARED_UMEM, bench.socket), elsewhere.bind(bench.dev, 1, XDP_SHARED_UMEM, bench.socket)]).toEqual([-EINVAL, 0]);
    expect([early.pool === bench.socket.pool, elsewhere.pool === bench.socket.pool, elsewhere.umem === bench.socket.umem]).toEqual([true, false, true]);
    for (const socket of [bench.socket, early, elsewhere]) socket.release();
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([bench.pages.map(({ refcount }) => refcount), bench.dev.rxQueues.map(({ xskBound }) => xskBound), bench.map.mapLookupElem(0), bench.kinds()]).toEqual([bench.pages.map(() => 1), [false, false, false, false], null, []]);
  });

  test("a socket's turn ends after 32 descriptors, as long as another has some", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 64, flags: XDP_ZEROCOPY });
    const second = bench.machine.xdp.afXdp.createSocket();
    second.txRing(64);
    expect(second.bind(bench.dev, 0, XDP_SHARED_UMEM, bench.socket)).toBe(0);
    produce(bench.socket.tx!, ...Array.from({ length: 40 }, () => ({ addr: 0, len: 60 })));
    produce(second.tx!, ...Array.from({ length: 3 }, () => ({ addr: CHUNK, len: 60 })));
    const descs = Array.from({ length: 64 }, () => bench.machine.xdp.structs.createXdpDesc());
    const got = poolOf(bench).xskTxPeekReleaseDescBatch(descs, 64);
    expect(descs.slice(0, got).map(({ addr }) => (addr === 0 ? "a" : "b")).join("")).toBe(`${"a".repeat(32)}bbb${"a".repeat(8)}`);
    expect([bench.socket.tx!.consumer, second.tx!.consumer]).toEqual([40, 3]);
  });

  test("a batch is what tx and completion ring have; it ends at an invalid descriptor, which is used up", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 8, flags: XDP_ZEROCOPY });
    const descs = Array.from({ length: 16 }, () => bench.machine.xdp.structs.createXdpDesc());
    const pool = poolOf(bench);
    produce(bench.socket.tx!, { addr: 0, len: 60 }, { addr: CHUNK, len: 60 }, { addr: 0, len: 0 }, { addr: 3 * CHUNK, len: 60 });
    expect([pool.xskTxPeekReleaseDescBatch(descs, 16), bench.socket.tx!.consumer, bench.socket.statistics().txInvalidDescs]).toEqual([2, 3, 1]);
    expect([pool.xskTxPeekReleaseDescBatch(descs, 16), descs[0]!.addr, pool.xskTxPeekReleaseDescBatch(descs, 16)]).toEqual([1, 3 * CHUNK, 0]);
    pool.xskTxCompleted(3);
    expect(consume(bench.socket.completion!).map(({ addr }) => addr)).toEqual([0, CHUNK, 3 * CHUNK]);
  });

  test.each([["no number", Number.NaN], ["below zero", -1], ["a fraction", 1.5], ["beyond 32 bits", 2 ** 32 + 3], ["far ahead", 1000]])("a user's index that is none (%s) ends nothing and loops nowhere", (_what, index) => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const { fill: ring, tx, rx } = bench.socket as { fill: XskRing; tx: XskRing; rx: XskRing };
    const out: (XdpBuff | null)[] = Array.from({ length: 64 }, () => null);
    ring.addr.fill(-1);
    ring.producer = index;
    expect([poolOf(bench).xskBuffAlloc(), poolOf(bench).xskBuffAllocBatch(out, 64)]).toEqual([null, 0]);
    tx.producer = index;
    expect(bench.socket.sendmsg(MSG_DONTWAIT)).toBe(0);
    rx.consumer = index;
    bench.packet(100);
    expect([-ENOMEM, -ENOBUFS]).toContain(bench.toSocket());
    expect(bench.kinds()).toEqual([]);
  });

  test("nothing valid in the fill ring counts as an empty one for a batch; an offset in an aligned address makes it invalid", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    fill(bench, -1, -1);
    const out: (XdpBuff | null)[] = [null, null];
    expect([poolOf(bench).xskBuffAllocBatch(out, 2), bench.socket.statistics().rxFillRingEmptyDescs, bench.socket.statistics().rxInvalidDescs]).toEqual([0, 1, 2]);
    produce(bench.socket.fill!, { addr: 0, offset: 1 }, { addr: CHUNK });
    expect([poolOf(bench).xskBuffAllocBatch(out, 2), out[0]!.xsk!.origAddr, bench.socket.statistics().rxInvalidDescs]).toEqual([1, CHUNK, 3]);
  });

  test("zero copy asks for providers on any queue, and a device that is gone is none", () => {
    const bench = new XskBench(preset);
    bench.dev.rxQueues[1]!.memoryProvider = { nlFill: () => ({}), uninstall: () => {} };
    expect(bench.bindSocket({ flags: XDP_ZEROCOPY })).toBe(-EBUSY);
    bench.dev.rxQueues[1]!.memoryProvider = null;
    bench.machine.net.unregisterNetdev(bench.dev);
    expect(bench.socket.bind(bench.dev, 0, XDP_COPY, null)).toBe(-ENODEV);
  });

  test("a socket whose device went says so once, and can be set up no more", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    bench.machine.net.unregisterNetdev(bench.dev);
    const { socket } = bench;
    const next = bench.machine.net.registerNetdev("next", 1);
    expect([socket.soError(), socket.soError(), socket.fillRing(8), socket.txRing(8), socket.bind(next, 0, XDP_COPY, null)]).toEqual([-ENETDOWN, 0, -EBUSY, -EBUSY, -EBUSY]);
  });

  test("packets on their way out keep the memory until they are freed, though their socket is closed", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const held: (() => void)[] = [];
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: (skb) => {
      held.push(() => bench.machine.net.lifetime.consumeSkb(skb));
      return NETDEV_TX_OK;
    } });
    produce(bench.socket.tx!, { addr: 0, len: 80 });
    expect(bench.socket.sendmsg(MSG_DONTWAIT)).toBe(0);
    const ring = bench.socket.completion!;
    bench.socket.release();
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([bench.pages.every(({ refcount }) => refcount === 2), bench.dev.rxQueues[0]!.xskBound]).toEqual([true, true]);
    held[0]!();
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([consume(ring).length, bench.pages.every(({ refcount }) => refcount === 1), bench.dev.rxQueues[0]!.xskBound, bench.kinds()]).toEqual([1, true, false, []]);
  });

  test("somebody who waits is told when a packet has come", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    let told = 0;
    bench.socket.dataReady = () => void told++;
    fill(bench, 0);
    bench.packet(100);
    expect([bench.toSocket(), told, bench.socket.poll() & EPOLLIN]).toEqual([0, 1, EPOLLIN]);
  });

  test("a map of sockets: what an update is refused for; the same socket again is none of it", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const { map, socket } = bench;
    expect([map.mapUpdateElem(0, socket, 4), map.mapUpdateElem(4, socket, 0), map.mapUpdateElem(0, socket, 1), map.mapUpdateElem(1, socket, 2), map.mapDeleteElem(4)]).toEqual([-EINVAL, -7, 0, -ENOENT, -EINVAL]);
    const other = bench.machine.xdp.afXdp.createSocket();
    expect([map.mapUpdateElem(0, other, 1), map.mapUpdateElem(0, {} as XdpSocket, 0), map.mapUpdateElem(0, other, 2)]).toEqual([-EEXIST, -EOPNOTSUPP, 0]);
    map.mapDeleteElem(0);
    expect(map.mapLookupElem(0)).toBe(null);
  });

  test("a device that goes leaves its sockets bound to nothing, and their memory theirs", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_ZEROCOPY });
    const mapped = bench.dma.liveMappings();
    const { socket } = bench;
    bench.machine.net.unregisterNetdev(bench.dev);
    expect([socket.sendmsg(MSG_DONTWAIT), bench.dev.rxQueues[0]!.xskBound, mapped - bench.dma.liveMappings()]).toEqual([-ENXIO, false, 8]);
    socket.release();
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([bench.pages.every(({ refcount }) => refcount === 1), bench.kinds()]).toEqual([true, []]);
  });
});

describe.each(SG_PRESETS)("%s: packets in several buffers", (preset) => {
  test("pp-xdp row 85: an rx ring without three slots for a packet of three chunks: -ENOBUFS, no slot and no chunk used", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 4, flags: XDP_COPY | XDP_USE_SG });
    fill(bench, 0, CHUNK);
    for (let i = 0; i < 2; i++) {
      bench.packet(100);
      bench.toSocket();
    }
    fill(bench, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK);
    bench.packet(5000);
    const rx = bench.socket.rx!;
    expect([bench.toSocket(), rx.producer, poolOf(bench).freeListCnt, bench.socket.statistics().rxRingFull, bench.buff.nrFrags]).toEqual([-ENOBUFS, 2, 0, 1, 2]);
    consume(rx);
    bench.machine.xdp.xdpReturn.xdpReturnBuff(bench.buff);
    const sent = bench.packet(5000);
    expect(bench.toSocket()).toBe(0);
    const entries = consume(rx);
    expect(entries.map(({ len, options }) => [len, options])).toEqual([[1792, XDP_PKT_CONTD], [1792, XDP_PKT_CONTD], [1416, 0]]);
    expect(entries.flatMap(({ addr, len }) => bench.bytes(addr, len))).toEqual(sent);
  });

  test("a socket that shares a umem takes what its umem does", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_COPY | XDP_USE_SG });
    const second = bench.machine.xdp.afXdp.createSocket();
    second.rxRing(8);
    expect(second.bind(bench.dev, 0, XDP_SHARED_UMEM, bench.socket)).toBe(0);
    bench.map.mapUpdateElem(0, second, 0);
    fill(bench, 0, CHUNK);
    bench.packet(3000);
    expect([bench.toSocket(), consume(second.rx!).map(({ len }) => len)]).toEqual([0, [1792, 1208]]);
  });

  test("a chunk that was posted twice is one buffer of a packet, not two", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_ZEROCOPY | XDP_USE_SG });
    const pool = poolOf(bench);
    fill(bench, 0, 0, CHUNK, CHUNK);
    const [a, again, b, bAgain] = [0, 1, 2, 3].map(() => pool.xskBuffAlloc()!) as [XdpBuff, XdpBuff, XdpBuff, XdpBuff];
    for (const buff of [a, b]) pool.xskBuffSetSize(buff, 500);
    expect([pool.xskBuffAddFrag(a, again), pool.xskBuffAddFrag(a, b), pool.xskBuffAddFrag(a, bAgain), a.nrFrags]).toEqual([false, true, false, 1]);
    pool.xskBuffFree(a);
    expect(pool.freeListCnt).toBe(2);
  });

  test("fewer chunks than the packet needs, counted or found invalid: -ENOMEM, and all of them are the pool's", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ flags: XDP_COPY | XDP_USE_SG });
    fill(bench, 0, CHUNK);
    bench.packet(5000);
    expect([bench.toSocket(), bench.socket.statistics().rxDropped]).toEqual([-ENOMEM, 1]);
    fill(bench, -1);
    expect([bench.toSocket(), bench.socket.statistics().rxDropped, bench.socket.rx!.producer, poolOf(bench).freeListCnt]).toEqual([-ENOMEM, 2, 0, 2]);
    fill(bench, 2 * CHUNK);
    expect([bench.toSocket(), consume(bench.socket.rx!).length]).toEqual([0, 3]);
  });

  test("zero copy: a chain of chunks is one packet; what a program cuts off goes back to the pool, and a full ring frees all", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 4, flags: XDP_ZEROCOPY | XDP_USE_SG });
    const pool = poolOf(bench);
    const { xdpRxq } = bench.dev.rxQueues[0]!;
    bench.machine.xdp.rxqs.xdpRxqInfoUnregMemModel(xdpRxq);
    bench.machine.xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_XSK_BUFF_POOL, null);
    pool.setRxqInfo(xdpRxq);
    const chain = (): XdpBuff => {
      const buffs = [0, 1, 2].map(() => pool.xskBuffAlloc()!);
      for (const buff of buffs) pool.xskBuffSetSize(buff, 1000);
      for (const frag of buffs.slice(1)) expect(pool.xskBuffAddFrag(buffs[0]!, frag)).toBe(true);
      return buffs[0]!;
    };
    fill(bench, 0, CHUNK, 2 * CHUNK, 3 * CHUNK);
    const head = chain();
    const cut = bench.prog((ctx) => ctx.adjustTail(-1100), "cut");
    expect([bench.machine.xdp.programs.bpfProgRunXdp(cut, head), head.nrFrags, pool.freeListCnt, head.xsk!.nextFrag!.xdp.dataEnd - head.xsk!.nextFrag!.xdp.data]).toEqual([0, 1, 1, 900]);
    expect([bench.toSocket(head), consume(bench.socket.rx!).map(({ len, options }) => [len, options])]).toEqual([0, [[1000, XDP_PKT_CONTD], [900, 0]]]);
    fill(bench, 0, CHUNK);
    const again = chain();
    produce(bench.socket.rx!, { addr: 0 }, { addr: 0 });
    bench.socket.rx!.consumer -= 2;
    const before = pool.freeListCnt;
    expect([bench.toSocket(again), pool.freeListCnt - before, bench.socket.statistics().rxRingFull]).toEqual([-ENOBUFS, 3, 1]);
  });

  test("copy-mode transmit of a packet in several chunks; one with more than 18, or with a bad one in it, is dropped and counted", () => {
    const bench = new XskBench(preset);
    bench.bindSocket({ entries: 32, flags: XDP_COPY | XDP_USE_SG, pages: 16 });
    const sent: number[] = [];
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: (skb) => {
      sent.push(skb.len);
      bench.machine.net.lifetime.consumeSkb(skb);
      return NETDEV_TX_OK;
    } });
    const { socket } = bench;
    const more = (n: number): { addr: number; len: number; options: number }[] => Array.from({ length: n }, (_, i) => ({ addr: i * CHUNK, len: 100, options: i === n - 1 ? 0 : XDP_PKT_CONTD }));
    produce(socket.tx!, ...more(3));
    expect([socket.sendmsg(MSG_DONTWAIT), sent, consume(socket.completion!).map(({ addr }) => addr)]).toEqual([0, [300], [0, CHUNK, 2 * CHUNK]]);
    produce(socket.tx!, ...more(19));
    expect([socket.sendmsg(MSG_DONTWAIT), sent.length, socket.statistics().txInvalidDescs, consume(socket.completion!).length]).toEqual([0, 1, 19, 19]);
    produce(socket.tx!, { addr: 0, len: 100, options: XDP_PKT_CONTD }, { addr: 0, len: 0 });
    expect([socket.sendmsg(MSG_DONTWAIT), sent.length, socket.statistics().txInvalidDescs, socket.tx!.consumer]).toEqual([0, 1, 21, 24]);
    consume(socket.completion!);
    // The user has not written all of it yet: it waits in the ring.
    produce(socket.tx!, { addr: 0, len: 100, options: XDP_PKT_CONTD });
    expect([socket.sendmsg(MSG_DONTWAIT), socket.tx!.consumer, consume(socket.completion!).length]).toEqual([0, 24, 0]);
    produce(socket.tx!, { addr: CHUNK, len: 60 });
    expect([socket.sendmsg(MSG_DONTWAIT), sent]).toEqual([0, [300, 160]]);
  });
});

describe.each(PRESET_NAMES.filter((name) => !PRESETS[name].xdp.xskHasMultiBuffer))("%s", (preset) => {
  test("pp-xdp row 85: not so: before 6.6 a packet longer than a chunk is refused as such", () => {
    const bench = new XskBench(preset);
    expect(bench.machine.xdp.afXdp.hasMultiBuffer).toBe(false);
    bench.bindSocket();
    fill(bench, 0, CHUNK, 2 * CHUNK);
    bench.packet(3000);
    expect([bench.toSocket(), bench.socket.statistics().rxDropped, bench.socket.rx!.producer]).toEqual([-ENOSPC, 1, 0]);
  });

  test("before 6.6 a descriptor that says its packet goes on is invalid", () => {
    const bench = new XskBench(preset);
    bench.bindSocket();
    const sent: number[] = [];
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: (skb) => {
      sent.push(skb.len);
      bench.machine.net.lifetime.consumeSkb(skb);
      return NETDEV_TX_OK;
    } });
    produce(bench.socket.tx!, { addr: 0, len: 100, options: XDP_PKT_CONTD }, { addr: CHUNK, len: 60 });
    expect([bench.socket.sendmsg(MSG_DONTWAIT), bench.socket.sendmsg(MSG_DONTWAIT), sent, bench.socket.statistics().txInvalidDescs]).toEqual([0, 0, [60], 1]);
  });
});

test.each(PRESET_NAMES.filter((name) => PRESETS[name].pagePool.hasSystemPools))("pp-xdp, xdp_build_skb_from_zc [%s]: a copy in the CPU's system pool, the chunks free again; without memory the packet stays", (preset) => {
  const bench = new XskBench(preset);
  bench.bindSocket({ flags: XDP_ZEROCOPY | XDP_USE_SG });
  const pool = poolOf(bench);
  const { xdpRxq } = bench.dev.rxQueues[0]!;
  bench.machine.xdp.rxqs.xdpRxqInfoUnregMemModel(xdpRxq);
  bench.machine.xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_XSK_BUFF_POOL, null);
  pool.setRxqInfo(xdpRxq);
  fill(bench, 0, CHUNK);
  const [head, frag] = [pool.xskBuffAlloc()!, pool.xskBuffAlloc()!];
  // More than its chunk has room for beside a shared info: the copy gets that.
  pool.xskBuffSetSize(head, 1700);
  const large = bench.softirq(0, () => bench.machine.net.xdpSkbs.xdpBuildSkbFromZc(head))!;
  expect([large.len + 14, pool.freeListCnt]).toEqual([1700, 1]);
  bench.machine.net.lifetime.consumeSkb(large);
  expect(pool.xskBuffAlloc() === head).toBe(true);
  pool.xskBuffSetSize(head, 500);
  pool.xskBuffSetSize(frag, 300);
  pool.xskBuffAddFrag(head, frag);
  head.dataMeta = head.data - 4;
  for (const buff of [head, frag]) (buff.head as Page).region.bytes.fill(buff === head ? 5 : 6, buff.head!.base + buff.dataMeta, buff.head!.base + buff.dataEnd);
  const { xdpSkbs, lifetime } = bench.machine.net;
  // All that the system pool has is out.
  const failAlloc = bench.machine.mm.faults.failFunction("allocNetmems");
  failAlloc.arm({});
  expect([bench.softirq(0, () => xdpSkbs.xdpBuildSkbFromZc(head)), pool.freeListCnt]).toEqual([null, 0]);
  failAlloc.disarm();
  const skb = bench.softirq(0, () => xdpSkbs.xdpBuildSkbFromZc(head))!;
  const frag0 = skb.shinfo!.frags[0]!;
  expect([skb.len, skb.dataLen, skb.shinfo!.metaLen, skb.ppRecycle, pool.freeListCnt, skbRegion(skb).bytes[skb.data], frag0.netmem!.region.bytes[frag0.netmem!.base + frag0.offset + 299]]).toEqual([786, 300, 4, true, 2, 5, 6]);
  lifetime.consumeSkb(skb);
  expect([bench.machine.systemPools[0]!.inflight() - bench.machine.systemPools[0]!.cacheCount - bench.machine.systemPools[0]!.ringCount() <= 1, bench.kinds()]).toEqual([true, []]);
});

