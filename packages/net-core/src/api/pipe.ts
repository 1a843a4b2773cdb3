import type { PayloadRegion } from "@netmem/mm/api";

/** Pieces of pages that a pipe holds at most. @kernel PIPE_DEF_BUFFERS (include/linux/pipe_fs_i.h) */
export const PIPE_DEF_BUFFERS = 16;

/** Bytes in pages that are others', each with a reference of the pipe's, until they are read. @kernel struct pipe_inode_info */
export interface Pipe {
  /** Bytes, and pieces of pages, that are in it. */
  readonly bytes: () => number;
  readonly buffers: () => number;
  /** The next bytes to `target` from `offset` on, at most `bytes`; a page read to its end is let go of. How many, -EAGAIN for none. Process context. @kernel pipe_read (fs/pipe.c) */
  readonly read: (target: PayloadRegion, offset: number, bytes: number) => number;
  /** Lets go of what is left. Process context. @kernel pipe_release */
  readonly close: () => void;
}
