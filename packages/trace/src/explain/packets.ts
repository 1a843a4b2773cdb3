import type { TraceEvent } from "../api/index.ts";

/** Frees what other CPUs read. @kernel skb_defer_free_flush (net/core/dev.c) */
const DEFERRED = "skb_defer_free_flush";
/** Packets out at a time that are told apart. */
const MOST_PACKETS: number = 1 << 18;
const MOST_GROUPS = 4096;

/** A packet that was received and not seen to be freed. */
export interface OutPacket {
  readonly skb: number;
  /** That received it first. */
  readonly device: string;
  readonly cpu: number | null;
  readonly timeUs: number;
  readonly lengthBytes: number | null;
  /** Its place among all that were received. */
  readonly order: number;
  /** Event that told of it last. */
  seenAs: string;
}

/** Packets like each other, which a socket's queue hands out in the order in which they came. */
interface Group {
  /** Place of the last that was freed, other than by the flush of a deferred list, and when. */
  newestFreed: number;
  newestFreedAtUs: number;
}

export interface FreedPacket {
  readonly packet: OutPacket;
  readonly deferred: boolean;
}

/** What waits: in a queue, or after it was read. */
export interface Waiting {
  readonly queued: readonly OutPacket[];
  /** Packets that came after them are gone: they were read. */
  readonly read: readonly OutPacket[];
}

/** Packets between their device and whoever frees them. */
export class Packets {
  readonly #out = new Map<number, OutPacket>();
  readonly #groups = new Map<string, Group>();
  readonly #receivedBy = new Map<string, number>();
  /** Packets that polls say they had, of devices whose program lets none of them become visible. */
  readonly #polledBy = new Map<string, number>();
  /** By CPU: its last receive softirq, which frees what other CPUs have read. */
  readonly #softirqs = new Map<number, number>();
  #received = 0;
  #freed = 0;

  received(event: TraceEvent): void {
    const { skb, device, name } = event;
    if (skb === null || device === null) return;
    this.#softirq(event);
    const known = this.#out.get(skb);
    // One packet, on its way up; the same event again is another in the same struct, whose end was not seen.
    if (known !== undefined && known.seenAs !== name) {
      known.seenAs = name;
      return;
    }
    if (known !== undefined) this.#out.delete(skb);
    if (this.#out.size >= MOST_PACKETS) for (const oldest of this.#out.keys()) {
      this.#out.delete(oldest);
      break;
    }
    this.#out.set(skb, { skb, device, cpu: event.cpu, timeUs: event.timeUs ?? 0, lengthBytes: event.amount, order: this.#received++, seenAs: name });
    if (this.#receivedBy.size < MOST_GROUPS) this.#receivedBy.set(device, (this.#receivedBy.get(device) ?? 0) + 1);
  }

  /** Null: it was never received here. */
  freed({ skb, location, timeUs }: TraceEvent): FreedPacket | null {
    const packet = skb === null ? undefined : this.#out.get(skb);
    if (packet === undefined) return null;
    this.#out.delete(packet.skb);
    this.#freed++;
    const deferred = location === DEFERRED;
    if (!deferred) {
      const group = this.#group(packet);
      if (packet.order > group.newestFreed) {
        group.newestFreed = packet.order;
        group.newestFreedAtUs = timeUs ?? 0;
      }
    }
    return { packet, deferred };
  }

  polled(event: TraceEvent): void {
    const { device, amount } = event;
    this.#softirq(event);
    if (device !== null && amount !== null && this.#polledBy.size < MOST_GROUPS) this.#polledBy.set(device, (this.#polledBy.get(device) ?? 0) + amount);
  }

  /** So that a trace without such events can be told from one in which nothing was received. */
  get seen(): boolean {
    return this.#received > 0;
  }

  get freedCount(): number {
    return this.#freed;
  }

  isOut(skb: number): boolean {
    return this.#out.has(skb);
  }

  /** Packets that came in by a device, by whichever event tells of more. */
  countOf(device: string): number {
    return Math.max(this.#receivedBy.get(device) ?? 0, this.#polledBy.get(device) ?? 0);
  }

  /** Of one device, or of all, those received between the two times. */
  waiting(device: string | null, afterUs: number, beforeUs: number): Waiting {
    const queued: OutPacket[] = [];
    const read: OutPacket[] = [];
    for (const packet of this.#out.values()) {
      if ((device !== null && packet.device !== device) || packet.timeUs > beforeUs || packet.timeUs < afterUs) continue;
      const { newestFreed, newestFreedAtUs } = this.#group(packet);
      // Had it been read as those behind it were, the next receive softirq of its CPU would have freed it.
      const flushed = packet.cpu !== null && (this.#softirqs.get(packet.cpu) ?? 0) > newestFreedAtUs;
      if (packet.order < newestFreed && !flushed) read.push(packet);
      else queued.push(packet);
    }
    return { queued, read };
  }

  #softirq({ cpu, timeUs, softirq }: TraceEvent): void {
    if (cpu !== null && timeUs !== null && softirq) this.#softirqs.set(cpu, timeUs);
  }

  #group({ device, lengthBytes }: OutPacket): Group {
    const key = `${device} ${lengthBytes}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= MOST_GROUPS) this.#groups.clear();
    const group: Group = { newestFreed: -1, newestFreedAtUs: 0 };
    this.#groups.set(key, group);
    return group;
  }
}
