import { UsageError } from "@netmem/kernel/api";
import { GFP_KERNEL, PAGE_SIZE } from "@netmem/mm/api";
import { XDP_COPY, XDP_PASS, type XskMap } from "@netmem/xdp/api";
import type { VethWorld } from "../world.ts";
import { only, type Recipe } from "./recipe.ts";
import { udpRecipe } from "./udp.ts";

const CHUNK_BYTES = 2048;
const CHUNKS = 2048;

/** An AF_XDP socket in copy mode, whose chunks are given back as fast as they are filled. */
function attachSocket(world: VethWorld): void {
  const { machine, kcb0 } = world;
  const socket = machine.xdp.afXdp.createSocket();
  const pages = Array.from({ length: (CHUNKS * CHUNK_BYTES) / PAGE_SIZE }, () => machine.mm.pages.allocPages(GFP_KERNEL, 0, -1)!);
  for (const errno of [socket.umemReg(pages, CHUNK_BYTES, 0, 0), socket.rxRing(CHUNKS), socket.fillRing(CHUNKS), socket.completionRing(CHUNKS), socket.bind(kcb0.dev, 0, XDP_COPY, null)]) {
    if (errno !== 0) throw new UsageError("scenarios", "AF_XDP socket", errno, "it was refused with this errno");
  }
  const fill = socket.fill!;
  const rx = socket.rx!;
  for (; fill.producer < CHUNKS; fill.producer++) fill.addr[fill.producer] = fill.producer * CHUNK_BYTES;
  const map = machine.xdp.maps.createXskMap(1) as XskMap;
  if (map.mapUpdateElem(0, socket, 0) !== 0) throw new UsageError("scenarios", "xskmap entry", 0, "the map refuses it");
  world.attach(kcb0, world.program((ctx) => {
    for (; rx.consumer !== rx.producer; rx.consumer++) fill.addr[fill.producer++ % CHUNKS] = rx.addr[rx.consumer % CHUNKS]!;
    return ctx.redirectMap(map, 0, XDP_PASS);
  }));
}

export function afXdp(): Recipe {
  return udpRecipe("exact", only, attachSocket);
}
