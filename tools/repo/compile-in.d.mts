/** Modules of a build, by path, each read once; and what each exports that is a number for good. */
export class Constants {
  constructor(read: (path: string) => string, resolveSpecifier: (from: string, specifier: string) => string | null);
  compiledIn(path: string): string;
}
