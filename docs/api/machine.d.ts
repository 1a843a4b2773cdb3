// index.d.ts
export { createMachine } from "./boot.ts";
export { Machine, type Device, type DeviceOptions, type MachineParts } from "./machine.ts";
export { resolvePreset, type MachineOptions } from "./options.ts";
export { DEFAULT_PRESET, PRESETS, PRESET_NAMES, RETURN_PATHS, SHARED_RELEASES, type Preset, type PresetName } from "./presets.ts";
export { FREE_ORDERS, Reader, USER_BUFFER_BYTES, type FreeOrder, type ReaderOptions } from "./traffic/reader.ts";
export { Wire, wireBytes, type WireFrame, type WireTiming } from "./traffic/wire.ts";

// boot.d.ts
import { Machine } from "./machine.ts";
import { type MachineOptions } from "./options.ts";
export declare function createMachine(options?: MachineOptions): Machine;

// machine.d.ts
import { type Kernel } from "@netmem/kernel/api";
import type { Mm } from "@netmem/mm/api";
import type { DmaDevice } from "@netmem/mm/api";
import type { NetCore } from "@netmem/net-core/api";
import type { PagePools } from "@netmem/page-pool/api";
import type { Xdp } from "@netmem/xdp/api";
import { ModelledNic } from "@netmem/driver";
import type { DriverOptions, NetDriver, NetInterface } from "@netmem/driver/api";
import type { Preset } from "./presets.ts";
import type { MachineProbes } from "./tracing.ts";
export interface MachineParts {
    readonly preset: Preset;
    readonly kernel: Kernel;
    readonly mm: Mm;
    readonly xdp: Xdp;
    readonly pagePools: PagePools;
    readonly net: NetCore;
    readonly probes: MachineProbes | null;
}
export interface DeviceOptions extends Partial<DriverOptions> {
    readonly nonCoherent?: boolean;
    readonly aperturePages?: number;
}
export interface Device {
    readonly nic: ModelledNic;
    readonly dma: DmaDevice;
    readonly netif: NetInterface;
}
export declare class Machine {
    #private;
    readonly preset: Preset;
    readonly kernel: Kernel;
    readonly mm: Mm;
    readonly xdp: Xdp;
    readonly pagePools: PagePools;
    readonly net: NetCore;
    readonly devices: Device[];
    constructor(parts: MachineParts);
    attach(driver: NetDriver, options?: DeviceOptions): Device;
    shutdown(graceNs?: number): void;
}

// options.d.ts
import { type ReportMode } from "@netmem/kernel/api";
import type { PayloadBacking } from "@netmem/mm/api";
import type { SharedRelease } from "@netmem/page-pool";
import type { ReturnPathName } from "@netmem/xdp/api";
import { type Preset, type PresetName } from "./presets.ts";
export interface MachineOptions {
    readonly preset?: PresetName;
    readonly returnPath?: ReturnPathName;
    readonly sharedRelease?: SharedRelease;
    readonly nrCpus?: number;
    readonly seed?: number;
    readonly nrPages?: number;
    readonly extraBytes?: number;
    readonly backing?: PayloadBacking;
    readonly reports?: ReportMode;
    readonly traceEntries?: number;
    readonly packetCostNs?: number;
}
export declare function resolvePreset(options: Pick<MachineOptions, "preset" | "returnPath" | "sharedRelease">): Preset;

// presets.d.ts
import type { ReturnPathName } from "@netmem/xdp/api";
import type { SharedRelease } from "@netmem/page-pool";
export interface Preset {
    readonly returnPath: ReturnPathName;
    readonly sharedRelease: SharedRelease;
    readonly recyclesSkbPages: boolean;
    readonly signature: "v3" | "exact" | "masked";
    readonly stampsOwnerAtMark: boolean;
    readonly releaseClearsRecycle: boolean;
    readonly defersFrees: boolean;
    readonly napiLocal: boolean;
    readonly checksPoolSignature: boolean;
    readonly mutesVisibleStalls: boolean;
    readonly framesFollowPointer: boolean;
    readonly tracksDma: boolean;
    readonly clampsRing: boolean;
}
export type PresetName = "stock" | "v3-2021" | "5.14" | "6.18";
export declare const PRESETS: Readonly<Record<PresetName, Preset>>;
export declare const PRESET_NAMES: readonly PresetName[];
export declare const DEFAULT_PRESET: PresetName;
export declare const RETURN_PATHS: readonly ReturnPathName[];
export declare const SHARED_RELEASES: readonly SharedRelease[];

// traffic/reader.d.ts
import { type Kernel } from "@netmem/kernel/api";
import { type PayloadRegion } from "@netmem/mm/api";
import { type NetCore } from "@netmem/net-core/api";
export type FreeOrder = "original" | "clone" | "alternate";
export declare const FREE_ORDERS: readonly FreeOrder[];
export declare const USER_BUFFER_BYTES = 1048576;
export interface ReaderOptions {
    readonly cpu: number;
    readonly lag: number;
    readonly tap: boolean;
    readonly expand: boolean;
    readonly freeOrder: FreeOrder;
    readonly onBytes: (bytes: Uint8Array) => void;
}
export declare class Reader {
    #private;
    packets: number;
    bytes: number;
    expandFailures: number;
    constructor(kernel: Kernel, net: NetCore, user: PayloadRegion, options: ReaderOptions);
    waiting(): number;
    drain(): void;
    close(): void;
}

// traffic/wire.d.ts
import { type Kernel } from "@netmem/kernel/api";
import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import type { FrameSource, NicWire } from "@netmem/driver/api";
export interface WireFrame {
    readonly bytes: Uint8Array;
    readonly offset: number;
    readonly lengthBytes: number;
    readonly arrivalNs: number;
}
export type WireTiming = "back-to-back" | "capture";
export declare function wireBytes(frames: readonly WireFrame[]): number;
export declare class Wire implements FrameSource {
    #private;
    readonly region: PayloadRegion;
    readonly lossless: boolean;
    constructor(kernel: Kernel, payload: PayloadMemory, frames: readonly WireFrame[], timing: WireTiming);
    connect(nic: NicWire): void;
    sent(): number;
    finished(): boolean;
    peekBytes(): number;
    peekOffset(): number;
    advance(): void;
}
