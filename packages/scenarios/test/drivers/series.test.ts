import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import type { NetDriver } from "@netmem/driver/api";
import { Wire, createMachine, type PresetName } from "@netmem/machine";
import { testFrame } from "@netmem/testkit";

const PAGE = new URL("../../../../docs/series-measurement.md", import.meta.url);
const PACKETS = 10_000;

/** What the series' author measured: packets a second, dropped in the driver once the skb is built. @kernel netdev, cover letters of v1, v6 and v8 */
const BOARDS: readonly { readonly driver: NetDriver; readonly board: string; readonly coherent: boolean; readonly kpps: readonly [number, number] }[] = [
  { driver: mvpp2, board: "MacchiatoBIN", coherent: true, kpps: [962, 2047] },
  { driver: mvneta, board: "EspressoBIN", coherent: false, kpps: [269, 296] },
];
const DESIGNS = ["stock", "v3-2021", "6.18"] as const satisfies readonly PresetName[];

interface Counts {
  readonly allocs: number;
  readonly frees: number;
  readonly maps: number;
  readonly unmaps: number;
  readonly syncs: number;
  readonly toRing: number;
  readonly toCache: number;
  readonly lookups: number;
}

/** Of 10 000 frames of 64 bytes, after as many to warm up: what each takes of allocator, DMA, pool and registry. */
function measure(driver: NetDriver, preset: PresetName, coherent: boolean): Counts {
  const machine = createMachine({ preset, nrPages: 16_384, extraBytes: 4 << 20 });
  const { netif, nic, dma } = machine.attach(driver, { rxRingSize: 512, earlyDrop: true, nonCoherent: !coherent });
  if (netif.open() !== 0) throw new Error("open failed");
  const frame = testFrame(60, 1);
  const send = (): void => {
    new Wire(machine.kernel, machine.mm.payload, Array.from({ length: PACKETS }, () => ({ bytes: frame, offset: 0, lengthBytes: 60, arrivalNs: 0 })), "back-to-back").connect(nic);
    machine.kernel.scheduler.runFor(0);
  };
  const now = (): Counts => {
    const pools = machine.pagePools.pools().filter(({ netdev }) => netdev === netif.dev);
    const { allocs, frees } = machine.mm.pages.stats;
    const { maps, unmaps, syncs } = dma.stats;
    return {
      allocs, frees, maps, unmaps, syncs, lookups: machine.xdp.registry.stats.lookups,
      toRing: pools.reduce((sum, { recycleStats }) => sum + recycleStats.ring, 0), toCache: pools.reduce((sum, { recycleStats }) => sum + recycleStats.cached, 0),
    };
  };
  send();
  const before = now();
  send();
  const after = now();
  expect([netif.dev.rxDropped, machine.kernel.reports.counts()]).toEqual([2 * PACKETS, []]);
  machine.shutdown();
  return Object.fromEntries(Object.entries(after).map(([name, count]) => [name, (count as number) - before[name as keyof Counts]])) as unknown as Counts;
}

const MEASURED = BOARDS.map(({ driver, board, coherent, kpps }) => ({ driver: driver.name, board, coherent, kpps, designs: DESIGNS.map((design) => ({ design, counts: measure(driver, design, coherent) })) }));

test("stock: each packet costs a page from the allocator, its map, its unmap and its free; with recycling none of them", () => {
  for (const { designs: [stock, ...recycling] } of MEASURED) {
    const { allocs, frees, maps, unmaps, toRing, toCache } = stock!.counts;
    // Pages come in bulk, so that a round may end with some more or fewer than packets.
    for (const count of [allocs, frees, maps, unmaps]) expect(Math.abs(count / PACKETS - 1)).toBeLessThan(0.02);
    expect([toRing, toCache]).toEqual([0, 0]);
    for (const { counts } of recycling) {
      expect([counts.allocs, counts.frees, counts.maps, counts.unmaps]).toEqual([0, 0, 0, 0]);
      expect(counts.toRing + counts.toCache).toBe(PACKETS);
    }
  }
});

test("what stays: where the device is not coherent, a page is synced for the CPU and for the device as before, recycled or not", () => {
  const [coherent, other] = MEASURED as [(typeof MEASURED)[number], (typeof MEASURED)[number]];
  for (const { counts } of other.designs) expect(Math.abs(counts.syncs / PACKETS - 2)).toBeLessThan(0.02);
  // From 6.10 on a coherent device is not asked.
  expect(coherent.designs.at(-1)!.counts.syncs).toBe(0);
});

test("docs/series-measurement.md says what is measured here", () => {
  const perPacket = (count: number): string => (count / PACKETS).toFixed(2);
  const rows = MEASURED.flatMap(({ driver, board, coherent, kpps, designs }) => designs.map(({ design, counts }) => {
    const published = design === "stock" ? `${kpps[0]}` : design === "v3-2021" ? `${kpps[1]}` : "–";
    return `| ${driver} on ${board}, ${coherent ? "coherent" : "not coherent"} | ${design} | ${[counts.allocs, counts.maps, counts.unmaps, counts.syncs, counts.toRing, counts.toCache, counts.lookups].map(perPacket).join(" | ")} | ${published} |`;
  }));
  const page = readFileSync(PAGE, "utf8");
  const table = ["<!-- table -->", "| driver and board | design | pages | maps | unmaps | syncs | to ring | to cache | look-ups | published Kpps |", "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |", ...rows, "<!-- end -->"].join("\n");
  const current = page.replace(/<!-- table -->[\s\S]*<!-- end -->/, table);
  if (process.env["UPDATE_SERIES"] === "1") writeFileSync(PAGE, current);
  else expect(page === current, "docs/series-measurement.md is out of date: run UPDATE_SERIES=1 npx --yes pnpm@10.34.9 exec vitest run packages/scenarios/test/drivers/series.test.ts --project source").toBe(true);
});
