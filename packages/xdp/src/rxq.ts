import { EFAULT, EINVAL, ENODEV, EOPNOTSUPP, type ReportSink } from "@netmem/kernel/api";
import {
  REG_STATE_REGISTERED, REG_STATE_UNREGISTERED, REG_STATE_UNUSED, type XdpRxqInfo,
  type MemInfo, type MemModel, type MemRegistry, type NetDevice, type XdpProbe, type XdpRxQueues,
} from "./api/index.ts";

export class RxQueueRegistration implements XdpRxQueues {
  readonly #registry: MemRegistry;
  readonly #reports: ReportSink;
  readonly #probe: XdpProbe | null;

  constructor(registry: MemRegistry, reports: ReportSink, probe: XdpProbe | null) {
    this.#registry = registry;
    this.#reports = reports;
    this.#probe = probe;
  }

  xdpRxqInfoReg(rxq: XdpRxqInfo, dev: NetDevice | null, queueIndex: number): number {
    return this.xdpRxqInfoRegFrags(rxq, dev, queueIndex, 0);
  }

  xdpRxqInfoRegFrags(rxq: XdpRxqInfo, dev: NetDevice | null, queueIndex: number, fragSize: number): number {
    if (dev === null) {
      this.#warn(rxq, `registered without a device, queue ${queueIndex}`);
      return -ENODEV;
    }
    if (rxq.regState === REG_STATE_UNUSED) {
      this.#warn(rxq, "driver promised not to register this");
      return -EINVAL;
    }
    if (rxq.regState === REG_STATE_REGISTERED) {
      this.#warn(rxq, "missing unregister, handled but fix driver");
      this.xdpRxqInfoUnreg(rxq);
    }
    rxq.dev = dev;
    rxq.queueIndex = queueIndex;
    rxq.fragSize = fragSize;
    rxq.mem.type = 0;
    rxq.mem.id = 0;
    rxq.regState = REG_STATE_REGISTERED;
    return 0;
  }

  xdpRxqInfoUnreg(rxq: XdpRxqInfo): void {
    if (rxq.regState === REG_STATE_UNUSED) return;
    this.xdpRxqInfoUnregMemModel(rxq);
    rxq.regState = REG_STATE_UNREGISTERED;
    rxq.dev = null;
  }

  xdpRxqInfoUnused(rxq: XdpRxqInfo): void {
    rxq.regState = REG_STATE_UNUSED;
  }

  xdpRxqInfoRegMemModel(rxq: XdpRxqInfo, type: number, model: MemModel | null): number {
    if (rxq.regState !== REG_STATE_REGISTERED) {
      this.#warn(rxq, "missing register, driver bug");
      return -EFAULT;
    }
    if (rxq.mem.id !== 0 && model !== null) this.#warn(rxq, `a second memory model registered over mem id ${rxq.mem.id}, which will never be given back`);
    const errno = this.xdpRegMemModel(rxq.mem, type, model);
    if (errno === 0 && model !== null && this.#probe !== null) this.#probe.memConnect(rxq.mem.id, type, model, rxq, rxq.dev!.ifindex);
    return errno;
  }

  xdpRegMemModel(mem: MemInfo, type: number, model: MemModel | null): number {
    const id = this.#registry.registerMemModel(type, model);
    if (id === -EOPNOTSUPP) return id;
    mem.type = type;
    if (id > 0) mem.id = id;
    return Math.min(id, 0);
  }

  xdpUnregMemModel(mem: MemInfo): void {
    mem.type = 0;
    this.#registry.unregisterMemModel(mem);
  }

  xdpRxqInfoUnregMemModel(rxq: XdpRxqInfo): void {
    if (rxq.regState !== REG_STATE_REGISTERED) {
      this.#warn(rxq, "missing register, driver bug");
      return;
    }
    this.xdpUnregMemModel(rxq.mem);
  }

  xdpRxqInfoAttachMemModel(rxq: XdpRxqInfo, mem: MemInfo): void {
    if (rxq.mem.id !== 0) this.#warn(rxq, `mem id ${mem.id} attached over ${rxq.mem.id}: detach it first`);
    rxq.mem.type = mem.type;
    rxq.mem.id = mem.id;
  }

  xdpRxqInfoDetachMemModel(rxq: XdpRxqInfo): void {
    rxq.mem.type = 0;
    rxq.mem.id = 0;
  }

  #warn(rxq: XdpRxqInfo, message: string): void {
    this.#reports.report("xdp-rxq", "warn", `rx queue ${rxq.queueIndex}`, rxq.dev === null ? "no device" : rxq.dev.name, message);
  }
}
