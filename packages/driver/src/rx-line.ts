import type { IrqLine, Kernel } from "@netmem/kernel/api";
import type { FaultGate } from "@netmem/mm/api";

/** More than any one buffer has room for. */
const EXCESS_BYTES = 20_000;

/** What goes wrong on demand. */
export interface RxFaults {
  /** The line is not raised. */
  readonly interrupt: FaultGate;
  /** A frame completes with the error bit, and without its bytes. */
  readonly frameError: FaultGate;
  /** A frame's descriptor says that it is longer than it is, and than its buffers are. */
  readonly frameLength: FaultGate;
}

/** The interrupt of a receive queue, and what goes wrong with that. */
export class RxLine {
  irq: IrqLine | null = null;
  enabled = false;
  private readonly kernel: Kernel;
  private readonly faults: RxFaults;

  constructor(kernel: Kernel, faults: RxFaults) {
    this.kernel = kernel;
    this.faults = faults;
  }

  /** If the driver wants to be told. */
  raise(): void {
    if (this.enabled === false) return;
    const { interrupt } = this.faults;
    if (interrupt.armed && interrupt.shouldFail(0, 0)) return;
    if (this.irq !== null) this.kernel.irqs.raise(this.irq);
  }

  /** Bytes that the descriptor says beside those that there are. */
  excessBytes(bytes: number): number {
    const { frameLength } = this.faults;
    return frameLength.armed === true && frameLength.shouldFail(0, bytes) ? EXCESS_BYTES : 0;
  }

  frameArrivesBad(bytes: number): boolean {
    const { frameError } = this.faults;
    return frameError.armed === true && frameError.shouldFail(0, bytes);
  }
}
