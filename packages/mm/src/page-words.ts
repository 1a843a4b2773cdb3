import type { ReportSink } from "@netmem/kernel/api";
import { PAGE_VIEWS, UNION_WORDS, pageName, type Page, type PageWords } from "./api/index.ts";

/** A word's owner takes four bits of `page.claims`. */
const BITS = 4;

/** By view: the bits of its words, all set, and as they are while the view owns them. */
function packed(view: number, filler: number): number {
  let bits = 0;
  for (let word = 0; word < UNION_WORDS; word++) if (PAGE_VIEWS[view]!.words[word] !== "") bits |= filler << (BITS * word);
  return bits;
}

export class UnionWords implements PageWords {
  private readonly masks: number[] = [];
  private readonly values: number[] = [];
  private readonly reports: ReportSink;

  constructor(reports: ReportSink) {
    this.reports = reports;
    for (let view = 0; view < PAGE_VIEWS.length; view++) {
      this.masks.push(packed(view, 0xf));
      this.values.push(packed(view, view));
    }
  }

  claim(page: Page, view: number): boolean {
    const mask = this.masks[view]!;
    const value = this.values[view]!;
    const held = page.claims & mask;
    if (held !== 0 && !this.free(page, view)) return false;
    page.claims = (page.claims & ~mask) | value;
    return true;
  }

  release(page: Page, view: number): void {
    const mask = this.masks[view]!;
    if ((page.claims & mask) === this.values[view]!) {
      page.claims &= ~mask;
      return;
    }
    for (let word = 1; word <= UNION_WORDS; word++) {
      if (this.ownerOf(page, word) === view) page.claims &= ~(0xf << (BITS * (word - 1)));
    }
  }

  ownerOf(page: Page, word: number): number {
    return (page.claims >> (BITS * (word - 1))) & 0xf;
  }

  /** Whether each word of the view is free or its own; reports the first that is not. */
  private free(page: Page, view: number): boolean {
    const wanted = PAGE_VIEWS[view]!;
    for (let word = 1; word <= UNION_WORDS; word++) {
      const field = wanted.words[word - 1]!;
      const owner = this.ownerOf(page, word);
      if (field === "" || owner === 0 || owner === view) continue;
      const current = PAGE_VIEWS[owner]!;
      this.reports.report(
        "page-word-claim", "warn", pageName(page), current.name,
        `word ${word} is ${current.words[word - 1]} of ${current.name}, and ${wanted.name} would write ${field} over it`,
      );
      return false;
    }
    return true;
  }
}
