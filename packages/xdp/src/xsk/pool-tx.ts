import { TX_BATCH_SIZE, XDP_PKT_CONTD, type XdpDesc } from "../api/index.ts";
import type { BuffPool } from "./pool.ts";
import type { XskSocket } from "./socket.ts";

/** Descriptors a socket may have sent before it is another's turn. @kernel MAX_PER_SOCKET_BUDGET (net/xdp/xsk.c) */
const MAX_PER_SOCKET_BUDGET = TX_BATCH_SIZE;

/** What a zero-copy driver sends from: the tx rings of all sockets of a pool. @kernel net/xdp/xsk.c */
export class PoolTx {
  readonly sockets: XskSocket[];
  private readonly pool: BuffPool;

  constructor(pool: BuffPool) {
    this.sockets = [];
    this.pool = pool;
  }

  /** @kernel xsk_tx_peek_desc */
  peekDesc(desc: XdpDesc): boolean {
    for (;;) {
      let exhausted = false;
      for (const socket of this.sockets) {
        if (socket.txBudgetSpent >= MAX_PER_SOCKET_BUDGET) {
          exhausted = true;
          continue;
        }
        const tx = socket.txQueue!;
        if (!tx.consPeekDesc(desc, this.pool)) {
          if (tx.hasDescs()) tx.consRelease(1);
          continue;
        }
        socket.txBudgetSpent++;
        // Nothing is sent that could not be reported as sent.
        if (this.pool.cq.prodReserveAddr(desc.base, desc.offset) < 0) return false;
        tx.consRelease(1);
        return true;
      }
      if (!exhausted) return false;
      for (const socket of this.sockets) socket.txBudgetSpent = 0;
    }
  }

  /** @kernel xsk_tx_peek_release_desc_batch */
  peekReleaseDescBatch(out: readonly XdpDesc[], n: number): number {
    const most = Math.min(n, out.length);
    if (this.sockets.length !== 1) {
      let got = 0;
      while (got < most && this.peekDesc(out[got]!)) got++;
      this.release();
      return got;
    }
    const tx = this.sockets[0]!.txQueue!;
    const there = this.pool.cq.prodNbFree(tx.consNbEntries(most));
    if (there === 0) return 0;
    const got = this.readBatch(out, there);
    if (got === 0) tx.queueEmptyDescs++;
    tx.consPublish();
    for (let i = 0; i < got; i++) this.pool.cq.prodReserveAddr(out[i]!.base, out[i]!.offset);
    return got;
  }

  /** @kernel xsk_tx_release */
  release(): void {
    for (const socket of this.sockets) socket.txQueue!.consPublish();
  }

  /** Of every tx ring. */
  setFlags(flags: number): void {
    for (const socket of this.sockets) socket.txQueue!.ring.flags = flags;
  }

  /** Whole packets only; the first entry that is not valid ends it, used up, and the packet that it is in is not begun. @kernel xskq_cons_read_desc_batch (net/xdp/xsk_queue.h) */
  private readBatch(out: readonly XdpDesc[], most: number): number {
    const tx = this.sockets[0]!.txQueue!;
    const maxSegs = this.pool.dev?.xdpZcMaxSegs ?? 1;
    let index = tx.cachedCons;
    let total = 0;
    let frags = 0;
    for (let i = 0; i < most && index !== tx.cachedProd; i++) {
      const desc = out[i]!;
      const valid = tx.readDesc(index, desc, this.pool);
      index = (index + 1) >>> 0;
      if (!valid) break;
      if ((desc.options & XDP_PKT_CONTD) === 0) {
        total += frags + 1;
        frags = 0;
      } else if (++frags === maxSegs) {
        frags = 0;
        break;
      }
    }
    tx.consRelease((index - frags - tx.cachedCons) >>> 0);
    return total;
  }
}
