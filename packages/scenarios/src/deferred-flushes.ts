import type { TraceEvent } from "@netmem/trace/api";
import type { Truth } from "./truth.ts";

/** @kernel skb_defer_free_flush (net/core/dev.c) */
const FLUSH = "skb_defer_free_flush";
/** Of IPv4 and UDP, in front of a datagram's bytes. */
const HEADER_BYTES = 28;
const MTU = 1500;
/** Where frames of test runs go. */
const PASSED_PORT = 7703;
const REDIRECTED_PORT = 7700;

/** A CPU freed what was read on another: of a socket's datagrams all up to the `upTo`-th, those before being gone already. */
export interface FlushPoint {
  readonly port: number;
  readonly upTo: number;
  /** Seconds on the capture's clock. */
  readonly at: number;
}

/**
 * When, among a script's reads, the CPU that received came to free what was read elsewhere: a race, whose outcome the trace shows. Packets are told apart by their lengths; where those do not tell a socket,
 * nothing is found.
 */
export class DeferredFlushes {
  readonly #portByLength = new Map<number, number | null>();
  readonly #received = new Map<number, number>();
  readonly #indexOf = new Map<number, { readonly port: number; readonly index: number }>();
  readonly #points: FlushPoint[] = [];
  #last: { readonly port: number; readonly index: number } | null = null;

  constructor({ sends, live }: Truth) {
    const ports: Readonly<Partial<Record<string, number>>> = { pass: PASSED_PORT, redirect: REDIRECTED_PORT };
    const frames = live.flatMap(({ verdict, payloadBytes }) => (ports[verdict] === undefined ? [] : [{ port: ports[verdict], bytes: payloadBytes }]));
    for (const { port, bytes } of [...sends, ...frames]) {
      const length = bytes + HEADER_BYTES;
      if (length <= MTU) this.#portByLength.set(length, this.#portByLength.has(length) ? null : port);
    }
  }

  take({ kind, name, skb, amount, location, timeUs }: TraceEvent): void {
    if (skb === null) return;
    if (kind === "packet" && name === "netif_receive_skb") {
      const port = this.#portByLength.get(amount ?? 0) ?? null;
      this.#indexOf.delete(skb);
      if (port === null) return;
      const index = this.#received.get(port) ?? 0;
      this.#received.set(port, index + 1);
      this.#indexOf.set(skb, { port, index });
    } else if (kind === "packet-freed" && name === "consume_skb") {
      const packet = this.#indexOf.get(skb);
      this.#indexOf.delete(skb);
      if (packet === undefined || location !== FLUSH) return;
      const last = this.#last;
      this.#last = packet;
      // The newest of a list is freed first: one that is newer than the last begins another.
      if (last !== null && last.port === packet.port && packet.index < last.index) return;
      this.#points.push({ port: packet.port, upTo: packet.index + 1, at: (timeUs ?? 0) / 1e6 });
    }
  }

  points(): readonly FlushPoint[] {
    return this.#points;
  }
}
