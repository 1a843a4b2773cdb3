import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";

test("rows 1 to 54 are here, each once, and each under every preset", () => {
  const folder = new URL("./", import.meta.url);
  const sources = readdirSync(folder).map((file) => readFileSync(new URL(file, folder), "utf8"));
  const rows = sources.flatMap((source) => [...source.matchAll(/^row\((\d+), /gm)].map((match) => Number(match[1])));
  expect(rows.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 54 }, (_, i) => i + 1));
  expect(PRESET_NAMES).toEqual(["stock", "v3-2021", "5.14", "6.1", "6.8", "6.18"]);
});
