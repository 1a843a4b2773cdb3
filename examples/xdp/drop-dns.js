// Drops DNS (here on port 5353), sends pings back, and lets everything else pass. Offsets are bytes from the Ethernet header on.
import { XDP_DROP, XDP_PASS, XDP_TX } from "@netmem/xdp/api";

const ETH_P_IP = 0x0800;
const ICMP = 1;
const UDP = 17;
const DNS_PORTS = [53, 5353];

/** Packets in several buffers are welcome: headers lie in the first. */
export const frags = true;

/** @param {import("@netmem/xdp/api").XdpMd} ctx */
export default function program(ctx) {
  if (ctx.linearBytes < 34 || ctx.getUint16(12) !== ETH_P_IP) return XDP_PASS;
  const protocol = ctx.getUint8(23);
  const transport = 14 + (ctx.getUint8(14) & 0x0f) * 4;
  if (protocol === UDP && ctx.linearBytes >= transport + 4) {
    const isDns = DNS_PORTS.includes(ctx.getUint16(transport)) || DNS_PORTS.includes(ctx.getUint16(transport + 2));
    return isDns ? XDP_DROP : XDP_PASS;
  }
  if (protocol !== ICMP) return XDP_PASS;
  for (let i = 0; i < 6; i++) {
    const other = ctx.getUint8(i);
    ctx.setUint8(i, ctx.getUint8(i + 6));
    ctx.setUint8(i + 6, other);
  }
  return XDP_TX;
}
