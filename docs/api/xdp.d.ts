// api/buff.d.ts
import type { Netmem } from "@netmem/mm/api";
import type { XdpRxqInfo } from "./rxq.ts";
export declare const XDP_PACKET_HEADROOM = 256;
export declare const MAX_SKB_FRAGS = 17;
export declare const XDP_FLAGS_HAS_FRAGS: number;
export declare const XDP_FLAGS_FRAGS_PF_MEMALLOC: number;
export declare class NetmemFrag {
    private readonly nominal;
    netmem: Netmem | null;
    offset: number;
    sizeBytes: number;
    constructor();
}
export declare function createNetmemFrags(): NetmemFrag[];
export declare class XdpBuff {
    private readonly nominal;
    readonly rxq: XdpRxqInfo;
    head: Netmem | null;
    data: number;
    dataEnd: number;
    frameSz: number;
    flags: number;
    nrFrags: number;
    readonly frags: NetmemFrag[];
    xdpFragsSize: number;
    constructor(rxq: XdpRxqInfo, frameSz: number);
}
export declare class XdpFrame {
    private readonly nominal;
    head: Netmem | null;
    data: number;
    len: number;
    memType: number;
    memId: number;
    nrFrags: number;
    readonly frags: NetmemFrag[];
    constructor();
}

// api/index.d.ts
export * from "./buff.ts";
export * from "./mem-info.ts";
export * from "./mem-model.ts";
export * from "./net-device.ts";
export * from "./return.ts";
export * from "./rxq.ts";
export * from "./structs.ts";
export * from "./xdp.ts";

// api/mem-info.d.ts
export declare const MEM_TYPE_PAGE_SHARED = 0;
export declare const MEM_TYPE_PAGE_ORDER0 = 1;
export declare const MEM_TYPE_PAGE_POOL = 2;
export declare const MEM_TYPE_XSK_BUFF_POOL = 3;
export declare const MEM_TYPE_MAX = 4;
export declare const MEM_ID_MIN = 1;
export declare const MEM_ID_MAX = 65534;
export declare class MemInfo {
    private readonly nominal;
    type: number;
    id: number;
    constructor();
}

// api/mem-model.d.ts
import type { Netmem, NetmemOwner } from "@netmem/mm/api";
export interface MemModel extends NetmemOwner {
    readonly returnNetmem: (netmem: Netmem, napiDirect: boolean) => void;
    readonly releaseNetmem: (netmem: Netmem) => void;
    readonly useXdpMem: (memId: number, disconnect: () => void) => void;
    readonly unuseXdpMem: () => void;
}

// api/net-device.d.ts
import type { XdpRxqInfo } from "./rxq.ts";
export declare const NAPI_POLL_WEIGHT = 64;
export declare const NAPIF_STATE_SCHED: number;
export declare const NAPIF_STATE_MISSED: number;
export declare const NAPIF_STATE_DISABLE: number;
export interface NapiPoller {
    readonly poll: (napi: NapiStruct, budget: number) => number;
}
export declare class NapiStruct {
    private readonly nominal;
    readonly dev: NetDevice;
    readonly poller: NapiPoller;
    readonly weight: number;
    state: number;
    listOwner: number;
    constructor(dev: NetDevice, poller: NapiPoller, weight: number);
}
export declare class NetdevRxQueue {
    private readonly nominal;
    readonly dev: NetDevice;
    readonly index: number;
    readonly xdpRxq: XdpRxqInfo;
    napi: NapiStruct | null;
    constructor(dev: NetDevice, index: number, xdpRxq: XdpRxqInfo);
}
export declare class NetDevice {
    private readonly nominal;
    readonly name: string;
    readonly ifindex: number;
    readonly rxQueues: NetdevRxQueue[];
    up: boolean;
    rxPackets: number;
    rxBytes: number;
    rxDropped: number;
    rxOverErrors: number;
    constructor(name: string, ifindex: number);
}

// api/return.d.ts
import type { Netmem } from "@netmem/mm/api";
import type { XdpBuff, XdpFrame } from "./buff.ts";
import type { MemInfo } from "./mem-info.ts";
import type { MemModel } from "./mem-model.ts";
export type ReturnPathName = "mem-info" | "pool-pointer" | "skb-mem-info";
export interface NetmemReturn {
    readonly storeMemInfo: (netmem: Netmem, mem: MemInfo) => boolean;
    readonly tryReturn: (netmem: Netmem, napiSafe: boolean) => boolean;
    readonly enterSkb: (memType: number, memId: number) => void;
    readonly needsSkb: boolean;
}
export interface MemRegistryStats {
    lookups: number;
}
export interface MemRegistry {
    readonly stats: MemRegistryStats;
    readonly registerMemType: (type: number, model: MemModel | null) => void;
    readonly registerMemModel: (type: number, model: MemModel | null) => number;
    readonly unregisterMemModel: (mem: MemInfo) => void;
    readonly lookup: (type: number, id: number) => MemModel | null;
}
export interface XdpReturn {
    readonly xdpReturnFrame: (frame: XdpFrame) => void;
    readonly xdpReturnFrameRxNapi: (frame: XdpFrame) => void;
    readonly xdpReturnBuff: (buff: XdpBuff) => void;
    readonly xdpReturnNetmem: (netmem: Netmem, memType: number, memId: number, napiDirect: boolean) => void;
    readonly xdpConvertBuffToFrame: (buff: XdpBuff, frame: XdpFrame) => void;
}

// api/rxq.d.ts
import { MemInfo } from "./mem-info.ts";
import type { MemModel } from "./mem-model.ts";
import type { NetDevice } from "./net-device.ts";
export declare const REG_STATE_NEW = 0;
export declare const REG_STATE_REGISTERED = 1;
export declare const REG_STATE_UNREGISTERED = 2;
export declare const REG_STATE_UNUSED = 3;
export declare class XdpRxqInfo {
    private readonly nominal;
    readonly mem: MemInfo;
    dev: NetDevice | null;
    queueIndex: number;
    regState: number;
    fragSize: number;
    constructor();
}
export interface XdpRxQueues {
    readonly xdpRxqInfoReg: (rxq: XdpRxqInfo, dev: NetDevice | null, queueIndex: number) => number;
    readonly xdpRxqInfoUnreg: (rxq: XdpRxqInfo) => void;
    readonly xdpRxqInfoUnused: (rxq: XdpRxqInfo) => void;
    readonly xdpRxqInfoRegMemModel: (rxq: XdpRxqInfo, type: number, model: MemModel | null) => number;
    readonly xdpRxqInfoUnregMemModel: (rxq: XdpRxqInfo) => void;
}

// api/structs.d.ts
import type { XdpBuff, XdpFrame } from "./buff.ts";
import type { NapiPoller, NapiStruct, NetDevice } from "./net-device.ts";
import type { XdpRxqInfo } from "./rxq.ts";
export interface XdpStructs {
    readonly createNetDevice: (name: string, ifindex: number, rxQueueCount: number) => NetDevice;
    readonly createNapi: (dev: NetDevice, poller: NapiPoller, weight: number) => NapiStruct;
    readonly createXdpBuff: (rxq: XdpRxqInfo, frameSzBytes: number) => XdpBuff;
    readonly createXdpFrame: () => XdpFrame;
}

// api/xdp.d.ts
import type { MemRegistry, NetmemReturn, XdpReturn } from "./return.ts";
import type { XdpRxQueues } from "./rxq.ts";
import type { XdpStructs } from "./structs.ts";
export interface Xdp {
    readonly structs: XdpStructs;
    readonly rxqs: XdpRxQueues;
    readonly registry: MemRegistry;
    readonly netmemReturn: NetmemReturn;
    readonly xdpReturn: XdpReturn;
}

// index.d.ts
export { createXdp, type XdpOptions } from "./xdp.ts";

// xdp.d.ts
import type { Kernel } from "@netmem/kernel/api";
import type { PageAllocator } from "@netmem/mm/api";
import { type ReturnPathName, type Xdp } from "./api/index.ts";
export interface XdpOptions {
    readonly returnPath: ReturnPathName;
    readonly recyclesSkbPages: boolean;
    readonly signature: "v3" | "exact" | "masked";
    readonly stampsOwnerAtMark: boolean;
    readonly framesFollowPointer: boolean;
}
export declare function createXdp(kernel: Pick<Kernel, "reports">, pages: PageAllocator, options: XdpOptions): Xdp;
