import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { EFAULT, EINVAL, ENODEV, ENOSPC, EOPNOTSUPP, NSEC_PER_SEC } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import type { Netmem } from "@netmem/mm/api";
import { XDP_DATES_6_18, XDP_OPTIONS_6_18, createXdp, type XdpOptions } from "../src/index.ts";
import {
  MEM_ID_MAX, MEM_TYPE_MAX, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, MEM_TYPE_XSK_BUFF_POOL, REG_STATE_REGISTERED, REG_STATE_UNREGISTERED,
  type MemModel, type XdpProbe,
} from "../src/api/index.ts";

const OPTIONS: XdpOptions = { ...XDP_OPTIONS_6_18, returnPath: "mem-info", dates: { ...XDP_DATES_6_18, framesFollowPointer: false }, bulksMixPools: false };
const NO_PROBE: XdpProbe = { memConnect: () => {}, memDisconnect: () => {}, xdpException: () => {}, xdpRedirect: () => {}, xdpDevmapXmit: () => {}, xdpBulkTx: () => {}, xdpCpumapEnqueue: () => {}, xdpCpumapKthread: () => {} };

function setUp(options: Partial<XdpOptions> = {}) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: 16 });
  const xdp = createXdp(kernel, mm, { ...OPTIONS, ...options });
  const dev = xdp.structs.createNetDevice("eth0", 1, 1);
  return { kernel, mm, xdp, dev, rxq: dev.rxQueues[0]!.xdpRxq, kinds: () => kernel.reports.reports.map((report) => report.kind), grace: () => kernel.scheduler.runFor(NSEC_PER_SEC / kernel.hz) };
}

/** A memory model that notes what it is asked. */
class NotingModel implements MemModel {
  memId = 0;
  readonly memType: number;
  readonly log: string[] = [];
  disconnect: (() => void) | null = null;

  constructor(memType: number = MEM_TYPE_PAGE_POOL) {
    this.memType = memType;
  }

  returnNetmem(netmem: Netmem, napiDirect: boolean): void {
    this.log.push(`return ${netmem.isNetIov ? "niov" : netmem.pfn} ${napiDirect}`);
  }

  returnNetmemBulk(netmems: (Netmem | null)[], count: number): void {
    this.log.push(`bulk ${netmems.slice(0, count).map((netmem) => (netmem!.isNetIov ? "niov" : netmem!.pfn)).join(" ")}`);
  }

  refSkbNetmem(): void {}

  returnSkbNetmem(): void {
    this.log.push("from an skb");
  }

  releaseNetmem(_netmem: Netmem): void {
    this.log.push("release");
  }

  useXdpMem(memId: number, disconnect: () => void): void {
    this.memId = memId;
    this.disconnect = disconnect;
  }

  unuseXdpMem(): void {
    this.log.push("unuse");
  }
}

test("pp-xdp row 55: PAGE_POOL without an allocator is -EINVAL, with the type set all the same", () => {
  const { xdp, rxq, dev } = setUp();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  expect(xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, null)).toBe(-EINVAL);
  expect([rxq.mem.type, rxq.mem.id]).toEqual([MEM_TYPE_PAGE_POOL, 0]);
});

test("a type nobody registered is -EOPNOTSUPP; after registerMemType it is a type like the kernel's own", () => {
  const { xdp, rxq, dev } = setUp();
  const plugin = MEM_TYPE_MAX + 1;
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  expect(xdp.rxqs.xdpRxqInfoRegMemModel(rxq, plugin, new NotingModel(plugin))).toBe(-EOPNOTSUPP);
  expect(rxq.mem.type).toBe(MEM_TYPE_PAGE_SHARED);
  xdp.registry.registerMemType(plugin, null);
  const model = new NotingModel(plugin);
  expect(xdp.rxqs.xdpRxqInfoRegMemModel(rxq, plugin, model)).toBe(0);
  expect(xdp.registry.lookup(plugin, model.memId)).toBe(model);
  expect(() => xdp.registry.registerMemType(plugin, null)).toThrow(/memory type = 5: another model registered it/);
});

test.each([MEM_TYPE_PAGE_SHARED, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_XSK_BUFF_POOL])("type %i without an allocator succeeds and takes no id", (type) => {
  const { xdp, rxq, dev } = setUp();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  expect(xdp.rxqs.xdpRxqInfoRegMemModel(rxq, type, null)).toBe(0);
  expect([rxq.mem.type, rxq.mem.id]).toEqual([type, 0]);
});

test("pp-xdp row 56: the highest id is issued; the next registration wraps to the lowest free one", () => {
  const { xdp, grace } = setUp();
  const models: NotingModel[] = [];
  const register = (): number => {
    const model = new NotingModel();
    models.push(model);
    return xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, model);
  };
  for (let id = 1; id < MEM_ID_MAX; id++) {
    expect(register()).toBe(id);
    if (id > 3) models.at(-1)!.disconnect!();
  }
  expect(models.at(-1)!.memId).toBe(0xfffd);
  // Those given up are in their grace period still.
  expect(register()).toBe(-ENOSPC);
  grace();
  expect(register()).toBe(4);
});

test("pp-xdp row 57: with all 65533 ids used it is -ENOSPC, and a disconnect makes room, a grace period later", () => {
  const { xdp, grace } = setUp();
  const models: NotingModel[] = [];
  for (let i = 0; i < 65_533; i++) {
    models.push(new NotingModel());
    xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, models.at(-1)!);
  }
  expect(xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, new NotingModel())).toBe(-ENOSPC);
  models[100]!.disconnect!();
  expect(xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, new NotingModel())).toBe(-ENOSPC);
  grace();
  expect(xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, new NotingModel())).toBe(101);
});

test("a queue that has a model keeps its id when a type without one is registered; a second model is a report", () => {
  const { xdp, rxq, dev, kinds } = setUp();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, new NotingModel());
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_ORDER0, null);
  expect([rxq.mem.id, kinds()]).toEqual([1, []]);
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, new NotingModel());
  expect(kinds()).toEqual(["xdp-rxq"]);
});

test("pp-xdp row 58: a memory model on an unregistered queue is -EFAULT with a report", () => {
  const { xdp, rxq, kinds } = setUp();
  expect(xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_SHARED, null)).toBe(-EFAULT);
  expect(kinds()).toEqual(["xdp-rxq"]);
});

test("pp-xdp row 59: registering twice reports, unregisters, and registers anew", () => {
  const { xdp, rxq, dev, kinds } = setUp();
  const model = new NotingModel();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, model);
  expect(xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0)).toBe(0);
  expect(kinds()).toEqual(["xdp-rxq"]);
  expect([model.log, rxq.regState, rxq.mem.id]).toEqual([["unuse"], REG_STATE_REGISTERED, 0]);
});

test("pp-xdp row 60: unregistering an unused queue says nothing and keeps the state", () => {
  const { xdp, rxq, dev, kinds } = setUp();
  xdp.rxqs.xdpRxqInfoUnused(rxq);
  xdp.rxqs.xdpRxqInfoUnreg(rxq);
  expect(kinds()).toEqual([]);
  expect(xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0)).toBe(-EINVAL);
});

test("a queue without a device is -ENODEV; unregistering ends the model's use and forgets the device", () => {
  const { xdp, rxq, dev } = setUp();
  expect(xdp.rxqs.xdpRxqInfoReg(rxq, null, 0)).toBe(-ENODEV);
  const model = new NotingModel();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, model);
  xdp.rxqs.xdpRxqInfoUnreg(rxq);
  expect([model.log, rxq.regState, rxq.dev, rxq.mem.id, rxq.mem.type]).toEqual([["unuse"], REG_STATE_UNREGISTERED, null, 0, 0]);
  // The id resolves for as long as something may carry it: until the model disconnects.
  expect(xdp.registry.lookup(MEM_TYPE_PAGE_POOL, model.memId)).toBe(model);
  model.disconnect!();
  expect(xdp.registry.lookup(MEM_TYPE_PAGE_POOL, model.memId)).toBeNull();
});

test("a page of type SHARED or ORDER0 is put through the same table as everyone's", () => {
  for (const type of [MEM_TYPE_PAGE_SHARED, MEM_TYPE_PAGE_ORDER0]) {
    const { xdp, mm } = setUp();
    const page = mm.pages.allocPages(0, 0, -1)!;
    xdp.xdpReturn.xdpReturnNetmem(page, type, 0, false);
    expect(mm.pages.freePages()).toBe(16);
  }
});

test("a buffer of a type or id that nobody registered is reported as lost", () => {
  const { xdp, mm, kinds } = setUp();
  const page = mm.pages.allocPages(0, 0, -1)!;
  xdp.xdpReturn.xdpReturnNetmem(page, 99, 0, false);
  xdp.xdpReturn.xdpReturnNetmem(page, MEM_TYPE_PAGE_POOL, 42, false);
  expect(kinds()).toEqual(["xdp-wrong-memory-type", "xdp-wrong-memory-type"]);
  expect(page.refcount).toBe(1);
});

test("a model loses every id it is registered under at once, and each is told of", () => {
  const events: string[] = [];
  const { xdp, rxq, dev } = setUp({ probe: {
    ...NO_PROBE,
    memConnect: (memId, memType, allocator, queue, ifindex) => void events.push(`connect ${memId} ${memType} ${allocator === model} ${queue === rxq} ${ifindex}`),
    memDisconnect: (memId, memType, allocator) => void events.push(`disconnect ${memId} ${memType} ${allocator === model}`),
  } });
  const model = new NotingModel();
  xdp.rxqs.xdpRxqInfoReg(rxq, dev, 0);
  xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, model);
  // By hand, without a queue: nothing to tell.
  expect(xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, model)).toBe(2);
  model.disconnect!();
  model.disconnect!();
  expect([events, [1, 2].map((id) => xdp.registry.lookup(MEM_TYPE_PAGE_POOL, id))]).toEqual([["connect 1 2 true true 1", "disconnect 1 2 true", "disconnect 2 2 true"], [null, null]]);
});

test("NO_DIRECT is of account for every model, a plugin's too", () => {
  const { xdp, mm } = setUp();
  const direct: boolean[] = [];
  const model = Object.assign(new NotingModel(), { returnNetmem: (_netmem: Netmem, napiDirect: boolean) => void direct.push(napiDirect) });
  xdp.registry.registerMemType(77, model);
  const page = mm.pages.allocPages(0, 0, -1)!;
  xdp.xdpReturn.xdpReturnNetmem(page, 77, 0, true);
  xdp.xdpReturn.xdpSetReturnFrameNoDirect();
  xdp.xdpReturn.xdpReturnNetmem(page, 77, 0, true);
  xdp.xdpReturn.xdpClearReturnFrameNoDirect();
  xdp.xdpReturn.xdpReturnNetmem(page, 77, 0, false);
  expect(direct).toEqual([true, false, false]);
});
