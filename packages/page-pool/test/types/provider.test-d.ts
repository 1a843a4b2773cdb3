import type { Page } from "@netmem/mm/api";
import type { MemModel } from "@netmem/xdp/api";
import type { MemoryProvider, PagePool, ProviderPool } from "../../src/api/index.ts";

// Checked by `tsc -p tsconfig.test.json`: each directive fails the build should its line compile.

const whole: MemoryProvider = { init: () => 0, allocNetmems: () => null, releaseNetmem: () => true, destroy: () => {}, nlFill: () => ({}), uninstall: () => {} };

/** A provider that can only take pages back. */
const takesPages = (_pool: ProviderPool, _page: Page): boolean => true;
// @ts-expect-error a page-only provider must not pass where Netmem is required
export const pageOnlyProvider: MemoryProvider = { ...whole, releaseNetmem: takesPages };

// @ts-expect-error the same for a memory model's return
export const pageOnlyReturn: MemModel["returnNetmem"] = (_page: Page, _direct: boolean): void => {};

declare const pool: PagePool;
const netmem = pool.allocNetmems(0);
// @ts-expect-error a netmem may be a net_iov: it has no page frame number
export const pfn = netmem?.pfn;

// @ts-expect-error a look-alike is not a page
export const lookAlike: Page = { isNetIov: false, pfn: 1 };
