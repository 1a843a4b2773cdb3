import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { kernelNames, NAME_MAP_PAGE, renderNameMap, tagTexts } from "../src/name-map.ts";
import { treeOf } from "../src/tree.ts";
import { repository, ROOT } from "./judged.ts";

const COMMAND = "UPDATE_NAME_MAP=1 npx --yes pnpm@10.34.9 exec vitest run tools/laws/test/name-map.test.ts";

describe("docs/name-map.md", () => {
  it("is what the @kernel tags say", () => {
    const tree = repository();
    const page = renderNameMap(tree);
    expect(page.split("\n").filter((line) => line.startsWith("| `")).length).toBeGreaterThanOrEqual(240);
    if (process.env["UPDATE_NAME_MAP"] === "1") writeFileSync(join(ROOT, NAME_MAP_PAGE), page);
    else expect(tree.text(NAME_MAP_PAGE) === page, `${NAME_MAP_PAGE} is out of date: run ${COMMAND}`).toBe(true);
  });

  it("names the command that makes it", () => {
    expect(renderNameMap(treeOf({}))).toContain(`\`${COMMAND}\``);
  });
});

describe("the name map: tags", () => {
  it.each([
    ["skb_clone", ["skb_clone"]],
    ["panic (kernel/panic.c)", ["panic"]],
    ["struct page (include/linux/mm_types.h)", ["page"]],
    ["enum xdp_mem_type (include/net/xdp.h)", ["xdp_mem_type"]],
    ["struct page_pool_alloc_stats, struct page_pool_recycle_stats (types.h)", ["page_pool_alloc_stats", "page_pool_recycle_stats"]],
    ["napi_poll, __napi_poll", ["napi_poll", "__napi_poll"]],
    ["kfree, kvfree", ["kfree", "kvfree"]],
    ["page_pool_release_page, up to 6.5", ["page_pool_release_page"]],
    ["page_pool_release_page, removed in 6.6; xdp_release_frame", ["page_pool_release_page", "xdp_release_frame"]],
    ["page_pool_destroy, from xdp_unreg_mem_model", ["page_pool_destroy"]],
    ["page_pool_store_mem_info and page_pool_return_skb_page of 5.14", ["page_pool_store_mem_info", "page_pool_return_skb_page"]],
    ["the body of __xdp_return for one type (net/core/xdp.c)", ["__xdp_return"]],
    ["skb_mark_for_recycle(skb, page, mem) of the 2021 series", ["skb_mark_for_recycle"]],
    ["_refcount; meaningful on the head of a compound block", ["_refcount"]],
    ["pp: the pool this page belongs to", ["pp"]],
    ["struct mvneta_rx_desc, little endian: status, (reserved), buf_phys_addr", ["mvneta_rx_desc"]],
    ["pool->dma_mapped, page_pool_register_dma_index (page_pool.c), 6.16", ["pool->dma_mapped", "page_pool_register_dma_index"]],
    ["net.core.skb_defer_max, as read on 6.18", ["net.core.skb_defer_max"]],
    ["struct pci_driver.probe", ["pci_driver.probe"]],
    ["net_mp_niov_set_dma_addr's mapping step", ["net_mp_niov_set_dma_addr"]],
    ["REG_STATE_* (include/net/xdp.h)", ["REG_STATE_*"]],
    ["PP_FLAG_DMA_MAP … (include/net/page_pool/types.h)", ["PP_FLAG_DMA_MAP …"]],
    ["include/linux/gfp_types.h; our own bit numbers, the kernel's names", ["include/linux/gfp_types.h"]],
    ["(none): LINKTYPE_ETHERNET of the capture formats", []],
  ])("%j", (text, expected) => {
    expect(kernelNames(text)).toEqual(expected);
  });

  it("joins the lines of a comment, and stops at the next tag", () => {
    expect(tagTexts("*\n * Keeps.\n * @kernel skb_get,\n *   skb_share_check @see x\n ")).toEqual(["skb_get, skb_share_check"]);
    expect(tagTexts("* @kernel a_b @kernel c_d ")).toEqual(["a_b", "c_d"]);
  });
});

describe("the name map: what a tag stands over", () => {
  function rows(text: string): string[] {
    const page = renderNameMap(treeOf({ "packages/mm/src/api/x.ts": text }));
    return page.split("\n").filter((line) => line.startsWith("| `")).map((line) => line.split("|").slice(1, 3).map((cell) => cell.trim().replaceAll("`", "")).join(" → "));
  }

  it.each([
    ["/** @kernel get_page */\nexport function getPage(): void {}", ["get_page → getPage"]],
    ["/** @kernel struct page */\nexport class Page {\n  /** @kernel _refcount */\n  refcount: number;\n  /** @kernel x_y */\n  #take(): void {}\n}", ["page → Page", "_refcount → Page.refcount", "x_y → Page.#take"]],
    ["export interface Pages {\n  /** Consumes. @kernel put_page */\n  readonly putPage: () => void;\n}", ["put_page → Pages.putPage"]],
    ["/** @kernel netmem_ref */\nexport type Netmem = number;", ["netmem_ref → Netmem"]],
    ["/** @kernel DEFER_TIME */\nexport const DEFER_TIME_NS = 1;\n", ["DEFER_TIME → DEFER_TIME_NS"]],
    ["/** @kernel B_B, A_A */\nexport const A_A = 1;\nexport const B_B = 2;\nexport const C_C = 3;", ["A_A → A_A", "B_B → B_B"]],
    ["/** @kernel K_A, K_B */\nexport const F_A = 1;\nexport const F_B = 2;", ["K_A → F_A", "K_B → F_B"]],
    ["/** @kernel A_* */\nexport const A_A = 1;\nexport const A_B = 2;\nexport const C_C = 3;", ["A_A → A_A", "A_B → A_B"]],
    ["/** @kernel A_A … */\nexport const A_A = 1;\nexport const A_B = 2;\n\nexport const C_C = 3;", ["A_A → A_A", "A_B → A_B"]],
    ["/** @kernel enum a_type */\nexport const A_A = 1;\nexport const A_B = 2;", ["a_type → A_A …"]],
    ["/** @kernel mm/page_alloc.c */\nexport class Buddy {}", ["mm/page_alloc.c → Buddy"]],
  ])("%j", (text, expected) => {
    expect(rows(text)).toEqual(expected);
  });

  it("refuses a tag over nothing", () => {
    expect(() => rows("\n/** @kernel skb_get */\n")).toThrow("packages/mm/src/api/x.ts:2: a @kernel tag stands over nothing that has a name");
  });
});
