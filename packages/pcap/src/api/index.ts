export * from "./packet.ts";
