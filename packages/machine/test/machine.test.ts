import { expect, test } from "vitest";
import { UsageError } from "@netmem/kernel/api";
import { createMachine, DEFAULT_PRESET, PRESETS, PRESET_NAMES, resolvePreset, Wire } from "../src/index.ts";

test("every preset boots, on a machine of 32 pages", () => {
  for (const preset of PRESET_NAMES) {
    const machine = createMachine({ preset, nrPages: 32 });
    expect([machine.preset, machine.mm.pages.freePages()]).toEqual([PRESETS[preset], 32]);
  }
});

test("the default is the newest kernel; overrides replace just what they name", () => {
  expect(resolvePreset({})).toEqual(PRESETS[DEFAULT_PRESET]);
  expect(resolvePreset({ preset: "5.14", sharedRelease: "last-reference" })).toEqual({ ...PRESETS["5.14"], sharedRelease: "last-reference" });
});

test("a single rule of another kernel takes the place of the preset's, in any layer", () => {
  const preset = PRESETS["6.1"];
  const dates = { net: { skbDeferMax: 128 }, pagePool: { listsToUsers: true }, xdp: { asksFeatures: true }, mm: { fragsAscend: true } };
  expect(createMachine({ preset: "6.1", dates }).preset).toEqual({
    ...preset, net: { ...preset.net, skbDeferMax: 128 }, pagePool: { ...preset.pagePool, listsToUsers: true }, xdp: { ...preset.xdp, asksFeatures: true }, mm: { ...preset.mm, fragsAscend: true },
  });
});

test.each<[object, RegExp]>([
  [{ preset: "4.4" }, /@netmem\/machine: preset = 4\.4: choose stock, v3-2021, 5\.14, 6\.1, 6\.8, 6\.18/],
  [{ returnPath: "carrier-pigeon" }, /@netmem\/machine: returnPath = carrier-pigeon: choose mem-info/],
  [{ sharedRelease: "never" }, /@netmem\/machine: sharedRelease = never: choose leave-pool/],
  [{ dates: { net: { defersTrees: true } } }, /@netmem\/machine: dates\.net\.defersTrees = true: there is no such rule: choose releaseClearsRecycle/],
  [{ dates: { net: { clonedCoalesce: "sometimes" } } }, /dates\.net\.clonedCoalesce = sometimes: choose page-ref, into-plain, refused, pp-ref/],
  [{ dates: { net: { deferLists: true } } }, /dates\.net\.deferLists = true: choose cpu, node/],
  [{ dates: { net: { skbDeferMax: -1 } } }, /dates\.net\.skbDeferMax = -1: give a whole number, 0 or more/],
  [{ dates: { net: { defersFrees: 1 } } }, /dates\.net\.defersFrees = 1: give a boolean/],
  [{ dates: { net: { napiSkbCacheBulk: 0 } } }, /@netmem\/net-core: napiSkbCacheBulk = 0: give 1 to napiSkbCacheSize, which is 64/],
  [{ dates: { net: { napiSkbCacheFrees: 65 } } }, /@netmem\/net-core: napiSkbCacheFrees = 65: give 1 to/],
  [{ dates: { stack: {} } }, /@netmem\/machine: dates = stack: choose net, mm, pagePool, xdp/],
  [{ nrCpus: 0 }, /@netmem\/kernel: nrCpus = 0/],
  [{ seed: -1 }, /@netmem\/kernel: seed = -1/],
  [{ nrPages: 0 }, /@netmem\/mm: nrPages = 0/],
  [{ extraBytes: 12 }, /backing|multiple of 8/],
  [{ packetCostNs: Number.NaN }, /@netmem\/machine: packetCostNs = NaN/],
  [{ packetCostNs: 0.5 }, /@netmem\/machine: packetCostNs = 0\.5/],
  [{ traceEntries: 1.5 }, /@netmem\/kernel: traceEntries = 1\.5/],
])("misuse %j names package, option and value", (options, message) => {
  const boot = (): void => {
    const machine = createMachine(options);
    machine.mm.payload.addRegion("rest", 12, true);
  };
  expect(boot).toThrow(UsageError);
  expect(boot).toThrow(message);
});

test("a wire with a timing that does not exist is refused", () => {
  const machine = createMachine();
  expect(() => new Wire(machine.kernel, machine.mm.payload, [], "yesterday" as "capture")).toThrow(/timing = yesterday: choose back-to-back or capture/);
});

test("a machine without devices shuts down, and shuts down again", () => {
  const machine = createMachine();
  machine.shutdown();
  machine.shutdown();
  expect(machine.kernel.reports.total).toBe(0);
});
