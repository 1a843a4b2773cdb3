import { expect, test } from "vitest";
import {
  __GFP_COMP, GFP_KERNEL, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_PFMEMALLOC_BIT, PAGE_SIZE, PP_SIGNATURE,
  netmemCompoundHead, netmemIsPfmemalloc, netmemName, netmemPfnTrace, netmemRefCount, ppMagicWord, type NetIov, type Page,
} from "../../src/api/index.ts";
import { memory } from "../helpers.ts";

function both(): { readonly head: Page; readonly tail: Page; readonly niov: NetIov } {
  const mm = memory({ extraBytes: 2 * PAGE_SIZE });
  const head = mm.pages.allocPages(GFP_KERNEL | __GFP_COMP, 1, NUMA_NO_NODE)!;
  return { head, tail: mm.pages.pages[1]!, niov: mm.createNetIovArea("vram", NET_IOV_DMABUF, 2, false).niovs[1]! };
}

test("word 1 of a pool page that is not mapped reads dead000000000040", () => {
  const { head } = both();
  head.ppMagic = PP_SIGNATURE;
  expect(ppMagicWord(head).toString(16)).toBe("dead000000000040");
});

test("word 1 of a mapped pool page carries its DMA index above bit 7", () => {
  const { niov } = both();
  niov.ppMagic = PP_SIGNATURE;
  niov.ppDmaIndex = 3;
  expect(ppMagicWord(niov).toString(16)).toBe("dead0000000001c0");
});

test("word 1 of a page without signature is 0", () => {
  expect(ppMagicWord(both().head)).toBe(0n);
});

test("a page's count is its head's; a net_iov's is always 1", () => {
  const { head, tail, niov } = both();
  head.refcount = 5;
  expect([netmemRefCount(head), netmemRefCount(tail), netmemRefCount(niov)]).toEqual([5, 5, 1]);
});

test("the compound head of a tail is its head, of a net_iov itself", () => {
  const { head, tail, niov } = both();
  expect([netmemCompoundHead(tail) === head, netmemCompoundHead(niov) === niov]).toEqual([true, true]);
});

test("only a page can be pfmemalloc, and has a page frame number for traces", () => {
  const { head, niov } = both();
  head.ppMagic = PAGE_PFMEMALLOC_BIT;
  niov.ppMagic = PAGE_PFMEMALLOC_BIT;
  expect([netmemIsPfmemalloc(head), netmemIsPfmemalloc(niov)]).toEqual([true, false]);
  expect([netmemPfnTrace(head), netmemPfnTrace(niov)]).toEqual([head.pfn, 0]);
});

test("a page is named by its page frame number, which is how a trace finds its history", () => {
  const { head, niov } = both();
  expect([netmemName(head), netmemName(niov)]).toEqual(["page pfn 0x400", "net_iov 1 of area at 0x40000"]);
});
