// Sends TCP out of a second device through a devmap, and every other packet to CPU 1.
import type { XdpEnvironment } from "@netmem/cli/xdp";
import { XDP_PASS, type CpuMap, type DevMap, type XdpMd } from "@netmem/xdp/api";

const TCP = 6;
let devices: DevMap;
let cpus: CpuMap;

export const frags = true;

/** Called once before the packets of a run. */
export function setup({ maps, ifindex }: XdpEnvironment): void {
  devices = maps.createDevMap(4);
  devices.mapUpdateElem(0, ifindex.eth1, null, 0);
  cpus = maps.createCpuMap(2);
  cpus.mapUpdateElem(1, 512, null, 0);
}

export default function program(ctx: XdpMd): number {
  const isTcp = ctx.linearBytes >= 34 && ctx.getUint16(12) === 0x0800 && ctx.getUint8(23) === TCP;
  return isTcp ? ctx.redirectMap(devices, 0, XDP_PASS) : ctx.redirectMap(cpus, 1, XDP_PASS);
}
