import { PRESET_NAMES, type DmaKindName } from "@netmem/machine";
import { DAMAGES, FULL_FRAME, JUMBO_FRAME, PROGRAM_KINDS, RING_SIZES, SMALL_FRAME, longestFrame, type DriverAbilities, type DriverCase, type Reconfiguration, type Step } from "./case.ts";

const NEWEST = "6.18";

/** Beyond these a ring is filled, one page like the other. */
const REBUILDING_CALLS = 14;
/** Within the longest random case. */
const RESTARTS_A_CASE = 10;
/** Of more calls than these every one would be the same page again. */
const MOST_OPEN_CALLS = 100;

/** Each number up to `count`; of many, as many as there is time for: the first ones, the last, and some between. */
function spread(count: number): readonly number[] {
  const step = Math.max(1, count / MOST_OPEN_CALLS);
  const all = Array.from({ length: Math.min(count, MOST_OPEN_CALLS) }, (_, i) => Math.round(1 + i * step));
  return [...new Set([...Array.from({ length: Math.min(count, REBUILDING_CALLS) }, (_, i) => i + 1), ...all, count])].filter((nth) => nth >= 1 && nth <= count);
}

/** Cases that each look at something in particular; random ones come after them. */
export function plannedCases(can: DriverAbilities): readonly DriverCase[] {
  const jumbo = Math.min(can.maxFrameBytes, JUMBO_FRAME);
  const make = (steps: readonly Step[], rest: Partial<DriverCase> = {}): DriverCase => ({ preset: NEWEST, dma: "iommu-strict", queues: 1, pages: can.pages, mtu: jumbo > FULL_FRAME ? jumbo - 14 : 1500, ...rest, steps: [{ do: "open" }, ...steps] });
  const send = (frames: number, bytes: number, rest: Partial<Extract<Step, { do: "send" }>> = {}): Step => ({ do: "send", frames, bytes, ...rest });
  const mixed: readonly Step[] = [send(90, SMALL_FRAME), send(90, FULL_FRAME), send(20, jumbo), send(70, SMALL_FRAME)];
  const cases: DriverCase[] = [];
  const queueCounts = can.mostRxQueues > 1 ? [1, 2] : [1];

  for (const preset of PRESET_NAMES) {
    for (const queues of queueCounts) cases.push(make([...mixed, { do: "hold" }, ...mixed, { do: "stop" }, { do: "release" }], { preset, queues }));
  }
  for (const dma of ["non-coherent", "bounce", "coherent"] satisfies DmaKindName[]) cases.push(make([...mixed, ...mixed], { dma }));
  const longest = longestFrame(can.maxFrameBytes);
  cases.push(make([send(3, longest), send(80, SMALL_FRAME)], { mtu: longest - 14 }));
  for (const damage of DAMAGES) {
    for (const bytes of [SMALL_FRAME, FULL_FRAME, jumbo]) cases.push(make([send(90, bytes, { damage }), send(90, bytes), { do: "stop" }]));
  }

  const reconfigurations: Reconfiguration[] = [{ do: "restart" }, { do: "netpoll" }];
  if (can.rings) for (const ring of RING_SIZES) reconfigurations.push({ do: "resize", ring });
  if (can.programs) reconfigurations.push({ do: "program", kind: "pass" });
  if (can.queueManagement) reconfigurations.push({ do: "restart queue" }, { do: "bind memory" });
  for (const midway of reconfigurations) {
    for (const queues of queueCounts) {
      // Frames over several descriptors.
      cases.push(make([send(60, jumbo, { midway }), send(60, jumbo, { midway })], { queues }));
      cases.push(make([{ do: "hold" }, send(120, FULL_FRAME, { midway }), { do: "release" }, send(120, SMALL_FRAME, { midway }), send(70, SMALL_FRAME)], { queues, mtu: 1500 }));
    }
  }
  if (can.queueManagement) {
    for (const queues of queueCounts) {
      cases.push(make([{ do: "bind memory" }, ...mixed, { do: "hold" }, ...mixed, { do: "unbind memory" }, send(40, FULL_FRAME), { do: "release" }], { queues }));
      cases.push(make([{ do: "bind memory" }, { do: "hold" }, ...mixed, { do: "stop" }, { do: "release" }], { queues }));
      cases.push(make([{ do: "bind memory" }, send(80, FULL_FRAME, { midway: { do: "unbind memory" } }), send(80, FULL_FRAME)], { queues }));
    }
  }
  for (const bytes of [SMALL_FRAME, jumbo]) cases.push(make([send(90, bytes), send(90, FULL_FRAME), { do: "stop" }], { earlyDrop: true }));
  if (can.programsWithFrags) {
    for (const kind of PROGRAM_KINDS) {
      for (const dma of ["iommu-strict", "non-coherent"] satisfies DmaKindName[]) cases.push(make([{ do: "program", kind, frags: true }, send(40, jumbo), send(40, SMALL_FRAME), { do: "hold" }, send(20, jumbo), { do: "stop" }, { do: "release" }], { dma }));
      cases.push(make([{ do: "program", kind, frags: true }, send(30, jumbo, { failing: { nth: 3, times: 3 } }), send(40, jumbo)]));
    }
  }
  if (can.programs) {
    for (const kind of PROGRAM_KINDS) {
      for (const dma of ["iommu-strict", "non-coherent"] satisfies DmaKindName[]) {
        for (const queues of queueCounts) cases.push(make([{ do: "program", kind }, send(90, SMALL_FRAME), send(90, FULL_FRAME), { do: "no program" }, send(70, SMALL_FRAME)], { dma, mtu: 1500, queues }));
      }
      cases.push(make([{ do: "program", kind }, send(150, 128, { midway: { do: "netpoll" } }), send(60, 128)], { mtu: 1500 }));
      // What it has redirected, or sent, is out when it goes down.
      cases.push(make([{ do: "hold" }, { do: "program", kind }, send(60, 128), { do: "stop" }, { do: "release" }], { mtu: 1500 }));
      cases.push(make([{ do: "program", kind }, send(60, FULL_FRAME, { midway: { do: "no program" } }), send(60, FULL_FRAME, { midway: { do: "program", kind: "pass" } })], { mtu: 1500 }));
    }
    for (const preset of PRESET_NAMES) cases.push(make([{ do: "program", kind: "mixed" }, send(120, 300)], { preset, mtu: 1500 }));
  }

  // Each allocation and registration of coming up fails once, and the first ones of what is rebuilt later.
  const again: readonly Step[] = [{ do: "stop" }, { do: "open" }, send(20, SMALL_FRAME)];
  const restarts = spread(can.openCalls).map((nth): Step => ({ do: "restart", failing: { nth, times: 1 } }));
  for (let i = 0; i < restarts.length; i += RESTARTS_A_CASE) cases.push(make([...restarts.slice(i, i + RESTARTS_A_CASE), { do: "open" }, send(80, SMALL_FRAME)]));
  for (let nth = 1; nth <= REBUILDING_CALLS; nth++) {
    const failing = { nth, times: 1 };
    if (can.mostRxQueues > 1) cases.push({ ...make([]), queues: 2, steps: [{ do: "open", failing }, send(20, SMALL_FRAME), ...again] });
    if (can.rings) cases.push(make([send(10, SMALL_FRAME), { do: "resize", ring: 128, failing }, send(80, SMALL_FRAME)]));
    if (can.queueManagement) cases.push(make([send(10, SMALL_FRAME), { do: "restart queue", failing }, send(80, SMALL_FRAME)]));
  }
  // So does each on the packet path; and memory is gone for a while.
  for (const bytes of [SMALL_FRAME, FULL_FRAME, jumbo]) {
    for (const nth of [1, 2, 3, 4, 5, 7, 11]) cases.push(make([send(30, bytes, { failing: { nth, times: 1 } }), send(80, bytes)]));
    for (const times of [10, 60, 200]) cases.push(make([send(90, bytes, { failing: { nth: 3, times } }), send(90, bytes), { do: "stop" }]));
  }
  // Somebody sends from anywhere while it waits for memory.
  cases.push(make([send(100, SMALL_FRAME, { failing: { nth: 3, times: 60 }, midway: { do: "netpoll" } }), send(80, SMALL_FRAME)]));
  // It goes down while it waits for memory.
  for (const nth of [3, 20]) cases.push(make([send(80, SMALL_FRAME, { failing: { nth, times: 200 }, midway: { do: "restart" } }), { do: "open" }, send(80, SMALL_FRAME)]));
  if (can.programs) for (const nth of [1, 2, 3, 5, 8]) cases.push(make([{ do: "program", kind: "mixed" }, send(60, 200, { failing: { nth, times: 2 } }), send(60, 200)], { mtu: 1500 }));
  return cases;
}
