import type { Page } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import { ST_PAGECNT_BIAS_MAX, ST_PAGES_PER_WQE } from "./constants.ts";

/** A page of a descriptor, and how many packets have a part of it. @kernel struct mlx5e_frag_page */
export class FragPage {
  page: Page | null;
  frags: number;
  /** A packet that left again has all of it. @kernel xdp_xmit_bitmap, skip_release_bitmap */
  given: boolean;

  constructor() {
    this.page = null;
    this.frags = 0;
    this.given = false;
  }
}

/** A receive descriptor: the memory of many packets. @kernel struct mlx5e_mpw_info */
export class Wqe {
  readonly pages: readonly FragPage[];
  /** Of its strides, those that packets, or filler, have taken. @kernel consumed_strides */
  consumedStrides: number;

  constructor() {
    this.pages = Array.from({ length: ST_PAGES_PER_WQE }, () => new FragPage());
    this.consumedStrides = 0;
  }
}

/**
 * Who counts the parts of a page. Kernels with fragments give a page as many holders as it can have when it is posted, and take back what packets did not use when its descriptor is done: a packet costs no reference. Before,
 * each packet took a page reference, and a page that had one was lost to its pool.
 */
export class FragCounts {
  readonly #pool: PagePool;
  readonly #countsFragments: boolean;
  readonly #getPage: (page: Page) => void;

  constructor(pool: PagePool, countsFragments: boolean, getPage: (page: Page) => void) {
    this.#pool = pool;
    this.#countsFragments = countsFragments;
    this.#getPage = getPage;
  }

  /** Whether a packet's pages may go home by way of its skb. */
  get recycles(): boolean {
    return this.#countsFragments;
  }

  /** Posted with a descriptor; false: there is no memory. @kernel mlx5e_page_alloc_fragmented */
  alloc(fragPage: FragPage, gfp: number): boolean {
    const page = this.#pool.allocPages(gfp);
    if (page === null) return false;
    if (this.#countsFragments) this.#pool.fragmentNetmem(page, ST_PAGECNT_BIAS_MAX);
    fragPage.page = page;
    fragPage.frags = 0;
    fragPage.given = false;
    return true;
  }

  /** A packet has a part of it. */
  take(fragPage: FragPage): void {
    fragPage.frags++;
    if (!this.#countsFragments) this.#getPage(fragPage.page!);
  }

  /** A packet that leaves again has it. */
  give(fragPage: FragPage): void {
    fragPage.frags++;
    fragPage.given = !this.#countsFragments;
  }

  /** Its descriptor is done: packets have what they have. @kernel mlx5e_page_release_fragmented */
  release(fragPage: FragPage, allowDirect: boolean): void {
    const page = fragPage.page!;
    fragPage.page = null;
    if (!this.#countsFragments) {
      if (!fragPage.given) this.#pool.putFullNetmem(page, allowDirect);
      return;
    }
    if (this.#pool.unrefNetmem(page, ST_PAGECNT_BIAS_MAX - fragPage.frags) === 0) this.#pool.putUnrefedNetmem(page, -1, allowDirect);
  }
}
