import { MemInfo } from "./mem-info.ts";
import type { MemModel } from "./mem-model.ts";
import type { NetDevice } from "./net-device.ts";

/** @kernel REG_STATE_* (include/net/xdp.h) */
export const REG_STATE_NEW = 0;
export const REG_STATE_REGISTERED = 1;
export const REG_STATE_UNREGISTERED = 2;
export const REG_STATE_UNUSED = 3;

/** What XDP knows of a receive queue. @kernel struct xdp_rxq_info (include/net/xdp.h) */
export class XdpRxqInfo {
  declare private readonly nominal: "XdpRxqInfo";
  readonly mem: MemInfo;
  dev: NetDevice | null;
  queueIndex: number;
  regState: number;
  /** Bytes from one buffer's start to the next; 0 while unknown. */
  fragSize: number;

  constructor() {
    this.mem = new MemInfo();
    this.dev = null;
    this.queueIndex = 0;
    this.regState = REG_STATE_NEW;
    this.fragSize = 0;
  }
}

/** Registration of receive queues and of the memory behind them. Process context. */
export interface XdpRxQueues {
  /**
   * 0, -ENODEV without a device, -EINVAL for a queue marked unused; both with a report. Registering twice is a
   * report, and registers anew. @kernel xdp_rxq_info_reg (include/net/xdp.h)
   */
  readonly xdpRxqInfoReg: (rxq: XdpRxqInfo, dev: NetDevice | null, queueIndex: number) => number;
  /** The same for a queue whose buffers lie `fragSize` bytes apart, so that a fragment may grow. @kernel __xdp_rxq_info_reg */
  readonly xdpRxqInfoRegFrags: (rxq: XdpRxqInfo, dev: NetDevice | null, queueIndex: number, fragSize: number) => number;
  /** UNUSED: nothing; else the memory model is unregistered too. @kernel xdp_rxq_info_unreg */
  readonly xdpRxqInfoUnreg: (rxq: XdpRxqInfo) => void;
  /** This driver will not use the queue for XDP. @kernel xdp_rxq_info_unused */
  readonly xdpRxqInfoUnused: (rxq: XdpRxqInfo) => void;
  /**
   * 0, or -EFAULT (queue not registered, with a report), -EOPNOTSUPP (a type nobody knows), -EINVAL (page_pool
   * without a pool), -ENOSPC (ids used up). -EFAULT and -EOPNOTSUPP leave `rxq.mem.type` as it was, the others set it. Without a model the id stays too.
   * @kernel xdp_rxq_info_reg_mem_model (net/core/xdp.c)
   */
  readonly xdpRxqInfoRegMemModel: (rxq: XdpRxqInfo, type: number, model: MemModel | null) => number;
  /** Type and id of a pool that is registered already, by `registry`; no reference of it. Report `xdp-rxq` if another model is attached. @kernel xdp_rxq_info_attach_page_pool (include/net/xdp.h) */
  readonly xdpRxqInfoAttachMemModel: (rxq: XdpRxqInfo, mem: MemInfo) => void;
  /** Forgets them; before the pool is unregistered. @kernel xdp_rxq_info_detach_mem_model */
  readonly xdpRxqInfoDetachMemModel: (rxq: XdpRxqInfo) => void;
  /** @kernel xdp_rxq_info_unreg_mem_model */
  readonly xdpRxqInfoUnregMemModel: (rxq: XdpRxqInfo) => void;
  /**
   * Memory that no queue is registered for: of several pools of one queue each is known under a `mem` of its own. Sets type and id; 0, or -EOPNOTSUPP, -EINVAL, -ENOSPC as above. Keeps a reference of the model.
   * @kernel xdp_reg_mem_model (net/core/xdp.c)
   */
  readonly xdpRegMemModel: (mem: MemInfo, type: number, model: MemModel | null) => number;
  /** Gives the id up, and the reference. @kernel xdp_unreg_mem_model */
  readonly xdpUnregMemModel: (mem: MemInfo) => void;
}
