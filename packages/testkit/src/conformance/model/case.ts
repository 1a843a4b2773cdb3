import fc from "fast-check";

/** What fails of a binding: the queue cannot be restarted, the n-th mapping, the n-th page. */
export interface BindFailing {
  readonly what: "queue" | "mapping" | "memory";
  readonly nth: number;
}

/** One step in the life of a memory model on a queue. */
export type ModelStep =
  | { readonly do: "bind"; readonly failing?: BindFailing }
  | { readonly do: "close" }
  /** Segments of three connections, or frames. */
  | { readonly do: "send"; readonly frames: number; readonly bytes: number; readonly midway?: ModelChange }
  | { readonly do: "read" }
  /** Users go, with what they hold. */
  | { readonly do: "close streams" }
  /** The last thing that happens: it is unregistered while it is bound. */
  | { readonly do: "device goes" }
  | ModelChange;
export interface ModelChange {
  readonly do: "restart" | "restart queue" | "close" | "read";
}

export interface ModelCase {
  readonly buffers: number;
  readonly steps: readonly ModelStep[];
}

const BUFFERS: readonly number[] = [96, 48];
const SIZES: readonly number[] = [10, 400, 1400];
const CHANGES = ["restart", "restart queue", "close", "read"] as const;
const MOST_STEPS = 12;

export function plannedModelCases(): readonly ModelCase[] {
  const send = (frames: number, bytes: number, midway?: ModelChange["do"]): ModelStep => ({ do: "send", frames, bytes, ...(midway === undefined ? {} : { midway: { do: midway } }) });
  const bind: ModelStep = { do: "bind" };
  const read: ModelStep = { do: "read" };
  const cases: ModelCase[] = [];
  const add = (...steps: readonly ModelStep[]): void => void cases.push({ buffers: 96, steps });
  for (const bytes of SIZES) add(bind, send(30, bytes), read, send(30, bytes), send(30, bytes), read, read);
  cases.push({ buffers: 48, steps: [bind, send(120, 1400), read, send(60, 1400), read, read] });
  // Users who hold what they have while the model, the queue or the device goes.
  for (const change of CHANGES) {
    add(bind, send(40, 1400), { do: change }, send(40, 400), read, { do: "close streams" });
    add(bind, send(40, 1400, change), send(40, 400), read, send(40, 10), read);
    add(bind, send(20, 1400), { do: change }, { do: "close streams" }, send(20, 1400), read);
  }
  add(bind, send(30, 400), { do: "close" }, bind, send(30, 400), read, { do: "close" }, bind, send(30, 400), { do: "close streams" });
  add(bind, send(30, 400), { do: "close" }, read, { do: "close streams" }, { do: "restart" }, send(30, 400), read);
  add(bind, bind, send(30, 1400), read);
  add(bind, { do: "close" });
  add(bind, { do: "device goes" });
  add(bind, send(30, 400), { do: "device goes" });
  for (const what of ["queue", "mapping", "memory"] as const) {
    for (const nth of [1, 2, 20, 60, 95]) add({ do: "bind", failing: { what, nth } }, send(10, 400), bind, send(30, 1400), read);
  }
  return cases;
}

export function arbitraryModelCase(): fc.Arbitrary<ModelCase> {
  const only = <D extends string>(name: D): fc.Arbitrary<{ do: D }> => fc.record({ do: fc.constant(name) });
  const change = fc.record({ do: fc.constantFrom(...CHANGES) });
  const step: fc.Arbitrary<ModelStep> = fc.oneof(
    { arbitrary: fc.record({ do: fc.constant("bind" as const), failing: fc.record({ what: fc.constantFrom("queue" as const, "mapping" as const, "memory" as const), nth: fc.integer({ min: 1, max: 100 }) }) }, { requiredKeys: ["do"] }), weight: 2 },
    { arbitrary: fc.record({ do: fc.constant("send" as const), frames: fc.integer({ min: 1, max: 120 }), bytes: fc.constantFrom(...SIZES), midway: change }, { requiredKeys: ["do", "frames", "bytes"] }), weight: 5 },
    { arbitrary: change, weight: 4 },
    { arbitrary: only("close streams"), weight: 1 },
  );
  return fc.record({ buffers: fc.constantFrom(...BUFFERS), steps: fc.array(step, { minLength: 1, maxLength: MOST_STEPS }) });
}

export function simplerModelCases(modelCase: ModelCase): readonly ModelCase[] {
  const { steps } = modelCase;
  const cases: ModelCase[] = [];
  for (const [i, step] of steps.entries()) {
    const others = (...instead: readonly ModelStep[]): ModelCase => ({ ...modelCase, steps: [...steps.slice(0, i), ...instead, ...steps.slice(i + 1)] });
    if (steps.length > 1) cases.push(others());
    for (const extra of ["failing", "midway"]) if (extra in step) cases.push(others(Object.fromEntries(Object.entries(step).filter(([name]) => name !== extra)) as unknown as ModelStep));
  }
  return cases;
}

/** In a line: `96 buffers: bind; send 3 × 400 bytes; read`. */
export function modelCaseInWords({ buffers, steps }: ModelCase): string {
  return `${buffers} buffers: ${steps.map((step) => {
    if (step.do === "send") return `send ${step.frames} × ${step.bytes} bytes${step.midway === undefined ? "" : `, halfway ${step.midway.do}`}`;
    if (step.do === "bind" && step.failing !== undefined) return step.failing.what === "queue" ? "bind (the queue cannot be restarted)" : `bind (${step.failing.what} ${step.failing.nth} fails)`;
    return step.do;
  }).join("; ")}`;
}
