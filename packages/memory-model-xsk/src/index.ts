export { XskUser, type XskBuffers } from "./user.ts";
export { xsk } from "./xsk.ts";
