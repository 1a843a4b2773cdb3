/** Modules of a build, by path, each read once; and what each exports that is a number, or a function, for good. */
export class CompiledIn {
  constructor(read: (path: string) => string, resolveSpecifier: (from: string, specifier: string) => string | null);
  of(path: string): string;
}
