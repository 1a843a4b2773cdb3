export { ZcrxIfq } from "./ifq.ts";
export { ZcrxReceive, type ZcrxCqe } from "./recv.ts";
export { zcrx } from "./zcrx.ts";
