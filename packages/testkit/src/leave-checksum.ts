import { IPPROTO_TCP, IPPROTO_UDP, IP_HLEN, IP_MF, IP_OFFSET, TCP_CHECK_AT, UDP_CHECK_AT, read16, skbLeaveChecksum, skbRegion, type SkBuff } from "@netmem/net-core/api";
import { ETH_HLEN } from "@netmem/xdp/api";

/**
 * `skbLeaveChecksum` as a local socket does whose device has `hwCsum`. The packet begins with its MAC header, and has an IPv4 header without options in its linear bytes; pieces of datagrams and other protocols
 * stay as they are. The skb stays the caller's. @kernel ip_make_skb (net/ipv4/ip_output.c)
 */
export function leaveChecksum(skb: SkBuff): void {
  const { bytes } = skbRegion(skb);
  const ip = skb.data + ETH_HLEN;
  const protocol = bytes[ip + 9]!;
  if ((read16(bytes, ip + 6) & (IP_MF | IP_OFFSET)) !== 0 || (protocol !== IPPROTO_UDP && protocol !== IPPROTO_TCP)) return;
  skb.networkHeader = ip;
  skb.transportHeader = ip + IP_HLEN;
  skbLeaveChecksum(skb, protocol, skb.len - ETH_HLEN - IP_HLEN, protocol === IPPROTO_UDP ? UDP_CHECK_AT : TCP_CHECK_AT);
}
