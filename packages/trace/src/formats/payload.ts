import type { TraceEventKind } from "../api/index.ts";
import type { ReadEvent } from "../event.ts";
import { addressOf, counterOf, fieldOf, hexOf, parseHex, signedOf, type Interned } from "../fields.ts";

/** The events that say something of pools, and what they are to us. */
const KINDS: Readonly<Record<string, TraceEventKind>> = {
  page_pool_state_hold: "hold", page_pool_state_release: "release", page_pool_release: "shutdown", mem_connect: "connect", mem_disconnect: "disconnect",
  netif_receive_skb: "packet", napi_gro_receive_entry: "packet", napi_gro_frags_entry: "packet", consume_skb: "packet-freed", kfree_skb: "packet-freed", napi_poll: "poll",
};

export function kindOf(name: string): TraceEventKind {
  return Object.hasOwn(KINDS, name) ? KINDS[name]! : "other";
}

/**
 * What the kernel's format of an event says, in 6.1 and 6.18, as tracefs and perf print it; false: it does not say what such an event must.
 * @kernel TP_printk (include/trace/events/page_pool.h, include/trace/events/skb.h, include/trace/events/napi.h)
 */
export function readPayload(event: ReadEvent, text: string, names: Interned): boolean {
  switch (event.kind) {
    case "hold": case "release": {
      const pool = addressOf(text, "page_pool=");
      const count = counterOf(text, event.kind === "hold" ? "hold=" : "release=");
      if (pool === null || count === null) return false;
      event.pool = names.of(pool);
      event.pfn = hexOf(text, "pfn=");
      event.isNetIov = fieldOf(text, "is_net_iov=") === "1";
      if (event.kind === "hold") event.hold = count;
      else event.release = count;
      return true;
    }
    case "shutdown": {
      const pool = addressOf(text, "page_pool=");
      event.inflight = signedOf(text, "inflight=");
      event.hold = counterOf(text, "hold=");
      event.release = counterOf(text, "release=");
      event.attempts = counterOf(text, "cnt=");
      if (pool === null || event.inflight === null || event.hold === null || event.release === null) return false;
      event.pool = names.of(pool);
      return true;
    }
    case "connect": case "disconnect": {
      const allocator = addressOf(text, "allocator=");
      if (allocator === null) return false;
      event.pool = names.of(allocator);
      return true;
    }
    case "packet": {
      const device = fieldOf(text, "dev=");
      const skb = fieldOf(text, "skbaddr=");
      if (device === null || skb === null) return false;
      event.device = names.of(device);
      event.skb = parseHex(skb);
      event.amount = counterOf(text, "len=");
      return true;
    }
    case "packet-freed": {
      const skb = fieldOf(text, "skbaddr=");
      if (skb === null) return false;
      event.skb = parseHex(skb);
      const location = fieldOf(text, "location=");
      event.location = location === null ? null : names.of(location.replace(/\+0x.*$/, ""));
      const reason = fieldOf(text, "reason: ");
      event.reason = reason === null ? null : names.of(reason);
      return true;
    }
    case "poll": {
      const match = /for device (\S+) work (\d+)/.exec(text);
      if (match === null) return false;
      event.device = names.of(match[1]!);
      event.amount = Number(match[2]);
      return true;
    }
    default: return true;
  }
}
