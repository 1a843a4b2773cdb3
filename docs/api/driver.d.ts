// api/driver.d.ts
import type { Kernel } from "@netmem/kernel/api";
import type { DmaDevice } from "@netmem/mm/api";
import type { NapiScheduler, NetCore, NetReceive, SkbEdit, SkbLifetime, SkbRecycle } from "@netmem/net-core/api";
import type { PagePools } from "@netmem/page-pool/api";
import type { NetDevice, XdpRxQueues, XdpStructs } from "@netmem/xdp/api";
import type { NicHardware, RxDescFormat } from "./nic.ts";
export interface DriverDeps {
    readonly kernel: Kernel;
    readonly dma: DmaDevice;
    readonly nic: NicHardware;
    readonly pagePools: PagePools;
    readonly xdpStructs: XdpStructs;
    readonly xdpRxqs: XdpRxQueues;
    readonly lifetime: SkbLifetime;
    readonly recycle: SkbRecycle;
    readonly edit: SkbEdit;
    readonly napi: NapiScheduler;
    readonly receive: NetReceive;
    readonly registerNetdev: NetCore["registerNetdev"];
}
export interface DriverOptions {
    readonly name: string;
    readonly rxRingSize: number;
    readonly cpu: number;
    readonly earlyDrop: boolean;
}
export interface NetInterface {
    readonly dev: NetDevice;
    readonly open: () => number;
    readonly stop: () => void;
}
export interface NetDriver {
    readonly name: string;
    readonly rxDescFormat: RxDescFormat;
    readonly maxFrameBytes: number;
    readonly probe: (deps: DriverDeps, options: DriverOptions) => NetInterface;
}

// api/index.d.ts
export * from "./driver.ts";
export * from "./nic.ts";

// api/nic.d.ts
import type { PayloadRegion } from "@netmem/mm/api";
export interface RxDescFormat {
    readonly sizeBytes: number;
    readonly statusWord: number;
    readonly sizeWord: number;
    readonly sizeShift: number;
    readonly addressWord: number;
    readonly firstBit: number;
    readonly lastBit: number;
    readonly errorBit: number;
    readonly prefixBytes: number;
    readonly fcsBytes: number;
}
export interface NicRxQueue {
    readonly configure: (ringDmaAddr: number, entries: number, bufferBytes: number) => void;
    readonly addNonOccupied: (n: number) => void;
    readonly occupied: () => number;
    readonly decOccupied: (n: number) => void;
    readonly enableIrq: () => void;
    readonly disableIrq: () => void;
    readonly start: () => void;
    readonly stop: () => void;
}
export interface NicStats {
    frames: number;
    bytes: number;
    overruns: number;
    faults: number;
}
export interface NicHardware {
    readonly name: string;
    readonly stats: NicStats;
    readonly rxQueues: readonly NicRxQueue[];
    readonly requestIrq: (queue: number, cpu: number, handler: () => void) => void;
    readonly freeIrq: (queue: number) => void;
}
export interface FrameSource {
    readonly region: PayloadRegion;
    readonly lossless: boolean;
    readonly peekBytes: () => number;
    readonly peekOffset: () => number;
    readonly advance: () => void;
}
export interface NicWire {
    readonly connect: (source: FrameSource) => void;
    readonly frameArrived: () => void;
}
export interface NicProbe {
    readonly received: (queue: number, bytes: number, descriptors: number) => void;
    readonly overrun: (queue: number, bytes: number) => void;
}

// index.d.ts
export { ModelledNic, type NicOptions } from "./nic.ts";

// nic.d.ts
import { type IrqLine, type Kernel } from "@netmem/kernel/api";
import type { DeviceBus } from "@netmem/mm/api";
import type { FrameSource, NicHardware, NicProbe, NicRxQueue, NicStats, NicWire, RxDescFormat } from "./api/index.ts";
export interface NicOptions {
    readonly name: string;
    readonly rxQueueCount: number;
    readonly rxDescFormat: RxDescFormat;
    readonly probe?: NicProbe | null;
}
export declare class ModelledNic implements NicHardware, NicWire {
    #private;
    readonly name: string;
    readonly stats: NicStats;
    readonly rxQueues: readonly RxQueue[];
    constructor(kernel: Kernel, bus: DeviceBus, options: NicOptions);
    requestIrq(queue: number, cpu: number, handler: () => void): void;
    freeIrq(queue: number): void;
    connect(source: FrameSource): void;
    frameArrived(): void;
}
declare class RxQueue implements NicRxQueue {
    #private;
    irq: IrqLine | null;
    constructor(kernel: Kernel, bus: DeviceBus, format: RxDescFormat, stats: NicStats, doorbell: () => void);
    configure(ringDmaAddr: number, entries: number, bufferBytes: number): void;
    addNonOccupied(n: number): void;
    occupied(): number;
    decOccupied(n: number): void;
    enableIrq(): void;
    disableIrq(): void;
    start(): void;
    stop(): void;
    free(): number;
    descriptorsFor(bytes: number): number;
    receive(source: FrameSource, bytes: number, descriptors: number): void;
}
export {};
