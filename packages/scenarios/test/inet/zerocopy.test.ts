import { describe, expect, test } from "vitest";
import { EBADF, EBUSY, ECONNRESET, EFAULT, EINVAL, EIO, ENOTCONN, EPERM } from "@netmem/kernel/api";
import { SocketReaders, USER_BUFFER_BYTES, pageHolders, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_BAD, PAGE_IN_USE, PAGE_SIZE, PAGE_SLAB, PAGE_VIEW_ANON, PAGE_VIEW_MAPPING, PROT_EXEC, PROT_READ, PROT_WRITE, __GFP_COMP, type Page, type VmArea } from "@netmem/mm/api";
import { TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT, skbRegion, type SkBuff, type TcpListener, type TcpSocket, type TcpZerocopyReceive } from "@netmem/net-core/api";
import { tcpFrame, testPayload } from "@netmem/testkit";
import { Rig, refs, type RigPool } from "../rig.ts";

const FIN = 0x01, RST = 0x04, ACK = 0x10;
const HEADERS = 54;

/** A connection whose segments are headers in a slab's head, and payload in pool pages of its own: what a NIC with header split makes. */
class ZcRig {
  readonly rig: Rig;
  readonly from: RigPool;
  readonly pages: Page[] = [];
  readonly sent: number[] = [];
  socket!: TcpSocket;
  #seq = 1;

  constructor(preset: PresetName = "6.18", listens: boolean = true) {
    this.rig = new Rig({ preset });
    this.from = this.rig.createPool();
    const { net } = this.rig.machine;
    net.receive.setProtocol(net.inet);
    if (listens) net.inet.tcpListen({ name: "tcp", port: 2000, accept: (socket) => (this.socket = socket) });
  }

  /** One segment, its payload cut into frags of `sizes` bytes, each in a page, at `offset` of it. */
  send(sizes: readonly number[], options: { readonly offset?: number; readonly inHead?: number; readonly flags?: number } = {}): void {
    const { offset = 0, inHead = 0, flags = ACK } = options;
    const payload = testPayload(inHead + sizes.reduce((sum, size) => sum + size, 0), this.#seq);
    const frame = tcpFrame(payload, { seq: this.#seq, flags });
    this.#seq += payload.length + (flags & FIN);
    this.sent.push(...payload);
    this.rig.inPoll(() => {
      const { net } = this.rig.machine;
      const skb: SkBuff = net.lifetime.allocSkb(512, GFP_ATOMIC)!;
      net.edit.skbPut(skb, HEADERS + inHead);
      skbRegion(skb).bytes.set(frame.subarray(0, HEADERS + inHead), skb.data);
      let at = HEADERS + inHead;
      for (const size of sizes) {
        const page = this.rig.page(this.from);
        this.pages.push(page);
        page.region.bytes.set(frame.subarray(at, at + size), page.base + offset);
        net.edit.skbAddRxFrag(skb, page, offset, size, PAGE_SIZE);
        if (skb.ppRecycle) net.recycle.storeMemInfo(page, this.from.mem);
        else net.recycle.skbMarkForRecycle(skb, page, this.from.mem);
        at += size;
      }
      skb.dev = this.rig.dev;
      net.edit.ethTypeTrans(skb);
      net.receive.napiGroReceive(this.rig.napi, skb);
    });
  }

  area(pages: number): VmArea {
    return this.socket.mmap(PROT_READ, pages * PAGE_SIZE) as VmArea;
  }

  receive(area: VmArea, options: Partial<Pick<TcpZerocopyReceive, "address" | "length" | "flags" | "copybufLen" | "copybuf">> = {}) {
    const zc: TcpZerocopyReceive = { area, address: area.vmStart, length: area.vmEnd - area.vmStart, recvSkipHint: 0, copybuf: null, copybufOffset: 0, copybufLen: 0, flags: 0, inq: 0, err: 0, ...options };
    const errno = this.socket.zerocopyReceive(zc);
    return { errno, length: zc.length, hint: zc.recvSkipHint, copied: zc.copybufLen };
  }

  bytes(area: VmArea): number[] {
    return area.mapped.flatMap((page) => (page === null ? [] : [...page.region.bytes.subarray(page.base, page.base + PAGE_SIZE)]));
  }

  read(bytes: number): number[] {
    const user = this.rig.machine.mm.payload.adoptRegion("user", new Uint8Array((bytes + 7) & ~7), true);
    const got = this.socket.recvmsg(user, 0, bytes);
    return [...user.bytes.subarray(0, got)];
  }
}

const DESIGNS: readonly PresetName[] = ["v3-2021", "5.14", "6.1", "6.8", "6.18"];

describe.each(DESIGNS)("under %s", (preset) => {
  test("skb-mm row 78: mapped, then its skb freed: the page has left its pool, lives as long as it is mapped, and goes home to the page allocator", () => {
    const zc = new ZcRig(preset);
    zc.send([PAGE_SIZE, PAGE_SIZE]);
    const area = zc.area(2);
    const { releaseCnt } = zc.from.pool;
    expect(zc.receive(area)).toEqual({ errno: 0, length: 2 * PAGE_SIZE, hint: 0, copied: 0 });
    zc.rig.machine.flushDeferred();
    // Read to its end, the packet is gone at once.
    expect([zc.bytes(area), zc.socket.available(), area.filePages, zc.from.pool.releaseCnt - releaseCnt]).toEqual([zc.sent, 0, 2, 2]);
    expect(zc.pages.map((page) => [page.refcount, page.pp])).toEqual([[1, null], [1, null]]);
    const free = zc.rig.machine.mm.pages.freePages();
    zc.rig.machine.mm.userMappings.munmap(area);
    expect([zc.rig.machine.mm.pages.freePages() - free, area.filePages]).toEqual([2, 0]);
    expect(zc.rig.reportKinds()).toEqual([]);
  });

  test("skb-mm row 79: unmapped before its skb is freed, it is recycled", () => {
    const zc = new ZcRig(preset);
    zc.send([PAGE_SIZE, PAGE_SIZE, 100]);
    const area = zc.area(2);
    const { releaseCnt } = zc.from.pool;
    // A hundred bytes are left: the packet stays.
    expect(zc.receive(area)).toEqual({ errno: 0, length: 2 * PAGE_SIZE, hint: 0, copied: 0 });
    expect([zc.pages.map((page) => refs(page)), area.filePages]).toEqual([["2/1", "2/1", "1/1"], 2]);
    zc.rig.machine.mm.userMappings.munmap(area);
    expect(zc.read(500)).toEqual(zc.sent.slice(-100));
    zc.rig.machine.flushDeferred();
    expect([zc.from.pool.releaseCnt - releaseCnt, zc.from.pool.inflight() - zc.from.pool.cacheCount - zc.from.pool.ringCount()]).toEqual([0, 0]);
    expect(zc.rig.reportKinds()).toEqual([]);
  });
});

describe("skb-mm row 80: not mappable, and to be read instead", () => {
  test.each([
    ["4096 bytes at offset 64 of a larger page", { sizes: [PAGE_SIZE - 64], offset: 64 }, PAGE_SIZE - 64],
    ["less than a page", { sizes: [PAGE_SIZE - 1] }, PAGE_SIZE - 1],
  ])("%s", (_what, { sizes, offset }: { sizes: number[]; offset?: number }, hint) => {
    const zc = new ZcRig();
    zc.send([...sizes, 1000], offset === undefined ? {} : { offset });
    expect(zc.receive(zc.area(4)).length).toBe(0);
    expect(zc.receive(zc.area(4)).hint).toBe(hint + 1000);
    expect(zc.read(10_000)).toEqual(zc.sent);
  });

  test("a frag in a compound page", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE, PAGE_SIZE]);
    const skb = zc.socket.packets()[0]!;
    const compound = zc.rig.machine.mm.pages.allocPages(GFP_ATOMIC | __GFP_COMP, 1, -1)!;
    const { frags } = skb.shinfo!;
    const own = frags[1]!.netmem;
    frags[1]!.netmem = compound;
    const area = zc.area(2);
    expect(zc.receive(area)).toEqual({ errno: 0, length: PAGE_SIZE, hint: PAGE_SIZE, copied: 0 });
    frags[1]!.netmem = own;
    zc.socket.close();
    zc.rig.machine.mm.userMappings.munmap(area);
  });

  test("bytes in the head: the first whole page behind them is mapped once they are read", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE], { inHead: 100 });
    const area = zc.area(2);
    expect(zc.receive(area)).toEqual({ errno: 0, length: 0, hint: PAGE_SIZE + 100, copied: 0 });
    expect(zc.read(100)).toEqual(zc.sent.slice(0, 100));
    expect([zc.receive(area).length, zc.bytes(area)]).toEqual([PAGE_SIZE, zc.sent.slice(100)]);
  });
});

test("many pages, several packets: mapped in batches, in order; what is no page's worth is copied into the buffer that is offered", () => {
  const zc = new ZcRig();
  for (let i = 0; i < 5; i++) zc.send(Array.from({ length: 15 }, () => PAGE_SIZE));
  zc.send([500]);
  const area = zc.area(80);
  const copybuf = zc.rig.machine.mm.payload.adoptRegion("copybuf", new Uint8Array(1024), true);
  expect(zc.receive(area, { copybuf, copybufLen: 1024 })).toEqual({ errno: 0, length: 75 * PAGE_SIZE, hint: 0, copied: 500 });
  expect(zc.bytes(area)).toEqual(zc.sent.slice(0, 75 * PAGE_SIZE));
  expect([[...copybuf.bytes.subarray(0, 500)], zc.socket.available()]).toEqual([zc.sent.slice(-500), 0]);
  zc.rig.machine.mm.userMappings.munmap(area);
  expect(zc.rig.reportKinds()).toEqual([]);
});

test("what is mapped there makes way, unless the hint says that nothing is: then it does after all, once that has failed", () => {
  const zc = new ZcRig();
  const area = (zc.send([PAGE_SIZE, PAGE_SIZE]), zc.area(2));
  zc.receive(area);
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  expect([zc.receive(area).length, zc.bytes(area)]).toEqual([2 * PAGE_SIZE, zc.sent.slice(2 * PAGE_SIZE)]);
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  expect([zc.receive(area, { flags: TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT }).length, zc.bytes(area)]).toEqual([2 * PAGE_SIZE, zc.sent.slice(4 * PAGE_SIZE)]);
  expect(area.filePages).toBe(2);
  const page = zc.rig.machine.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  expect(zc.rig.machine.mm.userMappings.vmInsertPages(area, area.vmStart, [page], 0, 1)).toEqual({ inserted: 0, error: -EBUSY });
  zc.rig.machine.mm.userMappings.munmap(area);
});

test("a range that cannot be, and the end of the stream, have their errno", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE, 10], { flags: ACK });
  const area = zc.area(1);
  expect([zc.socket.mmap(PROT_READ | PROT_WRITE, 1), zc.socket.mmap(PROT_EXEC, 1)]).toEqual([-EPERM, -EPERM]);
  expect([zc.receive(area, { address: area.vmStart + 8 }).errno, zc.receive(area, { address: area.vmEnd }).errno]).toEqual([-EINVAL, -EINVAL]);
  expect(zc.receive(area)).toEqual({ errno: 0, length: PAGE_SIZE, hint: 0, copied: 0 });
  expect(zc.receive(area)).toEqual({ errno: 0, length: 0, hint: 10, copied: 0 });
  zc.read(10);
  zc.send([], { flags: FIN | ACK });
  expect(zc.receive(area).errno).toBe(-EIO);
  zc.rig.machine.mm.userMappings.munmap(area);
});

test("a queue of no more than the buffer takes is copied, pages or not", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE]);
  const copybuf = zc.rig.machine.mm.payload.adoptRegion("copybuf", new Uint8Array(PAGE_SIZE), true);
  const area = zc.area(1);
  expect([zc.receive(area, { copybuf, copybufLen: PAGE_SIZE }), [...copybuf.bytes], area.filePages]).toEqual([{ errno: 0, length: 0, hint: 0, copied: PAGE_SIZE }, zc.sent, 0]);
});

test("a process that reads so gets the stream's bytes, holds what it has mapped, and lets go of it as it ends", () => {
  const zc = new ZcRig("6.18", false);
  const { kernel, net, mm } = zc.rig.machine;
  const got: number[] = [];
  const user = mm.payload.adoptRegion("buffer", new Uint8Array(USER_BUFFER_BYTES), true);
  const readers = new SocketReaders(kernel, net, mm.userMappings, user, { cpu: 1, sockets: 1, reads: "prompt", zerocopy: true, onBytes: (_socket, bytes) => got.push(...bytes) });
  for (const sizes of [[PAGE_SIZE, PAGE_SIZE], [300], [PAGE_SIZE, 10, PAGE_SIZE]]) {
    zc.send(sizes);
    kernel.scheduler.runFor(1000);
  }
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  kernel.scheduler.runFor(1000);
  expect([readers.mappedBytes, readers.bytes, readers.connections]).toEqual([6 * PAGE_SIZE, 6 * PAGE_SIZE + 310, 1]);
  expect(pageHolders(zc.rig.machine).filter(({ kind }) => kind === "mapping")).toEqual([{ kind: "mapping", name: "tcp 10.0.0.2:2000 from 10.0.0.1:1000", packets: 0, pages: 2, poolPages: 2, since: 3000 }]);
  readers.close();
  // Its packets wait for the CPU that built them: unmapped before they are gone, their pages are recycled.
  zc.rig.machine.flushDeferred();
  const { pool } = zc.from;
  expect([got, pageHolders(zc.rig.machine), pool.inflight() - pool.cacheCount - pool.ringCount(), net.lifetime.stats.live]).toEqual([zc.sent, [], 0, 0]);
  expect(zc.rig.reportKinds()).toEqual([]);
});

test("such a process reads the end, too: of a stream that was mapped to it, the socket holds nothing", () => {
  const zc = new ZcRig("6.18", false);
  const { kernel, net, mm } = zc.rig.machine;
  const user = mm.payload.adoptRegion("buffer", new Uint8Array(USER_BUFFER_BYTES), true);
  const readers = new SocketReaders(kernel, net, mm.userMappings, user, { cpu: 1, sockets: 1, reads: "prompt", zerocopy: true, onBytes: () => {} });
  zc.send([PAGE_SIZE, PAGE_SIZE], { flags: FIN | ACK });
  kernel.scheduler.runFor(1000);
  zc.rig.machine.flushDeferred();
  expect([readers.mappedBytes, pageHolders(zc.rig.machine).map(({ kind, pages }) => [kind, pages])]).toEqual([2 * PAGE_SIZE, [["mapping", 2]]]);
  readers.close();
  zc.rig.machine.flushDeferred();
  expect(net.lifetime.stats.live).toBe(0);
});

test("a packet with a frag list is not mapped: its pages are not all in its frags", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  const { shinfo } = zc.socket.packets()[0]!;
  shinfo!.fragList = zc.rig.machine.net.lifetime.allocSkb(10, GFP_ATOMIC);
  const area = zc.area(2);
  expect(zc.receive(area)).toEqual({ errno: 0, length: 0, hint: 2 * PAGE_SIZE, copied: 0 });
  zc.socket.close();
});

test("an area that is unmapped takes nothing any more", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE]);
  const area = zc.area(1);
  zc.rig.machine.mm.userMappings.munmap(area);
  expect([zc.receive(area).errno, zc.rig.machine.mm.userMappings.vmInsertPages(area, area.vmStart, zc.pages, 0, 1)]).toEqual([-EINVAL, { inserted: 0, error: -EINVAL }]);
});

describe("a packet that ends the stream", () => {
  test("stays once all of it is mapped, until a read has said so: unmapped before, its pages are recycled", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE, PAGE_SIZE], { flags: FIN | ACK });
    const area = zc.area(2);
    const { releaseCnt } = zc.from.pool;
    expect(zc.receive(area)).toEqual({ errno: 0, length: 2 * PAGE_SIZE, hint: 0, copied: 0 });
    zc.rig.machine.flushDeferred();
    expect([zc.socket.packets().length, zc.socket.available(), zc.pages.map((page) => refs(page))]).toEqual([1, 0, ["2/1", "2/1"]]);
    expect(zc.receive(area).errno).toBe(-EIO);
    zc.rig.machine.mm.userMappings.munmap(area);
    expect([zc.read(10), zc.socket.packets().length]).toEqual([[], 0]);
    zc.rig.machine.flushDeferred();
    expect([zc.from.pool.releaseCnt - releaseCnt, zc.rig.reportKinds()]).toEqual([0, []]);
  });

  test("closed while it is mapped, its pages leave the pool", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE], { flags: FIN | ACK });
    const area = zc.area(1);
    const { releaseCnt } = zc.from.pool;
    zc.receive(area);
    zc.socket.close();
    zc.rig.machine.flushDeferred();
    expect([zc.from.pool.releaseCnt - releaseCnt, zc.pages[0]!.refcount]).toEqual([1, 1]);
    zc.rig.machine.mm.userMappings.munmap(area);
    expect(zc.rig.reportKinds()).toEqual([]);
  });

  test.each([
    ["a reader of packets", (zc: ZcRig) => zc.socket.readSock(1 << 20, (_skb, _offset, bytes) => bytes)],
    ["a pipe", (zc: ZcRig) => zc.socket.spliceRead(zc.rig.machine.net.inet.createPipe(), 1 << 20)],
  ] as const)("is freed with its last byte by %s, which is told of the end next", (_who, take) => {
    for (const sizes of [[300], []]) {
      const zc = new ZcRig();
      zc.send([100]);
      zc.send(sizes, { flags: FIN | ACK });
      expect([take(zc), zc.socket.packets().length, take(zc)]).toEqual([zc.sent.length, 0, 0]);
      zc.socket.close();
      zc.rig.machine.flushDeferred();
    }
  });
});

test("what is asked comes with how many bytes are there, at least one at the end; and with the error that ends it, once", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE, 10]);
  const area = zc.area(1);
  const ask = (): TcpZerocopyReceive => {
    const asked: TcpZerocopyReceive = { area, address: area.vmStart, length: PAGE_SIZE, recvSkipHint: 0, copybuf: null, copybufOffset: 0, copybufLen: 0, flags: 0, inq: -1, err: -1 };
    zc.socket.zerocopyReceive(asked);
    return asked;
  };
  const first = ask();
  expect([first.inq, first.err]).toEqual([10, 0]);
  zc.read(10);
  expect(ask().inq).toBe(0);
  zc.send([], { flags: RST | ACK });
  expect([ask().err, ask().err]).toEqual([-ECONNRESET, 0]);
  const over = new ZcRig();
  over.send([10], { flags: FIN | ACK });
  over.read(10);
  const end: TcpZerocopyReceive = { area: over.area(1), address: 0, length: 0, recvSkipHint: 0, copybuf: null, copybufOffset: 0, copybufLen: 0, flags: 0, inq: -1, err: -1 };
  expect([over.socket.zerocopyReceive(end), end.inq, end.err]).toEqual([-EIO, -1, -1]);
  over.socket.close();
  expect(over.socket.zerocopyReceive(end)).toBe(-EBADF);
});

test("what only listens has no bytes: -ENOTCONN, after an address that is no page's", () => {
  const zc = new ZcRig("6.18", false);
  const { net, mm } = zc.rig.machine;
  const listener = net.inet.tcpListen({ name: "tcp", port: 2000, accept: (socket) => (zc.socket = socket) }) as TcpListener;
  const area = listener.mmap(PROT_READ, PAGE_SIZE) as VmArea;
  const ask = (address: number): number => listener.zerocopyReceive({ area, address, length: PAGE_SIZE, recvSkipHint: 0, copybuf: null, copybufOffset: 0, copybufLen: 5, flags: 0, inq: 0, err: 0 });
  const user = mm.payload.adoptRegion("user", new Uint8Array(8), true);
  expect([ask(area.vmStart + 1), ask(area.vmStart), listener.recvmsg(user, 0, 8), listener.readSock(8, () => 8), listener.spliceRead(net.inet.createPipe(), 8), listener.mmap(PROT_WRITE, PAGE_SIZE)]).toEqual([-EINVAL, -ENOTCONN, -ENOTCONN, -ENOTCONN, -ENOTCONN, -EPERM]);
  zc.send([10]);
  listener.close();
  expect([ask(area.vmStart + 1), listener.recvmsg(user, 0, 8), listener.readSock(8, () => 8), listener.spliceRead(net.inet.createPipe(), 8), listener.mmap(PROT_READ, PAGE_SIZE)]).toEqual([-EBADF, -EBADF, -EBADF, -EBADF, -EBADF]);
  expect([zc.read(10), net.inet.tcpListen({ name: "again", port: 2000, accept: () => undefined })]).toEqual([zc.sent, expect.objectContaining({ name: "again" })]);
});

describe("bytes behind the pages that cannot be copied", () => {
  test("have their errno in their length, and what was mapped stays mapped", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE, 500]);
    const area = zc.area(2);
    expect(zc.receive(area, { copybufLen: 600 })).toEqual({ errno: 0, length: PAGE_SIZE, hint: 0, copied: -EFAULT });
    expect(zc.read(600)).toEqual(zc.sent.slice(-500));
    zc.rig.machine.mm.userMappings.munmap(area);
  });

  test("and nothing else: the call's", () => {
    const zc = new ZcRig();
    zc.send([500]);
    expect([zc.receive(zc.area(1), { copybufLen: 600 }), zc.socket.available()]).toEqual([{ errno: -EFAULT, length: PAGE_SIZE, hint: 0, copied: 600 }, 500]);
  });

  test("asked again with that errno for a length, as it came, and a buffer: they are copied, as its bits are many", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE, 500]);
    const area = zc.area(2);
    const copybuf = zc.rig.machine.mm.payload.adoptRegion("user", new Uint8Array(500), true);
    expect(zc.receive(area, { copybuf, copybufLen: -EFAULT })).toEqual({ errno: 0, length: PAGE_SIZE, hint: 0, copied: 500 });
    expect([...copybuf.bytes]).toEqual(zc.sent.slice(-500));
    zc.rig.machine.mm.userMappings.munmap(area);
  });

  test("nor into a buffer that ends before", () => {
    const zc = new ZcRig();
    zc.send([500]);
    const copybuf = zc.rig.machine.mm.payload.adoptRegion("user", new Uint8Array(499), true);
    expect([zc.receive(zc.area(1), { copybuf, copybufLen: 600 }), zc.socket.available()]).toEqual([{ errno: -EFAULT, length: PAGE_SIZE, hint: 0, copied: 600 }, 500]);
  });
});

describe("what is not to be inserted, behind pages that are", () => {
  test.each([
    ["a page of a slab", (page: Page) => (page.state = PAGE_SLAB)],
    ["an anonymous page", (page: Page, zc: ZcRig) => zc.rig.machine.mm.words.claim(page, PAGE_VIEW_ANON)],
    ["a page that nobody holds", (page: Page) => (page.refcount = 0)],
  ] as const)("%s: those before it stay, with a reference and a mapping more", (_what, spoil) => {
    const zc = new ZcRig();
    const { mm } = zc.rig.machine;
    const pages = [0, 1, 2].map(() => mm.pages.allocPages(GFP_ATOMIC, 0, -1)!);
    spoil(pages[1]!, zc);
    const area = mm.userMappings.mmap(3 * PAGE_SIZE, "area");
    expect(mm.userMappings.vmInsertPages(area, area.vmStart, pages, 0, 3)).toEqual({ inserted: 1, error: -EINVAL });
    expect([area.filePages, pages[0]!.refcount, pages[0]!.mapcount, pages[2]!.mapcount]).toEqual([1, 2, 1, 0]);
    mm.userMappings.munmap(area);
    expect([area.filePages, pages[0]!.refcount, pages[0]!.mapcount]).toEqual([0, 1, 0]);
  });

  test("a page of a file is, but a connection does not map it", () => {
    const zc = new ZcRig();
    zc.send([PAGE_SIZE, PAGE_SIZE]);
    const { mm } = zc.rig.machine;
    const file = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
    mm.words.claim(file, PAGE_VIEW_MAPPING);
    const area = zc.area(2);
    expect(mm.userMappings.vmInsertPages(area, area.vmStart, [file], 0, 1)).toEqual({ inserted: 1, error: 0 });
    const { frags } = zc.socket.packets()[0]!.shinfo!;
    const own = frags[1]!.netmem;
    frags[1]!.netmem = file;
    expect(zc.receive(area)).toEqual({ errno: 0, length: PAGE_SIZE, hint: PAGE_SIZE, copied: 0 });
    frags[1]!.netmem = own;
  });

  test("a range that goes beyond the area: none of it", () => {
    const zc = new ZcRig();
    const { mm } = zc.rig.machine;
    const pages = [0, 1].map(() => mm.pages.allocPages(GFP_ATOMIC, 0, -1)!);
    const area = mm.userMappings.mmap(PAGE_SIZE, "area");
    expect([mm.userMappings.vmInsertPages(area, area.vmStart, pages, 0, 2), mm.userMappings.vmInsertPages(area, area.vmStart - PAGE_SIZE, pages, 0, 1), area.filePages, pages[0]!.refcount]).toEqual([{ inserted: 0, error: -EFAULT }, { inserted: 0, error: -EFAULT }, 0, 1]);
  });

  test("found by a connection: length and hint say what is mapped, and the next call goes on there", () => {
    const zc = new ZcRig();
    zc.send(Array.from({ length: 6 }, () => PAGE_SIZE));
    const area = zc.area(6);
    // Somebody has made it a slab's: no driver would.
    zc.pages[3]!.state = PAGE_SLAB;
    expect(zc.receive(area)).toEqual({ errno: 0, length: 3 * PAGE_SIZE, hint: 3 * PAGE_SIZE, copied: 0 });
    expect([zc.pages.map(({ mapcount }) => mapcount), zc.socket.available()]).toEqual([[1, 1, 1, 0, 0, 0], 3 * PAGE_SIZE]);
    expect(zc.receive(area)).toEqual({ errno: -EINVAL, length: 6 * PAGE_SIZE, hint: 0, copied: 0 });
    zc.pages[3]!.state = PAGE_IN_USE;
    expect([zc.receive(area).length, zc.bytes(area)]).toEqual([3 * PAGE_SIZE, zc.sent.slice(3 * PAGE_SIZE)]);
    zc.rig.machine.mm.userMappings.munmap(area);
  });
});

test("a place that is taken in the middle, and the hint says otherwise: what lies from there on makes way, and all is mapped", () => {
  const zc = new ZcRig();
  const { mm } = zc.rig.machine;
  zc.send(Array.from({ length: 4 }, () => PAGE_SIZE));
  const area = zc.area(4);
  const others = [0, 1].map(() => mm.pages.allocPages(GFP_ATOMIC, 0, -1)!);
  mm.userMappings.vmInsertPages(area, area.vmStart + 2 * PAGE_SIZE, others, 0, 2);
  expect([zc.receive(area, { flags: TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT }).length, zc.bytes(area), others.map(({ refcount, mapcount }) => [refcount, mapcount])]).toEqual([4 * PAGE_SIZE, zc.sent, [[1, 0], [1, 0]]]);
  mm.userMappings.munmap(area);
});

test("less than a page is asked for, or offset within one: only said", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  expect(zc.receive(zc.area(2), { length: 1000 })).toEqual({ errno: 0, length: 0, hint: 1000, copied: 0 });
  // 4096 bytes that do not begin where their page does.
  const { frags } = zc.socket.packets()[0]!.shinfo!;
  frags[1]!.offset = 64;
  const area = zc.area(2);
  expect(zc.receive(area)).toEqual({ errno: 0, length: PAGE_SIZE, hint: PAGE_SIZE, copied: 0 });
  frags[1]!.offset = 0;
  zc.rig.machine.mm.userMappings.munmap(area);
});

test("bytes that the CPU cannot read are not mapped", () => {
  const zc = new ZcRig();
  zc.send([PAGE_SIZE, PAGE_SIZE]);
  zc.socket.packets()[0]!.unreadable = true;
  const area = zc.area(2);
  expect([zc.receive(area), area.filePages]).toEqual([{ errno: 0, length: 0, hint: 0, copied: 0 }, 0]);
});

test("mapped, a page whose last reference is put by mistake is withheld: its user sees it still", () => {
  const zc = new ZcRig();
  const { mm } = zc.rig.machine;
  const page = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  const area = mm.userMappings.mmap(PAGE_SIZE, "area");
  mm.userMappings.vmInsertPages(area, area.vmStart, [page], 0, 1);
  mm.pages.putPage(page);
  mm.pages.putPage(page);
  expect([page.state, zc.rig.machine.kernel.reports.reports.map(({ kind, message }) => `${kind}: ${message}`)]).toEqual([PAGE_BAD, ["bad-page: freed while mapped at 1 address; block withheld"]]);
});
