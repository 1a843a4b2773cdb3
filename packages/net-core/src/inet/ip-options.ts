import { IP_HLEN } from "../api/index.ts";

/** @kernel IPOPT_* (include/uapi/linux/ip.h) */
const IPOPT_END = 0;
const IPOPT_NOOP = 1;
const IPOPT_RR = 7;
const IPOPT_TIMESTAMP = 68;
const IPOPT_LSRR = 131;
const IPOPT_SSRR = 137;
const IPOPT_RA = 148;
/** Of a timestamp's flags. */
const IPOPT_TS_TSANDADDR = 1;
const IPOPT_TS_PRESPEC = 3;
const TS_OVERFLOW_MOST = 15;

/** A kind that every piece of a datagram has. @kernel IPOPT_COPY */
const IPOPT_COPY = 0x80;

/** What a header's options come to: they hold; they say the way, which nobody here lets them; or they are wrong. */
export type IpOptionsVerdict = "hold" | "source-route" | "wrong";

/** Options of the header of `headerBytes` at `ip`, each well-formed, and none twice that may not be. What they ask to have written is not. @kernel __ip_options_compile (net/ipv4/ip_options.c) */
export function ipOptions(bytes: Uint8Array, ip: number, headerBytes: number): IpOptionsVerdict {
  const end = ip + headerBytes;
  const seen = new Set<number>();
  for (let at = ip + IP_HLEN; at < end;) {
    const kind = bytes[at]!;
    if (kind === IPOPT_END) break;
    if (kind === IPOPT_NOOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? bytes[at + 1]! : 0;
    if (length < 2 || at + length > end) return "wrong";
    // Strict or loose, there is one way.
    const once = kind === IPOPT_SSRR ? IPOPT_LSRR : kind;
    if (!isWellFormed(bytes, at, kind, length) || (seen.has(once) && isAlone(once))) return "wrong";
    seen.add(once);
    at += length;
  }
  return seen.has(IPOPT_LSRR) ? "source-route" : "hold";
}

function isAlone(kind: number): boolean {
  return kind === IPOPT_LSRR || kind === IPOPT_RR || kind === IPOPT_TIMESTAMP;
}

function isWellFormed(bytes: Uint8Array, at: number, kind: number, length: number): boolean {
  // Where the next entry goes, from 1 on.
  const pointer = length > 2 ? bytes[at + 2]! : 0;
  switch (kind) {
    case IPOPT_SSRR:
    case IPOPT_LSRR: return pointer >= 4;
    case IPOPT_RR: return pointer >= 4 && (pointer > length || pointer + 3 <= length);
    case IPOPT_TIMESTAMP: return length >= 4 && pointer >= 5 && timeFits(bytes[at + 3]!, pointer, length);
    case IPOPT_RA: return length >= 4;
    default: return true;
  }
}

function timeFits(flags: number, pointer: number, length: number): boolean {
  const kind = flags & 0xf;
  // Full: it is counted who found no room.
  if (pointer > length) return kind === IPOPT_TS_PRESPEC || flags >> 4 !== TS_OVERFLOW_MOST;
  return pointer + (kind === IPOPT_TS_TSANDADDR || kind === IPOPT_TS_PRESPEC ? 7 : 3) <= length;
}

/** Options that only a datagram's first piece has are nothing in the header of `headerBytes` at `ip`. @kernel ip_options_fragment */
export function withoutUncopied(bytes: Uint8Array, ip: number, headerBytes: number): void {
  const end = ip + headerBytes;
  for (let at = ip + IP_HLEN; at < end && bytes[at] !== IPOPT_END;) {
    const kind = bytes[at]!;
    const length = kind === IPOPT_NOOP ? 1 : at + 1 < end ? bytes[at + 1]! : 0;
    if (length < 1 || at + length > end || (length < 2 && kind !== IPOPT_NOOP)) return;
    if ((kind & IPOPT_COPY) === 0) bytes.fill(IPOPT_NOOP, at, at + length);
    at += length;
  }
}
