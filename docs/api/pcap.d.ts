// api/index.d.ts
export * from "./packet.ts";

// api/packet.d.ts
export declare const LINKTYPE_ETHERNET = 1;
export interface CapturedPacket {
    readonly recordOffset: number;
    readonly dataOffset: number;
    readonly capturedBytes: number;
    readonly wireBytes: number;
    readonly timeSeconds: number;
    readonly timeNanoseconds: number;
    readonly linkType: number;
}
export interface Capture {
    readonly path: string;
    readonly format: "pcap" | "pcapng";
    readonly bytes: Uint8Array;
    readonly packets: readonly CapturedPacket[];
    readonly linkTypes: readonly number[];
    readonly snapped: number;
    readonly cutOff: {
        readonly recordOffset: number;
        readonly missingBytes: number;
    } | null;
}
export declare class CaptureError extends Error {
    readonly path: string;
    readonly byteOffset: number;
    constructor(path: string, byteOffset: number, message: string);
}
export declare function linkTypeName(linkType: number): string;

// index.d.ts
export { readCapture } from "./capture.ts";

// capture.d.ts
import { type Capture } from "./api/index.ts";
export declare function readCapture(path: string, bytes: Uint8Array): Capture;
