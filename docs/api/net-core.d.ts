// api/drop-reason.d.ts
export declare const SKB_NOT_DROPPED_YET = 0;
export declare const SKB_CONSUMED = 1;
export declare const SKB_DROP_REASON_NOT_SPECIFIED = 2;
export declare const SKB_DROP_REASON_NO_SOCKET = 3;
export declare const SKB_DROP_REASON_SOCKET_CLOSE = 4;
export declare const SKB_DROP_REASON_SOCKET_RCVBUFF = 5;
export declare const SKB_DROP_REASON_UNHANDLED_PROTO = 6;
export declare const SKB_DROP_REASON_NOMEM = 7;
export declare const SKB_DROP_REASON_NAMES: readonly string[];

// api/edit.d.ts
import type { Netmem, PayloadRegion } from "@netmem/mm/api";
import type { SkBuff } from "./skbuff.ts";
export interface SkbEdit {
    readonly skbReserve: (skb: SkBuff, bytes: number) => void;
    readonly skbPut: (skb: SkBuff, bytes: number) => void;
    readonly skbPull: (skb: SkBuff, bytes: number) => boolean;
    readonly skbAddRxFrag: (skb: SkBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number) => void;
    readonly ethTypeTrans: (skb: SkBuff) => number;
    readonly pskbExpandHead: (skb: SkBuff, nhead: number, ntail: number, gfp: number) => number;
    readonly skbHeaderRelease: (skb: SkBuff) => void;
    readonly skbCopyBits: (skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number) => number;
}

// api/index.d.ts
export * from "./drop-reason.ts";
export * from "./edit.ts";
export * from "./lifetime.ts";
export * from "./napi.ts";
export * from "./net-core.ts";
export * from "./receive.ts";
export * from "./skbuff.ts";

// api/lifetime.d.ts
import type { Netmem, Page, SlabObject } from "@netmem/mm/api";
import type { MemInfo } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";
export interface SkbStats {
    live: number;
    allocs: number;
    clones: number;
}
export interface SkbLifetime {
    readonly stats: SkbStats;
    readonly napiBuildSkb: (page: Page, fragSizeBytes: number) => SkBuff | null;
    readonly slabBuildSkb: (object: SlabObject) => SkBuff | null;
    readonly allocSkb: (sizeBytes: number, gfp: number) => SkBuff | null;
    readonly skbClone: (skb: SkBuff, gfp: number) => SkBuff | null;
    readonly skbGet: (skb: SkBuff) => SkBuff;
    readonly skbShareCheck: (skb: SkBuff, gfp: number) => SkBuff | null;
    readonly kfreeSkb: (skb: SkBuff, reason: number) => void;
    readonly consumeSkb: (skb: SkBuff) => void;
    readonly napiConsumeSkb: (skb: SkBuff, budget: number) => void;
    readonly skbAttemptDeferFree: (skb: SkBuff) => void;
}
export interface SkbRecycle {
    readonly skbMarkForRecycle: (skb: SkBuff, netmem: Netmem, mem: MemInfo) => void;
    readonly storeMemInfo: (netmem: Netmem, mem: MemInfo) => void;
}

// api/napi.d.ts
import type { NapiPoller, NapiStruct, NetDevice } from "@netmem/xdp/api";
export declare const NETDEV_BUDGET = 300;
export interface NapiStats {
    polls: number;
    timeSqueeze: number;
}
export interface NapiScheduler {
    readonly stats: NapiStats;
    readonly netifNapiAdd: (dev: NetDevice, poller: NapiPoller, weight: number) => NapiStruct;
    readonly napiEnable: (napi: NapiStruct) => void;
    readonly napiDisable: (napi: NapiStruct) => void;
    readonly napiSchedule: (napi: NapiStruct) => void;
    readonly napiCompleteDone: (napi: NapiStruct, work: number) => boolean;
}

// api/net-core.d.ts
import type { NetDevice } from "@netmem/xdp/api";
import type { SkbEdit } from "./edit.ts";
import type { SkbLifetime, SkbRecycle } from "./lifetime.ts";
import type { NapiScheduler } from "./napi.ts";
import type { NetReceive, Sockets } from "./receive.ts";
import type { SkBuff } from "./skbuff.ts";
export interface SkbProbe {
    readonly freed: (skb: SkBuff, reason: number) => void;
}
export interface NetCore {
    readonly lifetime: SkbLifetime;
    readonly recycle: SkbRecycle;
    readonly edit: SkbEdit;
    readonly napi: NapiScheduler;
    readonly receive: NetReceive;
    readonly sockets: Sockets;
    readonly registerNetdev: (name: string, rxQueueCount: number) => NetDevice;
}

// api/receive.d.ts
import type { NapiStruct } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";
export interface PacketHandler {
    readonly packetRcv: (skb: SkBuff) => void;
}
export interface NetReceive {
    readonly napiGroReceive: (napi: NapiStruct, skb: SkBuff) => void;
    readonly netifReceiveSkb: (skb: SkBuff) => void;
    readonly addTap: (handler: PacketHandler) => void;
    readonly removeTap: (handler: PacketHandler) => void;
    readonly setProtocol: (handler: PacketHandler | null) => void;
}
export interface ReceiveSocket extends PacketHandler {
    readonly name: string;
    readonly length: () => number;
    readonly rmemAlloc: () => number;
    readonly drops: () => number;
    readonly dequeue: () => SkBuff | null;
    readonly close: () => void;
}
export interface SocketOptions {
    readonly name: string;
    readonly rcvbufBytes?: number;
    readonly dataReady?: () => void;
}
export interface Sockets {
    readonly open: (options: SocketOptions) => ReceiveSocket;
    readonly openTap: (options: SocketOptions) => ReceiveSocket;
}

// api/skbuff.d.ts
import type { Page, PayloadRegion, SlabObject } from "@netmem/mm/api";
import { type NetDevice, type NetmemFrag } from "@netmem/xdp/api";
export declare const SKB_STRUCT_BYTES = 256;
export declare const SKB_SHARED_INFO_BYTES = 320;
export declare const NET_SKB_PAD = 64;
export declare const ETH_HLEN = 14;
export declare const ETH_FCS_LEN = 4;
export declare function skbDataAlign(bytes: number): number;
export declare function skbTruesize(bytes: number): number;
export declare const SKB_DATAREF_SHIFT = 16;
export declare const SKB_DATAREF_MASK = 65535;
export declare class SkbSharedInfo {
    private readonly nominal;
    nrFrags: number;
    readonly frags: NetmemFrag[];
    fragList: SkBuff | null;
    dataref: number;
    constructor();
}
export declare class SkBuff {
    private readonly nominal;
    next: SkBuff | null;
    users: number;
    region: PayloadRegion | null;
    head: number;
    data: number;
    tail: number;
    end: number;
    len: number;
    dataLen: number;
    truesize: number;
    shinfo: SkbSharedInfo | null;
    headPage: Page | null;
    headSlab: SlabObject | null;
    headFrag: boolean;
    cloned: boolean;
    nohdr: boolean;
    ppRecycle: boolean;
    pfmemalloc: boolean;
    unreadable: boolean;
    allocCpu: number;
    macHeader: number;
    protocol: number;
    dev: NetDevice | null;
    memType: number;
    memId: number;
    tstampNs: number;
    free: boolean;
    constructor();
}
export declare function skbHeadlen(skb: SkBuff): number;
export declare function skbHeadroom(skb: SkBuff): number;
export declare function skbTailroom(skb: SkBuff): number;
export declare function skbCloned(skb: SkBuff): boolean;
export declare function skbShared(skb: SkBuff): boolean;
export declare function skbHeaderCloned(skb: SkBuff): boolean;

// index.d.ts
export { createNetCore, type NetCoreDeps } from "./net-core.ts";
export type { NetCoreRules } from "./rules.ts";

// net-core.d.ts
import type { Kernel } from "@netmem/kernel/api";
import type { Mm } from "@netmem/mm/api";
import type { NetmemReturn, XdpStructs } from "@netmem/xdp/api";
import type { NetCore, SkbProbe } from "./api/index.ts";
import type { NetCoreRules } from "./rules.ts";
export interface NetCoreDeps {
    readonly kernel: Kernel;
    readonly mm: Pick<Mm, "pages" | "slab" | "payload">;
    readonly structs: XdpStructs;
    readonly netmemReturn: NetmemReturn;
    readonly rules: NetCoreRules;
    readonly packetCostNs: number;
    readonly probe: SkbProbe | null;
}
export declare function createNetCore(deps: NetCoreDeps): NetCore;

// rules.d.ts
export interface NetCoreRules {
    readonly releaseClearsRecycle: boolean;
    readonly expandKeepsRecycle: boolean;
    readonly defersFrees: boolean;
    readonly skbDeferMax: number;
}
