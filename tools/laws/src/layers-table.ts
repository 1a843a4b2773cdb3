/** Where the table stands, in the tree. */
export const LAYERS_PAGE = "docs/layers.md";

/** What a package may import: the packages of its row; every `/api`; or anything, implementations too. */
export type LayerRule = readonly string[] | "every header" | "anything";

/** The table of `docs/layers.md`, the only place where the edges between layers are written down. */
export class LayersTable {
  readonly #rows: ReadonlyMap<string, LayerRule>;

  constructor(page: string) {
    const rows = new Map<string, LayerRule>();
    let inTable = false;
    for (const line of page.split("\n")) {
      const cells = line.startsWith("|") ? line.split("|").slice(1, -1).map((cell) => cell.trim()) : [];
      if (cells.length < 2) inTable = false;
      else if (cells[0] === "Package" && cells[1] === "May import") inTable = true;
      else if (inTable && !/^[-:]+$/.test(cells[0]!)) rows.set(nameOf(cells[0]!), ruleOf(cells[0]!, cells[1]!));
    }
    if (rows.size === 0) throw new Error(`${LAYERS_PAGE}: no table that starts "| Package | May import |"`);
    this.#rows = rows;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The row of that very name, else the row ending in `*` with the longest matching start. */
  rule(name: string): LayerRule | null {
    const exact = this.#rows.get(name);
    if (exact !== undefined) return exact;
    let best: string | null = null;
    for (const row of this.#rows.keys()) {
      if (row.endsWith("*") && name.startsWith(row.slice(0, -1)) && row.length > (best ?? "").length) best = row;
    }
    return best === null ? null : this.#rows.get(best)!;
  }
}

function nameOf(cell: string): string {
  const name = /^`([^`]+)`$/.exec(cell);
  if (name === null) throw new Error(`${LAYERS_PAGE}: a row starts with ${cell}: write the package's folder in backticks`);
  return name[1]!;
}

function ruleOf(row: string, cell: string): LayerRule {
  if (cell === "nothing") return [];
  if (cell === "every header" || cell === "anything") return cell;
  const names = [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
  if (names.length === 0) throw new Error(`${LAYERS_PAGE}: ${row} may import ${cell}: write nothing, every header, anything, or names in backticks`);
  return names;
}
