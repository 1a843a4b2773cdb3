/** Packs all that we publish into `folder`, and serves it once it listens; what is not ours is the usual registry's. */
export class LocalRegistry {
  constructor(folder: string);
  /** Names of our packages. */
  readonly names: readonly string[];
  /** Its address, with a slash at the end. */
  listen(): Promise<string>;
  close(): void;
}
