import { UsageError } from "@netmem/kernel/api";
import type { PayloadRegion } from "@netmem/mm/api";
import { ETH_HLEN } from "@netmem/xdp/api";
import { RXFH_INDIR_SIZE, RXFH_KEY_SIZE, type NicSteering, type RxFlowRule } from "./api/index.ts";
import type { FrameHeaders } from "./frame-headers.ts";

/** The key that is in the specification of receive-side scaling, with test vectors. */
const DEFAULT_KEY: readonly number[] = [
  0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
  0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
/** Two addresses and two ports. */
const HASHED_BYTES = 12;

interface Rule {
  readonly id: number;
  readonly rule: RxFlowRule;
}

/** Receive-side scaling, and rules before it. */
export class Steering implements NicSteering {
  readonly #name: string;
  readonly #queues: number;
  readonly #indirection = new Int32Array(RXFH_INDIR_SIZE);
  #key = Uint8Array.from(DEFAULT_KEY);
  /** What each value of each hashed byte adds to the hash; null until something is hashed by the key. */
  #contributions: Int32Array | null = null;
  readonly #rules: Rule[] = [];
  #nextRule = 1;

  constructor(name: string, queues: number) {
    this.#name = name;
    this.#queues = queues;
    for (let i = 0; i < RXFH_INDIR_SIZE; i++) this.#indirection[i] = i % queues;
  }

  setIndirection(queues: readonly number[]): void {
    if (queues.length !== RXFH_INDIR_SIZE) throw new UsageError("driver", `indirection of ${this.#name}`, queues.length, `give ${RXFH_INDIR_SIZE} queues`);
    for (const queue of queues) this.#check(queue);
    this.#indirection.set(queues);
  }

  setKey(key: Uint8Array): void {
    if (key.length !== RXFH_KEY_SIZE) throw new UsageError("driver", `hash key of ${this.#name}`, key.length, `give ${RXFH_KEY_SIZE} bytes`);
    this.#key = key.slice();
    this.#contributions = null;
  }

  insertRule(rule: RxFlowRule): number {
    this.#check(rule.queue);
    this.#rules.push({ id: this.#nextRule, rule });
    return this.#nextRule++;
  }

  deleteRule(id: number): boolean {
    const at = this.#rules.findIndex((entry) => entry.id === id);
    if (at >= 0) this.#rules.splice(at, 1);
    return at >= 0;
  }

  /** Of the frame at `start`, whose headers were parsed. */
  queueOf(headers: FrameHeaders, region: PayloadRegion, start: number): number {
    if (headers.protocol === 0) return 0;
    for (let i = 0; i < this.#rules.length; i++) {
      const { rule } = this.#rules[i]!;
      if (fits(rule, headers, region, start)) return rule.queue;
    }
    return this.#indirection[this.hash(headers, region, start) & (RXFH_INDIR_SIZE - 1)]!;
  }

  /** 32 bits, signed. */
  hash(headers: FrameHeaders, { bytes }: PayloadRegion, start: number): number {
    const contributions = (this.#contributions ??= contributionsOf(this.#key));
    const addresses = start + ETH_HLEN + 12;
    const ports = start + headers.transportOffset;
    let hash = 0;
    for (let i = 0; i < 8; i++) hash ^= contributions[i * 256 + bytes[addresses + i]!]!;
    for (let i = 0; i < 4; i++) hash ^= contributions[(8 + i) * 256 + bytes[ports + i]!]!;
    return hash;
  }

  #check(queue: number): void {
    if (!Number.isInteger(queue) || queue < 0 || queue >= this.#queues) throw new UsageError("driver", `queue of ${this.#name}`, queue, `it has queues 0 to ${this.#queues - 1}`);
  }
}

function contributionsOf(key: Uint8Array): Int32Array {
  const contributions = new Int32Array(HASHED_BYTES * 256);
  for (let byte = 0; byte < HASHED_BYTES; byte++) {
    for (let value = 0; value < 256; value++) {
      let hash = 0;
      for (let bit = 0; bit < 8; bit++) if ((value & (0x80 >> bit)) !== 0) hash ^= window(key, byte * 8 + bit);
      contributions[byte * 256 + value] = hash;
    }
  }
  return contributions;
}

/** 32 bits of the key from a bit on. */
function window(key: Uint8Array, bit: number): number {
  let bits = 0;
  for (let i = bit; i < bit + 32; i++) bits = (bits << 1) | ((key[i >> 3]! >> (7 - (i & 7))) & 1);
  return bits;
}

function fits(rule: RxFlowRule, headers: FrameHeaders, region: PayloadRegion, start: number): boolean {
  return (rule.protocol === undefined || rule.protocol === headers.protocol)
    && (rule.saddr === undefined || (rule.saddr | 0) === headers.saddr(region, start))
    && (rule.daddr === undefined || (rule.daddr | 0) === headers.daddr(region, start))
    && (rule.sport === undefined || rule.sport === headers.sport(region, start))
    && (rule.dport === undefined || rule.dport === headers.dport(region, start));
}
