import { GFP_ATOMIC } from "@netmem/mm/api";
import {
  ETH_HLEN, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, XDP_ABORTED, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS, XDP_REDIRECT, XDP_TX,
  xdpOkFwdDev, type FragSource, type GenericPacket, type GenericTarget, type NetDevice, type Xdp, type XdpBuff, type XdpProg, type XdpRxqInfo,
} from "@netmem/xdp/api";
import type { ExecutionContext } from "@netmem/kernel/api";
import {
  NET_SKB_PAD, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_XDP, skbCloned, skbHeadlen, skbHeadroom, skbRegion, type GenericXdp, type SkBuff,
} from "./api/index.ts";
import type { SkbEdits } from "./edit.ts";
import type { SkbLives } from "./lifetime.ts";
import type { TransmitPath } from "./transmit.ts";
import type { XdpConversions } from "./xdp-skbs.ts";

/** Room behind the packet that a head gets which must grow anyhow. */
const SPARE_TAIL = 128;
const BROADCAST_BIT = 1;

export interface GenericXdpParts {
  readonly xdp: Xdp;
  readonly lives: SkbLives;
  readonly edit: SkbEdits;
  readonly conversions: XdpConversions;
  readonly transmit: TransmitPath;
  readonly context: ExecutionContext;
  readonly systemPages: readonly FragSource[];
}

/** XDP on skbs. @kernel net/core/dev.c */
export class GenericXdpPath implements GenericXdp {
  readonly #parts: GenericXdpParts;
  readonly #rxq: XdpRxqInfo;
  readonly #buff: XdpBuff;

  constructor(parts: GenericXdpParts) {
    this.#parts = parts;
    const { structs } = parts.xdp;
    this.#rxq = structs.createXdpRxqInfo();
    this.#buff = structs.createXdpBuff(this.#rxq);
  }

  /** @kernel do_xdp_generic, netif_receive_generic_xdp */
  doXdpGeneric(prog: XdpProg, received: SkBuff): SkBuff | null {
    if (received.redirected) return received;
    const { lives, xdp } = this.#parts;
    const dev = received.dev!;
    const skb = this.#makeWritable(received, prog);
    if (skb === null) return null;
    const act = this.runGenericXdp(skb, prog);
    switch (act) {
      case XDP_PASS: return skb;
      case XDP_TX:
        this.#send(skb, dev, prog);
        return null;
      case XDP_REDIRECT:
        this.redirectPacket(skb, prog);
        return null;
      case XDP_DROP: break;
      default:
        if (act !== XDP_ABORTED) xdp.programs.bpfWarnInvalidXdpAction(dev, prog, act);
        xdp.programs.xdpException(dev, prog, act);
    }
    lives.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    return null;
  }

  /** @kernel bpf_prog_run_generic_xdp */
  runGenericXdp(packet: GenericPacket, prog: XdpProg): number {
    const skb = packet as SkBuff;
    const buff = this.#buff;
    const { conversions } = this.#parts;
    const rxq = this.#rxq;
    rxq.dev = skb.dev;
    rxq.queueIndex = Math.max(0, skb.rxQueue - 1);
    rxq.mem.type = skb.ppRecycle ? MEM_TYPE_PAGE_POOL : MEM_TYPE_PAGE_SHARED;
    rxq.mem.id = skb.shinfo!.memId;
    const macBytes = skb.data - skb.macHeader;
    push(skb, macBytes);
    conversions.xdpBuffFromSkb(buff, skb);
    const { data } = buff;
    const { bytes } = skbRegion(skb);
    const at = skb.macHeader;
    const wasMulticast = bytes[at]! & BROADCAST_BIT;
    const wasType = (bytes[at + ETH_HLEN - 2]! << 8) | bytes[at + ETH_HLEN - 1]!;
    const act = this.#parts.xdp.programs.bpfProgRunXdp(prog, buff);
    conversions.skbFromXdpBuff(skb, buff);
    skb.macHeader += buff.data - data;
    push(skb, -macBytes);
    const header = skb.macHeader;
    const changed = (bytes[header]! & BROADCAST_BIT) !== wasMulticast || ((bytes[header + ETH_HLEN - 2]! << 8) | bytes[header + ETH_HLEN - 1]!) !== wasType;
    if (changed && skbHeadlen(skb) + (skb.data - header) >= ETH_HLEN) {
      push(skb, skb.data - header);
      this.#parts.edit.ethTypeTrans(skb);
    }
    // Whoever sends it needs the link-layer header.
    if (act === XDP_REDIRECT || act === XDP_TX) push(skb, skb.data - skb.macHeader);
    else if (act === XDP_PASS) skb.shinfo!.metaLen = buff.data - buff.dataMeta;
    return act;
  }

  /** @kernel xdp_do_generic_redirect */
  redirectPacket(packet: GenericPacket, prog: XdpProg): number {
    const skb = packet as SkBuff;
    const { lives, xdp } = this.#parts;
    const result = xdp.redirect.xdpDoGenericRedirect(skb.dev!, skb, this.#buff, prog);
    if (typeof result === "number") {
      lives.kfreeSkb(skb, SKB_DROP_REASON_XDP);
      return result;
    }
    if (typeof result === "object") return this.#transmitToAll(skb, result, prog);
    if (result === "copied") lives.consumeSkb(skb);
    else {
      // It comes back up on that CPU, and must not meet this program again.
      push(skb, -ETH_HLEN);
      skb.redirected = true;
    }
    return 0;
  }

  /** To each a clone, the last the packet itself. The first that may not send it ends it. @kernel dev_map_redirect_multi (kernel/bpf/devmap.c) */
  #transmitToAll(skb: SkBuff, targets: readonly GenericTarget[], redirecting: XdpProg): number {
    const { lives } = this.#parts;
    for (const [i, target] of targets.entries()) {
      const errno = xdpOkFwdDev(target.dev, skb.len);
      const one = errno < 0 || i === targets.length - 1 ? skb : lives.skbClone(skb, GFP_ATOMIC);
      if (errno < 0 || one === null) {
        lives.kfreeSkb(skb, SKB_DROP_REASON_XDP);
        return errno;
      }
      this.#sendThroughProgram(one, target, redirecting);
    }
    if (targets.length === 0) lives.consumeSkb(skb);
    return 0;
  }

  /** The redirect has succeeded by now, whatever becomes of the packet. @kernel dev_map_generic_redirect, dev_map_bpf_prog_run_skb */
  #sendThroughProgram(skb: SkBuff, { dev, prog }: GenericTarget, redirecting: XdpProg): void {
    const { lives, xdp } = this.#parts;
    if (prog !== null) {
      // The program sees the packet from its MAC header on, which is where it begins now.
      skb.macHeader = skb.data;
      this.#buff.txDev = dev;
      const act = this.runGenericXdp(skb, prog);
      this.#buff.txDev = null;
      if (act !== XDP_PASS) {
        if (act !== XDP_DROP) {
          if (act !== XDP_ABORTED) xdp.programs.bpfWarnInvalidXdpAction(dev, prog, act);
          xdp.programs.xdpException(dev, prog, act);
        }
        lives.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
        return;
      }
      push(skb, skb.data - skb.macHeader);
    }
    this.#send(skb, dev, redirecting);
  }

  /** @kernel generic_xdp_tx */
  #send(skb: SkBuff, dev: NetDevice, prog: XdpProg): void {
    const { transmit, xdp } = this.#parts;
    if (transmit.genericXdpTx(skb, dev)) return;
    xdp.programs.xdpException(dev, prog, XDP_TX);
    transmit.drop(skb);
  }

  /**
   * A packet that a program may write, with room in front: a copy in this CPU's system pool if the program takes fragments (from 6.9), else one
   * piece. Null: dropped, for lack of memory. @kernel netif_skb_check_for_xdp
   */
  #makeWritable(skb: SkBuff, prog: XdpProg): SkBuff | null {
    const { lives, edit, conversions, systemPages, context } = this.#parts;
    const macBytes = skb.data - skb.macHeader;
    push(skb, macBytes);
    const headroom = skbHeadroom(skb);
    let writable: SkBuff | null = skb;
    if (skbCloned(skb) || skb.users !== 1 || skb.dataLen > 0 || headroom < XDP_PACKET_HEADROOM) {
      const source = systemPages[context.cpu];
      const copy = source === undefined || !prog.hasFrags ? null : conversions.skbPpCowData(source, skb, XDP_PACKET_HEADROOM);
      if (copy !== null && typeof copy !== "number") writable = copy;
      else writable = lives.skbShareCheck(skb, GFP_ATOMIC);
      if (writable === skb || (writable !== null && (copy === null || typeof copy === "number"))) {
        const missing = XDP_PACKET_HEADROOM - headroom;
        const behind = writable.tail + writable.dataLen - writable.end;
        const grown = edit.pskbExpandHead(writable, missing > 0 ? (missing + NET_SKB_PAD - 1) & -NET_SKB_PAD : 0, behind > 0 ? behind + SPARE_TAIL : 0, GFP_ATOMIC);
        if (grown < 0 || edit.skbLinearize(writable) < 0) {
          lives.kfreeSkb(writable, SKB_DROP_REASON_NOT_SPECIFIED);
          return null;
        }
      }
    }
    if (writable === null) return null;
    writable.data += macBytes;
    writable.len -= macBytes;
    return writable;
  }
}

/** @kernel __skb_push */
function push(skb: SkBuff, bytes: number): void {
  skb.data -= bytes;
  skb.len += bytes;
}
