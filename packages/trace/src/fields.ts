/** What stands behind `name=` up to the next blank or comma; null: there is no such field. `name` ends in `=`. */
export function fieldOf(text: string, name: string): string | null {
  let at = text.indexOf(name);
  // Not the end of a longer name.
  while (at > 0 && text.charCodeAt(at - 1) !== 32) at = text.indexOf(name, at + 1);
  if (at < 0) return null;
  const from = at + name.length;
  let to = from;
  for (; to < text.length; to++) {
    const code = text.charCodeAt(to);
    if (code === 32 || code === 44) break;
  }
  return text.slice(from, to);
}

/** A counter, 0 … 2^32 − 1; null: it is not there, or no such number. */
export function counterOf(text: string, name: string): number | null {
  return parseCounter(fieldOf(text, name));
}

export function parseCounter(value: string | null): number | null {
  if (value === null || !/^\d{1,10}$/.test(value)) return null;
  const number = Number(value);
  return number <= 0xffffffff ? number : null;
}

/** A signed number of 32 bits. */
export function signedOf(text: string, name: string): number | null {
  const value = fieldOf(text, name);
  if (value === null || !/^-?\d{1,10}$/.test(value)) return null;
  const number = Number(value);
  return number === (number | 0) ? number : null;
}

export function hexOf(text: string, name: string): number | null {
  const value = fieldOf(text, name);
  return value === null ? null : parseHex(value);
}

/** The lowest 52 bits; null: it is no hexadecimal number. */
export function parseHex(value: string): number | null {
  const digits = value.startsWith("0x") ? value.slice(2) : value;
  return /^[0-9a-fA-F]{1,16}$/.test(digits) ? Number.parseInt(digits.slice(-13), 16) : null;
}

/** An address as we write it: 16 digits; null: it is none. What a kernel prints early after boot stays as it is. */
export function addressOf(text: string, name: string): string | null {
  const value = fieldOf(text, name);
  return value === null ? null : parseAddress(value);
}

export const UNKNOWN_ADDRESS = "(____ptrval____)";

export function parseAddress(value: string): string | null {
  if (value === UNKNOWN_ADDRESS) return value;
  const digits = value.startsWith("0x") ? value.slice(2) : value;
  return /^[0-9a-fA-F]{1,16}$/.test(digits) ? digits.toLowerCase().padStart(16, "0") : null;
}

/** Strings that live longer than the text they were cut from, each kept once: a piece of a text keeps all of it. */
export class Interned {
  readonly #known = new Map<string, string>();

  /** `text`, in memory of its own. */
  of(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    // Beyond what any machine has, a file full of nonsense.
    if (this.#known.size >= MOST_INTERNED) this.#known.clear();
    // A task may call itself anything, and names are shown on terminals.
    const own = Buffer.from(text.replaceAll(/\p{Cc}/gu, "\ufffd"), "utf8").toString("utf8");
    this.#known.set(own, own);
    return own;
  }
}

const MOST_INTERNED = 65_536;
