import { UsageError } from "@netmem/kernel/api";
import { SKBFL_DONT_ORPHAN, SKBFL_ZEROCOPY_FRAG, UbufInfo, type SkBuff, type UbufOps, type ZerocopyNotification, type ZerocopySocket } from "./api/index.ts";

/** Bytes that one ubuf_info stands for: a few of the largest packets. */
const BYTE_LIMIT: number = 1 << 19;
const MOST_CALLS = 0xffff - 1;
const IDS = 2 ** 32;

/** @kernel struct ubuf_info_msgzc (include/linux/skbuff.h) */
class MsgZerocopyInfo extends UbufInfo {
  /** Of its first send call. */
  readonly id: number;
  calls: number;
  bytes: number;
  /** Nothing was copied so far. */
  zerocopy: boolean;

  constructor(ops: UbufOps, id: number, sizeBytes: number) {
    super(ops, SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN);
    this.id = id;
    this.calls = 1;
    this.bytes = sizeBytes;
    this.zerocopy = true;
  }
}

/** @kernel msg_zerocopy_ubuf_ops (net/core/skbuff.c) */
export class MsgZerocopySocket implements ZerocopySocket, UbufOps {
  readonly #optmemCalls: number;
  readonly #errors: { lo: number; hi: number; readonly copied: boolean }[] = [];
  /** Send calls so far. @kernel sk_zckey */
  #key = 0;
  /** Infos that wait for their bytes, and notifications that nobody has read: one becomes the other. @kernel sk_omem_alloc */
  #charged = 0;

  constructor(optmemCalls: number) {
    this.#optmemCalls = optmemCalls;
  }

  msgZerocopyRealloc(sizeBytes: number, uarg: UbufInfo | null): UbufInfo | null {
    if (uarg !== null) {
      if (!(uarg instanceof MsgZerocopyInfo) || uarg.ops !== this) return null;
      const bytes = uarg.bytes + sizeBytes;
      if (uarg.calls < MOST_CALLS && bytes <= BYTE_LIMIT && (uarg.id + uarg.calls) % IDS === this.#key) {
        uarg.calls++;
        uarg.bytes = bytes;
        uarg.refcnt++;
        this.#key = (this.#key + 1) % IDS;
        return uarg;
      }
    }
    if (this.#charged >= this.#optmemCalls) return null;
    this.#charged++;
    const made = new MsgZerocopyInfo(this, this.#key, sizeBytes);
    this.#key = (this.#key + 1) % IDS;
    return made;
  }

  msgZerocopyPutAbort(uarg: UbufInfo, haveRef: boolean): void {
    if (!(uarg instanceof MsgZerocopyInfo) || uarg.ops !== this) throw new UsageError("net-core", "msgZerocopyPutAbort", "a ubuf_info", "give one of this socket's own");
    this.#key = (this.#key - 1 + IDS) % IDS;
    uarg.calls--;
    if (haveRef) this.complete(null, uarg, true);
  }

  complete(_skb: SkBuff | null, uarg: UbufInfo, success: boolean): void {
    const info = uarg as MsgZerocopyInfo;
    info.zerocopy &&= success;
    if (--info.refcnt > 0) return;
    // None: the only call was aborted, and there is nothing to tell.
    if (info.calls === 0 || !this.#notify(info.id, info.calls, !info.zerocopy)) this.#charged--;
  }

  dequeueErr(): ZerocopyNotification | null {
    const error = this.#errors.shift();
    if (error === undefined) return null;
    this.#charged--;
    return error;
  }

  /** True: it is one notification more. @kernel __msg_zerocopy_callback, skb_zerocopy_notify_extend */
  #notify(lo: number, calls: number, copied: boolean): boolean {
    const tail = this.#errors.at(-1);
    const span = tail === undefined ? 0 : ((tail.hi - tail.lo + IDS) % IDS) + 1 + calls;
    if (tail !== undefined && span < IDS && lo === (tail.hi + 1) % IDS) {
      tail.hi = (tail.hi + calls) % IDS;
      return false;
    }
    this.#errors.push({ lo, hi: (lo + calls - 1) % IDS, copied });
    return true;
  }
}
