export { mvneta } from "./mvneta.ts";
