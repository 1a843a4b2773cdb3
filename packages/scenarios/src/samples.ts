import type { PacketSample, TraceEvent } from "@netmem/trace/api";
import { netmemIsMarked, type Netmem, type Page } from "@netmem/mm/api";
import { SKB_CONSUMED, SKB_FREED_UNTRACED, skbHeadFrag, type SkBuff } from "@netmem/net-core/api";
import { PP_FRAG_BIAS, type PagePool, type PagePoolView, type PagePools } from "@netmem/page-pool/api";
import type { MachineProbes } from "@netmem/machine";

/** State of a pool at one of the tracepoints where the monitor looks. */
export interface Sample {
  readonly event: "hold" | "release" | "shutdown" | "gro" | "rx" | "consume" | "kfree";
  readonly hold: number;
  readonly release: number;
  readonly cache: number;
  /** As the monitor can tell it, from two indices: a full ring looks like an empty one. */
  readonly ring: number;
  readonly fragOffset: number;
  readonly fragUsers: number;
  /** References of the page's own; null: at no page. */
  readonly refcount: number | null;
  /** Null: at no page. As text, since one count more or less of 2^62 is none in a number. */
  readonly ppRef: string | null;
  /** Null: at no packet. */
  readonly packet: PacketSample | null;
}

const SAMPLED: readonly string[] = ["hold", "release", "shutdown", "gro", "rx", "consume", "kfree"];

/** Null: an event at which the model is not looked at. */
export function sampleOf({ name, hold, release, sample }: TraceEvent): Sample | null {
  if (sample === null || !SAMPLED.includes(name)) return null;
  const { cache, ring, fragOffset, fragUsers, refcount, ppRef, packet } = sample;
  // The monitor found no struct page behind the head.
  const isPage = ppRef !== null && ppRef !== "-1";
  return { event: name as Sample["event"], hold: hold ?? 0, release: release ?? 0, cache, ring, fragOffset, fragUsers, refcount: isPage ? refcount : null, ppRef: isPage ? ppRef : null, packet };
}

/** What the model's pools went through, by pool. */
export class PoolWatch {
  readonly samples: Map<number, Sample[]> = new Map();
  /** Pages in flight as each attempt to free it reports. */
  readonly series: Map<number, number[]> = new Map();
  readonly counts: Map<number, { holds: number; releases: number }> = new Map();
  /** Of the pools in the order in which they had their first page, or were destroyed without any. */
  readonly order: PagePoolView[] = [];
  #pools: PagePools | null = null;

  /** The machine's, once it is there. */
  usePools(pools: PagePools): void {
    this.#pools = pools;
  }

  /** To look on with. */
  probes(): Partial<MachineProbes> {
    return {
      pagePool: {
        stateHold: (pool, netmem) => this.#see("hold", pool, netmem),
        stateRelease: (pool, netmem) => this.#see("release", pool, netmem),
        release: (pool, inflight) => {
          this.#see("shutdown", pool, null);
          const series = this.series.get(pool.id) ?? [];
          this.series.set(pool.id, [...series, inflight]);
        },
        updateNid: () => undefined,
      },
      skb: {
        freed: (skb, reason, how) => {
          if (how !== SKB_FREED_UNTRACED) this.#seeSkb(reason === SKB_CONSUMED ? "consume" : "kfree", skb);
        },
        groReceiveEntry: (skb) => this.#seeSkb("gro", skb),
        received: (skb) => this.#seeSkb("rx", skb),
        polled: () => undefined,
      },
    };
  }

  #seeSkb(event: Sample["event"], skb: SkBuff): void {
    const info = skb.shinfo;
    if (!skb.ppRecycle || info === null) return;
    const head: Page | null = skbHeadFrag(skb) ? info.headPage : null;
    const netmem = head !== null ? head.head : info.nrFrags > 0 ? info.frags[0]!.netmem : null;
    if (netmem === null || !netmemIsMarked(netmem)) return;
    const pool = this.#pools?.pools().find((candidate: PagePool) => candidate === netmem.pp);
    if (pool !== undefined) this.#see(event, pool, head === null ? null : netmem, packetOf(skb));
  }

  #see(event: Sample["event"], pool: PagePoolView, netmem: Netmem | null, packet: PacketSample | null = null): void {
    let samples = this.samples.get(pool.id);
    if (samples === undefined) {
      samples = [];
      this.samples.set(pool.id, samples);
      this.order.push(pool);
    }
    this.counts.set(pool.id, { holds: pool.holdCnt >>> 0, releases: pool.releaseCnt >>> 0 });
    samples.push({
      event, hold: pool.holdCnt >>> 0, release: pool.releaseCnt >>> 0, cache: pool.cacheCount, ring: pool.ringCount() % pool.ringSize, fragOffset: pool.fragOffset, fragUsers: pool.fragUsers,
      refcount: netmem === null ? null : (netmem as Page).refcount, ppRef: netmem === null ? null : ppRefText(netmem), packet,
    });
  }
}

function packetOf({ len, dataLen, truesize, shinfo, cloned, users }: SkBuff): PacketSample {
  return { len, dataLen, truesize, nrFrags: shinfo!.nrFrags, dataref: shinfo!.dataref, cloned: cloned ? 1 : 0, users };
}

/** @kernel BIAS_MAX (net/core/page_pool.c) */
const BIAS_MAX: bigint = (1n << 62n) - 1n;

/** As the kernel's word of 64 bits has it, in which a fresh page that fragments are cut from has 2^62 − 1 holders. */
function ppRefText({ ppRefCount }: Netmem): string {
  return String(ppRefCount > PP_FRAG_BIAS / 2 ? BIAS_MAX + BigInt(ppRefCount - PP_FRAG_BIAS) : ppRefCount);
}
