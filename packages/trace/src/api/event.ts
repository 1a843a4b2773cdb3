/**
 * What a line of a trace says, whatever wrote it.
 * - `hold`, `release`: a page came into a pool's account, or left it. @kernel trace_page_pool_state_hold, trace_page_pool_state_release (include/trace/events/page_pool.h)
 * - `shutdown`: an attempt to free a destroyed pool. @kernel trace_page_pool_release
 * - `packet`, `packet-freed`: an skb was received by a device, or freed. @kernel trace_netif_receive_skb, trace_consume_skb
 * - `poll`: a NAPI instance was polled. @kernel trace_napi_poll
 * - `connect`, `disconnect`: a memory model was registered, or is gone. @kernel trace_mem_connect, trace_mem_disconnect
 * - `stall`: the kernel log complains of a pool that cannot be freed. @kernel page_pool_release_retry (net/core/page_pool.c)
 * - `snapshot`: a pool as netlink shows it, of no known time. @kernel page_pool_nl_fill (net/core/page_pool_user.c)
 * - `lost`: whoever recorded says that lines are missing from here.
 * - `boot`: the clock began again, and with it everything.
 * - `other`: an event that is none of these.
 */
export type TraceEventKind = "hold" | "release" | "shutdown" | "packet" | "packet-freed" | "poll" | "connect" | "disconnect" | "stall" | "snapshot" | "lost" | "boot" | "other";

export type TraceFormat = "tracefs" | "perf" | "monitor" | "bpftrace" | "dmesg" | "netlink";

/** State of a packet, sampled at an event of its own. @kernel struct sk_buff, skb_shared_info (include/linux/skbuff.h) */
export interface PacketSample {
  readonly len: number;
  readonly dataLen: number;
  readonly truesize: number;
  readonly nrFrags: number;
  /** Both halves. */
  readonly dataref: number;
  readonly cloned: number;
  readonly users: number;
}

/** State of a pool, sampled at an event by the monitor. @kernel struct page_pool (include/net/page_pool/types.h) */
export interface PoolSample {
  /** Pages in the consumer's cache. @kernel alloc.count */
  readonly cache: number;
  /** Pages in the ring. @kernel ring */
  readonly ring: number;
  readonly fragOffset: number;
  readonly fragUsers: number;
  /** References of the page's own, and those the pool counts; null: the event is of no page. The latter may be near 2^62 and is kept as text. */
  readonly refcount: number | null;
  readonly ppRef: string | null;
  /** Null: the event is of no packet. */
  readonly packet: PacketSample | null;
}

/** What netlink says of a pool, those of it that were there. @kernel NETDEV_A_PAGE_POOL_STATS_ALLOC_FAST … NETDEV_A_PAGE_POOL_STATS_RECYCLE_RELEASED_REFCNT */
export interface PoolStatistics {
  readonly ifindex: number | null;
  readonly napiId: number | null;
  readonly inflightBytes: number | null;
  /** Seconds since boot when its driver let it go; null: it is in use. */
  readonly detachTime: number | null;
  /** By netlink's names: `alloc-fast`, `recycle-ring`, …. */
  readonly counts: Readonly<Record<string, number>>;
}

/** One event. Fields that its kind or its format does not have are null; a reader makes one object an event and keeps none. */
export interface TraceEvent {
  readonly kind: TraceEventKind;
  /** As the kernel names it. */
  readonly name: string;
  /** Microseconds of whatever clock the trace was recorded with; null: the line has no time. */
  readonly timeUs: number | null;
  readonly cpu: number | null;
  /** Name and process of the task, as `python3-1008`. */
  readonly task: string | null;
  /** In a softirq, as far as the trace's flags say. */
  readonly softirq: boolean;
  /** A pool's address: 16 hexadecimal digits, or `(____ptrval____)`. Hashed addresses cannot be told from others. */
  readonly pool: string | null;
  /** Its number in the kernel log, in netlink and with the monitor. */
  readonly id: number | null;
  readonly pfn: number | null;
  readonly isNetIov: boolean;
  /** Counters of the pool's, 0 … 2^32 − 1, as they were after the event. */
  readonly hold: number | null;
  readonly release: number | null;
  readonly inflight: number | null;
  /** How often freeing the pool was tried. @kernel destroy_cnt */
  readonly attempts: number | null;
  /** A device's name. */
  readonly device: string | null;
  /** The lowest 52 bits of an skb's address. */
  readonly skb: number | null;
  /** Of an skb's end: who freed it, as `udp_destruct_common`. */
  readonly location: string | null;
  /** Of an skb that was dropped: why, as `UDP_CSUM`; kernels before 5.17 do not say. @kernel enum skb_drop_reason */
  readonly reason: string | null;
  /** Bytes of a packet; packets of a poll; seconds of a stall; lines that were lost. */
  readonly amount: number | null;
  readonly sample: PoolSample | null;
  readonly statistics: PoolStatistics | null;
  /** Functions, the innermost first. */
  readonly stack: readonly string[] | null;
}

/** What there is to say of a file that was read. */
export interface TraceFileSummary {
  readonly path: string;
  /** Of its first line that was understood; null: no line was. */
  readonly format: TraceFormat | null;
  readonly lines: number;
  readonly events: number;
  /** Events of kinds that say nothing of pools. */
  readonly otherEvents: number;
  /** Lines that are no event, no heading and no stack, and what they were if more can be said. */
  readonly unknownLines: number;
  readonly binaryLines: number;
  readonly overlongLines: number;
  /** Events whose time is a whole number, of a clock that need not count nanoseconds: `trace_clock` x86-tsc or counter. */
  readonly ticks: number;
  /** Lines which whoever recorded says are missing. */
  readonly lost: number;
  /** Clocks that begin again: a file of more than one boot. */
  readonly boots: number;
  /** Why the file could not be read to its end; null: it was. */
  readonly cutOff: string | null;
}
