import type { Machine } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import type { NetDevice, XdpFrame } from "@netmem/xdp/api";

/** Of these bytes, in a page of no pool; received by `dev`. */
export function plainFrame({ xdp, mm }: Machine, dev: NetDevice, bytes: Uint8Array): XdpFrame {
  const rxq = xdp.structs.createXdpRxqInfo();
  rxq.dev = dev;
  const buff = xdp.structs.createXdpBuff(rxq);
  xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
  const page = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  page.region.bytes.set(bytes, page.base + 256);
  xdp.buffs.xdpPrepareBuff(buff, page, 0, 256, bytes.length, true);
  const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
  frame.devRx = dev;
  return frame;
}
