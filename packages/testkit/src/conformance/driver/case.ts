import fc from "fast-check";
import { PRESET_NAMES, type DmaKindName, type PresetName } from "@netmem/machine";

/** Which of the calls that may fail do so, counted from the first one of the step: `nth`, and `times` in a row. */
export interface Failing {
  readonly nth: number;
  readonly times: number;
}

export type ProgramKind = "pass" | "drop" | "tx" | "redirect" | "aborted" | "grow" | "mixed";
export const PROGRAM_KINDS: readonly ProgramKind[] = ["pass", "drop", "tx", "redirect", "aborted", "grow", "mixed"];

/** What a frame may suffer on its way into the ring. */
export type Damage = "nicFrameError" | "nicFrameLength" | "nicDuplicate" | "nicInterrupt";
export const DAMAGES: readonly Damage[] = ["nicFrameError", "nicFrameLength", "nicDuplicate", "nicInterrupt"];

/** Something done to an interface that is there already. */
export type Reconfiguration =
  | { readonly do: "restart"; readonly failing?: Failing }
  | { readonly do: "resize"; readonly ring: number; readonly failing?: Failing }
  /** `frags`: one that knows packets in several buffers. */
  | { readonly do: "program"; readonly kind: ProgramKind; readonly frags?: true; readonly failing?: Failing }
  | { readonly do: "no program" }
  /** Polled with a budget of 0; midway, after each step from then on. */
  | { readonly do: "netpoll" }
  | { readonly do: "restart queue"; readonly failing?: Failing }
  | { readonly do: "bind memory" }
  | { readonly do: "unbind memory" };

/** One step of a driver's life. */
export type Step =
  | Reconfiguration
  | { readonly do: "open"; readonly failing?: Failing }
  | { readonly do: "stop" }
  /** `midway`: done when half of them have been taken. */
  | { readonly do: "send"; readonly frames: number; readonly bytes: number; readonly failing?: Failing; readonly damage?: Damage; readonly midway?: Reconfiguration }
  /** Packets that come up from now on are kept, and those that are kept are freed, by a process. */
  | { readonly do: "hold" }
  | { readonly do: "release" };

/** A machine, and what is done on it. Plain data: it can be printed, kept, and run again. */
export interface DriverCase {
  readonly preset: PresetName;
  readonly dma: DmaKindName;
  readonly queues: number;
  /** Of host memory. */
  readonly pages: number;
  /** Bytes; what is longer does not come. */
  readonly mtu: number;
  /** Each packet is dropped once its skb is built, as `DriverOptions.earlyDrop` has it. */
  readonly earlyDrop?: true;
  readonly steps: readonly Step[];
}

/** What a driver can do, as far as cases depend on it. */
export interface DriverAbilities {
  readonly mostRxQueues: number;
  readonly maxFrameBytes: number;
  readonly programs: boolean;
  /** Of packets in several buffers. */
  readonly programsWithFrags: boolean;
  readonly rings: boolean;
  readonly queueManagement: boolean;
  /** Calls in coming up with one queue that may fail. */
  readonly openCalls: number;
  /** Pages of a machine that two of its queues can run on. */
  readonly pages: number;
}

/** Ethernet's least, and what a frame of it has at most. */
export const SMALL_FRAME = 60;
export const FULL_FRAME = 1514;
/** @kernel the common 9000 byte MTU */
export const JUMBO_FRAME = 9014;
export const RING_SIZES: readonly number[] = [64, 128, 96];

/** After it was opened. */
const MOST_STEPS = 12;
/** IPv4 has 16 bits for a length, as descriptors have. */
const MOST_BYTES = 65_535;

export function longestFrame(maxFrameBytes: number): number {
  return Math.min(MOST_BYTES, maxFrameBytes);
}

/** Sizes of frames that this driver can take. */
export function frameSizes({ maxFrameBytes }: DriverAbilities): readonly number[] {
  return [SMALL_FRAME, 128, 200, 300, FULL_FRAME, JUMBO_FRAME, longestFrame(maxFrameBytes)].filter((bytes) => bytes <= maxFrameBytes);
}

/** Cases of all kinds; fast-check makes a failing one shorter. */
export function arbitraryCase(can: DriverAbilities): fc.Arbitrary<DriverCase> {
  // Planned cases must be of these values, too, or they cannot be made shorter; and of objects fast-check knows only those that it made.
  const only = <D extends string>(name: D): fc.Arbitrary<{ do: D }> => fc.record({ do: fc.constant(name) });
  const failing = fc.record({ nth: fc.integer({ min: 1, max: Math.max(200, can.openCalls) }), times: fc.constantFrom(1, 2, 3, 10, 60, 200) });
  const mayFail = { failing };
  const reconfigurations: fc.Arbitrary<Reconfiguration>[] = [fc.record({ do: fc.constant("restart" as const), ...mayFail }, { requiredKeys: ["do"] }), only("netpoll")];
  if (can.rings) reconfigurations.push(fc.record({ do: fc.constant("resize" as const), ring: fc.constantFrom(...RING_SIZES), ...mayFail }, { requiredKeys: ["do", "ring"] }));
  if (can.programs) {
    reconfigurations.push(
      fc.record({ do: fc.constant("program" as const), kind: fc.constantFrom(...PROGRAM_KINDS), frags: fc.constant(true), ...mayFail }, { requiredKeys: ["do", "kind"] }),
      only("no program"),
    );
  }
  if (can.queueManagement) {
    reconfigurations.push(
      fc.record({ do: fc.constant("restart queue" as const), ...mayFail }, { requiredKeys: ["do"] }),
      only("bind memory"),
      only("unbind memory"),
    );
  }
  const reconfiguration = fc.oneof(...reconfigurations);
  const step: fc.Arbitrary<Step> = fc.oneof(
    { arbitrary: fc.record({ do: fc.constant("open" as const), ...mayFail }, { requiredKeys: ["do"] }), weight: 2 },
    { arbitrary: only("stop"), weight: 1 },
    {
      arbitrary: fc.record(
        { do: fc.constant("send" as const), frames: fc.integer({ min: 1, max: 150 }), bytes: fc.constantFrom(...frameSizes(can)), damage: fc.constantFrom(...DAMAGES), midway: reconfiguration, ...mayFail },
        { requiredKeys: ["do", "frames", "bytes"] },
      ),
      weight: 6,
    },
    { arbitrary: reconfiguration, weight: 3 },
    { arbitrary: only("hold"), weight: 1 },
    { arbitrary: only("release"), weight: 1 },
  );
  return fc.record({
    preset: fc.constantFrom(...PRESET_NAMES.toReversed()),
    dma: fc.constantFrom<DmaKindName>("iommu-strict", "non-coherent", "bounce", "coherent"),
    pages: fc.constant(can.pages),
    queues: fc.integer({ min: 1, max: Math.min(2, can.mostRxQueues) }),
    mtu: fc.constantFrom(1500, ...frameSizes(can).filter((bytes) => bytes > FULL_FRAME).map((bytes) => bytes - 14)),
    earlyDrop: fc.constant(true),
    steps: fc.array(step, { minLength: 1, maxLength: MOST_STEPS }),
  }, { requiredKeys: ["preset", "dma", "queues", "pages", "mtu", "steps"] }).map(({ steps, ...rest }) => ({ ...rest, steps: [{ do: "open" as const }, ...steps] }), (value) => {
    const { steps, ...rest } = value as DriverCase;
    return { ...rest, steps: steps.slice(1) };
  });
}

/** The case without one of its steps, or with one of them plainer. */
export function simplerCases(driverCase: DriverCase): readonly DriverCase[] {
  const { steps } = driverCase;
  const { earlyDrop, ...without } = driverCase;
  const cases: DriverCase[] = earlyDrop === true ? [without] : [];
  for (const [i, step] of steps.entries()) {
    const others = (...instead: readonly Step[]): DriverCase => ({ ...driverCase, steps: [...steps.slice(0, i), ...instead, ...steps.slice(i + 1)] });
    if (i > 0) cases.push(others());
    for (const extra of ["failing", "damage", "midway", "frags"]) {
      if (extra in step) cases.push(others(Object.fromEntries(Object.entries(step).filter(([name]) => name !== extra)) as unknown as Step));
    }
  }
  return cases;
}

/** In a line: `6.18, iommu-strict, 1 queue, MTU 1500: open; send 3 × 60 bytes; stop`. */
export function caseInWords({ preset, dma, queues, mtu, earlyDrop, steps }: DriverCase): string {
  return `${preset}, ${dma}, ${queues} queue${queues === 1 ? "" : "s"}, MTU ${mtu}${earlyDrop === true ? ", early drop" : ""}: ${steps.map(stepInWords).join("; ")}`;
}

function stepInWords(step: Step): string {
  const failing = "failing" in step && step.failing !== undefined ? ` (call ${step.failing.nth} of those that may fail does${step.failing.times === 1 ? "" : `, and ${step.failing.times - 1} more`})` : "";
  switch (step.do) {
    case "send": return `send ${step.frames} × ${step.bytes} bytes${step.damage === undefined ? "" : ` (${step.damage} now and then)`}${failing}${step.midway === undefined ? "" : `, halfway ${stepInWords(step.midway)}`}`;
    case "resize": return `resize its rings to ${step.ring}${failing}`;
    case "program": return `attach a program (${step.kind}${step.frags === true ? ", with frags" : ""})${failing}`;
    case "no program": return "detach it";
    case "netpoll": return "poll with a budget of 0";
    default: return `${step.do}${failing}`;
  }
}
