// index.d.ts
export { pcapFile, type PacketToWrite } from "./captures.ts";
export { conservationFaults } from "./conservation.ts";
export { testFrame } from "./frames.ts";
export { AreaProvider } from "./provider.ts";

// captures.d.ts
export interface PacketToWrite {
    readonly bytes: Uint8Array;
    readonly timeNs?: number;
    readonly wireBytes?: number;
}
export declare function pcapFile(packets: readonly PacketToWrite[], linkType?: number): Uint8Array;

// conservation.d.ts
import type { Machine } from "@netmem/machine";
import type { PagePool } from "@netmem/page-pool/api";
export declare function conservationFaults(machine: Machine, pools: readonly PagePool[]): string[];

// frames.d.ts
export declare function testFrame(lengthBytes: number, seed: number): Uint8Array;

// provider.d.ts
import type { NetIov, NetIovArea, Netmem } from "@netmem/mm/api";
import type { MemoryProvider, PagePool } from "@netmem/page-pool/api";
export declare class AreaProvider implements MemoryProvider {
    readonly free: NetIov[];
    users: number;
    constructor(area: NetIovArea);
    init(_pool: PagePool): number;
    allocNetmem(_pool: PagePool, _gfp: number): Netmem | null;
    releaseNetmem(_pool: PagePool, netmem: Netmem): boolean;
    destroy(_pool: PagePool): void;
}
