import type { SpareBacking } from "@netmem/mm";
import type { PayloadBacking } from "@netmem/mm/api";

/** What one case's machine has for memory, of that which all cases share, one after the other. */
export class CaseMemory {
  readonly #spare: SpareBacking;
  #taken: PayloadBacking | null = null;

  constructor(spare: SpareBacking) {
    this.#spare = spare;
  }

  take(sizeBytes: number): PayloadBacking {
    this.#taken = this.#spare.take(sizeBytes);
    return this.#taken;
  }

  /** The case is over, however it ended: nobody looks at its machine any more. */
  giveBack(): void {
    if (this.#taken !== null) this.#spare.put(this.#taken);
    this.#taken = null;
  }
}
