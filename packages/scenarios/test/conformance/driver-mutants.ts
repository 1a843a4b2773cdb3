import type { Mutant } from "./mutant.ts";

const mvneta = { plugin: "driver-mvneta", member: "mvneta" };
const headerSplit = { plugin: "driver-header-split", member: "headerSplit" };
const striding = { plugin: "driver-striding", member: "striding" };
const splitPage = { plugin: "driver-split-page", member: "splitPage" };
const xsk = { plugin: "driver-xsk", member: "xsk" };

export const DRIVER_MUTANTS: readonly Mutant[] = [
  {
    ...mvneta, rule: "traffic", subtle: true, mistake: "leaves its timer armed when it goes down",
    edits: [{ file: "rx-queue.ts", find: "    this.#timers.timerDelete(this.#retry);\n", replace: "" }],
  },
  {
    ...mvneta, rule: "R2", subtle: true, mistake: "loses the first fragment of a packet in several buffers that a program drops",
    edits: [{ file: "poll.ts", find: "function putBuff({ xdp, pool }: MvnetaRxQueue, touchedBytes: number): void {\n  for (let i = 0;", replace: "function putBuff({ xdp, pool }: MvnetaRxQueue, touchedBytes: number): void {\n  for (let i = 1;" }],
  },
  {
    ...xsk, rule: "R2", subtle: true, mistake: "frees no packet that it drops early",
    edits: [{ file: "poll-pages.ts", find: "    dev.rxDropped++;\n    deps.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);\n  } else deps.receive", replace: "    dev.rxDropped++;\n  } else deps.receive" }],
  },
  {
    ...mvneta, rule: "traffic", subtle: true, mistake: "does not try again after a short refill: no interrupt ever comes once the ring is empty",
    edits: [{ file: "rx-queue.ts", find: "if (done < wanted && !this.#retry.pending)", replace: "if (done < 0 && !this.#retry.pending)" }],
  },
  {
    ...mvneta, rule: "traffic", subtle: true, mistake: "believes the length in a descriptor, also one that goes beyond its descriptors",
    edits: [{ file: "poll.ts", find: "|| ((status & MVNETA_RXD_LAST_DESC) !== 0 && rxq.leftBytes > 0)) dropFrame(rxq);", replace: ") dropFrame(rxq);" }],
  },
  {
    ...mvneta, rule: "R1", subtle: true, mistake: "refills from the timer that tries again, beside a poll that may run (as octeontx2 did, 88e69af061f2)",
    edits: [{ file: "rx-queue.ts", find: "timerSetup(() => deps.napi.napiSchedule(napi), cpu)", replace: "timerSetup(() => this.refillAfterPoll(), cpu)" }],
  },
  {
    ...mvneta, rule: "traffic", subtle: true, mistake: "leaves redirected packets to the next poll that flushes",
    edits: [{ file: "poll.ts", find: "  if ((ran & RAN_XDP_REDIR) !== 0) deps.xdpRedirect.xdpDoFlush();\n", replace: "" }],
  },
  {
    ...mvneta, rule: "R2", subtle: true, mistake: "forgets the first fragment of a frame that is given up",
    edits: [{ file: "rx-queue.ts", find: "    for (let i = 0; i < xdp.nrFrags; i++) {\n      const frag = xdp.frags[i]!;\n      pool.putFullNetmem(frag.netmem!, allowDirect);", replace: "    for (let i = 1; i < xdp.nrFrags; i++) {\n      const frag = xdp.frags[i]!;\n      pool.putFullNetmem(frag.netmem!, allowDirect);" }],
  },
  {
    ...mvneta, rule: "R2", subtle: true, mistake: "puts twice: the head of a dropped frame stays where it was",
    edits: [{ file: "rx-queue.ts", find: "    if (xdp.head !== null) pool.putFullNetmem(xdp.head, allowDirect);\n    xdp.head = null;\n", replace: "    if (xdp.head !== null) pool.putFullNetmem(xdp.head, allowDirect);\n" }],
  },
  {
    ...xsk, rule: "R2", subtle: true, mistake: "treats a memory type that nobody set as SHARED: programs see pool pages of a queue without a memory model",
    edits: [{ file: "queue.ts", find: "xsk === null ? xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool)", replace: "xsk === null ? 0" }],
  },
  {
    ...xsk, rule: "R3", subtle: true, mistake: "takes the transmit ring back in every queue's poll: pages of one queue go straight into its cache from another's",
    edits: [{ file: "queue.ts", find: "if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);", replace: "if (shared.tx !== null) shared.tx.done(budget);" }],
  },
  {
    ...mvneta, rule: "R3", also: ["R8"], subtle: true, mistake: "recycles directly outside NAPI, from the timer that tries again",
    edits: [{ file: "rx-queue.ts", find: "timerSetup(() => deps.napi.napiSchedule(napi), cpu)", replace: "timerSetup(() => { for (let i = 0; i < size; i++) { const page = this.pages[i]; if (page !== null && i === this.firstToRefill) { this.pages[i] = null; pool.recycleDirect(page!); } } this.dropFrame(true); deps.napi.napiSchedule(napi); }, cpu)" }],
  },
  {
    ...mvneta, rule: "R4", subtle: true, mistake: "maps from the device only, also with a program that sends",
    edits: [{ file: "rx-queue.ts", find: "prog === null ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL", replace: "prog === null || DMA_BIDIRECTIONAL === 0 ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL" }],
  },
  {
    ...mvneta, rule: "R5", subtle: true, mistake: "syncs too little for the device: what the packet was, and not what a program made of it",
    edits: [{ file: "poll.ts", find: "Math.max(received, rxq.xdp.dataEnd) - MVNETA_SKB_HEADROOM", replace: "received - MVNETA_SKB_HEADROOM" }],
  },
  {
    ...mvneta, rule: "R5", subtle: true, mistake: "an offset of 0, though the hardware writes behind the headroom (maxLen is from there)",
    edits: [{ file: "rx-queue.ts", find: "offset: MVNETA_SKB_HEADROOM,", replace: "offset: 0," }],
  },
  {
    ...striding, rule: "R5", subtle: true, mistake: "puts a page that packets have parts of with a sync size",
    edits: [{ file: "wqe.ts", find: "this.#pool.putUnrefedNetmem(page, -1, allowDirect)", replace: "this.#pool.putUnrefedNetmem(page, 256, allowDirect)" }],
  },
  {
    ...mvneta, rule: "R6", subtle: true, mistake: "skips a sync for the CPU, of all buffers of a frame but the first",
    edits: [{ file: "poll.ts", find: "  deps.dma.syncForCpu(page.dmaAddr, MVNETA_SKB_HEADROOM, bytes, rxq.dmaDir);\n  deps.xdpBuffs.xdpBuffAddFrag", replace: "  deps.xdpBuffs.xdpBuffAddFrag" }],
  },
  {
    ...splitPage, rule: "R6", subtle: true, mistake: "syncs the first 256 bytes of a buffer, where headers are",
    edits: [{ file: "split-buffer.ts", find: "syncForCpu(buffer.dmaAddr, buffer.pageOffset, bytes, DMA_FROM_DEVICE)", replace: "syncForCpu(buffer.dmaAddr, buffer.pageOffset, Math.min(bytes, 256), DMA_FROM_DEVICE)" }],
  },
  {
    ...mvneta, rule: "R7", subtle: true, mistake: "leaks the id of its memory model when there is no memory for the ring",
    edits: [{ file: "rx-queue.ts", find: "    if (registered === 0) deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);\n", replace: "" }],
  },
  {
    ...mvneta, rule: "R7", subtle: true, mistake: "registers its queue before the pool, and leaves it registered when there is no memory for that",
    edits: [
      { file: "rx-queue.ts", find: "  const pool = deps.pagePools.create({\n", replace: "  const registered = deps.xdpRxqs.xdpRxqInfoRegFrags(queue.xdpRxq, queue.dev, queue.index, PAGE_SIZE);\n  const pool = deps.pagePools.create({\n" },
      { file: "rx-queue.ts", find: "  const registered = deps.xdpRxqs.xdpRxqInfoRegFrags(xdpRxq, queue.dev, queue.index, PAGE_SIZE);\n", replace: "" },
    ],
  },
  {
    ...mvneta, rule: "R7", subtle: true, mistake: "does not look at what creating its pool answered: an errno reaches the registration (as lan966x did)",
    edits: [{ file: "rx-queue.ts", find: "  if (typeof pool === \"number\") return pool;\n", replace: "" }],
  },
  {
    ...striding, rule: "R7", subtle: true, mistake: "destroys the pool before it is unregistered",
    edits: [
      { file: "queue.ts", find: "    if (xdpRxq.regState === REG_STATE_REGISTERED) this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);\n    pool.destroy();\n", replace: "    pool.destroy();\n    if (xdpRxq.regState === REG_STATE_REGISTERED) this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);\n" },
    ],
  },
  {
    ...mvneta, rule: "R8", subtle: true, mistake: "frees posted buffers while the device may still write to them",
    edits: [
      { file: "mvneta.ts", find: "    rxq.hw.stop();\n", replace: "" },
      { file: "mvneta.ts", find: "    this.#port.tx = null;\n    destroyRxQueue(this.#deps, rxq);\n", replace: "    this.#port.tx = null;\n    destroyRxQueue(this.#deps, rxq);\n    rxq.hw.stop();\n" },
    ],
  },
  {
    ...headerSplit, rule: "R9", subtle: true, mistake: "lets the old pool recycle directly while its instance polls for the new one (dd64b232deb8)",
    edits: [{ file: "queue.ts", find: "    memory.headPool.disableDirectRecycling();\n    memory.payloadPool.disableDirectRecycling();\n", replace: "    memory.headPool.disableDirectRecycling();\n" }],
  },
  {
    ...headerSplit, rule: "R10", subtle: true, mistake: "marks a packet as it goes up, and so forgets the mark on the error path",
    edits: [
      { file: "poll.ts", find: "  recycle.skbMarkForRecycle(skb, head, memory.headMem);\n", replace: "  void recycle;\n" },
      { file: "poll.ts", find: "    deps.edit.ethTypeTrans(skb);\n", replace: "    deps.recycle.skbMarkForRecycle(skb, skb.shinfo!.headPage!, memory.headMem);\n    deps.edit.ethTypeTrans(skb);\n" },
    ],
  },
  {
    ...mvneta, rule: "R10", subtle: true, mistake: "tells nobody whose the further pages of a packet are",
    edits: [{ file: "poll.ts", find: "    recycle.storeMemInfo(netmem, mem);\n", replace: "" }],
  },
  {
    ...striding, rule: "R11", subtle: true, mistake: "does not count the part of a page that a program sends on (7abd955a58fb)",
    edits: [{ file: "wqe.ts", find: "  give(fragPage: FragPage): void {\n    fragPage.frags++;\n", replace: "  give(fragPage: FragPage): void {\n" }],
  },
  {
    ...striding, rule: "R11", subtle: false, mistake: "counts a bias once too often",
    edits: [{ file: "wqe.ts", find: "  take(fragPage: FragPage): void {\n    fragPage.frags++;\n", replace: "  take(fragPage: FragPage): void {\n    fragPage.frags += 2;\n" }],
  },
  {
    ...headerSplit, rule: "R12", subtle: true, mistake: "names no queue for its pool of unreadable memory: right as long as it is queue 0's",
    edits: [{ file: "queue-memory.ts", find: "netdev: queue.dev, queueIdx: queue.index,", replace: "netdev: queue.dev," }],
  },
  {
    ...headerSplit, rule: "R12", subtle: true, mistake: "takes headers from a pool that may have unreadable memory",
    edits: [{ file: "queue-memory.ts", find: "pagePools.create({ ...params(deps, queue, size), maxLen: PAGE_SIZE })", replace: "pagePools.create({ ...params(deps, queue, size), maxLen: PAGE_SIZE, flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM })" }],
  },
  {
    ...mvneta, rule: "R13", subtle: true, mistake: "gives its pool no device: nobody finds it by netlink",
    edits: [{ file: "rx-queue.ts", find: "netdev: queue.dev,", replace: "netdev: null," }],
  },
  {
    ...mvneta, rule: "R14", subtle: true, mistake: "polls with a budget of 0 as with any other: what is missing is refilled with interrupts off",
    edits: [{ file: "mvneta.ts", find: "    if (budget === 0) return 0;\n", replace: "" }],
  },
  {
    ...splitPage, rule: "R14", subtle: true, mistake: "takes frames of a program back whatever its budget is",
    edits: [{ file: "queue.ts", find: "shared.tx.done(budget);", replace: "shared.tx.done(64);" }],
  },
  {
    ...striding, rule: "R14", subtle: true, mistake: "does nothing at all in a poll with a budget of 0",
    edits: [{ file: "queue.ts", find: "if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);\n    if (budget === 0) return 0;\n", replace: "if (budget === 0) return 0;\n    if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);\n" }],
  },
  {
    ...headerSplit, rule: "R14", subtle: true, mistake: "enables its interrupts as it leaves, whatever its budget is",
    edits: [{ file: "queue.ts", find: "      if (budget === 0) return 0;\n", replace: "      if (budget === 0) {\n        this.hw.enableIrq();\n        return 0;\n      }\n" }],
  },
  {
    ...xsk, rule: "R13", subtle: true, mistake: "gives its pool no NAPI instance",
    edits: [{ file: "queue.ts", find: "dev: dma, napi: this.napi,", replace: "dev: dma, napi: null," }],
  },
];
