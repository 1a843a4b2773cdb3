import { runCli } from "../src/program.ts";

export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line in this process. */
export async function cli(args: readonly string[], cwd: string): Promise<CliResult> {
  let out = "";
  let err = "";
  const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text), errIsTty: false, color: false };
  const code = await runCli(args, terminal, cwd);
  return { code, out, err };
}
