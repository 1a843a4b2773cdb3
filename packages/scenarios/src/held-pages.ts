import type { Truth } from "./truth.ts";

const CACHE_LINE = 64;
const HEADERS_BYTES = 42;
/** Room for a program in front, and the shared info behind. */
const OVERHEAD_BYTES: number = 256 + 320;
const PAGE_BYTES = 4096;

/** Datagrams of this size that share a page of a veth's pool. @kernel page_pool_alloc_netmem (include/net/page_pool/helpers.h), skb_pp_cow_data (net/core/skbuff.c) */
export function datagramsOfAPage(payloadBytes: number): number {
  const bytes = Math.ceil((payloadBytes + HEADERS_BYTES) / CACHE_LINE) * CACHE_LINE + OVERHEAD_BYTES;
  return bytes > PAGE_BYTES / 2 ? 1 : Math.floor(PAGE_BYTES / bytes);
}

/** Most bytes of a datagram that is cut into two pieces, the second of which fits behind the first, in its page; more pieces have pages of their own. */
const TWO_PIECES_BYTES: number = 2 * 1480 - 8;

/** Pages that datagrams hold when the link goes, if none was read before; null: the script does no such thing, or datagrams are too long for the form. Found in the kernel's runs; nothing of the model goes into it. */
export function heldPages({ sends, linkDeleted, receivers }: Truth): number | null {
  if (linkDeleted === null) return null;
  if (receivers.some(({ steps }) => steps.some(({ at }) => at !== null && at < linkDeleted))) return null;
  if (sends.some(({ bytes }) => bytes > TWO_PIECES_BYTES)) return null;
  return sends.reduce((sum, { count, bytes }) => sum + Math.ceil(count / datagramsOfAPage(bytes)), 0);
}
