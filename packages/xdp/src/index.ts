export { XDP_DATES_6_18, type XdpDates } from "./rules.ts";
export { XDP_OPTIONS_6_18, createXdp, type XdpOptions } from "./xdp.ts";
