export * from "./driver.ts";
export * from "./nic.ts";
