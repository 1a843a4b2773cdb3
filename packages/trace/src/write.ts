import { CONTEXT_HARDIRQ, CONTEXT_PROCESS, CONTEXT_SOFTIRQ, NSEC_PER_SEC, type TraceRecord, type TraceRing } from "@netmem/kernel/api";
import { MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, MEM_TYPE_PAGE_SHARED, MEM_TYPE_XSK_BUFF_POOL, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX } from "@netmem/xdp/api";
import { SKB_CONSUMED, SKB_FREED_DEFERRED, SKB_FREED_UNTRACED } from "@netmem/net-core/api";

/** What records have as numbers, and lines as names. */
export interface TraceNames {
  /** @kernel dev.name */
  readonly device: (ifindex: number) => string;
  /** @kernel enum skb_drop_reason */
  readonly dropReason: (reason: number) => string;
  readonly nrCpus: number;
}

/** Where the model's structs would lie, without address randomisation. @kernel PAGE_OFFSET, VMEMMAP_START (arch/x86/include/asm/page_64_types.h) */
const POOLS = 0xffff_8881_0000_0000n;
const POOL_BYTES = 0x800n;
const SKBS = 0xffff_8881_4000_0000n;
const SKB_BYTES = 0x100n;
const VMEMMAP = 0xffff_ea00_0000_0000n;
const NET_IOVS = 0xffff_c900_0000_0000n;
const NAPIS = 0xffff_8881_8000_0000n;

const MEM_TYPES: Readonly<Record<number, string>> = { [MEM_TYPE_PAGE_SHARED]: "PAGE_SHARED", [MEM_TYPE_PAGE_ORDER0]: "PAGE_ORDER0", [MEM_TYPE_PAGE_POOL]: "PAGE_POOL", [MEM_TYPE_XSK_BUFF_POOL]: "XSK_BUFF_POOL" };
const ACTIONS: Readonly<Record<number, string>> = { [XDP_ABORTED]: "ABORTED", [XDP_DROP]: "DROP", [XDP_PASS]: "PASS", [XDP_TX]: "TX", [XDP_REDIRECT]: "REDIRECT" };
/** @kernel print_lat_fmt (kernel/trace/trace_output.c) */
const FLAGS: Readonly<Record<number, string>> = { [CONTEXT_PROCESS]: ".....", [CONTEXT_SOFTIRQ]: "..s1.", [CONTEXT_HARDIRQ]: "d.h1." };
const TASKS: Readonly<Record<number, string>> = { [CONTEXT_PROCESS]: "netmem-1", [CONTEXT_SOFTIRQ]: "<idle>-0", [CONTEXT_HARDIRQ]: "<idle>-0" };

const HEADING = `#
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

/**
 * A machine's trace as `trace` of tracefs would show it in 6.18, with raw addresses: of its records those that are tracepoints of the kernel. What was overwritten is told in the heading, as there.
 * @kernel print_trace_fmt (kernel/trace/trace.c)
 */
export function writeTracefs(trace: TraceRing, names: TraceNames): string {
  const lines: string[] = [];
  for (const record of trace.records()) {
    const text = payloadOf(record, names);
    if (text !== null) lines.push(`${prefixOf(record)}${text}`);
  }
  const lost = trace.overwritten();
  return `# tracer: nop\n#\n# entries-in-buffer/entries-written: ${lines.length}/${lines.length + lost}   #P:${names.nrCpus}\n${HEADING}${lines.map((line) => `${line}\n`).join("")}`;
}

function prefixOf({ cpu, level, timeNs }: TraceRecord): string {
  const [task, pid] = TASKS[level]!.split("-") as [string, string];
  const seconds = Math.floor(timeNs / NSEC_PER_SEC);
  const micros = String(Math.floor((timeNs - seconds * NSEC_PER_SEC) / 1000)).padStart(6, "0");
  return `${task.padStart(16)}-${pid.padEnd(7)} [${String(cpu).padStart(3, "0")}] ${FLAGS[level]!} ${String(seconds).padStart(5)}.${micros}: `;
}

/** Null: an event of the model's alone, or one that a kernel has no tracepoint for. */
function payloadOf({ kind: { name }, args, cpu }: TraceRecord, names: TraceNames): string | null {
  const [a, b, c, d, e, f, g] = args as [number, number, number, number, number, number, number];
  switch (name) {
    case "page_pool_state_hold": return `${name}: page_pool=${pool(a)} netmem=${netmem(b, c)} is_net_iov=${c}, pfn=0x${(d >>> 0).toString(16)} hold=${e >>> 0}`;
    case "page_pool_state_release": return `${name}: page_pool=${pool(a)} netmem=${netmem(b, c)} is_net_iov=${c} pfn=0x${(d >>> 0).toString(16)} release=${e >>> 0}`;
    case "page_pool_release": return `${name}: page_pool=${pool(a)} inflight=${b} hold=${c >>> 0} release=${d >>> 0} cnt=${e}`;
    case "page_pool_update_nid": return `${name}: page_pool=${pool(a)} pool_nid=${b} new_nid=${c}`;
    case "mem_connect": return `${name}: mem_id=${a} mem_type=${MEM_TYPES[b] ?? b} allocator=${pool(c)} ifindex=${d}`;
    case "mem_disconnect": return `${name}: mem_id=${a} mem_type=${MEM_TYPES[b] ?? b} allocator=${pool(c)}`;
    case "xdp_exception": return `${name}: prog_id=${a} action=${ACTIONS[b] ?? b} ifindex=${c}`;
    case "xdp_redirect": case "xdp_redirect_err": return `${name}: prog_id=${a} action=REDIRECT ifindex=${b} to_ifindex=${c} err=${d} map_id=${e} map_index=${f}`;
    case "xdp_devmap_xmit": return `${name}: ndo_xdp_xmit from_ifindex=${a} to_ifindex=${b} action=REDIRECT sent=${c} drops=${d} err=${e}`;
    case "xdp_bulk_tx": return `${name}: ifindex=${a} action=TX sent=${b} drops=${c} err=${d}`;
    case "xdp_cpumap_enqueue": return `${name}: enqueue cpu=${cpu} map_id=${a} action=REDIRECT processed=${b} drops=${c} to_cpu=${d}`;
    case "xdp_cpumap_kthread": return `${name}: kthread cpu=${cpu} map_id=${a} action=REDIRECT processed=${b} drops=${c} sched=${d} xdp_pass=${e} xdp_drop=${f} xdp_redirect=${g}`;
    case "netif_receive_skb": return `${name}: dev=${names.device(a)} skbaddr=${skb(b)} len=${c}`;
    case "napi_gro_receive_entry": return `${name}: dev=${names.device(a)} napi_id=0x0 queue_mapping=0 skbaddr=${skb(b)} vlan_tagged=0 vlan_proto=0x0000 vlan_tci=0x0000 protocol=0x0800 ip_summed=${g} hash=0x00000000 l4_hash=0 len=${c} data_len=${d} truesize=${e} mac_header_valid=1 mac_header=-14 nr_frags=${f} gso_size=0 gso_type=0x0`;
    case "napi_poll": return `${name}: napi poll on napi struct ${address(NAPIS + BigInt(a) * SKB_BYTES)} for device ${b === 0 ? "(no_device)" : names.device(b)} work ${c} budget ${d}`;
    case "skb_freed": return f === SKB_FREED_UNTRACED ? null : freed(a, b, f, names);
    default: return null;
  }
}

/** The model does not know the caller's name, only whether it was the flush of a list. */
function freed(id: number, reason: number, how: number, names: TraceNames): string {
  const location = how === SKB_FREED_DEFERRED ? "skb_defer_free_flush+0x0/0x0" : reason === SKB_CONSUMED ? "consume_skb+0x0/0x0" : "sk_skb_reason_drop+0x0/0x0";
  if (reason === SKB_CONSUMED) return `consume_skb: skbaddr=${skb(id)} location=${location}`;
  return `kfree_skb: skbaddr=${skb(id)} rx_sk=0000000000000000 protocol=2048 location=${location} reason: ${names.dropReason(reason)}`;
}

function pool(id: number): string {
  return address(POOLS + BigInt(id) * POOL_BYTES);
}

function skb(id: number): string {
  return address(SKBS + BigInt(id) * SKB_BYTES);
}

function netmem(offset: number, isNetIov: number): string {
  return address((isNetIov === 1 ? NET_IOVS : VMEMMAP) + BigInt(offset >>> 0));
}

function address(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
