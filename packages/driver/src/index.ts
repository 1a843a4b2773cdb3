export { ModelledNic, type NicOptions } from "./nic.ts";
export { createTxRings, type TxRingParts } from "./tx-ring.ts";
