import type { Page } from "./page.ts";

/** What a mapping asks to be allowed. @kernel PROT_READ, PROT_WRITE, PROT_EXEC (include/uapi/asm-generic/mman-common.h) */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

/** A range of a process's addresses, a page's worth each; what is mapped there holds a reference of its page. @kernel struct vm_area_struct (include/linux/mm_types.h) */
export class VmArea {
  declare private readonly nominal: "VmArea";
  /** Whose it is, for those who look for pages: a socket. */
  readonly name: string;
  /** Bytes, multiples of a page: the first address, and the one behind the last. */
  readonly vmStart: number;
  readonly vmEnd: number;
  /** By page of the range. */
  readonly mapped: (Page | null)[];
  /** How many there are. @kernel mm_counter(mm, MM_FILEPAGES) */
  filePages: number;
  /** When the first of them came, as the clock stamps; of an area without any it says nothing. */
  since: number;
  /** It is gone. */
  unmapped: boolean;

  constructor(name: string, vmStart: number, vmEnd: number, pages: number) {
    this.name = name;
    this.vmStart = vmStart;
    this.vmEnd = vmEnd;
    this.mapped = [];
    for (let i = 0; i < pages; i++) this.mapped.push(null);
    this.filePages = 0;
    this.since = 0;
    this.unmapped = false;
  }
}

/** What a process sees of pages that are not its own. Process context. */
export interface UserMappings {
  /** A range of `lengthBytes`, rounded up to pages, with nothing in it; the caller's. `name` says whose. @kernel mmap */
  readonly mmap: (lengthBytes: number, name: string) => VmArea;
  /** Those in which pages are mapped. For inspection. */
  readonly areas: () => readonly VmArea[];
  /**
   * The first `n` pages appear from `address` on, each with one reference more, and counted as mapped. How many did, one after the other: fewer where a page is free, a slab's, or an anonymous one (`error` -EINVAL), or a place is taken (-EBUSY); none where the range
   * is not all of the area (-EFAULT), or the area gone (-EINVAL). Shares them. @kernel vm_insert_pages, validate_page_before_insert (mm/memory.c)
   */
  readonly vmInsertPages: (area: VmArea, address: number, pages: readonly (Page | null)[], from: number, n: number) => { readonly inserted: number; readonly error: number };
  /** What is mapped in `lengthBytes` from `address` on is so no more. @kernel zap_page_range_single */
  readonly zapPageRange: (area: VmArea, address: number, lengthBytes: number) => void;
  /** The range is gone. Consumes. @kernel munmap */
  readonly munmap: (area: VmArea) => void;
}
