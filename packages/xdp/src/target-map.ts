import type { RedirectMap, XdpSocket } from "./api/index.ts";
import type { CpuMapEntry } from "./cpumap-entry.ts";
import type { DevMapDst } from "./devmap.ts";

export type RedirectTarget = DevMapDst | CpuMapEntry | XdpSocket;

/** A map, as this layer's own code sees it. */
export interface TargetMap extends RedirectMap {
  readonly target: (key: number) => RedirectTarget | null;
}
