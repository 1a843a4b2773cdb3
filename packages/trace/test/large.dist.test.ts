import { expect, test } from "vitest";
import { Explainer, mergeTraces, TraceReader } from "@netmem/trace";

const LINES = 1_000_000;
const LINES_OF_A_CHUNK = 500;
const MIB = 1 << 20;

/** Pools one after the other at few addresses, packets between them; every string is new. */
function chunk(first: number): Buffer {
  let text = "";
  for (let i = first; i < first + LINES_OF_A_CHUNK; i++) {
    const time = `${100 + Math.floor(i / 1e5)}.${String((i * 10) % 1e6).padStart(6, "0")}`;
    const pool = `ffff8881${(0x1000_0000 + (Math.floor(i / 4000) % 5) * 0x800).toString(16)}`;
    const n = Math.floor(i / 2) % 1000;
    const event =
      i % 4000 === 3999 ? `page_pool_release: page_pool=${pool} inflight=0 hold=1000 release=1000 cnt=1` :
      i % 2 === 1 ? `netif_receive_skb: dev=eth0 skbaddr=ffff8881${(0x4000_0000 + (i % 100_000) * 0x100).toString(16)} len=1000` :
      i % 4000 < 2000 ? `page_pool_state_hold: page_pool=${pool} netmem=ffffea0000000000 is_net_iov=0, pfn=0x${(n + 1).toString(16)} hold=${n + 1}` :
      `page_pool_state_release: page_pool=${pool} netmem=ffffea0000000000 is_net_iov=0 pfn=0x${(n + 1).toString(16)} release=${n + 1}`;
    text += `          <idle>-0       [00${i % 4}] ..s1.   ${time}: ${event}\n`;
  }
  return Buffer.from(text);
}

test("a million lines leave behind no more than what they say of pools", async () => {
  const reader = new TraceReader("large");
  const explainer = new Explainer();
  globalThis.gc!();
  const before = process.memoryUsage().heapUsed;
  await mergeTraces([(async function* () {
    for (let i = 0; i < LINES; i += LINES_OF_A_CHUNK) yield reader.push(chunk(i));
    yield reader.end();
  })()], (event, source) => explainer.take(event, source));
  globalThis.gc!();
  const grownBytes = process.memoryUsage().heapUsed - before;
  const { pools, files } = explainer.explain([reader.summary()]);
  expect([files[0]!.lines, files[0]!.unknownLines, pools.length, pools.every(({ holds, releases, verdict }) => holds === 1000 && releases === 1000 && verdict === "drained")]).toEqual([LINES, 0, 250, true]);
  expect(grownBytes / MIB).toBeLessThan(100);
});

test("a line of a hundred megabytes is not kept", () => {
  const reader = new TraceReader("line");
  const piece = Buffer.alloc(MIB, 0x78);
  globalThis.gc!();
  const before = process.memoryUsage();
  let most = 0;
  for (let i = 0; i < 100; i++) {
    reader.push(piece);
    const now = process.memoryUsage();
    most = Math.max(most, now.heapUsed + now.external - before.heapUsed - before.external);
  }
  reader.end();
  expect([reader.summary().overlongLines, most / MIB < 60]).toEqual([1, true]);
});

test("as many pools as lines: what is beyond is counted", () => {
  const reader = new TraceReader("pools");
  const explainer = new Explainer();
  for (let i = 0; i < 30_000; i++) for (const event of reader.push(Buffer.from(`          <idle>-0       [000] ..s1.   100.000000: page_pool_state_hold: page_pool=ffff${i.toString(16).padStart(12, "0")} netmem=0 is_net_iov=0, pfn=0x1 hold=1\n`))) explainer.take(event);
  for (const event of reader.end()) explainer.take(event);
  const { pools, poolsLeftOut, notes } = explainer.explain([reader.summary()]);
  expect([pools.length, poolsLeftOut, notes.at(-1)]).toEqual([20_000, 10_000, "too many pools: 10000 events are of pools that were not followed"]);
});
