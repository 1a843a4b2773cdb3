import type { FrameSource, NicRxQueue } from "./api/index.ts";
import type { FrameHeaders } from "./frame-headers.ts";
import type { RxLine } from "./rx-line.ts";

/** A receive queue from inside the NIC. */
export interface FrameReceiver extends NicRxQueue {
  readonly line: RxLine;
  /** Bytes of the frame that go into a header buffer. */
  readonly headerPart: (headers: FrameHeaders, bytes: number) => number;
  /** Descriptors that a frame, of which `headerPart` bytes lie elsewhere, takes; 0: there is no room for it now. */
  readonly roomFor: (bytes: number, headerPart: number) => number;
  /** Whether a frame could be taken at all, if there were room. */
  readonly takesFrameOf: (bytes: number) => boolean;
  /** The caller has seen that there are descriptors enough. `flags`: further bits for the status of the first. */
  readonly receive: (source: FrameSource, bytes: number, descriptors: number, headerPart: number, flags: number) => void;
}
