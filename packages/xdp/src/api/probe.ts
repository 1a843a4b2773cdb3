import type { MemModel } from "./mem-model.ts";
import type { XdpRxqInfo } from "./rxq.ts";

/** Tracepoints; the fields are the kernel's, in its order. @kernel include/trace/events/xdp.h */
export interface XdpProbe {
  /** A queue's memory model was registered under an id. */
  readonly memConnect: (memId: number, memType: number, allocator: MemModel, rxq: XdpRxqInfo, ifindex: number) => void;
  /** A model let go of its id. */
  readonly memDisconnect: (memId: number, memType: number, allocator: MemModel) => void;
}
