import type { Kernel } from "@netmem/kernel/api";
import type { Mm } from "@netmem/mm/api";
import type { NetdeviceNotifiers, NetmemReturn, XdpStructs } from "@netmem/xdp/api";
import type { NetCore, SkbProbe } from "./api/index.ts";
import { DeferredFree } from "./defer.ts";
import { SkbEdits } from "./edit.ts";
import { SkbHeads } from "./heads.ts";
import { SkbLives } from "./lifetime.ts";
import { NapiLists } from "./napi.ts";
import { NetDevices } from "./net-devices.ts";
import { ReceivePath, createSockets } from "./receive.ts";
import { RecycleMarks } from "./recycle.ts";
import { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import { StructCache } from "./struct-cache.ts";

export interface NetCoreDeps {
  readonly kernel: Kernel;
  readonly mm: Pick<Mm, "pages" | "slab" | "payload">;
  readonly structs: XdpStructs;
  /** Told when a device goes. */
  readonly notifiers: NetdeviceNotifiers;
  /** The one port through which frags and heads find their owner. */
  readonly netmemReturn: NetmemReturn;
  readonly rules: NetCoreRules;
  /** Simulated nanoseconds a received packet costs its CPU; 0 to leave time alone. */
  readonly packetCostNs: number;
  readonly probe: SkbProbe | null;
}

export function createNetCore(deps: NetCoreDeps): NetCore {
  const { kernel, mm, netmemReturn, rules, structs } = deps;
  const cache = new StructCache();
  const release = new SkbRelease(cache, mm.pages, mm.slab, netmemReturn, rules, kernel.reports, deps.probe);
  const heads = new SkbHeads(mm.slab, rules.smallHeads);
  const deferred = new DeferredFree(kernel, rules.skbDeferMax);
  const lifetime = new SkbLives(cache, release, heads, kernel.context, deferred, rules);
  const devices = new NetDevices(structs, deps.notifiers, kernel.reports);
  return {
    lifetime,
    recycle: new RecycleMarks(netmemReturn),
    edit: new SkbEdits(cache, release, mm.pages, heads, mm.payload, rules, kernel.reports),
    napi: new NapiLists(kernel, structs, deferred, release, deps.packetCostNs),
    receive: new ReceivePath(lifetime),
    sockets: createSockets(lifetime),
    registerNetdev: (name, rxQueueCount) => devices.register(name, rxQueueCount),
    unregisterNetdev: (dev) => devices.unregister(dev),
    loopback: devices.loopback,
  };
}
