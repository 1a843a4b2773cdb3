import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { KernelPanic } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { PAGE_PFMEMALLOC_BIT, PP_SIGNATURE, PP_SIGNATURE_V3, type Netmem, type Page } from "@netmem/mm/api";
import { XDP_OPTIONS_6_18, createXdp, type XdpOptions } from "../src/index.ts";
import { MEM_TYPE_PAGE_POOL, MemInfo, type MemModel } from "../src/api/index.ts";

function setUp(options: Partial<XdpOptions>) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: 16 });
  const xdp = createXdp(kernel, mm, { ...XDP_OPTIONS_6_18, ...options });
  const calls: string[] = [];
  const model: MemModel = {
    memType: MEM_TYPE_PAGE_POOL, memId: 1,
    returnNetmem: () => void calls.push("from XDP"), returnNetmemBulk: () => void calls.push("from XDP"),
    refSkbNetmem: (netmem: Netmem) => void calls.push(`ref ${netmem === page ? "page" : "other"}`),
    returnSkbNetmem: (netmem: Netmem, napiSafe: boolean) => void calls.push(`return ${netmem === page ? "page" : "other"} ${napiSafe}`),
    releaseNetmem: () => void calls.push("release"),
    useXdpMem: () => {}, unuseXdpMem: () => {},
  };
  const mem = new MemInfo();
  mem.type = MEM_TYPE_PAGE_POOL;
  mem.id = xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, model);
  const page: Page = mm.pages.allocPages(0, 0, -1)!;
  return { xdp, path: xdp.netmemReturn, page, mem, model, calls, kernel };
}

test("before the series: marking a page releases it from its pool, and no skb recycles", () => {
  const { path, page, mem, calls, xdp } = setUp({ recyclesSkbPages: false });
  expect(path.storeMemInfo(page, mem)).toBe(false);
  expect(path.tryReturn(page, true)).toBe(false);
  expect([calls, xdp.registry.stats.lookups]).toEqual([["release"], 0]);
});

test("mem_info in the page: written at mark, looked up once at each return, as from an skb", () => {
  const { path, page, mem, calls, xdp } = setUp({ returnPath: "mem-info", signature: "v3" });
  page.signature = PP_SIGNATURE_V3;
  expect(path.storeMemInfo(page, mem)).toBe(true);
  expect([page.memType, page.memId]).toEqual([mem.type, mem.id]);
  expect(path.tryReturn(page, true)).toBe(true);
  expect([calls, xdp.registry.stats.lookups]).toEqual([["return page true"], 1]);
});

test("mem_info in the page: signed but never marked is a report, and the caller does a plain put", () => {
  const { path, page, kernel } = setUp({ returnPath: "mem-info", signature: "v3" });
  page.signature = PP_SIGNATURE_V3;
  expect(path.tryReturn(page, false)).toBe(false);
  expect(kernel.reports.counts()).toEqual([{ kind: "xdp-unknown-mem-id", count: 1 }]);
});

test("pool pointer: no look-up", () => {
  const { path, page, model, calls, xdp } = setUp({});
  page.ppMagic = PP_SIGNATURE;
  page.pp = model;
  expect(path.tryReturn(page, true)).toBe(true);
  expect([calls, xdp.registry.stats.lookups]).toEqual([["return page true"], 0]);
});

test("5.14: the pointer is written at mark; a signed page that was never marked stops the machine, as a NULL pool did", () => {
  const { path, page, mem, calls, model } = setUp({ signature: "exact", stampsOwnerAtMark: true });
  page.ppMagic = PP_SIGNATURE;
  expect(() => path.tryReturn(page, false)).toThrow(KernelPanic);
  path.storeMemInfo(page, mem);
  expect(page.pp).toBe(model);
  expect(path.tryReturn(page, false)).toBe(true);
  expect(calls).toEqual(["return page false"]);
});

test("5.14 compared exactly: a page from the reserves was not recognised; masked since August 2021", () => {
  for (const [signature, recognised] of [["exact", false], ["masked", true]] as const) {
    const { path, page, model } = setUp({ signature });
    page.ppMagic = PP_SIGNATURE | PAGE_PFMEMALLOC_BIT;
    page.pp = model;
    expect(path.tryReturn(page, false), signature).toBe(recognised);
  }
});

test("an ordinary page is nobody's under every return path", () => {
  for (const returnPath of ["mem-info", "pool-pointer", "skb-mem-info"] as const) {
    const { path, page, mem, calls } = setUp({ returnPath });
    path.enterSkb(mem.type, mem.id);
    expect(path.tryReturn(page, false)).toBe(false);
    expect(calls).toEqual([]);
  }
});

test("mem_info in the skb asks for the skb, and returns every signed page to the model it names", () => {
  const { path, page, mem, calls } = setUp({ returnPath: "skb-mem-info" });
  expect(path.needsSkb).toBe(true);
  page.ppMagic = PP_SIGNATURE;
  path.enterSkb(mem.type, mem.id);
  expect(path.tryReturn(page, false)).toBe(true);
  expect(calls).toEqual(["return page false"]);
});
