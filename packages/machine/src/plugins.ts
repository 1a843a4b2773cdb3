import { UsageError } from "@netmem/kernel/api";
import type { NetDriver, NetInterface } from "@netmem/driver/api";
import type { MemoryBinding, MemoryModel } from "@netmem/memory-model/api";

/** More than any NIC has, or receives in one frame. */
const MOST_RX_QUEUES = 1024;
const MOST_FRAME_BYTES = 0x100000;

/** Bytes of the shortest frame, without its check sequence. @kernel ETH_ZLEN (include/uapi/linux/if_ether.h) */
const ETH_ZLEN = 60;

/** Where nothing has checked types: names the first member that is missing. */
export function checkMemoryModel(model: MemoryModel): void {
  requireMembers("memory model", model, { name: "string", bind: "function" });
}

/** The same of a driver. */
export function checkDriver(driver: NetDriver): void {
  requireMembers("driver", driver, { name: "string", mostRxQueues: "number", rxDescFormat: "object", txDescFormat: "object", maxFrameBytes: "number", probe: "function" });
  const { name, mostRxQueues, maxFrameBytes, rxDescFormat, txDescFormat } = driver;
  if (name.trim() === "") throw new UsageError("machine", "name of driver", JSON.stringify(name), "give one: devices and messages are called after it");
  if (!Number.isInteger(mostRxQueues) || mostRxQueues < 1 || mostRxQueues > MOST_RX_QUEUES) throw new UsageError("machine", `mostRxQueues of driver ${name}`, mostRxQueues, `give 1 to ${MOST_RX_QUEUES}`);
  if (!Number.isInteger(maxFrameBytes) || maxFrameBytes < ETH_ZLEN || maxFrameBytes > MOST_FRAME_BYTES) throw new UsageError("machine", `maxFrameBytes of driver ${name}`, maxFrameBytes, `give ${ETH_ZLEN} to ${MOST_FRAME_BYTES}`);
  const common = { sizeBytes: "number", sizeWord: "number", sizeShift: "number", addressWord: "number", firstBit: "number", lastBit: "number" } as const;
  requireMembers(`rxDescFormat of driver ${name}`, rxDescFormat, { ...common, statusWord: "number", errorBit: "number", prefixBytes: "number", fcsBytes: "number" });
  requireMembers(`txDescFormat of driver ${name}`, txDescFormat, { ...common, commandWord: "number" });
}

/** What its `probe` answered. */
export function checkInterface(driver: NetDriver, netif: NetInterface): void {
  requireMembers(`interface of driver ${driver.name}`, netif, { dev: "object", open: "function", stop: "function" });
}

/** What its `bind` answered. */
export function checkBinding(model: MemoryModel, binding: MemoryBinding): void {
  requireMembers(`binding of memory model ${model.name}`, binding, { free: "function", held: "function", areas: "function", openStream: "function", close: "function", ...(model.delivers === "frames" ? { openFrames: "function" } : {}) });
}

function requireMembers(what: string, plugin: object | null, members: Readonly<Record<string, "string" | "number" | "function" | "object">>): void {
  if (typeof plugin !== "object" || plugin === null) throw new UsageError("machine", what, plugin, "give an object");
  const name = (plugin as { readonly name?: unknown }).name;
  const called = typeof name === "string" ? `${what} ${name}` : what;
  for (const [member, type] of Object.entries(members)) {
    const value: unknown = (plugin as Record<string, unknown>)[member];
    if (typeof value !== type) throw new UsageError("machine", `${member} of ${called}`, value, `it must be ${type === "object" ? "an object" : `a ${type}`}`);
  }
}
