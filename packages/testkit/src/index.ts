export { pcapFile, type PacketToWrite } from "./captures.ts";
export { conservationFaults } from "./conservation.ts";
export { testFrame } from "./frames.ts";
export { internetChecksum, ipFragments, tcpFrame, testPayload, udpFrame, type InetHeader, type TcpHeader } from "./inet-frames.ts";
export { AreaProvider, type AreaProviderOptions } from "./provider.ts";
