import type { CpuMap, DevMap, XdpProg, XdpProgram } from "@netmem/xdp/api";

/** What a program's module exports, for `netmem replay --xdp`. */
export interface XdpModule {
  readonly default: XdpProgram;
  /** It can take packets in several buffers; default false. */
  readonly frags?: boolean;
  /** Called once before the packets of each run, in an instance of the module that is this run's alone. Not awaited. */
  readonly setup?: (environment: XdpEnvironment) => void;
}

/** What `setup` is given. A map or a program that this kernel refuses throws, with the errno. */
export interface XdpEnvironment {
  /** Of the device that receives, and of a second one that packets may be redirected to. */
  readonly ifindex: { readonly eth0: number; readonly eth1: number };
  readonly cpus: number;
  readonly maps: {
    /** 1 to 2^24 entries. */
    readonly createDevMap: (maxEntries: number) => DevMap;
    readonly createDevMapHash: (maxEntries: number) => DevMap;
    /** At most as many entries as there are CPUs. */
    readonly createCpuMap: (maxEntries: number) => CpuMap;
  };
  /** A program for an entry of a map. `frags` as the module's. */
  readonly bpfProgLoad: (name: string, run: XdpProgram, frags?: boolean) => XdpProg;
}
