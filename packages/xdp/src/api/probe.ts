import type { MemModel } from "./mem-model.ts";
import type { NetDevice } from "./net-device.ts";
import type { XdpProg } from "./program.ts";
import type { XdpRxqInfo } from "./rxq.ts";

/** Tracepoints; the fields are the kernel's, in its order. @kernel include/trace/events/xdp.h */
export interface XdpProbe {
  /** A queue's memory model was registered under an id. */
  readonly memConnect: (memId: number, memType: number, allocator: MemModel, rxq: XdpRxqInfo, ifindex: number) => void;
  /** A model let go of its id. */
  readonly memDisconnect: (memId: number, memType: number, allocator: MemModel) => void;
  /** A packet is dropped because its program failed. */
  readonly xdpException: (prog: XdpProg, act: number, ifindex: number) => void;
  /** A packet was redirected, or, `err` below 0, was not. @kernel trace_xdp_redirect, trace_xdp_redirect_err */
  readonly xdpRedirect: (prog: XdpProg, ifindex: number, err: number, toIfindex: number, mapId: number, mapIndex: number) => void;
  /** A device's queue was sent; `drops` are those that its program dropped, or the device did not take. */
  readonly xdpDevmapXmit: (fromDev: NetDevice | null, toDev: NetDevice, sent: number, drops: number, err: number) => void;
  /** What a poll sends back was handed to its device; `drops` did not go. @kernel trace_xdp_bulk_tx */
  readonly xdpBulkTx: (dev: NetDevice, sent: number, drops: number, err: number) => void;
  /** A CPU's queue was flushed; `processed` counts `drops` in. */
  readonly xdpCpumapEnqueue: (mapId: number, processed: number, drops: number, toCpu: number) => void;
  /** A batch of a CPU's thread; `drops` for lack of memory. */
  readonly xdpCpumapKthread: (mapId: number, processed: number, drops: number, sched: number, pass: number, drop: number, redirect: number) => void;
}
