import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_TCP, IPPROTO_UDP, IP_HLEN, IP_MF, IP_OFFSET, TCP_HLEN, UDP_HLEN, csumAdd, csumPseudo, ipFastCsum, read16, read32 } from "@netmem/net-core/api";
import { ETH_HLEN, ETH_P_IP } from "@netmem/xdp/api";

/** Source and destination, the last of an IP header without options. */
const ADDRESSES_BYTES = 8;

/** What a NIC sees of a frame: one instance, filled anew for each. Of anything but an unfragmented IPv4 packet of TCP or UDP, `protocol` is 0. */
export class FrameHeaders {
  protocol = 0;
  /** From the frame's start. */
  transportOffset = 0;
  payloadOffset = 0;
  /** Behind it there may be padding. */
  endOffset = 0;

  /** Of the `bytes` from `start` of the region on. */
  parse({ bytes: memory }: PayloadRegion, start: number, bytes: number): void {
    this.protocol = 0;
    if (bytes < ETH_HLEN + IP_HLEN || read16(memory, start + ETH_HLEN - 2) !== ETH_P_IP) return;
    const ip = start + ETH_HLEN;
    const headerBytes = (memory[ip]! & 0xf) * 4;
    const totalBytes = read16(memory, ip + 2);
    if (memory[ip]! >> 4 !== 4 || headerBytes < IP_HLEN || totalBytes < headerBytes || ETH_HLEN + totalBytes > bytes || (read16(memory, ip + 6) & (IP_MF | IP_OFFSET)) !== 0) return;
    const protocol = memory[ip + 9]!;
    const transport = ETH_HLEN + headerBytes;
    const end = ETH_HLEN + totalBytes;
    if (protocol === IPPROTO_TCP && transport + TCP_HLEN <= end) this.payloadOffset = transport + (memory[start + transport + 12]! >> 4) * 4;
    else if (protocol === IPPROTO_UDP && transport + UDP_HLEN <= end) this.payloadOffset = transport + UDP_HLEN;
    else return;
    if (this.payloadOffset < transport + UDP_HLEN || this.payloadOffset > end) return;
    this.protocol = protocol;
    this.transportOffset = transport;
    this.endOffset = end;
  }

  /** Of the frame that was parsed: both checksums are there, and right. */
  checksumsHold(payload: Pick<PayloadMemory, "checksum">, region: PayloadRegion, start: number): boolean {
    const { protocol, transportOffset } = this;
    if (protocol === 0) return false;
    const ip = start + ETH_HLEN;
    const transport = start + transportOffset;
    const bytes = this.endOffset - transportOffset;
    const { bytes: memory } = region;
    if (protocol === IPPROTO_UDP && memory[transport + 6] === 0 && memory[transport + 7] === 0) return false;
    if (transportOffset !== ETH_HLEN + IP_HLEN) return payload.checksum(region, ip, transport - ip) === 0xffff && csumAdd(payload.checksum(region, transport, bytes), csumPseudo(memory, ip, protocol, bytes)) === 0xffff;
    // Without options the addresses lie right in front of the transport, and are summed with it.
    return ((ip & 1) === 0 && region.words.length > 0 ? ipFastCsum(region.words, ip) : payload.checksum(region, ip, IP_HLEN)) === 0xffff && csumAdd(payload.checksum(region, transport - ADDRESSES_BYTES, ADDRESSES_BYTES + bytes), protocol + bytes) === 0xffff;
  }

  saddr({ bytes }: PayloadRegion, start: number): number {
    return read32(bytes, start + ETH_HLEN + 12);
  }

  daddr({ bytes }: PayloadRegion, start: number): number {
    return read32(bytes, start + ETH_HLEN + 16);
  }

  sport({ bytes }: PayloadRegion, start: number): number {
    return read16(bytes, start + this.transportOffset);
  }

  dport({ bytes }: PayloadRegion, start: number): number {
    return read16(bytes, start + this.transportOffset + 2);
  }
}
