import { describe, expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { EACCES, EFAULT, EINVAL, ENODATA, ENOTSUPP, EOPNOTSUPP, KernelPanic } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { NET_IOV_DMABUF, PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import { XDP_DATES_6_18, XDP_OPTIONS_6_18, createXdp } from "../src/index.ts";
import { MEM_TYPE_PAGE_POOL, NETDEV_REGISTER, NETDEV_XDP_FEAT_CHANGE, XDP_ABORTED, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS, type MemModel, type XdpMd, type XdpProg } from "../src/api/index.ts";

const HARD_END = PAGE_SIZE - 320;

function setUp(reports: "collect" | "panic" = "collect") {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports });
  const mm = createMm(kernel, { nrPages: 64, minFreePages: 0, extraBytes: 4 * PAGE_SIZE });
  const xdp = createXdp(kernel, mm, XDP_OPTIONS_6_18);
  const home: Netmem[] = [];
  const model: MemModel = {
    memType: MEM_TYPE_PAGE_POOL, memId: 1, returnNetmem: (netmem) => void home.push(netmem), returnSkbNetmem: () => {}, refSkbNetmem: () => {}, returnNetmemBulk: () => {}, releaseNetmem: () => {}, useXdpMem: () => {}, unuseXdpMem: () => {},
  };
  const dev = xdp.structs.createNetDevice("eth0", 7, 1);
  const { xdpRxq } = dev.rxQueues[0]!;
  xdp.rxqs.xdpRxqInfoRegFrags(xdpRxq, dev, 0, PAGE_SIZE);
  xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, model);
  const page = (): Page => Object.assign(mm.pages.allocPages(0, 0, -1)!, { pp: model });
  const buff = xdp.structs.createXdpBuff(xdpRxq);
  /** A packet of `len` bytes 0, 1, 2, … and fragments of `frags` bytes each, counting on. */
  const receive = (len: number, frags: readonly number[] = [], metaValid: boolean = true): void => {
    xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
    const head = page();
    let n = 0;
    const fill = (to: Page, from: number, bytes: number): void => {
      for (let i = 0; i < bytes; i++) to.region.bytes[to.base + from + i] = n++ & 0xff;
    };
    head.region.bytes.fill(0xcc, head.base, head.base + PAGE_SIZE);
    fill(head, XDP_PACKET_HEADROOM, len);
    xdp.buffs.xdpPrepareBuff(buff, head, 0, XDP_PACKET_HEADROOM, len, metaValid);
    for (const bytes of frags) {
      const frag = page();
      frag.region.bytes.fill(0xdd, frag.base, frag.base + PAGE_SIZE);
      fill(frag, 100, bytes);
      xdp.buffs.xdpBuffAddFrag(buff, frag, 100, bytes, PAGE_SIZE);
    }
  };
  const load = (run: (ctx: XdpMd) => number, name: string = "test"): XdpProg => xdp.programs.bpfProgLoad(name, run, true) as XdpProg;
  /** What `look` answers about the packet. */
  const ask = <T>(look: (ctx: XdpMd) => T): T => {
    const out: T[] = [];
    xdp.programs.bpfProgRunXdp(load((ctx) => {
      out.push(look(ctx));
      return XDP_PASS;
    }), buff);
    return out[0]!;
  };
  return { kernel, mm, xdp, buff, receive, load, ask, home, dev, lines: () => kernel.reports.reports.map(({ kind, object, message }) => `${kind}: ${object}: ${message}`) };
}

describe("direct access", () => {
  test("numbers are in network order; metadata lies at negative offsets", () => {
    const { receive, ask } = setUp();
    receive(60);
    expect(ask((ctx) => [ctx.getUint8(5), ctx.getUint16(5), ctx.getUint32(56), ctx.linearBytes, ctx.metaBytes, ctx.ingressIfindex, ctx.rxQueueIndex, ctx.egressIfindex])).toEqual([5, 0x0506, 0x38393a3b, 60, 0, 7, 0, 0]);
    expect(ask((ctx) => {
      ctx.setUint32(4, 0xfffefdfc);
      ctx.setUint16(8, 0x1_2345);
      ctx.setUint8(10, 0x1ff);
      ctx.adjustMeta(-4);
      ctx.setUint32(-4, 0x80000001);
      return [ctx.getUint32(4), ctx.getUint16(8), ctx.getUint8(10), ctx.getUint32(-4), ctx.getUint8(-1), ctx.metaBytes];
    })).toEqual([0xfffefdfc, 0x2345, 0xff, 0x80000001, 1, 4]);
  });

  test.each([
    ["behind the end", (ctx: XdpMd) => ctx.getUint8(60)], ["over the end", (ctx: XdpMd) => ctx.getUint32(57)], ["before the start", (ctx: XdpMd) => ctx.getUint8(-1)], ["between two bytes", (ctx: XdpMd) => ctx.getUint8(1.5)],
    ["nowhere", (ctx: XdpMd) => ctx.getUint8(Number.NaN)], ["far away", (ctx: XdpMd) => ctx.getUint8(2 ** 32)], ["a write behind the end", (ctx: XdpMd) => ctx.setUint16(59, 1) as unknown as number], ["minus zero is zero", (ctx: XdpMd) => ctx.getUint8(-0)],
  ])("%s", (what, access) => {
    const { receive, buff, load, xdp, lines } = setUp();
    receive(60);
    const act = xdp.programs.bpfProgRunXdp(load((ctx) => {
      access(ctx);
      return XDP_PASS;
    }), buff);
    const fine = what === "minus zero is zero";
    expect([act, lines().length]).toEqual(fine ? [XDP_PASS, 0] : [XDP_ABORTED, 1]);
    if (!fine) expect(lines()[0]).toMatch(/^xdp-program-fault: xdp prog test packet 1: threw UsageError: @netmem\/xdp: access of [124] bytes? at offset = .*: the packet's linear part is 0 to 60: test linearBytes first, or use loadBytes$/);
  });
});

describe("bpf_xdp_adjust_head", () => {
  test("into the headroom up to the frame's struct and metadata, and up to an Ethernet header before the end", () => {
    const { receive, ask, buff } = setUp();
    receive(60);
    expect(ask((ctx) => [ctx.adjustHead(-217), ctx.adjustHead(-216), ctx.linearBytes, ctx.adjustHead(216 + 47), ctx.adjustHead(216 + 46), ctx.linearBytes, ctx.getUint8(0)])).toEqual([-EINVAL, 0, 276, -EINVAL, 0, 14, 46]);
    expect([buff.data, buff.dataMeta]).toEqual([302, 302]);
  });

  test("takes metadata with it, byte for byte, though the ranges overlap", () => {
    const { receive, ask, buff } = setUp();
    receive(60);
    expect(ask((ctx) => {
      ctx.adjustMeta(-8);
      ctx.setUint32(-8, 0x11223344);
      ctx.setUint32(-4, 0x55667788);
      return [ctx.adjustHead(-2), ctx.getUint32(-8), ctx.getUint32(-4), ctx.adjustHead(3), ctx.getUint32(-8), ctx.getUint32(-4), ctx.adjustHead(-256), ctx.getUint8(0)];
    })).toEqual([0, 0x11223344, 0x55667788, 0, 0x11223344, 0x55667788, -EINVAL, 1]);
    expect([buff.data - buff.dataMeta]).toEqual([8]);
  });

  test("without metadata in this driver there is none to take", () => {
    const { receive, ask, buff } = setUp();
    receive(60, [], false);
    expect(ask((ctx) => [ctx.metaBytes, ctx.adjustMeta(-4), ctx.adjustHead(-216), ctx.metaBytes])).toEqual([0, -ENOTSUPP, 0, 0]);
    expect(buff.dataMeta - buff.data).toBe(1);
  });
});

describe("bpf_xdp_adjust_meta", () => {
  test("multiples of 4 up to 252, not into the frame's struct, not behind the packet's start", () => {
    const { receive, ask } = setUp();
    receive(60);
    expect(ask((ctx) => [ctx.adjustMeta(-3), ctx.adjustMeta(4), ctx.adjustMeta(-220), ctx.adjustMeta(-216), ctx.metaBytes, ctx.adjustMeta(216), ctx.metaBytes])).toEqual([-EACCES, -EINVAL, -EINVAL, 0, 216, 0, 0]);
    expect(ask((ctx) => [ctx.adjustHead(46), ctx.adjustMeta(-256), ctx.adjustMeta(-252), ctx.metaBytes])).toEqual([0, -EACCES, 0, 252]);
  });
});

describe("bpf_xdp_adjust_tail", () => {
  test("up to the shared info, zeroed; down to an Ethernet header", () => {
    const { receive, ask, buff } = setUp();
    receive(60);
    expect(ask((ctx) => [ctx.adjustTail(1), ctx.getUint8(60), ctx.adjustTail(-1)])).toEqual([0, 0, 0]);
    const room = HARD_END - XDP_PACKET_HEADROOM - 60;
    expect(ask((ctx) => [ctx.adjustTail(room + 1), ctx.adjustTail(room), ctx.getUint32(60), ctx.getUint8(ctx.linearBytes - 1), ctx.adjustTail(-room - 47), ctx.adjustTail(-room - 46), ctx.linearBytes])).toEqual([-EINVAL, 0, 0, 0, -EINVAL, 0, 14]);
    expect(buff.dataEnd).toBe(XDP_PACKET_HEADROOM + 14);
  });

  test("shrinks by fragments from the last: each that is gone is returned once, one that is left is cut, the linear part goes last", () => {
    const { receive, ask, buff, home } = setUp();
    receive(60, [1000, 500, 300]);
    const frags = buff.frags.slice(0, 3).map(({ netmem }) => netmem!);
    expect(ask((ctx) => [ctx.adjustTail(-299), ctx.getBuffLen()])).toEqual([0, 1561]);
    expect([buff.nrFrags, home.length]).toEqual([3, 0]);
    expect(ask((ctx) => [ctx.adjustTail(-1), ctx.getBuffLen()])).toEqual([0, 1560]);
    expect([buff.nrFrags, home.length === 1 && home[0] === frags[2]]).toEqual([2, true]);
    expect(ask((ctx) => [ctx.adjustTail(-1547), ctx.adjustTail(-1546), ctx.getBuffLen(), ctx.linearBytes])).toEqual([-EINVAL, 0, 14, 14]);
    expect([buff.nrFrags, buff.flags, home.length, home[1] === frags[1], home[2] === frags[0]]).toEqual([0, 0, 3, true, true]);
  });

  test("grows the last fragment within its own buffer, zeroed; not in a queue that does not say how large those are", () => {
    const { receive, ask, buff } = setUp();
    receive(60, [1000, 500]);
    const room = PAGE_SIZE - 100 - 500;
    expect(ask((ctx) => [ctx.adjustTail(room + 1), ctx.adjustTail(room), ctx.getBuffLen()])).toEqual([-EINVAL, 0, 1560 + room]);
    const { netmem, offset, sizeBytes } = buff.frags[1]!;
    const bytes = netmem!.region.bytes.subarray(netmem!.base + offset, netmem!.base + offset + sizeBytes);
    expect([bytes.length, [...bytes.subarray(500)].every((byte) => byte === 0), bytes[499]]).toEqual([PAGE_SIZE - 100, true, 1559 & 0xff]);
    buff.rxq.fragSize = 0;
    expect(ask((ctx) => [ctx.adjustTail(1), ctx.adjustTail(0)])).toEqual([-EOPNOTSUPP, -EOPNOTSUPP]);
    buff.rxq.fragSize = PAGE_SIZE + 1;
    expect(ask((ctx) => ctx.adjustTail(1))).toBe(-EOPNOTSUPP);
  });

  test.each([Number.NaN, 0.5, Infinity, -Infinity, 2 ** 40, -(2 ** 40)])("and the others do not move by %s", (delta) => {
    const { receive, ask, buff } = setUp();
    receive(60);
    expect(ask((ctx) => [ctx.adjustHead(delta), ctx.adjustTail(delta), ctx.adjustMeta(delta)])).toEqual([-EINVAL, -EINVAL, -EINVAL]);
    expect([buff.data, buff.dataEnd, buff.dataMeta]).toEqual([256, 316, 256]);
  });
});

describe("bpf_xdp_load_bytes, bpf_xdp_store_bytes", () => {
  test("across head and fragments, and only within", () => {
    const { receive, ask } = setUp();
    receive(60, [30, 40]);
    const target = new Uint8Array(200);
    expect(ask((ctx) => [ctx.loadBytes(55, target, 60), ctx.loadBytes(0, target.subarray(100), 0), ctx.loadBytes(71, target, 60), ctx.loadBytes(-1, target, 1), ctx.loadBytes(0, target, 201), ctx.loadBytes(0x10000, target, 1), ctx.loadBytes(0, target, Number.NaN)])).toEqual([0, 0, -EINVAL, -EFAULT, -EFAULT, -EFAULT, -EFAULT]);
    expect([...target.subarray(0, 61)]).toEqual([...Array.from({ length: 60 }, (_, i) => 55 + i), 0]);
    expect(ask((ctx) => [ctx.storeBytes(59, Uint8Array.of(200, 201, 202), 3), ctx.getUint8(59), ctx.loadBytes(60, target, 2), ctx.storeBytes(129, target, 2)])).toEqual([0, 200, 0, -EINVAL]);
    expect([...target.subarray(0, 2)]).toEqual([201, 202]);
  });

  test("memory that the CPU cannot read is not read", () => {
    const { mm, xdp, buff, receive, ask, load, lines } = setUp();
    receive(60);
    const niov = mm.createNetIovArea("device", NET_IOV_DMABUF, 1, false).niovs[0]!;
    xdp.buffs.xdpBuffAddFrag(buff, niov, 0, 100, PAGE_SIZE);
    expect(ask((ctx) => [ctx.loadBytes(50, new Uint8Array(20), 20), ctx.adjustTail(1), ctx.getBuffLen()])).toEqual([-EFAULT, -EINVAL, 160]);
    buff.head = niov;
    expect([xdp.programs.bpfProgRunXdp(load(() => XDP_PASS), buff), lines()]).toEqual([XDP_ABORTED, ["unreadable-access: xdp prog test packet 1: the packet lies in memory that the CPU cannot read"]]);
  });
});

test("what a NIC says beside the bytes: its value, -ENODATA for a packet it said nothing of, -EOPNOTSUPP from one that never does", () => {
  const { receive, ask, dev } = setUp();
  receive(60);
  const look = (): number[] => ask((ctx) => [ctx.metadataRxTimestamp(), ctx.metadataRxHash(), ctx.metadataRxVlanTag()]);
  expect(look()).toEqual([-EOPNOTSUPP, -EOPNOTSUPP, -EOPNOTSUPP]);
  dev.xdpMetadataOps = { rxTimestamp: () => 1_700_000_000_000, rxHash: (buff) => (buff.dataEnd - buff.data === 60 ? 0xcafe_f00d : -ENODATA), rxVlanTag: null };
  expect(look()).toEqual([1_700_000_000_000, 0xcafe_f00d, -EOPNOTSUPP]);
  receive(61);
  expect(look()[1]).toBe(-ENODATA);
});

test("features that change are told of, once the device is registered; what is no feature is not kept", () => {
  const { xdp, dev } = setUp();
  const told: number[] = [];
  xdp.notifiers.registerNetdeviceNotifier({ netdeviceEvent: (event) => void told.push(event) });
  xdp.features.xdpSetFeaturesFlag(dev, 3);
  expect([dev.xdpFeatures, told]).toEqual([3, []]);
  xdp.notifiers.callNetdeviceNotifiers(NETDEV_REGISTER, dev);
  xdp.features.xdpSetFeaturesFlag(dev, 3);
  xdp.features.xdpSetFeaturesFlag(dev, 0xfff);
  expect([dev.xdpFeatures, told]).toEqual([0x7f, [NETDEV_REGISTER, NETDEV_XDP_FEAT_CHANGE]]);
});

describe("a program that is no good", () => {
  test.each([
    ["throws", () => {
      throw new TypeError("cannot read\nproperties of undefined");
    }, "threw TypeError: cannot read properties of undefined"],
    ["throws what is no error", () => {
      throw { code: 7 };
    }, "threw an object"],
    ["throws text", () => {
      throw "oops";
    }, 'threw "oops"'],
    ["answers nothing", () => undefined as unknown as number, "answered undefined, which is no verdict"],
    ["answers a half", () => 1.5, "answered 1.5, which is no verdict"],
    ["answers text", () => "XDP_PASS" as unknown as number, 'answered "XDP_PASS", which is no verdict'],
    ["answers a promise", () => Promise.resolve(2) as unknown as number, "answered a promise, which is no verdict"],
    ["answers a BigInt", () => 2n as unknown as number, "answered 2n, which is no verdict"],
    ["answers a symbol", () => Symbol("x") as unknown as number, "answered Symbol(x), which is no verdict"],
    ["answers what becomes a number when asked", () => ({ valueOf: () => { throw new Error("asked"); } }) as unknown as number, "answered an object, which is no verdict"],
    ["throws what a terminal would act upon", () => { throw new Error("\u001b[31mred"); }, "threw Error: [31mred"],
    ["calls itself for ever", () => {
      const deeper = (n: number): number => deeper(n + 1) + 1;
      return deeper(0);
    }, "threw RangeError: Maximum call stack size exceeded"],
    ["throws what throws when it is asked", () => {
      throw {
        get message(): string {
          throw new Error("again");
        },
      };
    }, "threw what cannot even be named"],
    ["moves its own bounds", (ctx: XdpMd) => {
      (ctx as { linearBytes: number }).linearBytes = 3000;
      return XDP_PASS;
    }, "threw TypeError: Cannot set property linearBytes of #<ProgramContext> which has only a getter"],
    ["throws at length", () => {
      throw new Error("x".repeat(1000));
    }, `threw Error: ${"x".repeat(293)}…`],
  ])("%s: XDP_ABORTED, and a report with the packet's number and the reason", (_what, run, reason) => {
    const { receive, xdp, buff, load, lines } = setUp();
    receive(60);
    const prog = load(run, "bad");
    const fine = load(() => XDP_DROP, "fine");
    expect([xdp.programs.bpfProgRunXdp(fine, buff), xdp.programs.bpfProgRunXdp(prog, buff), xdp.programs.bpfProgRunXdp(prog, buff)]).toEqual([XDP_DROP, XDP_ABORTED, XDP_ABORTED]);
    expect([lines(), prog.runCnt, prog.faults, fine.faults]).toEqual([[1, 2].map((n) => `xdp-program-fault: xdp prog bad packet ${n}: ${reason}`), 2, 2, 0]);
  });

  test("a verdict that nobody knows goes to the caller as it is, who has words for it", () => {
    const { receive, xdp, buff, load, dev, lines } = setUp();
    receive(60);
    const prog = load(() => 5, "odd");
    expect([xdp.programs.bpfProgRunXdp(prog, buff), xdp.programs.bpfProgRunXdp(load(() => -1), buff), xdp.programs.bpfProgRunXdp(load(() => 0xffffffff), buff)]).toEqual([5, -1, 0xffffffff]);
    xdp.programs.bpfWarnInvalidXdpAction(dev, prog, 5);
    xdp.programs.bpfWarnInvalidXdpAction(null, prog, 3);
    expect(lines()).toEqual(["xdp-invalid-action: xdp prog odd packet 1: illegal XDP return value 5: expect packet loss", "xdp-invalid-action: xdp prog odd packet 1: driver unsupported XDP return value 3: expect packet loss"]);
  });

  test("a context that is kept has no packet once the run is over", () => {
    const { receive, xdp, buff, load } = setUp();
    receive(60);
    const kept: XdpMd[] = [];
    xdp.programs.bpfProgRunXdp(load((ctx) => {
      kept.push(ctx);
      return XDP_PASS;
    }), buff);
    const ctx = kept[0]!;
    expect([ctx.linearBytes, ctx.metaBytes]).toEqual([0, 0]);
    for (const use of [() => ctx.getUint8(0), () => ctx.setUint32(0, 1), () => ctx.adjustHead(1), () => ctx.getBuffLen(), () => ctx.loadBytes(0, new Uint8Array(1), 1), () => ctx.ingressIfindex, () => ctx.redirect(7, 0)]) expect(use).toThrow(/xdp: /);
  });

  test("a panic of the machine inside a helper is not the program's to catch away", () => {
    const { receive, xdp, buff, load, mm } = setUp("panic");
    receive(60, [100]);
    // A fragment of nobody's: returning it is a report, and the first report stops this machine.
    buff.frags[0]!.netmem = mm.pages.allocPages(0, 0, -1)!;
    expect(() => xdp.programs.bpfProgRunXdp(load((ctx) => ctx.adjustTail(-110)), buff)).toThrow(KernelPanic);
  });

  test("what is no function is refused when it is loaded, and packets in several buffers before 5.18", () => {
    const { kernel, mm, xdp } = setUp();
    expect(() => xdp.programs.bpfProgLoad("bad", 7 as never, false)).toThrow(/xdp: program bad = 7: give a function of the packet/);
    const old = createXdp(kernel, mm, { ...XDP_OPTIONS_6_18, dates: { ...XDP_DATES_6_18, hasMultiBuffer: false } });
    expect([old.programs.bpfProgLoad("frags", () => XDP_PASS, true), typeof old.programs.bpfProgLoad("plain", () => XDP_PASS, false)]).toEqual([-EINVAL, "object"]);
  });
});
