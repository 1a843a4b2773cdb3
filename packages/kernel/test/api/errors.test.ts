import { expect, test } from "vitest";
import { EINVAL, ENOSPC, KernelPanic, UsageError, errnoName } from "../../src/api/index.ts";

test("a UsageError names package, option, value and what to do", () => {
  const error = new UsageError("mm", "nrPages", -3, "give 1 page or more");
  expect(error.message).toBe("@netmem/mm: nrPages = -3: give 1 page or more");
  expect(error).toMatchObject({ name: "UsageError", package: "mm", option: "nrPages", value: -3 });
});

test("a KernelPanic names the rule that was broken", () => {
  const panic = new KernelPanic("pp-double-put", "page pfn 0x400");
  expect([panic.name, panic.kind, panic.message]).toEqual(["KernelPanic", "pp-double-put", "kernel panic: pp-double-put: page pfn 0x400"]);
});

test("errno names are the kernel's, and unknown numbers come back as digits", () => {
  expect([errnoName(-EINVAL), errnoName(-ENOSPC), errnoName(-4095)]).toEqual(["-EINVAL", "-ENOSPC", "-4095"]);
});
