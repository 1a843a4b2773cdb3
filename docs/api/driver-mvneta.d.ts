// index.d.ts
export { mvneta } from "./mvneta.ts";

// mvneta.d.ts
import type { NetDriver } from "@netmem/driver/api";
export declare const mvneta: NetDriver;
