import { grouped } from "../words.ts";
import type { DesignRun } from "./run.ts";
import type { XdpRun } from "./xdp.ts";

interface Row {
  readonly label: string;
  readonly value: (run: DesignRun) => string;
}

const ROWS: readonly Row[] = [
  { label: "packets delivered", value: (run) => grouped(run.delivered.packets) },
  { label: "bytes delivered", value: (run) => grouped(run.delivered.bytes) },
  { label: "packets dropped", value: (run) => grouped(run.dropped) },
  { label: "page allocations", value: (run) => grouped(run.pageAllocs) },
  { label: "DMA maps", value: (run) => grouped(run.dmaMaps) },
  { label: "DMA unmaps", value: (run) => grouped(run.dmaUnmaps) },
  { label: "DMA syncs", value: (run) => grouped(run.dmaSyncs) },
  { label: "mem_info look-ups", value: (run) => grouped(run.memInfoLookups) },
  { label: "recycled to cache", value: (run) => grouped(run.recycled.cached) },
  { label: "recycled to ring", value: (run) => grouped(run.recycled.ring) },
  { label: "not recycled: shared", value: (run) => grouped(run.notRecycled.shared) },
  { label: "not recycled: ring full", value: (run) => grouped(run.notRecycled.ringFull) },
  { label: "released", value: (run) => grouped(run.recycled.released) },
  { label: "recycling", value: (run) => `${run.recycled.percent.toFixed(1)} %` },
  { label: "in flight at the end", value: (run) => grouped(run.inflightAtEnd) },
  { label: "reports", value: (run) => grouped(run.reports.reduce((sum, report) => sum + report.count, 0)) },
  { label: "model packets per second", value: (run) => (run.nsPerPacket === 0 ? "–" : grouped(Math.round(1e9 / run.nsPerPacket))) },
];

/** Above IPv4: what was read, sent on, and not. */
const INET_ROWS: readonly Row[] = [
  { label: "datagrams read", value: ({ inet }) => grouped(inet!.datagrams) },
  { label: "TCP connections", value: ({ inet }) => grouped(inet!.connections) },
  { label: "frames sent on", value: ({ inet }) => grouped(inet!.forwarded) },
  { label: "bytes delivered", value: (run) => grouped(run.delivered.bytes) },
  { label: "of them mapped", value: ({ inet }) => grouped(inet!.mappedBytes) },
  { label: "dropped: not IPv4", value: ({ inet }) => grouped(inet!.dropped.notIpv4) },
  { label: "dropped: bad header", value: ({ inet }) => grouped(inet!.dropped.badHeader) },
  { label: "dropped: checksum", value: ({ inet }) => grouped(inet!.dropped.checksum) },
  { label: "dropped: not UDP or TCP", value: ({ inet }) => grouped(inet!.dropped.unknownProtocol) },
  { label: "dropped: no socket", value: ({ inet }) => grouped(inet!.dropped.noSocket) },
  { label: "dropped: socket full", value: ({ inet }) => grouped(inet!.dropped.socketFull) },
  { label: "dropped: not sent", value: ({ inet }) => grouped(inet!.dropped.notSent) },
  { label: "dropped: other", value: ({ inet }) => grouped(inet!.dropped.other) },
];
/** Where the device had no descriptor for a frame. */
const OVERRUN_ROWS: readonly Row[] = [{ label: "dropped: ring full", value: ({ overruns = 0 }) => grouped(overruns) }];
/** With a memory model: what of it was used. */
const MODEL_ROWS: readonly Row[] = [{ label: "buffers of the model", value: (run) => grouped(run.modelBuffers!) }];
/** Rows that a replay of whole frames has in their place. */
const FRAME_ROWS = 3;

/** With a program: what it said, and what left. */
const XDP_ROWS: readonly Row[] = [
  { label: "XDP_PASS", value: ({ xdp }) => grouped(xdp!.verdicts.pass) },
  { label: "XDP_DROP", value: ({ xdp }) => grouped(xdp!.verdicts.drop) },
  { label: "XDP_TX", value: ({ xdp }) => grouped(xdp!.verdicts.tx) },
  { label: "XDP_REDIRECT", value: ({ xdp }) => grouped(xdp!.verdicts.redirect) },
  { label: "XDP_ABORTED", value: ({ xdp }) => grouped(xdp!.verdicts.aborted) },
  { label: "no verdict", value: ({ xdp }) => grouped(xdp!.verdicts.none + xdp!.verdicts.invalid) },
  { label: "sent back", value: ({ xdp }) => grouped(xdp!.sent.eth0) },
  { label: "sent out of eth1", value: ({ xdp }) => grouped(xdp!.sent.eth1) },
  { label: "redirects lost", value: ({ xdp }) => grouped(redirectsLost(xdp!)) },
  { label: "system pool pages", value: ({ xdp }) => grouped(xdp!.systemPoolPages) },
];

/** Redirected packets that reached neither a device nor a CPU's stack. */
export function redirectsLost({ lost }: XdpRun): number {
  return lost.devmap + lost.cpumap + lost.redirect.reduce((sum, { count }) => sum + count, 0);
}

/** One column a design, one row a count. */
export function renderTable(runs: readonly DesignRun[]): string {
  const rows = runs.some(({ inet }) => inet !== undefined) ? [...INET_ROWS, ...(runs.some(({ overruns = 0 }) => overruns > 0) ? OVERRUN_ROWS : []), ...(runs[0]!.modelBuffers === undefined ? [] : MODEL_ROWS), ...ROWS.slice(FRAME_ROWS)] : runs.some(({ xdp }) => xdp !== undefined) ? [...XDP_ROWS, ...ROWS] : ROWS;
  const columns = runs.map((run) => [run.design, ...rows.map((row) => row.value(run))]);
  const labels = ["design", ...rows.map((row) => row.label)];
  const labelWidth = Math.max(...labels.map((label) => label.length));
  const widths = columns.map((column) => Math.max(...column.map((cell) => cell.length)));
  const lines = labels.map((label, row) =>
    [label.padEnd(labelWidth), ...columns.map((column, i) => column[row]!.padStart(widths[i]!))].join("  "),
  );
  const rule = "─".repeat(lines[0]!.length);
  return [lines[0], rule, ...lines.slice(1)].join("\n") + "\n";
}
