import type { XdpBuff, XdpBuffs, XdpFrame, XdpProg, XdpPrograms, XdpStructs, NetDevice } from "./api/index.ts";
import { XdpRxqInfo } from "./api/index.ts";

/**
 * A program that looks at a frame on its way: for a devmap, or for a cpumap. The frame is a packet again while it does.
 * @kernel dev_map_bpf_prog_run (kernel/bpf/devmap.c), cpu_map_bpf_prog_run_xdp (kernel/bpf/cpumap.c)
 */
export class ProgramOnFrame {
  readonly buff: XdpBuff;
  private readonly rxq: XdpRxqInfo;
  private readonly buffs: XdpBuffs;
  private readonly programs: XdpPrograms;

  constructor(structs: XdpStructs, buffs: XdpBuffs, programs: XdpPrograms) {
    this.rxq = new XdpRxqInfo();
    this.buff = structs.createXdpBuff(this.rxq);
    this.buffs = buffs;
    this.programs = programs;
  }

  /**
   * The verdict; what the program moved is in `buff` alone until `update`, except that fragments it gave up are the frame's no more. The memory is that of the frame: the
   * kernel's devmap leaves its type 0 here, and would free a fragment as no pool's.
   */
  run(frame: XdpFrame, devRx: NetDevice | null, txDev: NetDevice | null, prog: XdpProg): number {
    const { buff, rxq } = this;
    rxq.dev = devRx;
    rxq.mem.type = frame.memType;
    rxq.mem.id = frame.memId;
    this.buffs.xdpConvertFrameToBuff(frame, buff);
    buff.txDev = txDev;
    const act = this.programs.bpfProgRunXdp(prog, buff);
    frame.nrFrags = buff.nrFrags;
    return act;
  }

  warnInvalid(prog: XdpProg, act: number): void {
    this.programs.bpfWarnInvalidXdpAction(null, prog, act);
  }

  /** 0, or -ENOSPC when the program left no room for a frame: it then stays as it was. */
  update(frame: XdpFrame): number {
    return this.buffs.xdpUpdateFrameFromBuff(this.buff, frame);
  }
}
