import { SpareBacking } from "@netmem/mm";
import { FrameMaker } from "./frame-maker.ts";

/** What cases have in common, one after the other. */
export class CaseSupplies {
  readonly frames: FrameMaker = new FrameMaker();
  readonly memory: SpareBacking = new SpareBacking();
}
