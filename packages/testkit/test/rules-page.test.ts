import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DRIVER_RULES, MEMORY_MODEL_RULES, MEMORY_PROVIDER_RULES } from "@netmem/testkit";

test("docs/conformance.md has every rule of a driver, a memory model and a memory provider, as the suites print them", () => {
  const page = readFileSync(new URL("../../../docs/conformance.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (traffic|[RMP]\d+) \| (.*) \|$/gm)].map(([, id, demands]) => ({ id, demands }));
  expect(rows).toEqual([...DRIVER_RULES, ...MEMORY_MODEL_RULES, ...MEMORY_PROVIDER_RULES]);
});
