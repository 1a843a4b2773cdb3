import type { RedirectStats } from "./api/index.ts";

/** Counted where it happens. */
export class RedirectCounts implements RedirectStats {
  readonly errors: Map<number, number>;
  copies: number;
  devmapDrops: number;
  cpumapDrops: number;

  constructor() {
    this.errors = new Map();
    this.copies = 0;
    this.devmapDrops = 0;
    this.cpumapDrops = 0;
  }

  failed(errno: number): void {
    this.errors.set(errno, (this.errors.get(errno) ?? 0) + 1);
  }
}
