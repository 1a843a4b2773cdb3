import type { Clock, Kernel } from "@netmem/kernel/api";
import { ETH_HLEN, ETH_P_IP } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbMetadataLen, skbRegion, type NetReceive, type SkBuff, type SkbFree, type SkbProbe, type SkbPullTrim } from "../api/index.ts";
import { groPullFromFrag0 } from "./gro-headers.ts";
import type { InetGro } from "./inet-gro.ts";
import { MAX_GRO_SKBS, type GroNode } from "./gro-node.ts";
import { groHold, groStart } from "./skb-gro-receive.ts";

/** Segments that go up together. @kernel gro_normal_batch */
const GRO_NORMAL_BATCH = 8;

export interface GroParts {
  readonly kernel: Kernel;
  readonly inet: InetGro;
  readonly edit: Pick<SkbPullTrim, "pskbPullTail">;
  readonly lifetime: Pick<SkbFree, "napiSkbFinishMerged" | "kfreeSkb">;
  /** Where packets go up. */
  readonly up: Pick<NetReceive, "netifReceiveSkbList" | "stats">;
  readonly probe: SkbProbe | null;
}

/** Merges packets of one connection as they are received, and hands up what it has in batches. @kernel net/core/gro.c */
export class Gro {
  private readonly clock: Clock;
  private readonly hz: number;
  private readonly inet: InetGro;
  private readonly edit: Pick<SkbPullTrim, "pskbPullTail">;
  private readonly lifetime: Pick<SkbFree, "napiSkbFinishMerged" | "kfreeSkb">;
  private readonly up: Pick<NetReceive, "netifReceiveSkbList" | "stats">;
  private readonly probe: SkbProbe | null;

  constructor(parts: GroParts) {
    this.clock = parts.kernel.clock;
    this.hz = parts.kernel.hz;
    this.inet = parts.inet;
    this.edit = parts.edit;
    this.lifetime = parts.lifetime;
    this.up = parts.up;
    this.probe = parts.probe;
  }

  /** Consumes. @kernel napi_gro_receive, dev_gro_receive, napi_skb_finish */
  receive(node: GroNode, skb: SkBuff): void {
    if (this.probe !== null) this.probe.groReceiveEntry(skb);
    skb.tstamp = this.clock.stamp;
    // A program for packets sees them as they came. @kernel netif_elide_gro
    if (skb.dev!.gro === false || skb.protocol !== ETH_P_IP || skb.dev!.xdpGenericProg !== null) this.normalOne(node, skb, 1);
    else this.tryMerge(node, skb);
  }

  private tryMerge(node: GroNode, skb: SkBuff): void {
    this.prepare(node, skb);
    groStart(skb, 0);
    const { gro } = skb;
    const done = this.inet.receive(node, skb);
    if (done >= 0) this.completeOne(node, node.release(done));
    if (gro.sameFlow === true) {
      this.up.stats.groMerged++;
      if (gro.free !== 0) this.lifetime.napiSkbFinishMerged(skb);
      return;
    }
    groPullFromFrag0(skb, this.edit);
    if (gro.flush === true) {
      this.normalOne(node, skb, 1);
      return;
    }
    if (node.count === MAX_GRO_SKBS) this.completeOne(node, node.release(MAX_GRO_SKBS - 1));
    gro.age = this.clock.jiffies;
    groHold(skb);
    node.hold(skb);
  }

  /** Which of the held packets may be of the same connection, as far as the link layer goes. @kernel gro_list_prepare */
  private prepare(node: GroNode, skb: SkBuff): void {
    for (let i = 0; i < node.count; i++) {
      const p = node.held[i]!;
      p.gro.flush = false;
      p.gro.sameFlow = p.dev === skb.dev && sameMetadata(p, skb) && sameMacHeader(p, skb);
    }
  }

  /** Those held longest first; of those that came in this tick none if `keepsYoung`. Then everything goes up. @kernel napi_gro_flush, gro_normal_list */
  flush(node: GroNode, keepsYoung: boolean): void {
    while (node.count > 0) {
      if (keepsYoung && node.held[node.count - 1]!.gro.age === this.clock.jiffies) break;
      this.completeOne(node, node.release(node.count - 1));
    }
    this.normalList(node);
  }

  /** After a poll that used up its budget: where ticks are long, all. @kernel __napi_poll */
  flushOld(node: GroNode): void {
    this.flush(node, this.hz >= 1000);
  }

  normalList(node: GroNode): void {
    if (node.rxFirst !== null) this.up.netifReceiveSkbList(node.takeRx());
  }

  /** The instance goes: nobody will have what it held. @kernel flush_gro_hash */
  purge(node: GroNode): void {
    while (node.count > 0) this.lifetime.kfreeSkb(node.release(0), SKB_DROP_REASON_NOT_SPECIFIED);
    for (let skb = node.takeRx(); skb !== null;) {
      const { next }: { next: SkBuff | null } = skb;
      skb.next = null;
      this.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      skb = next;
    }
  }

  /** @kernel napi_gro_complete */
  private completeOne(node: GroNode, skb: SkBuff): void {
    if (skb.gro.count === 1) skb.shinfo!.gsoSize = 0;
    else this.inet.complete(skb);
    this.normalOne(node, skb, skb.gro.count);
  }

  /** @kernel gro_normal_one */
  private normalOne(node: GroNode, skb: SkBuff, segments: number): void {
    node.addRx(skb, segments);
    if (node.rxCount >= GRO_NORMAL_BATCH) this.normalList(node);
  }
}

function sameMetadata(a: SkBuff, b: SkBuff): boolean {
  const bytes = skbMetadataLen(a);
  if (bytes !== skbMetadataLen(b)) return false;
  const from = skbRegion(a).bytes;
  const of = skbRegion(b).bytes;
  for (let i = 1; i <= bytes; i++) if (from[a.macHeader - i] !== of[b.macHeader - i]) return false;
  return true;
}

/** As drivers place it, all but its first two bytes are whole words. @kernel compare_ether_header (include/linux/etherdevice.h) */
function sameMacHeader(a: SkBuff, b: SkBuff): boolean {
  const from = skbRegion(a);
  const of = skbRegion(b);
  const at = a.macHeader;
  const other = b.macHeader;
  if ((at & 3) === 2 && (other & 3) === 2) {
    const word = (at + 2) >> 2;
    const otherWord = (other + 2) >> 2;
    return from.words[word] === of.words[otherWord] && from.words[word + 1] === of.words[otherWord + 1] && from.words[word + 2] === of.words[otherWord + 2]
      && from.bytes[at] === of.bytes[other] && from.bytes[at + 1] === of.bytes[other + 1];
  }
  for (let i = 0; i < ETH_HLEN; i++) if (from.bytes[at + i] !== of.bytes[other + i]) return false;
  return true;
}
