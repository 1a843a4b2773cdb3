/** Something that a plugin must keep to, and how a checklist names it. */
export interface Rule {
  readonly id: string;
  /** What must hold, in a line. */
  readonly demands: string;
}

/**
 * Of a driver. R1 to R14 are what the kernel's page_pool documentation and its history of bugs demand; `traffic` is what they are for.
 * @kernel Documentation/networking/page_pool.rst, Documentation/networking/napi.rst, include/net/page_pool/helpers.h
 */
export const DRIVER_RULES: readonly Rule[] = [
  { id: "traffic", demands: "frames come up whole, in order, once; it opens, stops and goes on after what failed" },
  { id: "R1", demands: "a pool belongs to one receive queue, and is allocated from in that queue's poll only" },
  { id: "R2", demands: "every page ends in one last put, or travels in a marked skb or a registered frame" },
  { id: "R3", demands: "direct recycling only by the pool's own poll" },
  { id: "R4", demands: "pages are mapped from the device, and both ways where XDP may transmit them" },
  { id: "R5", demands: "what the pool syncs for the device covers what the device writes and the CPU touched" },
  { id: "R6", demands: "the driver syncs for the CPU what it lets the CPU read" },
  { id: "R7", demands: "the memory model is registered after its pool, undone in reverse, and errors are looked at" },
  { id: "R8", demands: "the device is stopped before posted buffers go home" },
  { id: "R9", demands: "direct recycling ends before its NAPI instance polls for another pool" },
  { id: "R10", demands: "every skb with pool pages is marked, on every path" },
  { id: "R11", demands: "references taken in advance are counted once for each consumer" },
  { id: "R12", demands: "a pool of unreadable memory names its queue, has no headers, and no byte of it is read" },
  { id: "R13", demands: "a pool names its device and its NAPI instance" },
  { id: "R14", demands: "a poll with a budget of 0 takes back sent packets of the stack, and does nothing else" },
];

/** Of a memory model plugin, which is bound to a queue. */
export const MEMORY_MODEL_RULES: readonly Rule[] = [
  { id: "M1", demands: "its users are given what was sent, whole and in order" },
  { id: "M2", demands: "a refused binding leaves nothing, and the queue runs on" },
  { id: "M3", demands: "every buffer comes home: free, held and out add up, at each step and in the end" },
  { id: "M4", demands: "a reference is given back once" },
  { id: "M5", demands: "the CPU never reads memory that only the device can" },
  { id: "M6", demands: "what users hold stays valid after the model is closed, and comes home after it" },
  { id: "M7", demands: "memory is mapped once for a device, for as long as a pool uses it" },
  { id: "M8", demands: "no buffer is the device's while somebody else has it" },
  { id: "M9", demands: "queues are restarted, closed and bound again under traffic" },
];

/** Of a memory provider, which stands behind a page_pool. @kernel include/net/page_pool/memory_provider.h */
export const MEMORY_PROVIDER_RULES: readonly Rule[] = [
  { id: "P1", demands: "init refuses what it cannot serve, and then keeps nothing" },
  { id: "P2", demands: "each netmem it gives is marked, counted once, and has a device address" },
  { id: "P3", demands: "the cache is filled to its room, not beyond" },
  { id: "P4", demands: "a netmem is in one place: free, a pool's, or a user's" },
  { id: "P5", demands: "what is released is unmarked and free again; what is not its own is left to the pool" },
  { id: "P6", demands: "destroy drops what init took, and mappings end with the last pool" },
  { id: "P7", demands: "it says what it is, and lets go of a queue whose device goes away" },
];

/** Of an allocator that is registered as a memory model of its own. @kernel struct xdp_mem_allocator (include/net/xdp_priv.h) */
export const MEM_MODEL_RULES: readonly Rule[] = [
  { id: "A1", demands: "a returned netmem can be handed out again; none is lost, whoever returns it" },
  { id: "A2", demands: "a further holder is counted, and the last one's going brings it home" },
  { id: "A3", demands: "in bulk is as one by one" },
  { id: "A4", demands: "what is let go of is nobody's any more, and the caller keeps its reference" },
  { id: "A5", demands: "registered under an id, it says that it is gone before it dies, and waits for what is out" },
];

/** Of a return path, which finds a freed netmem's owner. @kernel napi_pp_put_page (net/core/skbuff.c) */
export const RETURN_PATH_RULES: readonly Rule[] = [
  { id: "T1", demands: "a stored netmem goes home to the model that owns it" },
  { id: "T2", demands: "what nobody owns stays the caller's, for a plain put" },
  { id: "T3", demands: "a further holder is counted by the owner, and nothing where there is none" },
  { id: "T4", demands: "netmems of several models in one skb each go to their own" },
];
