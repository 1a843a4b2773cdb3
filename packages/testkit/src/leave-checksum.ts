import { IPPROTO_TCP, IPPROTO_UDP, IP_HLEN, IP_MF, IP_OFFSET, TCP_CHECK_AT, UDP_CHECK_AT, csumPseudo, read16, skbPartialCsumSet, skbRegion, write16, type SkBuff } from "@netmem/net-core/api";
import { ETH_HLEN } from "@netmem/xdp/api";

/**
 * Leaves the checksum of a packet to whoever sends it, as a socket does whose device has `hwCsum`: `CHECKSUM_PARTIAL`. The packet begins with its MAC header, and has an IPv4 header without options in its
 * linear bytes; pieces of datagrams and other protocols stay as they are. The skb stays the caller's. @kernel udp4_hwcsum (net/ipv4/udp.c), __tcp_v4_send_check (net/ipv4/tcp_ipv4.c)
 */
export function leaveChecksum(skb: SkBuff): void {
  const { bytes } = skbRegion(skb);
  const ip = skb.data + ETH_HLEN;
  const protocol = bytes[ip + 9]!;
  if ((read16(bytes, ip + 6) & (IP_MF | IP_OFFSET)) !== 0 || (protocol !== IPPROTO_UDP && protocol !== IPPROTO_TCP)) return;
  const transport = ip + IP_HLEN;
  const checkAt = protocol === IPPROTO_UDP ? UDP_CHECK_AT : TCP_CHECK_AT;
  write16(bytes, transport + checkAt, csumPseudo(bytes, ip, protocol, skb.len - ETH_HLEN - IP_HLEN));
  skbPartialCsumSet(skb, transport, checkAt);
}
