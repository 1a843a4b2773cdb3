import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_TCP, IPPROTO_UDP, IP_HLEN, IP_MF, IP_OFFSET, TCP_HLEN, UDP_HLEN, csumAdd, csumPseudo, read16, read32 } from "@netmem/net-core/api";
import { ETH_HLEN, ETH_P_IP } from "@netmem/xdp/api";

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

  /** Of the frame that was parsed: both checksums, the second unless there is none. */
  checksumsHold(payload: Pick<PayloadMemory, "checksum">, region: PayloadRegion, start: number): boolean {
    const { protocol, transportOffset, endOffset } = this;
    if (protocol === 0 || payload.checksum(region, start + ETH_HLEN, transportOffset - ETH_HLEN) !== 0xffff) return false;
    const bytes = endOffset - transportOffset;
    if (protocol === IPPROTO_UDP && read16(region.bytes, start + transportOffset + 6) === 0) return false;
    return csumAdd(payload.checksum(region, start + transportOffset, bytes), csumPseudo(region.bytes, start + ETH_HLEN, protocol, bytes)) === 0xffff;
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
