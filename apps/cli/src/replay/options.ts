import { Option, type Command } from "commander";
import { DMA_KIND_NAMES, FREE_ORDERS, MOST_SOCKETS, PRESET_NAMES, READ_TIMES, RETURN_PATHS, SHARED_RELEASES, dmaKind, type DmaKindName, type FreeOrder, type PresetName, type ReadTime, type WireTiming } from "@netmem/machine";
import { DMA_DEBUG_MODES, type DmaDebugMode } from "@netmem/mm";
import type { SharedRelease } from "@netmem/page-pool/api";
import type { ReturnPathName } from "@netmem/xdp/api";
import { designsOf } from "../designs.ts";
import { once, wholeNumber } from "../options.ts";
import { DEFAULT_DRIVER, DRIVER_NAMES, MODEL_NAMES } from "../plugins.ts";
import { CliError } from "../terminal.ts";
import { XDP_MODES, type XdpMode } from "./xdp.ts";

/** What `netmem replay` was asked for, checked. */
export interface ReplayOptions {
  readonly designs: readonly PresetName[];
  readonly timing: WireTiming;
  readonly seed: number;
  readonly ring: number;
  readonly tap: boolean;
  readonly expand: boolean;
  readonly freeOrder: FreeOrder;
  readonly readerLag: number;
  readonly readerCpu: number;
  readonly earlyDrop: boolean;
  /** TCP segments are merged as they are received. */
  readonly gro: boolean;
  /** Sockets of UDP ask that datagrams of a flow are merged, too. */
  readonly udpGro: boolean;
  /** Into so many sockets of UDP, and connections of TCP, instead of one reader of frames; when they are read. */
  readonly sockets?: number;
  readonly reader: ReadTime;
  /** Streams are read by mapping their pages. */
  readonly zerocopy: boolean;
  /** Bytes of truesize that a socket may hold; the kernel's defaults unless said otherwise. */
  readonly rcvbuf?: number;
  /** Out of a second device instead. */
  readonly forward: boolean;
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  readonly packetCostNs: number;
  readonly dma: DmaKindName;
  readonly dmaDebug: DmaDebugMode;
  readonly cpuCache: boolean;
  /** A program's file, and where it runs. */
  readonly xdp?: string;
  readonly xdpMode: XdpMode;
  /** Names, or paths, of the driver and of the memory model behind its second queue; and that one's buffers, a page each. */
  readonly driver: string;
  readonly model?: string;
  readonly buffers: number;
  /** The file that gets what devices send. */
  readonly write?: string;
  readonly trace?: string;
  /** Seconds after which a plugin, or a program, that has not returned hangs. */
  readonly hangLimit: number;
  /** Nothing is timed: no warm-up, and one run. */
  readonly countsOnly: boolean;
  readonly json: boolean;
}

/** As commander hands them over. */
interface RawOptions {
  readonly design?: string;
  readonly timing: WireTiming;
  readonly seed: number;
  readonly ring: number;
  readonly tap?: true;
  readonly expand?: true;
  readonly freeOrder?: FreeOrder;
  readonly readerLag: number;
  readonly readerCpu: number;
  readonly earlyDrop?: true;
  readonly gro?: true;
  readonly udpGro?: true;
  readonly sockets?: number;
  readonly reader?: ReadTime;
  readonly rcvbuf?: number;
  readonly zerocopy?: true;
  readonly forward?: true;
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  readonly packetCost?: number;
  readonly dma: DmaKindName;
  readonly dmaDebug?: DmaDebugMode;
  readonly cpuCache?: true;
  readonly xdp?: string;
  readonly xdpMode?: XdpMode;
  readonly driver?: string;
  readonly model?: string;
  readonly buffers?: number;
  readonly write?: string;
  readonly trace?: string;
  readonly hangLimit?: number;
  readonly countsOnly?: true;
  readonly json?: true;
}

const HANG_LIMIT_SECONDS = 20;
/** What a packet costs its CPU under `--timing capture`, unless said otherwise: about a million packets a second. */
const DEFAULT_PACKET_COST_NS = 1000;
export const DEFAULT_RING = 512;
export const DEFAULT_BUFFERS = 1024;
export const DEFAULT_DMA: DmaKindName = "iommu-strict";

export function declareReplayOptions(command: Command): Command {
  return command
    .addOption(new Option("--design <names>", `designs to run, separated by commas (default: ${PRESET_NAMES.join(",")})`).argParser(once("design")))
    .addOption(new Option("--driver <name>", `the NIC and its driver: ${DRIVER_NAMES.join(", ")}, or the path or package of one (default: ${DEFAULT_DRIVER})`).argParser(once("driver")))
    .addOption(new Option("--model <name>", `the memory model that is received into: ${MODEL_NAMES.join(", ")}, or the path or package of one: with --sockets TCP's payload, by a driver that splits headers; xsk whole frames, by --driver xsk`).argParser(once("model")))
    .addOption(new Option("--buffers <number>", `with --model: its buffers, a page each (default: ${DEFAULT_BUFFERS})`).argParser(wholeNumber("buffers", 1, 262_144)))
    .addOption(new Option("--timing <mode>", "back-to-back: as fast as the NIC takes frames, which loses none (a socket may, see --rcvbuf, and a device that sends on), and no simulated time passes; capture: by the file's clock, and a full ring loses frames").choices(["back-to-back", "capture"]).default("back-to-back"))
    .addOption(new Option("--tap", "clone every packet to a tap that frees later"))
    .addOption(new Option("--expand", "with --tap: make the clone's head private (pskb_expand_head) before it is freed"))
    .addOption(new Option("--free-order <order>", "with --tap: which of packet and clone is freed first (default: original)").choices([...FREE_ORDERS]))
    .addOption(new Option("--reader-lag <packets>", "leave this many packets waiting in the socket, 0 to 100000").default(0).argParser(wholeNumber("reader-lag", 0, 100_000)))
    .addOption(new Option("--reader-cpu <cpu>", "CPU of the reading process, 0 or 1; the NIC interrupts CPU 0").default(1).argParser(wholeNumber("reader-cpu", 0, 1)))
    .addOption(new Option("--early-drop", "drop each packet in the driver once its skb is built, as the 2021 series measured"))
    .addOption(new Option("--sockets <number>", `into IPv4: this many sockets of UDP, 1 to ${MOST_SOCKETS}, share the datagrams out by connection, and each connection of TCP has one of its own`).argParser(wholeNumber("sockets", 1, MOST_SOCKETS)))
    .addOption(new Option("--reader <when>", "with --sockets: when they are read: at once, once the traffic is over, or never, and then it is said who holds which pages (default: prompt)").choices([...READ_TIMES]))
    .addOption(new Option("--zerocopy", "with --sockets: read TCP by mapping its pages (TCP_ZEROCOPY_RECEIVE), where payload fills them from their beginning, which takes a NIC that splits headers; the rest is copied"))
    .addOption(new Option("--rcvbuf <bytes>", "with --sockets: bytes of truesize that each may hold (default: 212992, of TCP 6291456)").argParser(wholeNumber("rcvbuf", 1, 0x7fffffff)))
    .addOption(new Option("--forward", "send every IPv4 packet on by a second device, as a router does"))
    .addOption(new Option("--gro", "with --sockets or --forward: merge TCP segments of a connection as they are received"))
    .addOption(new Option("--udp-gro", "with --gro: datagrams of a flow are merged, too: with --sockets, of which those of UDP ask for it (UDP_GRO), to be read together; with --forward to be sent on (rx-udp-gro-forwarding)"))
    .addOption(new Option("--return-path <name>", "override how a recycling design finds a page's owner").choices([...RETURN_PATHS]))
    .addOption(new Option("--shared-release <policy>", "override what a put does that finds another reference: leave the pool (5.14), let the last holder recycle (the 2021 proposal), or count pool-aware holders apart (6.8)").choices([...SHARED_RELEASES]))
    .addOption(new Option("--ring <descriptors>", "receive descriptors, 32 to 512 (what the hardware has)").default(DEFAULT_RING).argParser(wholeNumber("ring", 32, 512)))
    .addOption(new Option("--packet-cost <ns>", `with --timing capture: simulated ns a packet costs its CPU (default: ${DEFAULT_PACKET_COST_NS})`).argParser(wholeNumber("packet-cost", 0, 1_000_000_000)))
    .addOption(new Option("--dma <kind>", "how the NIC reaches memory: coherent and non-coherent directly, bounce through swiotlb, the others behind an IOMMU and not coherent").choices([...DMA_KIND_NAMES]).default(DEFAULT_DMA))
    .addOption(new Option("--dma-debug <mode>", "on: mappings are recorded, and a driver's mistakes reported; every-sync: and no sync is skipped, which tells even on a coherent device; off: neither (default: on)").choices([...DMA_DEBUG_MODES]))
    .addOption(new Option("--cpu-cache", "model the CPU's cache, so that a forgotten sync shows in the bytes; not with --dma coherent or bounce"))
    .addOption(new Option("--xdp <program>", "run an XDP program on every packet: a JavaScript or TypeScript file whose default export is a function of the packet").argParser(once("xdp")))
    .addOption(new Option("--xdp-mode <mode>", "with --xdp: where it runs, in the driver or on skbs (default: driver)").choices([...XDP_MODES]))
    .addOption(new Option("--write <file>", "with --forward or --xdp, and one --design: write the frames that were sent into a capture (pcap), with the simulated time, which back to back stands still").argParser(once("write")))
    .addOption(new Option("--trace <file>", "with one --design: write what the model's tracepoints say, as tracefs would show it").argParser(once("trace")))
    .addOption(new Option("--hang-limit <seconds>", `with somebody's driver, model or program: what has not returned for so long hangs (default: ${HANG_LIMIT_SECONDS})`).argParser(wholeNumber("hang-limit", 1, 3600)))
    .addOption(new Option("--seed <number>", "orders what no rule orders").default(1).argParser(wholeNumber("seed", 0, 0xffffffff)))
    .addOption(countsOnlyOption())
    .addOption(new Option("--json", "one JSON document on stdout"));
}

/** Whoever is after the counts need not wait for the time to be measured. */
export function countsOnlyOption(): Option {
  return new Option("--counts-only", "time nothing, which is several times as fast: no warm-up, no repeated runs");
}

export function checkReplayOptions(raw: RawOptions): ReplayOptions {
  const designs = raw.design !== undefined ? designsOf(raw.design) : PRESET_NAMES.filter((name) => raw.model === undefined || name !== "stock");
  checkModelOptions(raw, designs);
  if (raw.tap === undefined) {
    if (raw.expand === true) throw new CliError("--expand makes the tap's clone private: give --tap too");
    if (raw.freeOrder !== undefined) throw new CliError("--free-order orders a packet and its clone: give --tap too");
  } else if (raw.earlyDrop === true) throw new CliError("--tap and --early-drop: a packet dropped in the driver reaches no tap; give one of them");
  if (raw.xdpMode !== undefined && raw.xdp === undefined) throw new CliError("--xdp-mode says where a program runs: give --xdp too");
  if (raw.xdp !== undefined && raw.earlyDrop === true) throw new CliError("--xdp and --early-drop: a packet is dropped by the program or by the driver; give one of them");
  if (raw.packetCost !== undefined && raw.timing !== "capture") throw new CliError("--packet-cost is simulated time, which back-to-back traffic does not look at: give --timing capture too");
  if (raw.earlyDrop === true && raw.readerLag > 0) throw new CliError("--reader-lag and --early-drop: a packet dropped in the driver reaches no socket; give one of them");
  checkInetOptions(raw);
  if (raw.write !== undefined) {
    if (raw.forward === undefined && raw.xdp === undefined) throw new CliError("--write: nothing is sent; give --forward or --xdp too");
    if (designs.length > 1) throw new CliError(`--write is one run's: name one --design of ${designs.join(", ")}`);
  }
  if (raw.trace !== undefined && designs.length > 1) throw new CliError(`--trace is one run's: name one --design of ${designs.join(", ")}`);
  if (raw.cpuCache === true && dmaKind(raw.dma).device.nonCoherent !== true) throw new CliError(`--cpu-cache: a coherent device, as --dma ${raw.dma} has it, never sees what is only in the cache; give another kind`);
  return {
    designs,
    timing: raw.timing,
    seed: raw.seed,
    ring: raw.ring,
    tap: raw.tap ?? false,
    expand: raw.expand ?? false,
    freeOrder: raw.freeOrder ?? "original",
    readerLag: raw.readerLag,
    readerCpu: raw.readerCpu,
    earlyDrop: raw.earlyDrop ?? false,
    gro: raw.gro ?? false,
    udpGro: raw.udpGro ?? false,
    ...(raw.sockets === undefined ? {} : { sockets: raw.sockets }),
    reader: raw.reader ?? "prompt",
    zerocopy: raw.zerocopy ?? false,
    ...(raw.rcvbuf === undefined ? {} : { rcvbuf: raw.rcvbuf }),
    forward: raw.forward ?? false,
    ...(raw.returnPath === undefined ? {} : { returnPath: raw.returnPath }),
    ...(raw.sharedRelease === undefined ? {} : { sharedRelease: raw.sharedRelease }),
    packetCostNs: raw.timing === "capture" ? (raw.packetCost ?? DEFAULT_PACKET_COST_NS) : 0,
    dma: raw.dma,
    dmaDebug: raw.dmaDebug ?? "on",
    cpuCache: raw.cpuCache ?? false,
    ...(raw.xdp === undefined ? {} : { xdp: raw.xdp }),
    xdpMode: raw.xdpMode ?? "driver",
    driver: raw.driver ?? DEFAULT_DRIVER,
    ...(raw.model === undefined ? {} : { model: raw.model }),
    buffers: raw.buffers ?? DEFAULT_BUFFERS,
    ...(raw.write === undefined ? {} : { write: raw.write }),
    ...(raw.trace === undefined ? {} : { trace: raw.trace }),
    hangLimit: raw.hangLimit ?? HANG_LIMIT_SECONDS,
    countsOnly: raw.countsOnly ?? false,
    json: raw.json ?? false,
  };
}

function checkModelOptions(raw: RawOptions, designs: readonly PresetName[]): void {
  if (raw.model === undefined) {
    if (raw.buffers !== undefined) throw new CliError("--buffers are a memory model's: give --model too");
    return;
  }
  if (raw.zerocopy === true) throw new CliError("--model and --zerocopy: a stream is read by way of the model, or by mapping pages; give one of them");
  if (raw.sockets !== undefined && designs.includes("stock")) throw new CliError("--model: under stock each packet takes its memory from its pool for good, and a model's cannot go; name other designs");
}

/** What is above IPv4, and what is above nothing. */
function checkInetOptions(raw: RawOptions): void {
  const { sockets, forward } = raw;
  if (sockets !== undefined && forward === true) throw new CliError("--sockets and --forward: a packet ends here, or goes on; give one of them");
  if (sockets === undefined && raw.reader !== undefined) throw new CliError("--reader says when sockets are read: give --sockets too");
  if (sockets === undefined && raw.zerocopy === true) throw new CliError("--zerocopy says how sockets are read: give --sockets too");
  if (sockets === undefined && raw.rcvbuf !== undefined) throw new CliError("--rcvbuf is what sockets may hold: give --sockets too");
  if (sockets === undefined && forward !== true && raw.udpGro === true) throw new CliError("--udp-gro is what sockets ask for, or a device that sends on: give --sockets or --forward too");
  if (raw.udpGro === true && raw.gro !== true) throw new CliError("--udp-gro asks for datagrams that were merged as they were received: give --gro too");
  if (sockets === undefined && forward !== true) {
    if (raw.gro === true) throw new CliError("--gro makes other packets of those that came in: give --sockets or --forward too");
    return;
  }
  const end = forward === true ? "--forward" : "--sockets";
  if (raw.tap === true) throw new CliError(`${end} and --tap: the tap is the reader's of whole frames; give one of them`);
  if (raw.earlyDrop === true) throw new CliError(`${end} and --early-drop: a packet dropped in the driver reaches no protocol; give one of them`);
  if (raw.readerLag > 0) throw new CliError(`${end} and --reader-lag: the lag is the reader's of whole frames; give one of them`);
  if (raw.xdp !== undefined) throw new CliError(`${end} and --xdp: what a program lets pass goes to the reader of whole frames; give one of them`);
}
