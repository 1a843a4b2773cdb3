import { testFrame } from "../../frames.ts";
import { tcpFrame, testPayload, udpFrame } from "../../inet-frames.ts";

/** Ethernet, IPv4 and UDP or TCP headers. */
const UDP_HEADERS = 42;
const TCP_HEADERS = 54;
const FLOWS = 17;

/** A frame, and a number for all of its bytes. */
export interface MadeFrame {
  readonly bytes: Uint8Array;
  readonly key: number;
}

/** Frames of no protocol, UDP of several flows, and TCP, no two alike; each is made once, for all cases. */
export class FrameMaker {
  readonly #made: Map<number, Map<number, MadeFrame>> = new Map<number, Map<number, MadeFrame>>();

  /** The `serial`-th of this length. Nobody may change it. */
  frame(serial: number, lengthBytes: number): MadeFrame {
    let ofLength = this.#made.get(lengthBytes);
    if (ofLength === undefined) {
      ofLength = new Map<number, MadeFrame>();
      this.#made.set(lengthBytes, ofLength);
    }
    let made = ofLength.get(serial);
    if (made === undefined) {
      const bytes = frameOf(serial, lengthBytes);
      made = { bytes, key: frameKey(bytes) };
      ofLength.set(serial, made);
    }
    return made;
  }
}

function frameOf(serial: number, lengthBytes: number): Uint8Array {
  if (serial % 3 === 0 || lengthBytes < TCP_HEADERS + 6) return testFrame(lengthBytes, serial + 1);
  if (serial % 3 === 1) return udpFrame(testPayload(lengthBytes - UDP_HEADERS, serial + 1), { sport: 1000 + (serial % FLOWS), dport: 9 });
  return tcpFrame(testPayload(lengthBytes - TCP_HEADERS, serial + 1), { sport: 2000 + (serial % FLOWS), seq: serial + 1 });
}

/** FNV-1a. */
export function frameKey(bytes: Uint8Array): number {
  let key = 0x811c_9dc5;
  for (let i = 0; i < bytes.length; i++) key = Math.imul(key ^ bytes[i]!, 0x0100_0193);
  return key;
}
