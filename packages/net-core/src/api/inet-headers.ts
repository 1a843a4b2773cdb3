/** Offsets and values of IPv4, UDP and TCP headers, all big endian. @kernel include/uapi/linux/{in,ip,udp,tcp}.h */
export const IP_HLEN = 20;
export const UDP_HLEN = 8;
export const TCP_HLEN = 20;
/** Of the checksum in them. */
export const UDP_CHECK_AT = 6;
export const TCP_CHECK_AT = 16;
/** What a sum that comes to 0 is sent as, which in UDP would say that there is none. */
export const CSUM_MANGLED_0 = 0xffff;
export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
/** Of the frag_off word. */
export const IP_DF = 0x4000;
export const IP_MF = 0x2000;
export const IP_OFFSET = 0x1fff;
/** Of the flags byte of TCP. */
export const TCPHDR_FIN = 0x01;
export const TCPHDR_SYN = 0x02;
export const TCPHDR_RST = 0x04;
export const TCPHDR_PSH = 0x08;
export const TCPHDR_ACK = 0x10;
export const TCPHDR_URG = 0x20;
export const TCPHDR_CWR = 0x80;

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Signed: a number above 2^31 would be an object to the engine. */
export function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at, value >>> 16);
  write16(bytes, at + 2, value & 0xffff);
}

/** Two sums, each 0 … 65535, as one. @kernel csum_add, csum_fold */
export function csumAdd(a: number, b: number): number {
  const sum = a + b;
  return (sum & 0xffff) + (sum >>> 16);
}

/** Of a pseudo header in front of UDP or TCP of `lengthBytes`. @kernel csum_tcpudp_nofold */
export function csumPseudo(bytes: Uint8Array, ip: number, protocol: number, lengthBytes: number): number {
  const addresses = read16(bytes, ip + 12) + read16(bytes, ip + 14) + read16(bytes, ip + 16) + read16(bytes, ip + 18);
  const sum = addresses + protocol + lengthBytes;
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/**
 * One's complement sum of an IP header without options at `ip`, an even offset, of memory seen as words: 0xffff where it is as it was sent. In the machine's order, in which all ones are
 * all ones, too; five words, or six where it lies between them, are less than a call. @kernel ip_fast_csum (lib/checksum.c)
 */
export function ipFastCsum(words: Int32Array, ip: number): number {
  const at = ip >> 2;
  const middle = halves(words[at + 1]!) + halves(words[at + 2]!) + halves(words[at + 3]!) + halves(words[at + 4]!);
  const sum = middle + ((ip & 2) === 0 ? halves(words[at]!) : (words[at]! >>> 16) + (words[at + 5]! & 0xffff));
  return (sum & 0xffff) + (sum >>> 16);
}

function halves(word: number): number {
  return (word & 0xffff) + (word >>> 16);
}

/** A checksum field after a 16-bit word that it covers has changed. @kernel csum_replace2 */
export function csumReplace2(check: number, from: number, to: number): number {
  return ~csumAdd(csumAdd(~check & 0xffff, ~from & 0xffff), to) & 0xffff;
}

/** `a` before `b`, both 32-bit sequence numbers. @kernel before (include/net/tcp.h) */
export function seqBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}
