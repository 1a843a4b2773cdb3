export { ModelledNic, type NicOptions } from "./nic.ts";
