import { ipFragments, udpFrame } from "@netmem/testkit";
import { NET_RX_SOFTIRQ, NSEC_PER_SEC, UsageError } from "@netmem/kernel/api";
import { XDP_DROP, XDP_PASS, XDP_TX, type CpuMap, type DevMap, type XdpProgram } from "@netmem/xdp/api";
import { IP_HLEN, SKB_DROP_REASON_NO_SOCKET, UDP_HLEN, XDP_FLAGS_SKB_MODE, type PacketHandler } from "@netmem/net-core/api";
import type { FlushPoint } from "../deferred-flushes.ts";
import type { Truth } from "../truth.ts";
import { NAPI_CPU, OTHER_CPU, type VethWorld } from "../world.ts";
import { elsewhere, only, readers, senders, type KernelTimes, type Recipe, type Variant } from "./recipe.ts";

/** Between what a script does and does not write the time of, in seconds: it sleeps for about as long. */
const PAUSE = 0.2;
/** The script notes the time after the program is gone. */
const XDP_OFF_BEFORE = 0.1;
/** Between packets for the CPU that received, if it has any once the script is over. */
const WOKEN_EVERY = 0.6;
/** Until another attempt to free a pool has been made. */
export const LAST_ATTEMPT = 1.2;

interface Action {
  readonly at: number;
  readonly run: () => void;
}

/** Datagrams as `sendto` makes them: cut up if they are longer than a device carries. */
function sendDatagrams(world: VethWorld, { sends }: Truth): void {
  for (const { port, count, bytes } of sends) {
    const payload = new Uint8Array(bytes).fill(0x6b);
    for (let i = 0; i < count; i++) for (const piece of ipFragments(udpFrame(payload, { dport: port, ipId: i & 0xffff, fragOff: 0 }))) world.send(world.kca0, piece);
  }
}

/** Every step at its time, in the order of the script where that is not known; then the end. */
export function follow(world: VethWorld, { receivers, t0 }: Truth, variant: Variant, flushes: readonly FlushPoint[], actions: readonly Action[], end: number): void {
  const cpu = variant.readerIsElsewhere ? OTHER_CPU : NAPI_CPU;
  const wake = (): void => world.machine.kernel.softirqs.raiseSoftirq(NAPI_CPU, NET_RX_SOFTIRQ);
  const later: Action[] = [];
  let last = world.seconds;
  let reads = 0;
  const steps: Action[] = receivers.flatMap(({ port, steps: all }) => {
    let begin = 0;
    return all.map(({ kind, count, at }) => {
      last = at === null ? last + PAUSE : at - t0;
      if (kind === "closed") return { at: last, run: () => world.close(port, cpu) };
      const first = begin;
      begin += count;
      const pauses = variant.asTraced ? pausesIn(flushes.filter((flush) => flush.port === port && flush.upTo > first && flush.upTo <= first + count), first, last + t0, t0, (when) => void later.push({ at: when, run: wake })) : [variant.wokenBefore[reads] ?? null].flatMap((left) => (left === null ? [] : [count - left]));
      reads++;
      return { at: last, run: () => readInPieces(world, port, count, pauses, cpu, wake) };
    });
  });
  for (const { at, run } of [...steps, ...later, ...actions].toSorted((a, b) => a.at - b.at)) {
    world.runTo(at);
    run();
  }
  for (let at = world.seconds + WOKEN_EVERY; variant.wokenLater && at < end; at += WOKEN_EVERY) {
    world.runTo(at);
    wake();
  }
  world.runTo(end);
}

/** After how many datagrams of a read, which began with the `first`, those read before were freed; what was freed when it was over is told to `later`. */
function pausesIn(flushes: readonly FlushPoint[], first: number, readAt: number, t0: number, later: (at: number) => void): number[] {
  const pauses: number[] = [];
  for (const { upTo, at } of flushes) {
    if (at > readAt) later(at - t0);
    else pauses.push(upTo - first);
  }
  return pauses;
}

function readInPieces(world: VethWorld, port: number, count: number, pauses: readonly number[], cpu: number, wake: () => void): void {
  let done = 0;
  for (const pause of pauses) {
    world.read(port, pause - done, cpu);
    done = pause;
    wake();
    world.runTo(world.seconds);
  }
  world.read(port, count - done, cpu);
}

function lastStep({ receivers, t0 }: Truth, otherwise: number): number {
  return receivers.flatMap(({ steps }) => steps.map(({ at }) => (at === null ? 0 : at - t0))).reduce((last, at) => Math.max(last, at), otherwise);
}

/** A program on kcb0, datagrams, readers; then the program goes, or the link. `setUp` is for the rest. */
export function udpRecipe(level: Recipe["level"], variants: Recipe["variants"], setUp: (world: VethWorld) => void): Recipe {
  return {
    level, variants, presets: ["6.8", "6.18"],
    run: (world, truth, variant, times) => {
      world.kca0.dev.hwCsum = !variant.senderSums;
      setUp(world);
      for (const { port, rcvbufBytes } of truth.receivers) world.bind(port, rcvbufBytes);
      world.runTo(PAUSE);
      sendDatagrams(world, truth);
      tearDown(world, truth, variant, times);
      return [];
    },
  };
}

function tearDown(world: VethWorld, truth: Truth, variant: Variant, { end, flushes }: KernelTimes): void {
  const { t0, linkDeleted, xdpOff, flushSoftirq } = truth;
  const actions: Action[] = [];
  if (linkDeleted !== null) actions.push({ at: linkDeleted - t0, run: () => world.dellink() });
  else actions.push({ at: xdpOff === null ? lastStep(truth, world.seconds) + PAUSE : xdpOff - t0 - XDP_OFF_BEFORE, run: () => world.detachAll() });
  if (flushSoftirq !== null && !variant.asTraced) actions.push({ at: flushSoftirq - t0, run: () => world.machine.kernel.softirqs.raiseSoftirq(NAPI_CPU, NET_RX_SOFTIRQ) });
  follow(world, truth, variant, flushes, actions, Math.max(end - t0, lastStep(truth, 0), world.seconds) + LAST_ATTEMPT);
}

const pass: XdpProgram = () => XDP_PASS;

/** An ICMP header is as long as UDP's. */
const ICMP_HLEN: number = UDP_HLEN;

/** Packets whose end is in the softirq that received them: an echo request, which is answered by another packet. @kernel icmp_rcv */
function echoes({ machine: { net } }: VethWorld): PacketHandler {
  return { packetRcv: (skb) => {
    net.edit.skbPull(skb, IP_HLEN + ICMP_HLEN);
    net.lifetime.consumeSkb(skb);
  } };
}

/** Another host's stack, that has no socket for them. @kernel __udp4_lib_rcv */
function noSockets({ machine: { net } }: VethWorld): PacketHandler {
  return { packetRcv: (skb) => {
    net.edit.skbPull(skb, IP_HLEN);
    net.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NO_SOCKET);
  } };
}

export function ping(): Recipe {
  return {
    level: "exact", variants: only, presets: ["6.8", "6.18"],
    run: (world, truth, variant, times) => {
      world.attach(world.kcb0, world.program(pass));
      world.setProtocol(echoes(world));
      const { count, payloadBytes } = truth.pings ?? { count: 0, payloadBytes: 0 };
      const frame = udpFrame(new Uint8Array(payloadBytes));
      for (let i = 0; i < count; i++) {
        world.runTo(world.seconds + 0.05);
        world.send(world.kca0, frame);
      }
      tearDown(world, truth, variant, times);
      return [];
    },
  };
}

export function udp(): Recipe {
  return udpRecipe("exact", readers, (world) => world.attach(world.kcb0, world.program(pass)));
}
/** The script pins the receiver to another CPU. */
export function deferList(): Recipe {
  return udpRecipe("exact", elsewhere, (world) => world.attach(world.kcb0, world.program(pass)));
}
export function drop(): Recipe {
  return udpRecipe("exact", only, (world) => world.attach(world.kcb0, world.program(() => XDP_DROP)));
}

/** kca0 gets its frames back, for an address that is not its own. */
export function tx(): Recipe {
  return udpRecipe("exact", only, (world) => {
    world.attach(world.kcb0, world.program(() => XDP_TX));
    world.attach(world.kca0, world.program(pass));
    world.setProtocol(world.machine.net.inet, [world.kcb0]);
  });
}

export function devMap(): Recipe {
  return udpRecipe("exact", only, (world) => {
    world.attach(world.kcc0, world.program(pass));
    world.attach(world.kcb1, world.program(pass));
    const map = world.machine.xdp.maps.createDevMap(8) as DevMap;
    if (map.mapUpdateElem(0, world.kcb1.dev.ifindex, null, 0) !== 0) throw new UsageError("scenarios", "devmap entry", world.kcb1.dev.name, "the map refuses it");
    world.attach(world.kcb0, world.program((ctx) => ctx.redirectMap(map, 0, XDP_PASS)));
  });
}

export function cpuMap(): Recipe {
  return udpRecipe("exact", senders, (world) => {
    const map = world.machine.xdp.maps.createCpuMap(2) as CpuMap;
    if (map.mapUpdateElem(1, 192, null, 0) !== 0) throw new UsageError("scenarios", "cpumap entry", 1, "the map refuses it");
    world.attach(world.kcb0, world.program((ctx) => ctx.redirectMap(map, 1, XDP_PASS)));
  });
}

export function genericXdp(): Recipe {
  return udpRecipe("invariant", readers, (world) => world.attach(world.kcb0, world.program(pass, true), XDP_FLAGS_SKB_MODE));
}

/** A tap that nobody reads, for two seconds, as the script's sleeps; another CPU than the one that received frees what it holds. */
export function tap(): Recipe {
  return udpRecipe("exact", readers, (world) => {
    world.attach(world.kcb0, world.program(pass));
    const { sockets, receive } = world.machine.net;
    const tap = sockets.openTap({ name: "AF_PACKET" });
    receive.addTap(tap, world.kcb0.dev);
    const { timers } = world.machine.kernel;
    timers.modTimer(timers.timerSetup(() => {
      receive.removeTap(tap);
      tap.close();
    }, OTHER_CPU), 2 * NSEC_PER_SEC);
  });
}

export function forward(): Recipe {
  return udpRecipe("exact", only, (world) => {
    world.attach(world.kcb0, world.program(pass));
    world.setProtocol(world.machine.net.inet, [world.kca0, world.kcb0], noSockets(world));
    const errno = world.machine.net.inet.routeAdd({ destination: 0x0a00_0000, prefixLength: 8, dev: world.kcb1.dev, neighbour: new Uint8Array([2, 0, 0, 0, 0, 3]) });
    if (errno !== 0) throw new UsageError("scenarios", "route", errno, "it was refused with this errno");
  });
}
