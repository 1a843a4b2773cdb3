import { netmemCompoundHead, netmemIsMarked, type Netmem } from "@netmem/mm/api";
import type { PacketHolderKind, SkBuff } from "@netmem/net-core/api";
import { XDP_FLAGS_HAS_FRAGS, type XdpFrame } from "@netmem/xdp/api";
import type { Machine } from "./machine.ts";

/** Who has pages that are no longer in a buffer posted to a device, and not home either. */
export interface PageHolder {
  /** Who holds packets, or a device's ring of what is to be sent, or pages that a process has mapped. */
  readonly kind: PacketHolderKind | "ring" | "mapping";
  readonly name: string;
  readonly packets: number;
  /** Pages, and buffers of memory models, each counted once. */
  readonly pages: number;
  /** Of them, those that a pool counts as its own. */
  readonly poolPages: number;
  /** When the oldest came: simulated ns, or of a back-to-back wire the frames that it had sent by then; null where nobody wrote it down: XDP frames have no time. */
  readonly since: number | null;
}

/** Everybody who holds pages just now. The pages stay where they are. For inspection. */
export function pageHolders(machine: Machine): readonly PageHolder[] {
  const { net, mm } = machine;
  const holders = net.holders().map(({ kind, name, packets, pages, since }) => holderOf(kind, name, packets.length, [...packets.flatMap(pagesOf), ...pages], since));
  for (const netif of machine.interfaces()) {
    const { skbs, frames } = netif.inRings?.() ?? { skbs: [], frames: [] };
    if (skbs.length + frames.length === 0) continue;
    const since = skbs.reduce((oldest, { tstamp }) => Math.min(oldest, tstamp), Infinity);
    holders.push(holderOf("ring", netif.dev.name, skbs.length + frames.length, [...skbs.flatMap(pagesOf), ...frames.flatMap(pagesOfFrame)], since));
  }
  for (const { name, mapped, since } of mm.userMappings.areas()) holders.push(holderOf("mapping", name, 0, mapped.filter((page) => page !== null).map(({ head }) => head), since));
  return holders;
}

function holderOf(kind: PageHolder["kind"], name: string, packets: number, pages: readonly Netmem[], since: number): PageHolder {
  const distinct = [...new Set(pages)];
  return { kind, name, packets, pages: distinct.length, poolPages: distinct.filter(netmemIsMarked).length, since: since === Infinity ? null : since };
}

function pagesOf(skb: SkBuff): Netmem[] {
  const { headPage, frags, nrFrags, fragList } = skb.shinfo!;
  const pages: Netmem[] = headPage === null ? [] : [headPage.head];
  for (let i = 0; i < nrFrags; i++) pages.push(netmemCompoundHead(frags[i]!.netmem!));
  for (let member = fragList; member !== null; member = member.next) pages.push(...pagesOf(member));
  return pages;
}

function pagesOfFrame({ head, frags, flags, nrFrags }: XdpFrame): Netmem[] {
  return [head, ...frags.slice(0, (flags & XDP_FLAGS_HAS_FRAGS) === 0 ? 0 : nrFrags).map(({ netmem }) => netmem)].filter((netmem) => netmem !== null).map(netmemCompoundHead);
}
