import { describe, expect, test } from "vitest";
import { GFP_ATOMIC, DMA_FROM_DEVICE, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { createMachine } from "@netmem/machine";
import type { SkBuff } from "@netmem/net-core/api";

/** References that the driver takes in advance, and what is left of them. @kernel USHRT_MAX, pagecnt_bias (drivers/net/ethernet/intel/i40e/i40e_txrx.c) */
const BIAS = 65_535;
const HALF = PAGE_SIZE / 2;

/** A driver that gives the two halves of a page away in turn, as i40e does: here only its buffer, and the test for its reuse. */
class SplitPage {
  readonly machine = createMachine();
  readonly #dma = this.machine.mm.attachDevice({ name: "i40e", coherent: true }).dma;
  readonly page: Page;
  readonly #dmaAddr: number;
  offset = 0;
  bias = BIAS;
  drained = false;

  constructor() {
    const { pages } = this.machine.mm;
    this.page = pages.allocPages(GFP_ATOMIC, 0, -1)!;
    pages.pageRefAdd(this.page, BIAS - 1);
    this.#dmaAddr = this.#dma.mapPage(this.page, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    if (this.#dma.mappingError(this.#dmaAddr)) throw new Error("not mapped");
  }

  /** A packet in the half whose turn it is; then whether the page is used again. @kernel i40e_build_skb, i40e_can_reuse_rx_page */
  receive(): { readonly skb: SkBuff; readonly reused: boolean } {
    const { mm, net } = this.machine;
    const snapshot = this.page.refcount;
    this.bias--;
    const skb = net.lifetime.buildSkb(this.page, HALF, this.offset)!;
    const reused = snapshot - this.bias <= 1;
    if (reused) this.offset ^= HALF;
    else {
      this.#dma.unmapPage(this.#dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
      mm.frags.pageFragCacheDrainPage(this.page, this.bias);
      this.drained = true;
    }
    return { skb, reused };
  }

  live(): number {
    return this.#dma.liveMappings();
  }
}

describe("skb-mm row 84: a split page", () => {
  test("whose first half is still held when the second is used: unmapped and drained, and freed by the last packet", () => {
    const split = new SplitPage();
    const { mm, net, kernel } = split.machine;
    const free = mm.pages.freePages();
    const [first, second] = [split.receive(), split.receive()];
    expect([first.reused, second.reused, split.drained, split.live(), split.page.refcount]).toEqual([true, false, true, 0, 2]);
    net.lifetime.consumeSkb(first.skb);
    expect([split.page.refcount, mm.pages.freePages() - free]).toEqual([1, 0]);
    net.lifetime.consumeSkb(second.skb);
    mm.slab.shrink();
    expect([split.page.refcount, mm.pages.freePages() >= free + 1, kernel.reports.counts()]).toEqual([0, true, []]);
  });

  test("whose first half is home by then is used again and again, mapped once", () => {
    const split = new SplitPage();
    const { net, kernel } = split.machine;
    for (let i = 0; i < 1000; i++) {
      const { skb, reused } = split.receive();
      expect([reused, split.offset]).toEqual([true, i % 2 === 0 ? HALF : 0]);
      net.lifetime.consumeSkb(skb);
      expect(split.page.refcount - split.bias).toBe(0);
    }
    expect([split.live(), split.drained, kernel.reports.counts()]).toEqual([1, false, []]);
  });
});
