import type { Page } from "@netmem/mm/api";
import type { SkBuff } from "./skbuff.ts";

/** Bits of `shinfo.flags`. @kernel SKBFL_* (include/linux/skbuff.h) */
export const SKBFL_ZEROCOPY_ENABLE: number = 1 << 0;
/** A frag may be written by someone else: who needs the bytes to stay makes a copy. */
export const SKBFL_SHARED_FRAG: number = 1 << 1;
/** All of the payload is zero copy: no kernel memory is charged for it. */
export const SKBFL_PURE_ZEROCOPY: number = 1 << 2;
/** Clones may keep the user's pages; only packets that loop back to a receiver are copied. */
export const SKBFL_DONT_ORPHAN: number = 1 << 3;
/** The frags carry no page references of their own: the ubuf_info holds them all. */
export const SKBFL_MANAGED_FRAG_REFS: number = 1 << 4;
export const SKBFL_ZEROCOPY_FRAG: number = SKBFL_ZEROCOPY_ENABLE | SKBFL_SHARED_FRAG;
export const SKBFL_ALL_ZEROCOPY: number = SKBFL_ZEROCOPY_FRAG | SKBFL_PURE_ZEROCOPY | SKBFL_DONT_ORPHAN | SKBFL_MANAGED_FRAG_REFS;

/** What the owner of a user's buffer is told. @kernel struct ubuf_info_ops */
export interface UbufOps {
  /** One holder let go, and one reference with it; `success`: the bytes were never copied. `skb`, which stays whose it is, is null when no packet was made. @kernel complete */
  readonly complete: (skb: SkBuff | null, uarg: UbufInfo, success: boolean) => void;
}

/** Somebody's buffer that packets point into. @kernel struct ubuf_info */
export class UbufInfo {
  declare private readonly nominal: "UbufInfo";
  readonly ops: UbufOps;
  /** Packets, and whoever made it. */
  refcnt: number;
  /** `SKBFL_*` that an skb gets with it. */
  flags: number;

  constructor(ops: UbufOps, flags: number) {
    this.ops = ops;
    this.refcnt = 1;
    this.flags = flags;
  }
}

/** A range of send calls whose buffers the user has back. @kernel struct sock_extended_err with SO_EE_ORIGIN_ZEROCOPY */
export interface ZerocopyNotification {
  /** First and last call, counted from 0, 32 bits. */
  readonly lo: number;
  readonly hi: number;
  /** Something of them was copied after all. @kernel SO_EE_CODE_ZEROCOPY_COPIED */
  readonly copied: boolean;
}

/** MSG_ZEROCOPY of one socket. @kernel net/core/skbuff.c */
export interface ZerocopySocket {
  /**
   * A ubuf_info for one send call of `sizeBytes`, or the one given if that can take the call in: it is this socket's latest, and stays below 2^19 bytes.
   * The caller's, one reference; null: too many wait, or have not been read. Process context. @kernel msg_zerocopy_realloc
   */
  readonly msgZerocopyRealloc: (sizeBytes: number, uarg: UbufInfo | null) => UbufInfo | null;
  /** The call came to nothing: its reference is dropped, and it is not counted. Of another socket it is refused. Consumes. @kernel msg_zerocopy_put_abort */
  readonly msgZerocopyPutAbort: (uarg: UbufInfo, haveRef: boolean) => void;
  /** The oldest notification of the error queue, or null. A range that follows the last one extends it, and its own `copied` is lost. @kernel sock_dequeue_err_skb, skb_zerocopy_notify_extend */
  readonly dequeueErr: () => ZerocopyNotification | null;
}

/** Pages that are to be spliced into a packet, and how far that has come. */
export interface SpliceIter {
  /** The caller's, one reference each, throughout. */
  readonly pages: readonly { readonly page: Page; readonly offset: number; readonly sizeBytes: number }[];
  /** Bytes taken so far, over all pages. */
  position: number;
}

/** Packets that point into memory which is not theirs. The packet stays the caller's throughout. */
export interface SkbZerocopy {
  /** With one reference, the caller's. Shares: an skb that gets it takes one of its own. */
  readonly createUbufInfo: (ops: UbufOps, flags: number) => UbufInfo;
  /** One reference of the caller's. Consumes. @kernel net_zcopy_put */
  readonly netZcopyPut: (uarg: UbufInfo) => void;
  /** Attaches `uarg`, unless the skb has one; takes a reference, or the caller's if `haveRef`. True: the caller's was used. Shares. @kernel skb_zcopy_set */
  readonly skbZcopySet: (skb: SkBuff, uarg: UbufInfo, haveRef: boolean) => boolean;
  /** A cookie instead of a ubuf_info; nobody is told when it ends. The skb stays the caller's. @kernel skb_zcopy_set_nouarg */
  readonly skbZcopySetNouarg: (skb: SkBuff, cookie: number) => void;
  /** Tells the owner, and forgets it. The skb stays the caller's. @kernel skb_zcopy_clear */
  readonly skbZcopyClear: (skb: SkBuff, success: boolean) => void;
  /** 0; or the user's pages have become the kernel's own: -ENOMEM, -EINVAL, -EFAULT as `skbCopyUbufs`. The skb stays the caller's. @kernel skb_orphan_frags */
  readonly skbOrphanFrags: (skb: SkBuff, gfp: number) => number;
  /** The same for a packet that goes up to a receiver: DONT_ORPHAN does not help it. The skb stays the caller's. @kernel skb_orphan_frags_rx */
  readonly skbOrphanFragsRx: (skb: SkBuff, gfp: number) => number;
  /** Copies the frags into pages of the kernel's: 0; -EINVAL (shared, or no private head), -EFAULT (unreadable), -ENOMEM: unchanged then. The skb stays the caller's. @kernel skb_copy_ubufs */
  readonly skbCopyUbufs: (skb: SkBuff, gfp: number) => number;
  /** `skb` points into what `orig` does: 0; -ENOMEM, -EIO. Both stay the caller's. @kernel skb_zerocopy_clone */
  readonly skbZerocopyClone: (skb: SkBuff, orig: SkBuff, gfp: number) => number;
  /** Each frag gets a page reference of its own. The skb stays the caller's. @kernel skb_zcopy_downgrade_managed */
  readonly skbZcopyDowngradeManaged: (skb: SkBuff) => void;
  /** The `hlenBytes` that `skbZerocopy` needs for a packet, which stays the caller's: all of its head, 0 if that can be a frag, all of the packet if it has a frag list. @kernel skb_zerocopy_headlen */
  readonly skbZerocopyHeadlen: (from: SkBuff) => number;
  /**
   * `lenBytes` of `from` in `to`: copied if they fit behind its tail, else the first `hlenBytes`, which must be all of the head, and page references for the rest; with
   * `hlenBytes` 0 the head's page, which then must be one, is a frag. 0; -EFAULT, -ENOMEM. Both stay the caller's. @kernel skb_zerocopy
   */
  readonly skbZerocopy: (to: SkBuff, from: SkBuff, lenBytes: number, hlenBytes: number) => number;
  /** Up to `maxBytes` of pages appended as frags, a reference each; bytes taken, or -EMSGSIZE (no room), -EIO (a slab's page, report `splice-slab-page`). The skb stays the caller's. @kernel skb_splice_from_iter */
  readonly skbSpliceFromIter: (skb: SkBuff, iter: SpliceIter, maxBytes: number) => number;
  /** A socket's side of MSG_ZEROCOPY. `optmemCalls`: ubuf_infos and unread notifications that there may be together. @kernel net.core.optmem_max */
  readonly openZerocopySocket: (optmemCalls: number) => ZerocopySocket;
}
