import type { PayloadRegion } from "./api/index.ts";

/** Longest run whose sum of halves of words stays below 2^30. */
const RUN_BYTES = 1 << 15;

/**
 * Sum of the 16-bit words as they lie, folded to 16 bits: the order of bytes does not matter to a one's complement sum, but for one swap at the end.
 * @kernel do_csum (lib/checksum.c)
 */
export function portableSum({ bytes, words }: PayloadRegion, offset: number, lengthBytes: number): number {
  const end = offset + lengthBytes;
  let at = offset;
  let sum = 0;
  if ((offset & 3) === 0 && words.length > 0) {
    const lastWord = end >> 2;
    for (let word = offset >> 2; word < lastWord;) {
      const stop = Math.min(lastWord, word + (RUN_BYTES >> 2));
      let low = 0;
      let high = 0;
      for (; word < stop; word++) {
        const value = words[word]!;
        low += value & 0xffff;
        high += value >>> 16;
      }
      sum = fold(sum + fold(low + high));
    }
    at = lastWord << 2;
  }
  for (; at + 1 < end;) {
    const stop = Math.min(end - 1, at + RUN_BYTES);
    let run = 0;
    for (; at < stop; at += 2) run += bytes[at]! | (bytes[at + 1]! << 8);
    sum = fold(sum + fold(run));
  }
  return at < end ? fold(sum + bytes[at]!) : sum;
}

/** To 16 bits, of less than 2^31. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** From the order of a little-endian machine to the network's. */
export function swapped(sum: number): number {
  return ((sum & 0xff) << 8) | (sum >> 8);
}
