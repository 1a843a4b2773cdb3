import { EINVAL, KernelPanic, UsageError, reasonOf, type ReportSink } from "@netmem/kernel/api";
import { XDP_ABORTED, XDP_REDIRECT, XdpProg, xdpProgRunName, type NetDevice, type XdpBuff, type XdpProbe, type XdpProgram, type XdpPrograms } from "./api/index.ts";
import type { ProgramContext } from "./xdp-md.ts";

/** @kernel kernel/bpf/syscall.c, include/net/xdp.h */
export class Programs implements XdpPrograms {
  private readonly ctx: ProgramContext;
  private readonly reports: ReportSink;
  private readonly probe: XdpProbe | null;
  private readonly hasMultiBuffer: boolean;
  private lastId: number;

  constructor(ctx: ProgramContext, reports: ReportSink, probe: XdpProbe | null, hasMultiBuffer: boolean) {
    this.ctx = ctx;
    this.reports = reports;
    this.probe = probe;
    this.hasMultiBuffer = hasMultiBuffer;
    this.lastId = 0;
  }

  bpfProgLoad(name: string, run: XdpProgram, hasFrags: boolean): XdpProg | number {
    if (typeof run !== "function") throw new UsageError("xdp", `program ${name}`, run, "give a function of the packet");
    if (hasFrags && !this.hasMultiBuffer) return -EINVAL;
    return new XdpProg(++this.lastId, name, run, hasFrags);
  }

  bpfProgRunXdp(prog: XdpProg, buff: XdpBuff): number {
    prog.runCnt++;
    const { region } = buff.head!;
    if (!region.cpuReadable) return this.fault(prog, "unreadable-access", "the packet lies in memory that the CPU cannot read");
    const { ctx } = this;
    ctx.enter(buff, region);
    let act: number;
    try {
      act = prog.run(ctx);
    } catch (error) {
      ctx.leave();
      // The machine has stopped: that is no fault of the program's.
      if (error instanceof KernelPanic) throw error;
      return this.fault(prog, "xdp-program-fault", `threw ${reasonOf(error)}`);
    }
    ctx.leave();
    if (typeof act === "number" && ((act | 0) === act || (Number.isInteger(act) && act >= 0 && act <= 0xffff_ffff))) return act;
    return this.fault(prog, "xdp-program-fault", `answered ${reasonOf(act)}, which is no verdict`);
  }

  bpfWarnInvalidXdpAction(dev: NetDevice | null, prog: XdpProg, act: number): void {
    this.reports.report("xdp-invalid-action", "warn", xdpProgRunName(prog), dev?.name ?? "no device", `${act > XDP_REDIRECT || act < 0 ? "illegal" : "driver unsupported"} XDP return value ${act}: expect packet loss`);
  }

  xdpException(dev: NetDevice, prog: XdpProg, act: number): void {
    if (this.probe !== null) this.probe.xdpException(prog, act, dev.ifindex);
  }

  xdpBulkTx(dev: NetDevice, sent: number, drops: number, err: number): void {
    if (this.probe !== null) this.probe.xdpBulkTx(dev, sent, drops, err);
  }

  /** What an exception thrown by BPF code comes to, with 0 as its cookie. @kernel bpf_throw (kernel/bpf/helpers.c) */
  private fault(prog: XdpProg, kind: string, reason: string): number {
    prog.faults++;
    this.reports.report(kind, "warn", xdpProgRunName(prog), prog.name, reason);
    return XDP_ABORTED;
  }
}
