import { expect, test } from "vitest";
import { createMachine } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP, type PagePool } from "@netmem/page-pool/api";
import { conservationFaults, pcapFile, testFrame } from "../src/index.ts";

function withPool() {
  const machine = createMachine({ nrPages: 256 });
  const { dma } = machine.mm.attachDevice({ name: "nic", coherent: true, aperturePages: 512 });
  const pool = machine.pagePools.create({
    flags: PP_FLAG_DMA_MAP, order: 0, poolSize: 0, nid: NUMA_NO_NODE, dev: dma, napi: null, dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null,
  }) as PagePool;
  return { machine, pool };
}

test("a pool in order has no faults, whatever lies in cache, ring or with a holder", () => {
  const { machine, pool } = withPool();
  const pages = Array.from({ length: 70 }, () => pool.allocPages(GFP_ATOMIC)!);
  for (const page of pages.slice(0, 20)) pool.putFullNetmem(page, false);
  expect(conservationFaults(machine, [pool])).toEqual([]);
});

test("a lost release, a page freed behind the pool's back, and a page idle twice are each seen", () => {
  const lost = withPool();
  lost.pool.allocPages(GFP_ATOMIC);
  (lost.pool as { releaseCnt: number }).releaseCnt++;
  expect(conservationFaults(lost.machine, [lost.pool])).toEqual(["64 pages carry a pool's mark, 63 are in flight"]);

  const freed = withPool();
  freed.machine.mm.pages.putPage(freed.pool.allocPages(GFP_ATOMIC)!);
  expect(conservationFaults(freed.machine, [freed.pool])[0]).toMatch(/^pfn 0x[0-9a-f]+: marked by a pool in state 3 with 0 references$/);

  const twice = withPool();
  const page = twice.pool.allocPages(GFP_ATOMIC)!;
  twice.pool.putFullNetmem(page, false);
  // The pool would refuse it: forge its record.
  page.poolState--;
  twice.pool.putFullNetmem(page, false);
  expect(conservationFaults(twice.machine, [twice.pool])).toEqual([`page_pool ${twice.pool.id}: 65 pages idle, but only 64 in flight`]);
});

test("test frames differ by seed, carry a type of their own, and make a capture of the right size", () => {
  expect(testFrame(60, 1)).not.toEqual(testFrame(60, 2));
  expect([...testFrame(14, 9).subarray(12)]).toEqual([0x88, 0xb5]);
  expect(testFrame(3, 1).length).toBe(3);
  expect(pcapFile([{ bytes: testFrame(60, 1) }, { bytes: testFrame(61, 2) }]).length).toBe(24 + 2 * 16 + 121);
});
