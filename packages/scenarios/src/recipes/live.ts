import { UsageError } from "@netmem/kernel/api";
import { testRunXdpLive } from "@netmem/machine";
import { udpFrame } from "@netmem/testkit";
import { XDP_DROP, XDP_PASS, XDP_TX, type XdpProgram } from "@netmem/xdp/api";
import type { LiveRun, Truth } from "../truth.ts";
import { NAPI_CPU, type VethWorld } from "../world.ts";
import { readers, type KernelTimes, type Recipe } from "./recipe.ts";
import { LAST_ATTEMPT, follow } from "./udp.ts";

/** Frames that pass go up on kca0 itself, to this port; those that are redirected come out of kcb0, to the other. */
const PASSED_PORT = 7703;
const REDIRECTED_PORT = 7700;

function run(world: VethWorld, { verdict, repeat, batch, payloadBytes }: LiveRun): number {
  const { ifindex } = world.kca0.dev;
  const program: XdpProgram = verdict === "drop" ? () => XDP_DROP : verdict === "pass" ? () => XDP_PASS : verdict === "tx" ? () => XDP_TX : (ctx) => ctx.redirect(ifindex, 0);
  const data = udpFrame(new Uint8Array(payloadBytes).fill(0x4c), { dport: verdict === "pass" ? PASSED_PORT : REDIRECTED_PORT });
  const { errno, pool } = testRunXdpLive(world.machine, { prog: world.program(program), dev: world.kca0.dev, data, repeat, batchSize: batch, cpu: NAPI_CPU });
  if (errno !== 0 || pool === null) throw new UsageError("scenarios", `test run of ${payloadBytes} bytes in batches of ${batch}`, errno, "it was refused with this errno");
  return pool.id;
}

/** Each run when the kernel's ended: when it was asked for is not written down. */
function runAll(world: VethWorld, { live: runs, t0 }: Truth, { liveDestroyed }: KernelTimes): number[] {
  return runs.map((each, i) => {
    world.runTo((liveDestroyed[i] ?? t0) - t0);
    const id = run(world, each);
    world.runTo(world.seconds);
    return id;
  });
}

/** Test runs with live frames, whose pages sit in sockets when their pools are destroyed. */
export function live(): Recipe {
  return {
    level: "exact", variants: readers, presets: ["6.1", "6.8", "6.18"],
    run: (world, truth, variant, times) => {
      world.attach(world.kcb0, world.program(() => XDP_PASS));
      for (const { port, rcvbufBytes } of truth.receivers) world.bind(port, rcvbufBytes);
      const ids = runAll(world, truth, times);
      // Last of all the program goes.
      follow(world, truth, variant, times.flushes, [{ at: times.end - truth.t0, run: () => world.detachAll() }], times.end - truth.t0 + LAST_ATTEMPT);
      return ids;
    },
  };
}
