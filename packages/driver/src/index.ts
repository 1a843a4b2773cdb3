export { ModelledNic, type NicOptions } from "./nic.ts";
export { traceNic, type NicAccess } from "./traced-nic.ts";
export { tapWire, type WireTap } from "./wire-tap.ts";
export { createTxRings, type TxRingParts } from "./tx-ring.ts";
