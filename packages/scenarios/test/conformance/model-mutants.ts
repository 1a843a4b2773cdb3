import type { Mutant } from "./mutant.ts";

const netgpu = { plugin: "memory-model-netgpu", member: "netgpu" };
const devmem = { plugin: "memory-model-devmem", member: "devmem" };
const zcrx = { plugin: "memory-model-zcrx", member: "zcrx" };

export const MODEL_MUTANTS: readonly Mutant[] = [
  {
    ...netgpu, rule: "M1", subtle: true, mistake: "tells its user where a buffer is, and not where in it the next bytes begin",
    edits: [{ file: "socket-queue.ts", find: "(netmem!.index << PAGE_SHIFT) + offset + skip, bytes)", replace: "(netmem!.index << PAGE_SHIFT) + offset, bytes)" }],
  },
  {
    ...devmem, rule: "M1", subtle: true, mistake: "begins each piece at its buffer's data, also one of which a part was read before",
    edits: [{ file: "socket.ts", find: "(netmem!.index << PAGE_SHIFT) + offset + skip, fragSize: bytes", replace: "(netmem!.index << PAGE_SHIFT) + offset, fragSize: bytes + skip - skip" }],
  },
  {
    ...zcrx, rule: "M3", subtle: true, mistake: "keeps what a pool gives up",
    edits: [{ file: "ifq.ts", find: "    this.provided.release(pool, netmem);\n    return false;", replace: "    pool.niovClearPagePool(netmem);\n    return false;" }],
  },
  {
    ...netgpu, rule: "M6", subtle: true, mistake: "keeps buffers after unbind: what lies on its fill queue is never looked at again",
    edits: [{ file: "interface-queue.ts", find: "      if (area !== null) area.provided.putUser(niovAt(area, address));\n    }\n    this.#context", replace: "      void area;\n    }\n    this.#context" }],
  },
  {
    ...devmem, rule: "M6", subtle: true, mistake: "takes a reference for its user twice",
    edits: [{ file: "socket.ts", find: "    this.#binding.provided.giveToUser(netmem!);\n", replace: "    this.#binding.provided.giveToUser(netmem!);\n    this.#binding.provided.giveToUser(netmem!);\n" }],
  },
  {
    ...netgpu, rule: "M5", subtle: true, mistake: "touches unreadable memory: adds up a checksum over what it delivers",
    edits: [{ file: "netgpu.ts", find: "      onBytes(provided.area.region, address - start, bytes);\n", replace: "      this.#context.sum(provided.area.region, address - start, bytes);\n      onBytes(provided.area.region, address - start, bytes);\n" }, { file: "context.ts", find: "  /** Null: no area has it.", replace: "  sum(region: Parameters<MemoryModelDeps[\"payload\"][\"checksum\"]>[0], offset: number, bytes: number): number {\n    return this.#deps.payload.checksum(region, offset, bytes);\n  }\n\n  /** Null: no area has it." }],
  },
  {
    ...zcrx, rule: "M7", subtle: true, mistake: "does not let go of a pool that is gone: its area stays mapped",
    edits: [{ file: "ifq.ts", find: "    this.provided.removePool(pool);\n", replace: "    void pool;\n" }, { file: "ifq.ts", find: "    this.#head = this.#tail;\n    this.provided.unmap();\n", replace: "    this.#head = this.#tail;\n" }],
  },
  {
    ...devmem, rule: "M2", subtle: true, mistake: "stays bound to a queue that refused it",
    edits: [{ file: "binding.ts", find: "    if (errno === 0) this.#queues.push({ dev, index });\n    return errno;", replace: "    if (errno === 0) this.#queues.push({ dev, index });\n    else dev.rxQueues[index]!.memoryProvider ??= this;\n    return errno;" }],
  },
  {
    ...netgpu, rule: "M4", subtle: true, mistake: "gives a reference back to the pool that its area has given back already",
    edits: [{ file: "interface-queue.ts", find: "    if (!this.#closed) return this.fill.push(address, 0);\n    const area = this.#context.areaAt(address);\n", replace: "    const area = this.#context.areaAt(address);\n    if (area !== null) this.#pools[0]?.unrefNetmem(niovAt(area, address), 1);\n    if (!this.#closed) return this.fill.push(address, 0);\n" }],
  },
  {
    ...zcrx, rule: "M8", subtle: true, mistake: "tells its user of a buffer and takes no reference for it: it is the device's again as the packet is freed",
    edits: [{ file: "recv.ts", find: "    provided.giveToUser(netmem!);\n    return bytes;", replace: "    return bytes;" }],
  },
  {
    ...netgpu, rule: "M9", subtle: true, mistake: "throws on the fill queue when its binding is closed under traffic",
    edits: [{ file: "interface-queue.ts", find: "  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {\n", replace: "  allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {\n    if (this.#pools.length > 1) throw new Error(\"two pools\");\n" }],
  },
  {
    ...devmem, rule: "M7", subtle: true, mistake: "takes its memory away from a device that still receives into it",
    edits: [{ file: "binding.ts", find: "    for (const { dev, index } of this.#queues.splice(0)) this.#deps.providers.closeRxq(dev, index, this);\n    this.provided.unmap();\n", replace: "    this.provided.unmap();\n    for (const { dev, index } of this.#queues.splice(0)) this.#deps.providers.closeRxq(dev, index, this);\n" }],
  },
  {
    ...devmem, rule: "M9", subtle: true, mistake: "forgets its queues as it is closed, and they it not",
    edits: [{ file: "binding.ts", find: "    for (const { dev, index } of this.#queues.splice(0)) this.#deps.providers.closeRxq(dev, index, this);\n", replace: "    this.#queues.splice(0);\n" }],
  },
  {
    ...devmem, rule: "M6", subtle: true, mistake: "stays bound to a device that is gone",
    edits: [{ file: "binding.ts", find: "    queue.memoryProvider = null;\n", replace: "" }],
  },
];
