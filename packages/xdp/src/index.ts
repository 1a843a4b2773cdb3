export { createXdp, type XdpOptions } from "./xdp.ts";
