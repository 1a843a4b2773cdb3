export { DmabufBinding } from "./binding.ts";
export { devmem } from "./devmem.ts";
export { DevmemSocket, MAX_DONTNEED_FRAGS, MAX_DONTNEED_TOKENS, type DevmemCmsg, type DmabufToken } from "./socket.ts";
