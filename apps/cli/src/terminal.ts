/** Where a command writes; tests put their own in. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Progress lines are for people. */
  readonly errIsTty: boolean;
  readonly color: boolean;
}

/** What a command is run with. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Paths are relative to it. */
  readonly cwd: string;
  readonly setExitCode: (code: number) => void;
}

/** Exit codes of every command. */
export const EXIT_OK = 0;
/** The model found a fault: a leak, a report, a mismatch. */
export const EXIT_FAULT = 1;
/** Bad usage, or input that cannot be read. */
export const EXIT_USAGE = 2;

/** Bad usage or input: one line that says what, where and what to do. */
export class CliError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CliError";
  }
}
