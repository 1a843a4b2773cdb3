import { describe, expect, test } from "vitest";
import { EFAULT, EINVAL, ENODEV, ENOSPC, EOPNOTSUPP, NSEC_PER_MSEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import {
  MAX_SKB_FRAGS, MEM_ID_MAX, MEM_TYPE_MAX, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, REG_STATE_REGISTERED, REG_STATE_UNREGISTERED, REG_STATE_UNUSED, XDP_FRAME_BYTES, XDP_PACKET_HEADROOM,
  xdpDataHardEnd, xdpMetalenInvalid, type MemModel, type XdpRxqInfo,
} from "@netmem/xdp/api";
import { XdpBench } from "./xdp-bench.ts";

/** A model that does nothing but be registered. */
class Registered implements MemModel {
  readonly memType = MEM_TYPE_PAGE_POOL;
  memId = 0;
  disconnect: () => void = () => {};
  readonly returnNetmem = (): void => {};
  readonly returnSkbNetmem = (): void => {};
  readonly refSkbNetmem = (): void => {};
  readonly returnNetmemBulk = (): void => {};
  readonly releaseNetmem = (): void => {};
  readonly unuseXdpMem = (): void => {};

  useXdpMem(memId: number, disconnect: () => void): void {
    this.memId = memId;
    this.disconnect = disconnect;
  }
}

class RegistrationBench extends XdpBench {
  /** A queue that nobody has registered. */
  readonly fresh: XdpRxqInfo;

  constructor(preset: PresetName) {
    super(preset);
    this.fresh = this.dev.rxQueues[2]!.xdpRxq;
  }

  register(): Registered | number {
    const model = new Registered();
    const id = this.machine.xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, model);
    return id < 0 ? id : model;
  }
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  const most = PRESETS[preset].xdp.metalenMax;

  test("pp-xdp row 55: PAGE_POOL without a pool is -EINVAL, its type set already; a pool that is refused keeps no id", () => {
    const bench = new RegistrationBench(preset);
    const { rxqs } = bench.machine.xdp;
    rxqs.xdpRxqInfoReg(bench.fresh, bench.dev, 2);
    expect([rxqs.xdpRxqInfoRegMemModel(bench.fresh, MEM_TYPE_PAGE_POOL, null), bench.fresh.mem.type, bench.fresh.mem.id]).toEqual([-EINVAL, MEM_TYPE_PAGE_POOL, 0]);
    expect([rxqs.xdpRxqInfoRegMemModel(bench.fresh, MEM_TYPE_MAX, new Registered()), bench.fresh.mem.type]).toEqual([-EOPNOTSUPP, MEM_TYPE_PAGE_POOL]);
    expect([rxqs.xdpRxqInfoRegMemModel(bench.fresh, MEM_TYPE_PAGE_ORDER0, null), bench.fresh.mem.type, bench.fresh.mem.id]).toEqual([0, MEM_TYPE_PAGE_ORDER0, 0]);
  });

  test("pp-xdp row 56: the highest id is issued, and the next registration begins with the lowest that is free", () => {
    const bench = new RegistrationBench(preset);
    const used = bench.machine.systemPools.length + 1;
    let last: Registered | number = 0;
    for (let id = used + 1; id < MEM_ID_MAX; id++) {
      last = bench.register();
      if (typeof last !== "number") last.disconnect();
      // Ids come back a tick after they were given up.
      if (id % 8192 === 0) bench.machine.kernel.scheduler.runFor(2 * NSEC_PER_MSEC);
    }
    bench.machine.kernel.scheduler.runFor(2 * NSEC_PER_MSEC);
    expect([(last as Registered).memId, (bench.register() as Registered).memId]).toEqual([MEM_ID_MAX - 1, used + 1]);
  });

  test("pp-xdp row 57: with all 65533 ids used it is -ENOSPC", () => {
    const bench = new RegistrationBench(preset);
    const used = bench.machine.systemPools.length + 1;
    const models = Array.from({ length: 65_533 - used }, () => bench.register() as Registered);
    expect([models.at(-1)!.memId, bench.register(), bench.register()]).toEqual([MEM_ID_MAX - 1, -ENOSPC, -ENOSPC]);
    models[7]!.disconnect();
    bench.machine.kernel.scheduler.runFor(2 * NSEC_PER_MSEC);
    expect((bench.register() as Registered).memId).toBe(models[7]!.memId);
  });

  test("pp-xdp row 58: a memory model on a queue that is not registered: a warning, and -EFAULT", () => {
    const bench = new RegistrationBench(preset);
    expect([bench.machine.xdp.rxqs.xdpRxqInfoRegMemModel(bench.fresh, MEM_TYPE_PAGE_SHARED, null), bench.kinds()]).toEqual([-EFAULT, ["xdp-rxq"]]);
  });

  test("pp-xdp row 59: registered twice: a warning, unregistered by the way, and success; the pool loses a user", () => {
    const bench = new RegistrationBench(preset);
    const { xdpRxq } = bench.dev.rxQueues[0]!;
    const users = bench.pool.userCnt;
    expect([bench.machine.xdp.rxqs.xdpRxqInfoReg(xdpRxq, bench.dev, 0), bench.kinds(), xdpRxq.regState, xdpRxq.mem.id, users - bench.pool.userCnt]).toEqual([0, ["xdp-rxq"], REG_STATE_REGISTERED, 0, 1]);
    expect([bench.machine.xdp.rxqs.xdpRxqInfoReg(xdpRxq, null, 0), bench.kinds().length]).toEqual([-ENODEV, 2]);
  });

  test("pp-xdp row 60: unregistering a queue that is unused says nothing, and it stays so", () => {
    const bench = new RegistrationBench(preset);
    const { rxqs } = bench.machine.xdp;
    rxqs.xdpRxqInfoUnused(bench.fresh);
    rxqs.xdpRxqInfoUnreg(bench.fresh);
    expect([bench.fresh.regState, bench.kinds()]).toEqual([REG_STATE_UNUSED, []]);
    expect([rxqs.xdpRxqInfoReg(bench.fresh, bench.dev, 2), bench.kinds()]).toEqual([-EINVAL, ["xdp-rxq"]]);
  });

  test("pp-xdp row 66: headroom less metadata of 39 is no frame; of 40 it is one, whose headroom is the metadata's length", () => {
    const bench = new XdpBench(preset);
    const { buffs } = bench.machine.xdp;
    const page = bench.take(bench.pool, 1)[0]!;
    for (const metasize of [0, 4, 252]) {
      buffs.xdpInitBuff(bench.buff, PAGE_SIZE);
      buffs.xdpPrepareBuff(bench.buff, page, 0, XDP_FRAME_BYTES - 1 + metasize, 60, true);
      bench.buff.dataMeta = bench.buff.data - metasize;
      expect([buffs.xdpConvertBuffToFrame(bench.buff), bench.buff.head === page]).toEqual([null, true]);
      buffs.xdpPrepareBuff(bench.buff, page, 0, XDP_FRAME_BYTES + metasize, 60, true);
      bench.buff.dataMeta = bench.buff.data - metasize;
      const frame = buffs.xdpConvertBuffToFrame(bench.buff)!;
      expect([frame.headroom, frame.metasize, frame.len]).toEqual([metasize, metasize, 60]);
      buffs.xdpScrubFrame(frame);
    }
    expect(bench.kinds()).toEqual([]);
  });

  test("pp-xdp row 67: data one byte over the hard end: a warning, and no frame", () => {
    const bench = new XdpBench(preset);
    bench.receive(bench.buff, bench.pool);
    bench.buff.dataEnd = xdpDataHardEnd(bench.buff) + 1;
    expect([bench.machine.xdp.buffs.xdpConvertBuffToFrame(bench.buff), bench.kinds()]).toEqual([null, ["xdp-missing-tailroom"]]);
    bench.buff.dataEnd--;
    expect(bench.machine.xdp.buffs.xdpConvertBuffToFrame(bench.buff)!.len).toBe(PAGE_SIZE - 320 - XDP_PACKET_HEADROOM);
  });

  // Found in the history of include/net/xdp.h: 2ebe81c81435 of December 2023, merged for 6.8, lifted the limit from 32 to what the length's byte can say.
  test(`pp-xdp row 68: ${most === 255 ? "252 bytes of metadata are valid; 254 and 256 are not" : "not so: before 6.8 metadata ends at 32 bytes"}`, () => {
    const bench = new XdpBench(preset);
    const asked = [0, 4, 30, 32, 36, 252, 254, 256];
    const valid = asked.filter((bytes) => bytes % 4 === 0 && bytes <= (most === 255 ? 252 : 32));
    expect(asked.filter((bytes) => !xdpMetalenInvalid(bytes, most))).toEqual(valid);
    bench.receive(bench.buff, bench.pool);
    const allowed: number[] = [];
    bench.machine.xdp.programs.bpfProgRunXdp(bench.prog((ctx) => {
      ctx.adjustHead(40);
      for (const bytes of asked) {
        if (ctx.adjustMeta(-bytes) !== 0) continue;
        allowed.push(bytes);
        ctx.adjustMeta(bytes);
      }
      return 1;
    }), bench.buff);
    expect(allowed).toEqual(valid);
  });

  test("pp-xdp row 70: an eighteenth fragment is refused, and nothing is changed", () => {
    const bench = new XdpBench(preset);
    const pages = bench.receive(bench.buff, bench.pool, MAX_SKB_FRAGS);
    const one = bench.take(bench.pool, 1)[0] as Page;
    const before = [bench.buff.nrFrags, bench.buff.xdpFragsSize, bench.buff.xdpFragsTruesize];
    expect([bench.machine.xdp.buffs.xdpBuffAddFrag(bench.buff, one, 0, 100, PAGE_SIZE), bench.buff.nrFrags, bench.buff.xdpFragsSize, bench.buff.xdpFragsTruesize]).toEqual([false, ...before]);
    expect([pages.length, before, one.refcount]).toEqual([18, [17, 17_000, 17 * PAGE_SIZE], 1]);
  });

  test("registration by hand: a pool known to the registry is attached to queues, which have no reference of it, and detached before it goes", () => {
    const bench = new RegistrationBench(preset);
    const { rxqs, registry, structs } = bench.machine.xdp;
    const pool = bench.create({ napi: null });
    const mem = structs.createMemInfo();
    mem.type = pool.memType;
    mem.id = registry.registerMemModel(pool.memType, pool);
    rxqs.xdpRxqInfoReg(bench.fresh, bench.dev, 2);
    rxqs.xdpRxqInfoAttachMemModel(bench.fresh, mem);
    expect([bench.fresh.mem.type, bench.fresh.mem.id, pool.userCnt]).toEqual([pool.memType, mem.id, 2]);
    rxqs.xdpRxqInfoDetachMemModel(bench.fresh);
    rxqs.xdpRxqInfoUnreg(bench.fresh);
    expect([pool.userCnt, bench.fresh.regState]).toEqual([2, REG_STATE_UNREGISTERED]);
    registry.unregisterMemModel(mem);
    pool.destroy();
    expect([pool.dead, bench.kinds(), PRESETS[preset].pagePool.hasSystemPools === bench.machine.systemPools.length > 0]).toEqual([true, [], true]);
  });
});
