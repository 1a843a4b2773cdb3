export { mvpp2 } from "./mvpp2.ts";
