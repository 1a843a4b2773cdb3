import fc from "fast-check";

/** What a pool asks for that a provider of single pages, written by one device, cannot give. */
export type Refused = "large pages" | "another direction" | "another device";

export type ProviderStep =
  | { readonly do: "pool"; readonly queue: number; readonly refused?: Refused; readonly failMapping?: number }
  | { readonly do: "alloc"; readonly pool: number; readonly count: number }
  | { readonly do: "put"; readonly count: number; readonly direct: boolean }
  | { readonly do: "destroy"; readonly pool: number };

export interface ProviderCase {
  readonly buffers: number;
  readonly steps: readonly ProviderStep[];
}

const REFUSED: readonly Refused[] = ["large pages", "another direction", "another device"];
const BUFFERS: readonly number[] = [150, 40, 1];
const MOST_STEPS = 12;
const QUEUES = 2;

export function plannedProviderCases(): readonly ProviderCase[] {
  const pool: ProviderStep = { do: "pool", queue: 0 };
  const alloc = (count: number, of: number = 0): ProviderStep => ({ do: "alloc", pool: of, count });
  const put = (count: number, direct: boolean = false): ProviderStep => ({ do: "put", count, direct });
  return BUFFERS.flatMap((buffers) => [
    [pool, alloc(1), put(1)],
    [pool, alloc(200), put(50), alloc(200), put(200, true), alloc(10)],
    [pool, alloc(200), { do: "destroy", pool: 0 }, put(20), pool, alloc(100, 1), put(200)],
    [pool, { do: "pool", queue: 1 }, alloc(30), alloc(200, 1), put(100), { do: "destroy", pool: 0 }, alloc(20, 1), put(200)],
    [pool, alloc(10), put(10, true), { do: "destroy", pool: 0 }, pool, alloc(200, 1)],
    ...REFUSED.map((refused): ProviderStep[] => [{ do: "pool", queue: 0, refused }, pool, alloc(20), { do: "pool", queue: 1, refused }, put(20)]),
    ...[1, 2, 30].map((failMapping): ProviderStep[] => [{ do: "pool", queue: 0, failMapping }, pool, alloc(20), put(20)]),
  ].map((steps) => ({ buffers, steps: steps as ProviderStep[] })));
}

export function arbitraryProviderCase(): fc.Arbitrary<ProviderCase> {
  const step: fc.Arbitrary<ProviderStep> = fc.oneof(
    { arbitrary: fc.record({ do: fc.constant("pool" as const), queue: fc.nat(QUEUES - 1), refused: fc.constantFrom(...REFUSED), failMapping: fc.integer({ min: 1, max: 150 }) }, { requiredKeys: ["do", "queue"] }), weight: 2 },
    { arbitrary: fc.record({ do: fc.constant("alloc" as const), pool: fc.nat(3), count: fc.integer({ min: 1, max: 200 }) }), weight: 4 },
    { arbitrary: fc.record({ do: fc.constant("put" as const), count: fc.integer({ min: 1, max: 200 }), direct: fc.boolean() }), weight: 4 },
    { arbitrary: fc.record({ do: fc.constant("destroy" as const), pool: fc.nat(3) }), weight: 1 },
  );
  return fc.record({ buffers: fc.constantFrom(...BUFFERS), steps: fc.array(step, { minLength: 1, maxLength: MOST_STEPS }) });
}

export function simplerProviderCases({ buffers, steps }: ProviderCase): readonly ProviderCase[] {
  return steps.length === 1 ? [] : steps.map((_, i) => ({ buffers, steps: [...steps.slice(0, i), ...steps.slice(i + 1)] }));
}

/** In a line: `40 buffers: pool for queue 0; alloc 3 of pool 0; put 3`. */
export function providerCaseInWords({ buffers, steps }: ProviderCase): string {
  return `${buffers} buffers: ${steps.map((step) => {
    switch (step.do) {
      case "pool": return `pool for queue ${step.queue}${step.refused === undefined ? "" : ` (${step.refused})`}${step.failMapping === undefined ? "" : ` (mapping ${step.failMapping} fails)`}`;
      case "alloc": return `alloc ${step.count} of pool ${step.pool}`;
      case "put": return `put ${step.count}${step.direct ? ", directly" : ""}`;
      default: return `destroy pool ${step.pool}`;
    }
  }).join("; ")}`;
}
