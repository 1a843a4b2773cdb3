import { netmemPfnTrace, type Netmem } from "@netmem/mm/api";
import { unmapFromDevice } from "./dma.ts";
import type { Pool } from "./pool.ts";
import { callReleaseNetmem } from "./provider-calls.ts";
import { reportMarkLeft, reportNotTaken } from "./provider-pool.ts";
import { PoolState } from "./state.ts";

/** How a netmem becomes a pool's, and how it leaves. */
export class PoolMarks extends PoolState {
  /** Marked as this pool's, with one holder, and counted. @kernel page_pool_set_pp_info, net_mp_niov_set_page_pool */
  hold(this: Pool, netmem: Netmem): void {
    if (netmem.isNetIov === false) this.words.claim(netmem, this.pageView);
    if (this.stampsOwnerAtAlloc === true) netmem.pp = this;
    if (this.ownSignatureWord === true) netmem.signature = this.signature;
    else netmem.ppMagic |= this.signature;
    netmem.ppRefCount = 1;
    netmem.poolState = this.outState;
    if (this.initCallback !== null) this.initCallback(netmem);
    this.holdCnt = (this.holdCnt + 1) | 0;
    if (this.probe !== null) this.probe.stateHold(this, netmem, this.holdCnt >>> 0, netmemPfnTrace(netmem));
  }

  /**
   * It leaves for good: unmapped or given back to its provider, counted as released, mark cleared, reference put. The pool may be
   * freed by the very count, so nothing of it is used afterwards.
   * @kernel page_pool_return_netmem (net/core/page_pool.c)
   */
  giveBack(this: Pool, netmem: Netmem): void {
    const { pages } = this;
    const putDue = this.leave(netmem);
    if (netmem.isNetIov === false) {
      if (putDue === true) pages.putPage(netmem);
    } else if (putDue === true) reportNotTaken(this, netmem);
  }

  /** All of it but the put; answers whether a put is due. */
  leave(this: Pool, netmem: Netmem): boolean {
    const provider = this.memoryProvider;
    let putDue = true;
    if (provider !== null) putDue = callReleaseNetmem(this, provider, netmem);
    else if (this.dmaMap === true && netmem.isNetIov === false) unmapFromDevice(this, netmem);
    this.releaseCnt = (this.releaseCnt + 1) | 0;
    if (this.probe !== null) this.probe.stateRelease(this, netmem, this.releaseCnt >>> 0, netmemPfnTrace(netmem));
    if (putDue === true) this.clearMark(netmem);
    else if (netmem.poolState >> 1 === this.id) {
      reportMarkLeft(this, netmem);
      this.clearMark(netmem);
    }
    return putDue;
  }

  /** @kernel page_pool_clear_pp_info, net_mp_niov_clear_page_pool */
  clearMark(this: Pool, netmem: Netmem): void {
    if (netmem.isNetIov === false) {
      this.words.release(netmem, this.pageView);
      // A net_iov's mapping is its provider's.
      netmem.dmaAddr = 0;
      netmem.ppDmaIndex = 0;
    }
    if (this.ownSignatureWord === true) netmem.signature = 0;
    else netmem.ppMagic = 0;
    netmem.pp = null;
    netmem.memType = 0;
    netmem.memId = 0;
    netmem.ppRefCount = 0;
    netmem.poolState = 0;
  }
}
