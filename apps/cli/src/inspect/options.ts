import type { PresetName } from "@netmem/machine";
import type { SharedRelease } from "@netmem/page-pool/api";
import type { ReturnPathName } from "@netmem/xdp/api";

/** The machine a packet is received on. */
export interface DesignOptions {
  readonly design: PresetName;
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  readonly readerCpu: number;
}
