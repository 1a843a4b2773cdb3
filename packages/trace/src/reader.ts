import type { TraceEvent, TraceFileSummary, TraceFormat } from "./api/index.ts";
import { ReadEvent } from "./event.ts";
import { Interned } from "./fields.ts";
import { isBpftraceTalk, readBpftraceLine } from "./formats/bpftrace.ts";
import { readMonitorLine } from "./formats/monitor.ts";
import { readNetlink } from "./formats/netlink.ts";
import { isLogLine, readStallLine } from "./formats/stall.ts";
import { readPerfLine, readTracefsLine, STACK_FOLLOWS } from "./formats/text.ts";
import { LineSplitter } from "./lines.ts";
import { LossCount } from "./loss.ts";

/** A clock that goes back by more begins anew; by less it is another CPU's. */
const MOST_BACKWARDS_US = 1e6;
const DEEPEST_STACK = 64;
/** A netlink reply is a document of many lines; more than this is none. */
const MAX_DOCUMENT_CHARS: number = 16 << 20;
/** Of what is no netlink reply the end is soon known; a document is looked at again when it has grown by half. */
const DOCUMENT_GROWTH = 1.5;
const MOST_LOOKED_AT_ALWAYS = 4096;
/** A call, a return or both, of the function_graph tracer. @kernel print_graph_entry (kernel/trace/trace_functions_graph.c) */
const FUNCTION_GRAPH = /^ *\d+\) .*(?:\|| us ).*[;{}]/;
/** Of a document of JSON or Python: a name, a bracket, or a number of its own. */
const DOCUMENT_LINE = /^\s*(?:["'{}[\]]|-?\d+,?$)/;

/**
 * Reads a trace of whatever format, piece by piece, in bounded memory. Each line is looked at for what it is, so a file may hold several formats. Lines that no format knows
 * are counted, never an error.
 */
export class TraceReader {
  readonly #path: string;
  readonly #names = new Interned();
  readonly #splitter: LineSplitter;
  readonly #loss = new LossCount();
  #out: TraceEvent[] = [];
  /** Held back, as its stack may follow. */
  #last: ReadEvent | null = null;
  #stackFollows = false;
  #document: string[] | null = null;
  #documentChars = 0;
  /** Brackets that are open, outside of strings as far as lines tell. */
  #documentDepth = 0;
  /** Not looked at before it has so many. */
  #documentNextLook = 0;
  /** The latest times of the trace, and of lines of the kernel log in it, which a file may have before or behind. */
  #clockUs: number | null = null;
  #logClockUs: number | null = null;
  #format: TraceFormat | null = null;
  #lines = 0;
  #events = 0;
  #otherEvents = 0;
  #unknownLines = 0;
  #binaryLines = 0;
  #overlongLines = 0;
  #ticks = 0;
  #boots = 1;

  /** `path` is for whoever reads the summary. */
  constructor(path: string) {
    this.#path = path;
    this.#splitter = new LineSplitter({
      line: (text) => this.#line(text),
      overlong: () => {
        this.#lines++;
        this.#overlongLines++;
        this.#unknownLines++;
      },
    });
  }

  /** The events that are complete with these bytes, in the file's order. `bytes` stays the caller's. */
  push(bytes: Uint8Array): TraceEvent[] {
    this.#splitter.push(bytes);
    return this.#taken();
  }

  /** The event held back for its stack, too: for who reads what is written this moment, and whose writer has said all. */
  flush(): TraceEvent[] {
    this.#emitLast();
    return this.#taken();
  }

  /** What is left at the file's end. */
  end(): TraceEvent[] {
    this.#splitter.end();
    if (this.#document !== null) this.#endDocument();
    return this.flush();
  }

  /** So far. `cutOff` says why the file could not be read to its end. */
  summary(cutOff: string | null = null): TraceFileSummary {
    return {
      path: this.#path, format: this.#format, lines: this.#lines, events: this.#events, otherEvents: this.#otherEvents, unknownLines: this.#unknownLines, binaryLines: this.#binaryLines,
      overlongLines: this.#overlongLines, ticks: this.#ticks, lost: this.#loss.total(), boots: this.#boots, cutOff,
    };
  }

  #taken(): TraceEvent[] {
    const events = this.#out;
    this.#out = [];
    return events;
  }

  #line(text: string): void {
    this.#lines++;
    // A byte order mark, of an editor's.
    const line = this.#lines === 1 && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    if (this.#document !== null) {
      this.#documentLine(line);
      return;
    }
    if (line === "") return;
    switch (line.charCodeAt(0)) {
      case 35: // #
        this.#heading(line);
        return;
      case 123: // {
        this.#json(line);
        return;
      case 91: // [
        if (this.#log(line)) return;
        this.#startDocument(line);
        return;
      default: this.#text(line);
    }
  }

  #text(line: string): void {
    const tracefs = readTracefsLine(line, this.#names);
    if (tracefs === STACK_FOLLOWS) {
      this.#stackFollows = true;
      return;
    }
    if (tracefs !== null) {
      if (tracefs.countsTicks) this.#ticks++;
      this.#event(tracefs, "tracefs");
      return;
    }
    if (this.#frame(line)) return;
    const perf = readPerfLine(line, this.#names);
    if (perf !== null) {
      this.#event(perf, "perf");
      return;
    }
    const bpftrace = readBpftraceLine(line, this.#names);
    if (bpftrace !== null) {
      this.#event(bpftrace, "bpftrace");
      return;
    }
    const lost = this.#loss.mark(line);
    if (lost !== null) {
      const event = new ReadEvent("lost", "lost", null, null, null);
      event.amount = lost;
      this.#event(event, "tracefs");
      return;
    }
    if (FUNCTION_GRAPH.test(line)) {
      this.#format ??= "tracefs";
      this.#otherEvents++;
      return;
    }
    if (this.#loss.statistics(line) || isBpftraceTalk(line) || this.#log(line)) return;
    this.#unknown(line);
  }

  #event(event: ReadEvent, format: TraceFormat): void {
    this.#emitLast();
    this.#format ??= format;
    this.#stackFollows = false;
    if (event.kind === "other") this.#otherEvents++;
    else this.#events++;
    this.#last = event;
  }

  #emitLast(): void {
    const event = this.#last;
    if (event === null) return;
    this.#last = null;
    const { timeUs } = event;
    if (timeUs !== null && event.kind === "stall") this.#logClockUs = this.#follow(this.#logClockUs, timeUs);
    else if (timeUs !== null) this.#clockUs = this.#follow(this.#clockUs, timeUs);
    if (event.kind !== "other") this.#out.push(event);
  }

  /** The clock after this time. One that begins again is another boot's. */
  #follow(clockUs: number | null, timeUs: number): number {
    if (clockUs === null || timeUs > clockUs) return timeUs;
    if (timeUs >= clockUs - MOST_BACKWARDS_US) return clockUs;
    this.#boots++;
    this.#out.push(new ReadEvent("boot", "boot", timeUs, null, null));
    return timeUs;
  }

  /** A function of a stack: ` => name` of tracefs, a tab and an address of perf, blanks and an offset of bpftrace. */
  #frame(line: string): boolean {
    const tracefs = line.startsWith(" => ") ? /^ => (\S+)/.exec(line) : null;
    if (tracefs !== null) {
      if (this.#stackFollows) this.#addFrame(tracefs[1]!);
      return true;
    }
    if (this.#last === null) return false;
    const other = /^\s+(?:[0-9a-f]{8,16} )?([A-Za-z_.][\w.]*)(?:\+0x[0-9a-f]+|\+\d+)(?: \(.*\))?$/.exec(line);
    if (other === null) return false;
    this.#addFrame(other[1]!);
    return true;
  }

  #addFrame(name: string): void {
    const event = this.#last;
    if (event === null) return;
    event.stack ??= [];
    // What the tracer itself adds on top, and under the wrong event's name where two share their code.
    if (event.stack.length < DEEPEST_STACK && !name.startsWith("do_trace_event_raw_event_") && !name.startsWith("trace_event_raw_event_")) event.stack.push(this.#names.of(name.replace(/\+0x.*$/, "")));
  }

  #heading(line: string): void {
    const lost = this.#loss.heading(line);
    if (lost !== null) this.#format ??= "tracefs";
    if (lost === null || lost === 0) return;
    const event = new ReadEvent("lost", "lost", null, null, null);
    event.amount = lost;
    this.#event(event, "tracefs");
  }

  #json(line: string): void {
    const event = readMonitorLine(line, this.#names);
    if (event !== null) this.#event(event, "monitor");
    else this.#startDocument(line);
  }

  #log(line: string): boolean {
    const stall = readStallLine(line);
    if (stall !== null) this.#event(stall, "dmesg");
    else if (!isLogLine(line)) return false;
    else this.#format ??= "dmesg";
    return true;
  }

  #startDocument(line: string): void {
    if (!DOCUMENT_LINE.test(line)) {
      this.#unknown(line);
      return;
    }
    this.#document = [];
    this.#documentChars = 0;
    this.#documentDepth = 0;
    this.#documentNextLook = 0;
    this.#documentLine(line);
  }

  /** Not what it looked like: lines of their own, and this one may be anything. */
  #documentLine(line: string): void {
    if (!DOCUMENT_LINE.test(line) || this.#documentChars > MAX_DOCUMENT_CHARS || (this.#documentChars > 0 && /^[[{]/.test(line))) {
      this.#endDocument();
      this.#lines--;
      this.#line(line);
      return;
    }
    this.#document!.push(line);
    this.#documentChars += line.length + 1;
    this.#documentDepth += depthOf(line);
    if (!/[\]}]\s*$/.test(line)) return;
    // A bracket within a string hides the end: then it is looked at now and then, and at the file's end.
    if (this.#documentDepth !== 0 && this.#documentChars < this.#documentNextLook) return;
    this.#documentNextLook = Math.max(MOST_LOOKED_AT_ALWAYS, this.#documentChars * DOCUMENT_GROWTH);
    this.#readDocument();
  }

  #readDocument(): void {
    const events = readNetlink(this.#document!.join("\n"));
    if (events === null) return;
    this.#document = null;
    this.#format ??= "netlink";
    for (const event of events) this.#event(event, "netlink");
  }

  #endDocument(): void {
    this.#readDocument();
    if (this.#document === null) return;
    for (const line of this.#document!) if (line !== "") this.#unknown(line);
    this.#document = null;
  }

  #unknown(line: string): void {
    this.#unknownLines++;
    if (isBinary(line)) this.#binaryLines++;
  }
}

/** Brackets that a line opens, less those that it closes. */
function depthOf(line: string): number {
  let depth = 0;
  for (let i = 0; i < line.length; i++) {
    const code = line.charCodeAt(i);
    if (code === 91 || code === 123) depth++;
    else if (code === 93 || code === 125) depth--;
  }
  return depth;
}

/** Control characters other than white space and escape, or what was no character at all. */
function isBinary(line: string): boolean {
  for (let i = 0; i < line.length; i++) {
    const code = line.charCodeAt(i);
    if (code === 0xfffd || (code < 32 && (code < 9 || code > 13) && code !== 27)) return true;
  }
  return false;
}
