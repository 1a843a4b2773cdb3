export { xsk } from "./xsk.ts";
