/**
 * Misuse of our API: a bad option, an unknown model, a call in the wrong order. Thrown at once, never on the packet
 * path. The message names the package that speaks, the option and the value it was given.
 */
export class UsageError extends Error {
  readonly package: string;
  readonly option: string;
  readonly value: unknown;

  constructor(speaker: string, option: string, value: unknown, whatToDo: string) {
    super(`@netmem/${speaker}: ${option} = ${String(value)}: ${whatToDo}`);
    this.name = "UsageError";
    this.package = speaker;
    this.option = option;
    this.value = value;
  }
}

/**
 * The machine has stopped: a BUG, or any report while the sink is in `panic` mode.
 * @kernel panic (kernel/panic.c)
 */
export class KernelPanic extends Error {
  readonly kind: string;

  constructor(kind: string, message: string) {
    super(`kernel panic: ${kind}: ${message}`);
    this.name = "KernelPanic";
    this.kind = kind;
  }
}
