import { testFrame } from "./frames.ts";

/** What a frame of IPv4 says of itself; the rest has defaults. */
export interface InetHeader {
  /** Addresses as numbers; default 10.0.0.1 and 10.0.0.2. */
  readonly saddr?: number;
  readonly daddr?: number;
  readonly sport?: number;
  readonly dport?: number;
  /** Default 1; the kernel counts up. */
  readonly ipId?: number;
  /** Default 64. */
  readonly ttl?: number;
  /** Default DF. */
  readonly fragOff?: number;
}

export interface TcpHeader extends InetHeader {
  readonly seq?: number;
  readonly ack?: number;
  /** Default ACK. */
  readonly flags?: number;
  readonly window?: number;
  /** A whole number of words. */
  readonly options?: Uint8Array;
}

const ETH_BYTES = 14;
const IP_BYTES = 20;
const UDP_BYTES = 8;
const TCP_BYTES = 20;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const ACK = 0x10;

/** Of 16-bit words, as RFC 1071 has it: slow, and for that reason right. */
export function internetChecksum(bytes: Uint8Array, start: number = 0, end: number = bytes.length, initial: number = 0): number {
  let sum = initial;
  for (let i = start; i < end; i += 2) sum += bytes[i]! * 256 + (i + 1 < end ? bytes[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

/** `lengthBytes` that differ for each `seed`. */
export function testPayload(lengthBytes: number, seed: number): Uint8Array {
  return testFrame(lengthBytes + ETH_BYTES, seed).subarray(ETH_BYTES);
}

/** An Ethernet frame with a UDP datagram in it, checksums right. */
export function udpFrame(payload: Uint8Array, header: InetHeader = {}): Uint8Array {
  const { frame, view, at } = ipv4(17, UDP_BYTES + payload.length, header);
  view.setUint16(at, header.sport ?? 1000);
  view.setUint16(at + 2, header.dport ?? 2000);
  view.setUint16(at + 4, UDP_BYTES + payload.length);
  frame.set(payload, at + UDP_BYTES);
  // 0 would say that there is none.
  view.setUint16(at + 6, transportChecksum(frame, view, 17) || 0xffff);
  return frame;
}

/** The same with a segment of TCP. */
export function tcpFrame(payload: Uint8Array, header: TcpHeader = {}): Uint8Array {
  const options = header.options ?? new Uint8Array(0);
  const headerBytes = TCP_BYTES + options.length;
  const { frame, view, at } = ipv4(6, headerBytes + payload.length, header);
  view.setUint16(at, header.sport ?? 1000);
  view.setUint16(at + 2, header.dport ?? 2000);
  view.setUint32(at + 4, header.seq ?? 1);
  view.setUint32(at + 8, header.ack ?? 1);
  frame[at + 12] = (headerBytes / 4) << 4;
  frame[at + 13] = header.flags ?? ACK;
  view.setUint16(at + 14, header.window ?? 500);
  frame.set(options, at + TCP_BYTES);
  frame.set(payload, at + headerBytes);
  view.setUint16(at + 16, transportChecksum(frame, view, 6));
  return frame;
}

function ipv4(protocol: number, bytes: number, header: InetHeader) {
  const frame = new Uint8Array(ETH_BYTES + IP_BYTES + bytes);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
  view.setUint16(16, IP_BYTES + bytes);
  view.setUint16(18, header.ipId ?? 1);
  view.setUint16(20, header.fragOff ?? DONT_FRAGMENT);
  frame[22] = header.ttl ?? 64;
  frame[23] = protocol;
  view.setUint32(26, header.saddr ?? 0x0a00_0001);
  view.setUint32(30, header.daddr ?? 0x0a00_0002);
  view.setUint16(24, internetChecksum(frame, ETH_BYTES, ETH_BYTES + IP_BYTES));
  return { frame, view, at: ETH_BYTES + IP_BYTES };
}

function transportChecksum(frame: Uint8Array, view: DataView, protocol: number): number {
  const at = ETH_BYTES + IP_BYTES;
  let pseudo = protocol + frame.length - at;
  for (let i = 26; i < at; i += 2) pseudo += view.getUint16(i);
  return internetChecksum(frame, at, frame.length, pseudo);
}

/** An IPv4 frame without options as the pieces that a device of this MTU carries, as a kernel cuts it up. @kernel ip_do_fragment (net/ipv4/ip_output.c) */
export function ipFragments(frame: Uint8Array, mtu: number = 1500): Uint8Array[] {
  const payload = frame.subarray(ETH_BYTES + IP_BYTES);
  if (IP_BYTES + payload.length <= mtu) return [frame];
  const most = (mtu - IP_BYTES) & ~7;
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < payload.length; offset += most) {
    const part = payload.subarray(offset, offset + most);
    const header = frame.slice(0, ETH_BYTES + IP_BYTES);
    const view = new DataView(header.buffer);
    view.setUint16(16, IP_BYTES + part.length);
    view.setUint16(20, (offset + most < payload.length ? MORE_FRAGMENTS : 0) | (offset / 8));
    view.setUint16(24, 0);
    view.setUint16(24, internetChecksum(header, ETH_BYTES));
    const piece = new Uint8Array(header.length + part.length);
    piece.set(header);
    piece.set(part, header.length);
    pieces.push(piece);
  }
  return pieces;
}
