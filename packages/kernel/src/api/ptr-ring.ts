/**
 * Fixed-size FIFO of references, null meaning empty.
 *
 * Consumed slots are nulled lazily, in groups of `PTR_RING_BATCH`, so that producer and consumer do not fight over one
 * cache line: a full ring therefore stays full to producers until a whole group was consumed.
 * @kernel struct ptr_ring (include/linux/ptr_ring.h)
 */
export interface PtrRing<T> {
  /** Number of slots; capacity equals it exactly. */
  readonly size: number;
  /** Keeps `item` and answers true, or false (-ENOSPC) when the producer's slot is taken. @kernel __ptr_ring_produce */
  readonly produce: (item: T) => boolean;
  /** The oldest item, the caller's from now on, or null. @kernel __ptr_ring_consume */
  readonly consume: () => T | null;
  /** Consumes into `into[at … most)` until the ring is empty; answers where it stopped. They are the caller's from now on. @kernel __ptr_ring_consume_batched */
  readonly consumeBatched: (into: (T | null)[], at: number, most: number) => number;
  /** @kernel __ptr_ring_empty */
  readonly isEmpty: () => boolean;
  /** @kernel __ptr_ring_full */
  readonly isFull: () => boolean;
  /** Items produced and not consumed. Walks the ring: for inspection, not for the packet path. */
  readonly count: () => number;
  /** The same items, oldest first; they stay in the ring. For inspection. */
  readonly items: () => T[];
}

export interface PtrRings {
  /** `size` ≥ 0 slots. @kernel ptr_ring_init */
  readonly create: <T>(size: number) => PtrRing<T>;
}

/** Two cache lines of 64 bytes, in 8-byte slots. @kernel ptr_ring_set_size */
export const PTR_RING_BATCH = 16;
