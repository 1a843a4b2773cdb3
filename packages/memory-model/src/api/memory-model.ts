import type { Kernel } from "@netmem/kernel/api";
import type { NetIovArea, PageAllocator, PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import type { SkbEdit, TcpSocket, XdpAttachment } from "@netmem/net-core/api";
import type { MemoryProviders } from "@netmem/page-pool/api";
import type { AfXdp, NetDevice, XdpMaps, XdpPrograms } from "@netmem/xdp/api";
import type { ProvidedArea, ProvidedAreas } from "./provided-area.ts";

/** What a memory model is given; each member is one role of one layer. */
export interface MemoryModelDeps {
  readonly kernel: Kernel;
  readonly payload: PayloadMemory;
  readonly areas: ProvidedAreas;
  /** Binds providers to queues. */
  readonly providers: MemoryProviders;
  readonly edit: Pick<SkbEdit, "skbCopyBits">;
  /** For models whose users have host pages. */
  readonly pages: PageAllocator;
  /** For models whose users take frames from a program. */
  readonly afXdp: AfXdp;
  readonly xdpMaps: XdpMaps;
  readonly xdpPrograms: Pick<XdpPrograms, "bpfProgLoad">;
  readonly xdpAttachment: XdpAttachment;
}

/** Which queue of which device, and how much memory. */
export interface MemoryModelOptions {
  readonly dev: NetDevice;
  readonly queueIndex: number;
  /** Buffers of a page each, 1 or more. */
  readonly buffers: number;
}

/** Bytes that a user was given, where they lie: it looks at them there, whatever the CPU may do. */
export type OnBytes = (region: PayloadRegion, offset: number, lengthBytes: number) => void;

/** One connection's bytes, or a queue's frames, by way of a memory model. Process context. */
export interface MemoryStream {
  /** All that there is, in order; each piece, or frame, is the user's as long as `onBytes` runs, and given back then. How many bytes; 0 at the end; -EAGAIN; -ECONNRESET; or why the model cannot go on. */
  readonly read: (onBytes: OnBytes) => number;
  /** Gives back whatever it still holds; the socket stays open. */
  readonly close: () => void;
}

/** A model at work on one queue. Process context. */
export interface MemoryBinding {
  /** Buffers that nobody uses, and those that its users hold. */
  readonly free: () => number;
  readonly held: () => number;
  /** What it provides. The net_iovs stay whose they are. For inspection. */
  readonly areas: () => readonly NetIovArea[];
  /** How a user reads this connection from now on. Of a model that delivers frames it reads nothing, -EOPNOTSUPP. */
  readonly openStream: (socket: TcpSocket) => MemoryStream;
  /** How a user reads all that the queue receives from now on, frame by frame; `dataReady` is called as some have come, in softirq. Only of a model that delivers frames. */
  readonly openFrames?: (dataReady: () => void) => MemoryStream;
  /** The queue goes on with pages. What users and packets hold of the memory stays valid until they let go. */
  readonly close: () => void;
}

/** A binding whose memory is these areas, as they are when it is asked. */
export function bindingOf(areas: () => readonly ProvidedArea[], openStream: MemoryBinding["openStream"], close: MemoryBinding["close"]): MemoryBinding {
  return {
    free: () => areas().reduce((sum, area) => sum + area.free(), 0),
    held: () => areas().reduce((sum, area) => sum + area.held(), 0),
    areas: () => areas().map(({ area }) => area),
    openStream, close,
  };
}

/**
 * A memory model as a plugin: where the payload of one queue lies, and how its user gets at it.
 * Members are function properties; a plugin that lacks one does not type-check, and is refused by name where nothing checks types.
 */
export interface MemoryModel {
  readonly name: string;
  /** What its users are given: the bytes of connections (the default), or whole frames, which no stack has seen. */
  readonly delivers?: "streams" | "frames";
  /** Binds memory to the queue, which is restarted; or a negative errno, and nothing is left. The device is up. Process context. */
  readonly bind: (deps: MemoryModelDeps, options: MemoryModelOptions) => MemoryBinding | number;
}

