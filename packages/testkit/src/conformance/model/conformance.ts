import type { MemoryModel } from "@netmem/memory-model/api";
import { SpareBacking } from "@netmem/mm";
import { runCampaign, type CaseOutcome } from "../campaign.ts";
import { CaseMemory } from "../case-memory.ts";
import { Findings } from "../findings.ts";
import { thrownBy } from "../outcome.ts";
import type { ConformanceOptions, ConformanceReport } from "../report.ts";
import { MEMORY_MODEL_RULES } from "../rules.ts";
import { arbitraryModelCase, modelCaseInWords, plannedModelCases, simplerModelCases, type ModelCase, type ModelChange, type ModelStep } from "./case.ts";
import { ModelWorld } from "./world.ts";

const MOST_SLICES = 20_000;
const SETTLE_NS = 20_000_000;
/** Times that users read while the queue stands. */
const READS = 50;
const READS_WITH_GAPS = 3;

/** Whether a memory model plugin keeps to rules M1 to M9. Runs some hundred machines; synchronous. */
export function memoryModelConformance(model: MemoryModel, options: ConformanceOptions = {}): ConformanceReport {
  const memory = new SpareBacking();
  return runCampaign<ModelCase>({
    kind: "memory model", name: model.name, rules: MEMORY_MODEL_RULES, planned: plannedModelCases(), arbitrary: arbitraryModelCase(),
    run: (modelCase, traces) => runModelCase(model, modelCase, traces, memory), simpler: simplerModelCases, inWords: modelCaseInWords,
  }, options);
}

function runModelCase(model: MemoryModel, modelCase: ModelCase, traces: boolean, memory: SpareBacking): CaseOutcome {
  const findings = new Findings(traces);
  const own = new CaseMemory(memory);
  const thrown = thrownBy(() => runSteps(model, modelCase, findings, own));
  own.giveBack();
  if (thrown !== null) findings.consequence("M9", `threw ${thrown.reason}`, findings.here() || thrown.where);
  return { found: findings.found, occasions: findings.occasions };
}

function runSteps(model: MemoryModel, modelCase: ModelCase, findings: Findings, memory: CaseMemory): void {
  const bytes = modelCase.steps.reduce((sum, step) => sum + (step.do === "send" ? step.frames * (step.bytes + 96) : 0), 0);
  const world = new ModelWorld(model, modelCase, (bytes + 64) & ~7, findings, memory);
  for (const step of modelCase.steps) {
    run(world, step);
    world.judge();
  }
  settle(world);
  world.read();
  settle(world);
  world.read();
  world.judgeBytes(true);
  world.judge();
  world.end();
}

function run(world: ModelWorld, step: ModelStep): void {
  switch (step.do) {
    case "bind": {
      const wasBound = world.isBound();
      const live = world.device.dma.liveMappings();
      const errno = world.bind(step.failing);
      world.findings.occasion("M2");
      if (errno >= 0) return;
      if (!wasBound && step.failing === undefined) world.findings.consequence("M9", `bind answers ${errno}, and nothing has failed`, world.boundWhere);
      if (world.isBound() !== wasBound) world.findings.consequence("M2", `bind answers ${errno}, and the queue is ${wasBound ? "no longer bound" : "bound all the same"}`, world.boundWhere);
      else if (world.device.dma.liveMappings() > live) world.findings.consequence("M2", `bind answers ${errno}, and ${world.device.dma.liveMappings() - live} mappings more are left`, world.boundWhere);
      return;
    }
    case "send": {
      const wire = world.wire(step.frames, step.bytes);
      if (world.binding === null) world.disturbed = true;
      let pending: ModelChange | undefined = step.midway;
      for (let slices = 0; !wire.finished() && slices < MOST_SLICES; slices++) {
        if (!world.machine.kernel.scheduler.step()) break;
        if (pending !== undefined && wire.sent() * 2 >= step.frames) {
          change(world, pending);
          pending = undefined;
          world.judge();
        }
        // A full ring waits for somebody who reads.
        if (slices % 500 === 499) world.read();
      }
      settle(world);
      world.findings.occasion("M9");
      for (let i = 0; i < READS && !wire.finished(); i++) {
        world.read();
        // Behind a segment that was lost nothing can be read, and waits.
        if (world.disturbed && i > READS_WITH_GAPS) world.closeStreams();
        settle(world);
      }
      if (!wire.finished()) world.findings.consequence("M9", `the queue takes no more after ${wire.sent()} of ${step.frames} frames, though its users read, or have gone`, "");
      return;
    }
    case "device goes":
      world.removeDevice();
      return;
    case "close streams":
      world.closeStreams();
      world.disturbed = true;
      return;
    default: change(world, step);
  }
}

function change(world: ModelWorld, { do: what }: ModelChange): void {
  const { netif } = world.device;
  switch (what) {
    case "restart":
      world.disturbed = true;
      netif.stop();
      if (netif.open() === 0) return;
      // Packets that wait for what is missing have its memory.
      world.closeStreams();
      if (netif.open() !== 0) world.findings.consequence("M9", "the device does not come up again", "");
      return;
    case "restart queue": {
      world.disturbed = true;
      if (netif.dev.queueMgmtOps === null) return;
      // With fewer buffers to spare than the ring has it is refused, and runs on.
      const spare = world.binding === null || world.free() >= world.ringSize;
      const errno = world.machine.pagePools.providers.restartRxq(netif.dev, 1);
      if (errno !== 0 && spare) world.findings.consequence("M9", `netdev_rx_queue_restart answers ${errno}`, "");
      return;
    }
    case "close":
      world.disturbed = true;
      world.close();
      return;
    default: world.read();
  }
}

function settle({ machine }: ModelWorld): void {
  machine.kernel.scheduler.runFor(SETTLE_NS);
}
