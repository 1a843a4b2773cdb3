import type { Netmem } from "@netmem/mm/api";
import type { MemInfo, NetmemReturn } from "@netmem/xdp/api";
import type { SkBuff, SkbRecycle } from "./api/index.ts";

export class RecycleMarks implements SkbRecycle {
  private readonly netmemReturn: NetmemReturn;

  constructor(netmemReturn: NetmemReturn) {
    this.netmemReturn = netmemReturn;
  }

  skbMarkForRecycle(skb: SkBuff, netmem: Netmem, mem: MemInfo): void {
    const info = skb.shinfo!;
    info.memType = mem.type;
    info.memId = mem.id;
    skb.ppRecycle = this.netmemReturn.storeMemInfo(netmem, mem);
  }

  storeMemInfo(netmem: Netmem, mem: MemInfo): void {
    this.netmemReturn.storeMemInfo(netmem, mem);
  }
}
