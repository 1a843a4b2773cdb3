import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ExplainedPool, Explanation, TraceEvent } from "@netmem/trace/api";
import type { OutputFile } from "../output-file.ts";
import { nameOf } from "./words.ts";

/** Field numbers of protos/perfetto/trace/trace_packet.proto and track_event/*.proto. */
const TRACE_PACKET = 1;
const PACKET = { timestamp: 8, sequenceId: 10, trackEvent: 11, sequenceFlags: 13, trackDescriptor: 60 } as const;
const DESCRIPTOR = { uuid: 1, name: 2, parent: 5, counter: 8 } as const;
const EVENT = { annotations: 4, type: 9, track: 11, categories: 22, name: 23, counterValue: 30 } as const;
const ANNOTATION = { text: 6, name: 10 } as const;
const TYPE = { sliceBegin: 1, sliceEnd: 2, instant: 3, counter: 4 } as const;
const SEQUENCE_ID = 1;
const SEQUENCE_STARTS = 1;
const ROOT = 1;
const FLUSH_BYTES: number = 1 << 16;
const MOST_PAGES_SHOWN = 64;

/** Pages in flight by address, as they change; at the end the pools' lives, and the pages that are out. Written as it comes. */
export class PerfettoTrace {
  readonly #file: OutputFile;
  readonly #counters = new Map<string, { readonly track: number; hold: number; release: number }>();
  #nextTrack = ROOT + 1;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #started = false;

  constructor(file: OutputFile) {
    this.#file = file;
    this.#describe(ROOT, "page_pool", null, false);
  }

  take({ kind, pool, timeUs, hold, release }: TraceEvent): void {
    if (pool === null || timeUs === null || (kind !== "hold" && kind !== "release" && kind !== "shutdown")) return;
    let counter = this.#counters.get(pool);
    if (counter === undefined) {
      counter = { track: this.#nextTrack++, hold: 0, release: 0 };
      this.#counters.set(pool, counter);
      this.#describe(counter.track, `in flight ${pool}`, ROOT, true);
    }
    // A pool whose counter begins again is another.
    if (kind === "hold" && hold === 1) counter.release = 0;
    counter.hold = hold ?? counter.hold;
    counter.release = release ?? counter.release;
    const value = (counter.hold - counter.release) | 0;
    const { track } = counter;
    this.#event(timeUs, (event) => event.tag(EVENT.type, WireType.Varint).int32(TYPE.counter).tag(EVENT.track, WireType.Varint).uint64(track).tag(EVENT.counterValue, WireType.Varint).int64(value));
  }

  end({ pools }: Explanation): void {
    for (const pool of pools) this.#life(pool);
    this.#flush();
  }

  #life(pool: ExplainedPool): void {
    const { startedAt, destroyedAt, endedAt, inflightOverTime, verdict, evidence, lives } = pool;
    const last = endedAt ?? inflightOverTime.at(-1)?.[0] ?? destroyedAt ?? startedAt;
    if (startedAt === null || last === null) return;
    const track = this.#nextTrack++;
    this.#describe(track, nameOf(pool), ROOT, false);
    this.#slice(track, startedAt, destroyedAt ?? last, "in use", []);
    if (destroyedAt !== null) this.#slice(track, destroyedAt, last, verdict, evidence);
    for (const { pfn, fromUs } of lives.sampled.filter(({ toUs }) => toUs === null).slice(0, MOST_PAGES_SHOWN)) {
      const page = this.#nextTrack++;
      this.#describe(page, `pfn 0x${Math.trunc(pfn).toString(16)}`, track, false);
      this.#slice(page, fromUs / 1e6, last, "out", []);
    }
  }

  #slice(track: number, from: number, to: number, name: string, evidence: readonly string[]): void {
    this.#event(from * 1e6, (event) => {
      event.tag(EVENT.type, WireType.Varint).int32(TYPE.sliceBegin).tag(EVENT.track, WireType.Varint).uint64(track).tag(EVENT.categories, WireType.LengthDelimited).string("page_pool").tag(EVENT.name, WireType.LengthDelimited).string(name);
      for (const [i, text] of evidence.entries()) event.tag(EVENT.annotations, WireType.LengthDelimited).fork().tag(ANNOTATION.name, WireType.LengthDelimited).string(`evidence ${i + 1}`).tag(ANNOTATION.text, WireType.LengthDelimited).string(text).join();
    });
    this.#event(Math.max(from, to) * 1e6, (event) => event.tag(EVENT.type, WireType.Varint).int32(TYPE.sliceEnd).tag(EVENT.track, WireType.Varint).uint64(track));
  }

  #describe(uuid: number, name: string, parent: number | null, isCounter: boolean): void {
    this.#packet((packet) => {
      packet.tag(PACKET.trackDescriptor, WireType.LengthDelimited).fork().tag(DESCRIPTOR.uuid, WireType.Varint).uint64(uuid).tag(DESCRIPTOR.name, WireType.LengthDelimited).string(name);
      if (parent !== null) packet.tag(DESCRIPTOR.parent, WireType.Varint).uint64(parent);
      if (isCounter) packet.tag(DESCRIPTOR.counter, WireType.LengthDelimited).fork().join();
      packet.join();
    });
  }

  #event(timeUs: number, fill: (event: BinaryWriter) => void): void {
    this.#packet((packet) => {
      packet.tag(PACKET.timestamp, WireType.Varint).uint64(BigInt(Math.round(timeUs * 1000)));
      packet.tag(PACKET.trackEvent, WireType.LengthDelimited).fork();
      fill(packet);
      packet.join();
    });
  }

  #packet(fill: (packet: BinaryWriter) => void): void {
    const writer = new BinaryWriter();
    writer.tag(TRACE_PACKET, WireType.LengthDelimited).fork();
    fill(writer);
    writer.tag(PACKET.sequenceId, WireType.Varint).uint32(SEQUENCE_ID);
    if (!this.#started) writer.tag(PACKET.sequenceFlags, WireType.Varint).uint32(SEQUENCE_STARTS);
    this.#started = true;
    const bytes = writer.join().finish();
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > FLUSH_BYTES) this.#flush();
  }

  #flush(): void {
    this.#file.write(Buffer.concat(this.#pending));
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}
