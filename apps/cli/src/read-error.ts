/** Why a file cannot be read, in words. */
export function readError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ENOENT": return "no such file";
    case "EACCES": case "EPERM": return "no permission to read it";
    case "EISDIR": return "a folder, not a capture; name the files in it";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}
