/** @kernel enum xdp_mem_type (include/net/xdp.h) */
export const MEM_TYPE_PAGE_SHARED = 0;
export const MEM_TYPE_PAGE_ORDER0 = 1;
export const MEM_TYPE_PAGE_POOL = 2;
export const MEM_TYPE_XSK_BUFF_POOL = 3;
/** Types from here on are free for plugins. @kernel MEM_TYPE_MAX */
export const MEM_TYPE_MAX = 4;

/** Ids are issued cyclically from the first to, and without, the second. @kernel MEM_ID_MIN, MEM_ID_MAX (net/core/xdp.c) */
export const MEM_ID_MIN = 1;
export const MEM_ID_MAX = 0xfffe;

/**
 * Which memory model a buffer belongs to: its type, and the id of the registered allocator, 0 for none.
 * @kernel struct xdp_mem_info (include/net/xdp.h)
 */
export class MemInfo {
  declare private readonly nominal: "MemInfo";
  type: number;
  id: number;

  constructor() {
    this.type = MEM_TYPE_PAGE_SHARED;
    this.id = 0;
  }
}
