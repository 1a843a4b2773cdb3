import { ringSizeIsIn, type NetDriver } from "@netmem/driver/api";
import { UsageError } from "@netmem/kernel/api";
import { MAX_FRAME_BYTES, RING_LIMITS, RX_DESC, TX_DESC } from "./hardware.ts";
import { EthernetInterface } from "./interface.ts";

export const driver: NetDriver = {
  name: "my-driver",
  mostRxQueues: 1,
  rxDescFormat: RX_DESC,
  txDescFormat: TX_DESC,
  maxFrameBytes: MAX_FRAME_BYTES,
  probe: (deps, options) => {
    if (!ringSizeIsIn(RING_LIMITS, options.rxRingSize)) throw new UsageError("my-driver", "rxRingSize", options.rxRingSize, `give ${RING_LIMITS.least} to ${RING_LIMITS.most} descriptors`);
    return new EthernetInterface(deps, options);
  },
};
