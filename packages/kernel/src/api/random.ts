/** Seeded randomness; the only source of it in a machine. */
export interface Random {
  /** Uniform in 0 … 2^32 − 1. @kernel prandom_u32_state (lib/random32.c) */
  readonly u32: () => number;
  /** Uniform in 0 … bound − 1; `bound` 1 … 2^31. */
  readonly below: (bound: number) => number;
}
