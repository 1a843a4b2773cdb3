import type { TcpSocket } from "@netmem/net-core/api";
import { tcpFrame } from "@netmem/testkit";
import { XDP_PASS } from "@netmem/xdp/api";
import type { Truth } from "../truth.ts";
import { NAPI_CPU, OTHER_CPU, type VethWorld } from "../world.ts";
import { ONE, type Recipe, type Variant } from "./recipe.ts";

const PORT = 7701;
/** What fits into a packet of 1500 bytes with timestamps; what a sender puts into one that devices may cut up. */
const MSS = 1448;
const LARGE_SEGMENT = 63_712;
const READ_BYTES = 65_536;
/** Segments under way before the reader has its turn. */
const WINDOW = 64;

/** Segments in order, read or spliced as they come. Which of them GRO merges, and how far the reader lags, differs from run to run on a kernel: only what holds for all is compared. */
function stream(world: VethWorld, { tcpBytes }: Truth, { readerIsElsewhere }: Variant, segment: number, splices: boolean): void {
  const { net, mm } = world.machine;
  const sockets: TcpSocket[] = [];
  net.inet.tcpListen({ name: "tcp", port: PORT, accept: (socket) => void sockets.push(socket) });
  const user = mm.payload.addRegion("reader", READ_BYTES, true);
  const pipe = net.inet.createPipe();
  const bytes = tcpBytes ?? 0;
  const payload = new Uint8Array(segment).fill(0x6b);
  const readAll = (): void => world.asProcess(readerIsElsewhere ? OTHER_CPU : NAPI_CPU, () => {
    for (const socket of sockets) {
      if (!splices) while (socket.recvmsg(user, 0, READ_BYTES) > 0);
      else while (socket.spliceRead(pipe, READ_BYTES) > 0) pipe.read(user, 0, READ_BYTES);
    }
  });
  let sent = 0;
  for (let n = 1; sent < bytes; n++) {
    const part = payload.subarray(0, Math.min(segment, bytes - sent));
    world.sendSkb(world.kca0, () => world.skb(tcpFrame(part, { dport: PORT, seq: 1 + sent })));
    sent += part.length;
    if (n % WINDOW === 0) readAll();
  }
  readAll();
  for (const socket of sockets) socket.close();
  pipe.close();
}

function tcpRecipe(segment: number, hasFrags: boolean, splices: boolean): Recipe {
  return {
    level: "invariant", variants: tcpReaders, presets: ["6.8", "6.18"],
    run: (world, truth, variant, { end }) => {
      world.kca0.dev.mtu = hasFrags ? LARGE_SEGMENT + 100 : 1500;
      world.kcb0.dev.mtu = world.kca0.dev.mtu;
      world.attach(world.kcb0, world.program(() => XDP_PASS, hasFrags));
      stream(world, truth, variant, segment, splices);
      world.runTo(world.seconds + 0.2);
      world.detachAll();
      world.runTo(Math.max(world.seconds, end - truth.t0) + 2.5);
      return [];
    },
  };
}

/** The reader reads as segments come, wherever it is. */
function tcpReaders(): readonly Variant[] {
  return [{ ...ONE, name: "read where it was received" }, { ...ONE, name: "read on another CPU", readerIsElsewhere: true, wokenLater: true }];
}

export function tcp(): Recipe {
  return tcpRecipe(MSS, false, false);
}

export function tcpFrags(): Recipe {
  return tcpRecipe(LARGE_SEGMENT, true, false);
}

export function splice(): Recipe {
  return tcpRecipe(MSS, false, true);
}
