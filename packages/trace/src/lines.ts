import { StringDecoder } from "node:string_decoder";

/** No line of any format is longer; what is, is given up up to its end. */
const MAX_LINE_CHARS: number = 1 << 20;

export interface LineTaker {
  readonly line: (text: string) => void;
  /** A line that is longer than any, of which nothing is kept. */
  readonly overlong: () => void;
}

/** Cuts bytes into lines, in bounded memory whatever comes. */
export class LineSplitter {
  readonly #taker: LineTaker;
  readonly #decoder = new StringDecoder("utf8");
  #carry = "";
  #skipping = false;

  constructor(taker: LineTaker) {
    this.#taker = taker;
  }

  /** Every line that ends within. `bytes` stays the caller's. */
  push(bytes: Uint8Array): void {
    this.#take(this.#decoder.write(bytes));
  }

  /** The last line, if it has no end. */
  end(): void {
    this.#take(this.#decoder.end());
    if (this.#carry !== "") this.#emit(this.#carry);
    this.#carry = "";
    this.#skipping = false;
  }

  #take(text: string): void {
    let from = 0;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", from)) {
      const piece = text.slice(from, at);
      from = at + 1;
      if (this.#skipping) this.#skipping = false;
      else this.#emit(this.#carry === "" ? piece : this.#carry + piece);
      this.#carry = "";
    }
    if (this.#skipping || from === text.length) return;
    this.#carry += text.slice(from);
    if (this.#carry.length <= MAX_LINE_CHARS) return;
    this.#carry = "";
    this.#skipping = true;
    this.#taker.overlong();
  }

  #emit(line: string): void {
    this.#taker.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
}
