import { CliError } from "./terminal.ts";

/** What is read once is gone. */
export function checkStdin(paths: readonly string[]): void {
  if (paths.filter((path) => path === "-").length > 1) throw new CliError("-: standard input is named twice, and can be read once; put one of them into a file");
}

/** Why a file cannot be read, in words. */
export function readError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ENOENT": return "no such file";
    case "EACCES": case "EPERM": return "no permission to read it";
    case "EISDIR": return "a folder, not a capture; name the files in it";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}
