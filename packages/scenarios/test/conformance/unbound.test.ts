import { expect, test } from "vitest";
import { ENOMEM } from "@netmem/kernel/api";
import { netgpu } from "@netmem/memory-model-netgpu";
import { MEMORY_MODEL_RULES, memoryModelConformance } from "@netmem/testkit";

test("of a model that is never bound only that is said: of its users, buffers and mappings there was no occasion to say anything", () => {
  const { outcomes } = memoryModelConformance({ ...netgpu, bind: () => -ENOMEM }, { randomCases: 0 });
  const said = Object.fromEntries(outcomes.map(({ id, status }) => [id, status]));
  expect(said).toEqual({ ...Object.fromEntries(MEMORY_MODEL_RULES.map(({ id }) => [id, "no occasion"])), M2: "holds", M9: "broken" });
});
