import type { PacketHolder, PacketHolderKind, SkBuff } from "./api/index.ts";

/** Adds a holder of packets, unless there are none. */
export function addHolder(to: PacketHolder[], kind: PacketHolderKind, name: string, packets: readonly SkBuff[]): void {
  if (packets.length === 0) return;
  to.push({ kind, name, packets, pages: [], since: packets.reduce((oldest, { tstamp }) => Math.min(oldest, tstamp), Infinity) });
}
