import { type Random, UsageError } from "./api/index.ts";

/** L'Ecuyer's four-component Tausworthe generator, seeded the way the kernel seeds it: by a linear congruence. */
class Tausworthe implements Random {
  #s1: number;
  #s2: number;
  #s3: number;
  #s4: number;

  constructor(seed: number) {
    // Each component must start at or above the number of bits it discards: 2, 8, 16 and 128.
    let x = seed >>> 0;
    const next = (minimum: number): number => {
      x = Math.imul(x ^ (x >>> 15), 69069) >>> 0;
      return x < minimum ? x + minimum : x;
    };
    this.#s1 = next(2);
    this.#s2 = next(8);
    this.#s3 = next(16);
    this.#s4 = next(128);
    for (let i = 0; i < 10; i++) this.u32();
  }

  u32(): number {
    this.#s1 = ((this.#s1 & 0xfffffffe) << 18) ^ (((this.#s1 << 6) ^ this.#s1) >>> 13);
    this.#s2 = ((this.#s2 & 0xfffffff8) << 2) ^ (((this.#s2 << 2) ^ this.#s2) >>> 27);
    this.#s3 = ((this.#s3 & 0xfffffff0) << 7) ^ (((this.#s3 << 13) ^ this.#s3) >>> 21);
    this.#s4 = ((this.#s4 & 0xffffff80) << 13) ^ (((this.#s4 << 3) ^ this.#s4) >>> 12);
    return (this.#s1 ^ this.#s2 ^ this.#s3 ^ this.#s4) >>> 0;
  }

  below(bound: number): number {
    // Scaling instead of a remainder: no bias worth naming for the small bounds a scheduler asks for.
    return Math.floor((this.u32() / 0x1_0000_0000) * bound);
  }
}

export function createRandom(seed: number): Random {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new UsageError("kernel", "seed", seed, "give a whole number from 0 to 4294967295");
  }
  return new Tausworthe(seed + 0x9e3779b9);
}
