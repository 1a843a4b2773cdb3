import { ByteWriter, ParquetWriter, schemaFromColumnData } from "hyparquet-writer";
import type { TraceEvent } from "@netmem/trace/api";
import type { OutputFile } from "../output-file.ts";

/** Events that are held at a time. */
const ROWS_OF_A_GROUP = 16_384;

interface Column {
  readonly name: string;
  readonly type: "STRING" | "DOUBLE" | "INT32" | "INT64" | "BOOLEAN";
  readonly of: (event: TraceEvent, source: string) => string | number | bigint | boolean | null;
}

const COLUMNS: readonly Column[] = [
  { name: "file", type: "STRING", of: (_event, source) => source },
  { name: "time_us", type: "DOUBLE", of: ({ timeUs }) => timeUs },
  { name: "cpu", type: "INT32", of: ({ cpu }) => cpu },
  { name: "task", type: "STRING", of: ({ task }) => task },
  { name: "event", type: "STRING", of: ({ name }) => name },
  { name: "kind", type: "STRING", of: ({ kind }) => kind },
  { name: "pool", type: "STRING", of: ({ pool }) => pool },
  { name: "id", type: "INT64", of: ({ id }) => wide(id) },
  { name: "pfn", type: "INT64", of: ({ pfn }) => wide(pfn) },
  { name: "hold", type: "INT64", of: ({ hold }) => wide(hold) },
  { name: "release", type: "INT64", of: ({ release }) => wide(release) },
  { name: "inflight", type: "INT64", of: ({ inflight }) => wide(inflight) },
  { name: "attempts", type: "INT64", of: ({ attempts }) => wide(attempts) },
  { name: "device", type: "STRING", of: ({ device }) => device },
  { name: "skb", type: "INT64", of: ({ skb }) => wide(skb) },
  { name: "location", type: "STRING", of: ({ location }) => location },
  { name: "amount", type: "INT64", of: ({ amount }) => wide(amount) },
  { name: "cache", type: "INT32", of: ({ sample }) => sample?.cache ?? null },
  { name: "ring", type: "INT32", of: ({ sample }) => sample?.ring ?? null },
  { name: "stack", type: "STRING", of: ({ stack }) => stack?.join(" ← ") ?? null },
];

function wide(value: number | null): bigint | null {
  return value === null ? null : BigInt(Math.trunc(value));
}

/** Every event as a row of an Apache Parquet table, written as they come. */
export class ParquetEvents {
  readonly #file: OutputFile;
  readonly #sources: readonly string[];
  readonly #bytes = new ByteWriter();
  readonly #writer: ParquetWriter;
  #events: TraceEvent[] = [];
  #from: number[] = [];

  /** `sources` are the names of the files that the events are of. */
  constructor(file: OutputFile, sources: readonly string[]) {
    this.#file = file;
    this.#sources = sources;
    const schema = schemaFromColumnData({ columnData: COLUMNS.map(({ name, type }) => ({ name, type, data: [], nullable: true })) });
    this.#writer = new ParquetWriter({ writer: this.#bytes, schema, createdBy: "netmem" });
  }

  take(event: TraceEvent, source: number): void {
    this.#events.push(event);
    this.#from.push(source);
    if (this.#events.length === ROWS_OF_A_GROUP) this.#writeGroup();
  }

  end(): void {
    if (this.#events.length > 0) this.#writeGroup();
    this.#writer.finish();
    this.#flush();
  }

  #writeGroup(): void {
    const events = this.#events;
    const from = this.#from;
    this.#events = [];
    this.#from = [];
    this.#writer.write({
      columnData: COLUMNS.map(({ name, type, of }) => ({ name, type, nullable: true, data: events.map((event, i) => of(event, this.#sources[from[i]!]!)) })),
      rowGroupSize: ROWS_OF_A_GROUP,
    });
    this.#flush();
  }

  #flush(): void {
    this.#file.write(this.#bytes.getBytes());
    // Positions in the file go on counting.
    this.#bytes.index = 0;
  }
}
