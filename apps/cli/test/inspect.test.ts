import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { pcapFile, testFrame } from "@netmem/testkit";
import type { InspectDocument } from "../src/inspect/command.ts";
import { inspect, type InspectedDesign } from "../src/inspect/inspect.ts";
import { OPERATIONS, parseOperations } from "../src/inspect/operations.ts";
import { CliError } from "../src/terminal.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-inspect-"));
  writeFileSync(join(folder, "mixed.pcap"), pcapFile([testFrame(60, 1), testFrame(9014, 2), testFrame(1514, 3)].map((bytes) => ({ bytes }))));
  writeFileSync(join(folder, "none.pcap"), pcapFile([]));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function inspected(args: readonly string[]): Promise<InspectDocument> {
  const { out, err } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--json", ...args], folder);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as InspectDocument;
}

const SMALL = testFrame(60, 1);
const JUMBO = testFrame(9014, 2);
const LATER = testFrame(1514, 3);

/** Without a file between. */
function after(operations: string, design: PresetName = "6.18", frame: Uint8Array = JUMBO): InspectedDesign {
  const [small, received, later] = [SMALL, frame, LATER].map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 }));
  return inspect([small!, received!], operations === "" ? [] : parseOperations(operations), { design, readerCpu: 1 }, [later!]);
}

/** What the last operation did, in words. */
function effectsOf({ operations }: InspectedDesign): string[] {
  return operations.at(-1)!.effects.map(({ text }) => text);
}

/** Order → end of each piece of memory. */
function ends({ homecomings }: InspectedDesign): Record<string, Record<string, string>> {
  return Object.fromEntries(homecomings.map(({ order, memory }) => [order.join(), Object.fromEntries(memory.map(({ name, end }) => [name, end]))]));
}

describe("the drawing", () => {
  test("a jumbo frame, cloned, the clone's head made private, the original freed", async () => {
    const { code, out, err } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "clone,expand,free-original"], folder);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatchInlineSnapshot(`
      "mixed.pcap, packet 2 of 3: 9 014 bytes, under 6.18, after clone, expand, free-original

        1  clone          A: dataref 1 → 2, cloned off → on
                          B is a clone of A
        2  expand         A: dataref 2 → 1
                          B: head p1 → s1, dataref 2 → 1, pp_recycle on → off, cloned on → off
                          p2, p3: refcount 1 → 2
        3  free-original  A is gone
                          p1: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3
                          p2, p3: pp_ref_count is 1, the last holder, and it finds 2 page references, not 1: the page leaves page_pool 3, unmapped; refcount 2 → 1

      B, a clone of A: 9 000 bytes = 3 504 in the head + 5 496 in 2 frags, truesize 12 544
         users 1; dataref 1: data its own; no pp_recycle: its pages are put as anybody's
         head in s1 slab object of 4 096 bytes; MAC header at data − 14
          head 0      data 272                          tail 3 776   end 3 776
         ┌───────────┬─────────────────────────────────┬────────────┬──────────────┐
         │ headroom  │ linear data                     │ tailroom   │ shared info  │
         │ 272       │ 3 504                           │ 0          │ 320          │
         └───────────┴─────────────────────────────────┴────────────┴──────────────┘
         frag 0  p2 page pfn 0x43e, bytes 256 … 3 776
         frag 1  p3 page pfn 0x43d, bytes 256 … 2 232

      memory
         p1   page pfn 0x43f               page_pool 3 of eth0   refcount 1   pp_ref_count 1   recycled, in the ring of page_pool 3
         p2   page pfn 0x43e               no pool's             refcount 1                    B frag 0
         p3   page pfn 0x43d               no pool's             refcount 1                    B frag 1
         s1   slab object of 4 096 bytes   the slab's                                          B head

      freed now by the process, which is not the pool's NAPI, in the order B
         p2, p3  not recycled
             B: the last reference: free
         s1  back to its slab
      "
    `);
  });

  test("two holders: what becomes of the frags hangs on who goes first, and why", async () => {
    const { out } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "clone,expand"], folder);
    expect(out.slice(out.indexOf("memory\n"))).toMatchInlineSnapshot(`
      "memory
         p1   page pfn 0x43f               page_pool 3 of eth0   refcount 1   pp_ref_count 1   A head
         p2   page pfn 0x43e               page_pool 3 of eth0   refcount 2   pp_ref_count 1   A frag 0, B frag 0
         p3   page pfn 0x43d               page_pool 3 of eth0   refcount 2   pp_ref_count 1   A frag 1, B frag 1
         s1   slab object of 4 096 bytes   the slab's                                          B head

      freed now by the process, which is not the pool's NAPI, in the order A, B or B, A
         p1  recycled
             A: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3
         p2, p3  recycled only in the order B, A
             A, B   A: pp_ref_count is 1, the last holder, and it finds 2 page references, not 1: the page leaves page_pool 3, unmapped; refcount 2 → 1
                    B: the last reference: free
             B, A   B: without pp_recycle it puts a page reference: refcount 2 → 1, another holder is left
                    A: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3
         s1  back to its slab
      "
    `);
  });

  test("several designs, one below the other; nothing done: as it was received", async () => {
    const { out } = await cli(["inspect", "mixed.pcap", "--design", "stock,6.1"], folder);
    expect(out.split("\n").filter((line) => /^mixed|^ {3}p1|^ {7}/.test(line))).toMatchInlineSnapshot(`
      [
        "mixed.pcap, packet 1 of 3: 60 bytes, under stock, as it was received",
        "   p1   page pfn 0x401   no pool's: left when its skb was built   refcount 1      A head",
        "   p1  not recycled",
        "       A: the last reference: free",
        "mixed.pcap, packet 1 of 3: 60 bytes, under 6.1, as it was received",
        "   p1   page pfn 0x440   page_pool 1 of eth0   refcount 1      A head",
        "   p1  recycled",
        "       A: the one page reference is the pool's: into the ring of page_pool 1",
      ]
    `);
  });

  test("each buffer's picture is closed, and as wide as its frame", async () => {
    const { out } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "pull=5000,push=1"], folder);
    const rows = out.split("\n").filter((line) => /^ {3}[┌│└]/.test(line));
    expect(rows.length).toBe(4);
    expect(new Set(rows.map((row) => row.length)).size).toBe(1);
    expect(rows.map((row) => row.replaceAll(/[^┌│└┐┘┬┴]/g, ""))).toEqual(["┌┬┬┬┐", "│││││", "│││││", "└┴┴┴┘"]);
  });
});

test("the README shows what its command prints", async () => {
  const { out } = await cli(["inspect", "examples/captures/jumbo.pcap", "--packet", "19", "--after", "clone,expand"], ROOT);
  expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(out.slice(out.indexOf("memory\n")));
});

describe("where pages go, under each design", () => {
  test.each(PRESET_NAMES)("%s: as received", (design) => {
    const [home] = after("", design).homecomings;
    expect(home!.memory.map(({ end }) => end)).toEqual(Array.from({ length: 3 }, () => (design === "stock" ? "free" : "ring")));
  });

  test.each<readonly [PresetName, Record<string, string>]>([
    ["stock", { "A,B": "free", "B,A": "free" }], ["v3-2021", { "A,B": "free", "B,A": "free" }],
    ["5.14", { "A,B": "free", "B,A": "ring" }], ["6.1", { "A,B": "free", "B,A": "ring" }], ["6.8", { "A,B": "free", "B,A": "ring" }], ["6.18", { "A,B": "free", "B,A": "ring" }],
  ])("%s: frags that an expanded clone holds, too", (design, expected) => {
    const all = ends(after("clone,expand", design));
    expect(Object.fromEntries(Object.entries(all).map(([order, { p2 }]) => [order, p2]))).toEqual(expected);
  });

  test("under the thread's proposal the last reference recycles, in whichever order", async () => {
    const { designs: [run] } = await inspected(["--after", "clone,expand", "--design", "5.14", "--shared-release", "last-reference"]);
    expect(ends(run!)).toEqual({ "A,B": { p1: "ring", p2: "ring", p3: "ring", s1: "free" }, "B,A": { p1: "ring", p2: "ring", p3: "ring", s1: "free" } });
  });

  test("freed by the device's poll: into the cache from 6.8, into the ring before; and the same poll posts them again", () => {
    const cached = PRESET_NAMES.map((design) => effectsOf(after("free-in-poll", design)).some((line) => line.includes("into the cache")));
    expect(cached).toEqual([false, false, false, false, true, true]);
  });

  test("deferred: it waits, and is freed by the CPU that built it; before 5.19 it is freed at once", () => {
    const { snapshot, homecomings } = after("clone,defer-free");
    expect(snapshot.skbs.map(({ name, state }) => [name, state])).toEqual([["A", "held"], ["B", "deferred"]]);
    expect(homecomings.map(({ order }) => order)).toEqual([["B", "A"]]);
    expect(after("clone,defer-free,flush").snapshot.skbs.map(({ name }) => name)).toEqual(["A"]);
    expect(after("clone,defer-free", "5.14").snapshot.skbs.map(({ name }) => name)).toEqual(["A"]);
  });

  test("several that were deferred are freed at once, and nothing is claimed of who did what; one alone has its reasons", () => {
    const many = after("clone,expand,defer-free:A,defer-free:B").homecomings[0]!;
    expect([many.order, many.memory[1]!.steps]).toEqual([["A+B"], [{ freed: "A+B", what: "freed with the others that were deferred: recycled, in the ring of page_pool 3" }]]);
    expect(effectsOf(after("clone,expand,defer-free:A,flush"))).toContain("p2, p3: pp_ref_count is 1, the last holder, and it finds 2 page references, not 1: the page leaves page_pool 3, unmapped; refcount 2 → 1");
  });

  test.each<PresetName>(["v3-2021", "5.14", "6.1"])("%s sees no leak: a page whose pool is not told is lost to it, said so, exit 1", async (design) => {
    const { code, out, err } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--design", design, "--after", "split=4000"], folder);
    expect([code, err]).toEqual([1, `netmem: ${design}: p3 is lost to its pool when freed in the order A, B\nnetmem: ${design}: p3 is lost to its pool when freed in the order B, A\n`]);
    expect(out).toContain("   p3  not recycled\n       B: freed, though page_pool 1 counts it as out, and nobody will give it back: lost\n");
  });

  test("stock recycles nothing: its pages left when their skb was built, and what is posted again is from the page allocator", async () => {
    const [freed, receives] = after("free-in-poll,receive", "stock").operations.map(({ effects }) => effects.map(({ text }) => text));
    expect(freed).toEqual(["A is gone", "p1, p2, p3: the last reference: free"]);
    expect(receives!.join("\n")).toMatch(/refcount 0 → 1, is page_pool 1.s, posted to the device again/);
    const { out } = await cli(["inspect", "mixed.pcap", "--design", "stock"], folder);
    expect(out).toMatch(/p1 {3}page pfn 0x\w+ {3}no pool's: left when its skb was built {3}refcount 1 {3,}A head/);
  });

  test("the poll may come as often as it is asked for", () => {
    const run = after("get,get,free-in-poll,free-in-poll,free-in-poll");
    expect(run.operations.map(({ effects }) => effects[0]!.text)).toEqual(["A: users 1 → 2", "A: users 2 → 3", "A: users 3 → 2", "A: users 2 → 1", "A is gone"]);
  });

  test("what differs from the design is in the heading and in the document", async () => {
    const args = ["inspect", "mixed.pcap", "--design", "5.14", "--shared-release", "last-reference", "--return-path", "skb-mem-info", "--reader-cpu", "0"];
    expect((await cli(args, folder)).out).toContain("under 5.14, shared release last-reference, return path skb-mem-info, as it was received");
    expect(JSON.parse((await cli([...args, "--json"], folder)).out)).toMatchObject({ readerCpu: 0, sharedRelease: "last-reference", returnPath: "skb-mem-info" });
  });

  test("a capture that is cut off is shown up to there, and said so", async () => {
    writeFileSync(join(folder, "cut.pcap"), pcapFile([testFrame(60, 1), testFrame(90, 2)].map((bytes) => ({ bytes }))).slice(0, -10));
    const { code, out, err } = await cli(["inspect", "cut.pcap"], folder);
    expect([code, out.slice(0, 20), err]).toEqual([0, "cut.pcap, packet 1 o", expect.stringMatching(/^netmem: cut\.pcap: byte 100: file cut off in its last record, 10 bytes missing; read up to there\n$/)]);
  });

  test("a part of a receiving packet's frags in an skb that does not recycle: a leak, reported, exit 1", async () => {
    const { code, out, err } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "split=4000"], folder);
    expect([code, err]).toEqual([1, expect.stringMatching(/^netmem: 6\.18: report page_pool leak: page pfn 0x\w+: freed to the page allocator with its pool signature 0x40 still set.*\n$/)]);
    expect(out).toMatch(/p3 {2}not recycled\n {7}B: freed, though page_pool 3 still had it mapped and marked: withheld/);
  });
});

/** Operations, and what must be said of the last. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ["clone", ["A: dataref 1 → 2, cloned off → on", "B is a clone of A"]],
  ["get", ["A: users 1 → 2"]],
  ["copy", ["B is a copy of A"]],
  ["pskb-copy=64", ["B is a copy over the frags of A", "p2, p3: refcount 1 → 2"]],
  ["clone,expand=64+32", ["A: dataref 2 → 1", "B: truesize 12 544 → 16 640, head p1 → s1, data 272 → 336, tail 3 776 → 3 840, end 3 776 → 7 872, dataref 2 → 1, pp_recycle on → off, cloned on → off", "p2, p3: refcount 1 → 2"]],
  ["clone,unclone", ["A: dataref 2 → 1", "B: head p1 → s1, dataref 2 → 1, pp_recycle on → off, cloned on → off", "p2, p3: refcount 1 → 2"]],
  ["unclone", []],
  ["clone,unshare", ["A: dataref 2 → 1", "C is a copy of B", "B is gone"]],
  ["unshare", []],
  ["cow=300", ["A: truesize 12 544 → 16 640, head p1 → s1, data 272 → 336, tail 3 776 → 3 840, end 3 776 → 7 872", "p1: recycled, in the ring of page_pool 3"]],
  ["header-release,cow-head=10", []],
  ["header-release", ["A: payload-only 0 → 1, nohdr off → on"]],
  ["push=14", ["A: len 9 000 → 9 014, data 272 → 258"]],
  ["trim=100,put=20", ["A: len 100 → 120, tail 372 → 392"]],
  ["pull=4000", ["A: len 9 000 → 5 000, data_len 5 496 → 5 000, truesize 12 544 → 16 640, head p1 → s1, data 272 → 4 272, tail 3 776 → 4 272, end 3 776 → 7 872", "p1: recycled, in the ring of page_pool 3"]],
  ["trim=3504", ["A: len 9 000 → 3 504, data_len 5 496 → 0, truesize 12 544 → 4 352, frags 2 → 0", "p2, p3: recycled, in the ring of page_pool 3"]],
  ["linearize", ["A: data_len 5 496 → 0, truesize 12 544 → 24 832, head p1 → s1, tail 3 776 → 9 272, end 3 776 → 16 064, frags 2 → 0", "p1, p2, p3: recycled, in the ring of page_pool 3"]],
  ["condense", []],
  ["split=4000", ["A: len 9 000 → 4 000, data_len 5 496 → 496, frags 2 → 1", "B is the rest of A", "p2: refcount 1 → 2"]],
  ["segment=5000", ["B is a segment of A", "C is a segment of A", "p2: refcount 1 → 3", "p3: refcount 1 → 2"]],
  ["copy,trim=200,copy:A,trim=40,coalesce:B.C", ["B: len 200 → 240, tail 472 → 512", "C is gone", "s2: the last reference: free"]],
  ["pskb-copy,pull:A=3504,pull:B=3504,free:A,pskb-copy,shift:B.C=10", ["B: len 5 496 → 5 506, data_len 5 496 → 5 506, truesize 9 848 → 9 858, frags 2 → 3", "C: len 5 496 → 5 486, data_len 5 496 → 5 486, truesize 9 848 → 9 838", "p2: refcount 2 → 3"]],
  ["receive", ["B is received"]],
  ["receive,coalesce:A.B", ["A: len 9 000 → 10 500, data_len 5 496 → 6 996, truesize 12 544 → 16 640, frags 2 → 3", "B is gone"]],
  ["receive,gro:A.B=40", ["A: len 9 000 → 10 460, data_len 5 496 → 6 956, truesize 12 544 → 16 640, frags 2 → 3", "B is gone"]],
  // A slab's head is no page, and cannot become a frag.
  ["unclone,receive,cow:B=400,gro:A.B=40,free", ["A is gone", "B is gone", "p1, p2, p3: recycled, in the ring of page_pool 3", "s1: free"]],
  ["receive,cow:B=400,gro:A.B=40", ["A: len 9 000 → 10 460, data_len 5 496 → 6 956, truesize 12 544 → 20 992, frag list none → B", "B: len 1 500 → 1 460, data 400 → 440, payload-only 0 → 1, nohdr off → on, is in the frag list of A"]],
  ["zerocopy", ["B is over the pages of A", "p1, p2, p3: refcount 1 → 2"]],
  ["splice=100", ["A: len 9 000 → 9 100, data_len 5 496 → 5 596, truesize 12 544 → 12 644, frags 2 → 3"]],
  ["user=200", ["A: len 9 000 → 9 200, data_len 5 496 → 5 696, truesize 12 544 → 12 744, frags 2 → 3, user references none → 1"]],
  ["user=200,clone,free,free", ["A is gone", "p1, p2, p3: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3", "p4: refcount 2 → 1: the user's alone", "the user is told that his memory is his again"]],
  ["user=200,orphan", ["A: frags 3 → 2, user references 1 → none", "p2, p3: recycled, in the ring of page_pool 3", "p4: refcount 2 → 1, the user's alone", "the user is told that his memory is his again, and that it was copied"]],
  ["free", ["A is gone", "p1, p2, p3: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3"]],
  ["clone,free-original", ["B: dataref 2 → 1", "A is gone"]],
  ["clone,copy,free-clone", ["A: dataref 2 → 1", "B is gone"]],
  ["free-in-poll", ["A is gone", "p1, p2, p3: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the cache of page_pool 3"]],
  ["free-in-irq", ["A is gone", "p1, p2, p3: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3"]],
  ["defer-free", ["A: waits for the CPU that built it"]],
  ["defer-free,flush", ["A is gone", "p1, p2, p3: pp_ref_count is 1, the last holder, and the one page reference is the pool's: into the ring of page_pool 3"]],
];

/** Operations of which the kernel refuses the last, and how; under 6.18 unless said otherwise. */
const REFUSALS: readonly (readonly [string, string, PresetName?])[] = [
  ["clone,coalesce:A.B", "answers false: others share the data of the one that is to grow"], ["pull=9001", "answers false"], ["copy,shift:A.B=1", "answers 0, nothing has moved"],
  ["copy,coalesce:A.B", "answers false: one recycles its pages, and the other does not"], ["receive,copy:B,cow:C=3000,coalesce:A.C", "answers false: the head that would become a frag is a slab's", "stock"],
  ["receive,clone:B,coalesce:A.B", "answers false: the head that would become a frag is somebody else's, too"], ["receive,clone:B,coalesce:A.B", "answers false: pages that recycle and are shared are not mixed by this kernel", "6.1"],
  ["copy,copy,user:B=10,coalesce:B.C", "answers false: a user's memory is in one of the two"], ["receive,cow:B=400,coalesce:A.B", "answers false: the head that would become a frag is a slab's"],
  ["receive,cow:B=400,gro:A.B=40,copy,coalesce:A.C", "answers false: one recycles its pages, and the other does not"],
  ["copy,receive,gro:C.B=40", "answers -ETOOMANYREFS: one recycles its pages, and the other does not"], ["user=10,user=20", "is for one user's memory, and there is some already"],
  [`receive,copy:A,pskb-copy:A,${Array.from({ length: 15 }, () => "splice:D=10").join()},coalesce:C.D`, "answers false: together they have more than 17 frags"],
];

describe("operations", () => {
  test.each(CASES)("%s", (operations, effects) => {
    expect(effectsOf(after(operations)).toSorted()).toEqual([...effects].toSorted());
  });

  test("each is tried above, and each names the kernel's function", () => {
    const tried = new Set(CASES.flatMap(([operations]) => operations.split(",").map((one) => /^[a-z-]+/.exec(one)![0])));
    expect(OPERATIONS.map(({ name }) => name).filter((name) => !tried.has(name))).toEqual([]);
    expect(OPERATIONS.filter(({ kernel }) => !/^[a-z_]+$/.test(kernel))).toEqual([]);
  });

  test.each(REFUSALS.map(([operations, refused, design = "6.18"]) => [operations, refused, design] as const))("%s: refused, %s; and it changes nothing", (operations, refused, design) => {
    const last = after(operations, design).operations.at(-1)!;
    expect([last.refused, last.notDone, last.effects]).toEqual([refused, undefined, []]);
  });

  test.each([
    ["clone,header-release", "others share its data, and would lose it"], ["header-release,header-release", "it was done before, and would count twice"], ["clone,split=10", "others share its data, and would lose it"],
    ["push=20,segment=1400", "it needs a MAC header in front of the data, and room for it"], ["split=9000", "there are 9000 bytes, and none behind 9000"], ["segment=0", "it would make no end of packets, more than the 100 that are drawn"],
    ["segment=89", "it would make 102 packets, more than the 100 that are drawn"], ["clone,get,coalesce:A.B", "others hold one of the two"], ["receive,receive", "the capture has no further packet"],
    ["clone,receive,gro:A.C=40", "GRO gets packets that nobody else has, and others have A"], ["receive,gro:A.B=1500", "B has 1 500 bytes, all of them headers then"], ["clone,splice=10", "others share its data, and would lose it"],
    ["splice=5000", "it takes 1 to 4096 bytes, one page"], ["receive,cow:B=400,gro:A.B=40,splice:A=10", "its bytes would come before those of its frag list"],
  ])("%s: not done, %s; and it changes nothing", (operations, notDone) => {
    const last = after(operations).operations.at(-1)!;
    expect([last.notDone, last.refused, last.effects]).toEqual([notDone, undefined, []]);
  });

  test("a kernel without deferral says what it does instead", async () => {
    expect(after("defer-free", "5.14").operations[0]!.note).toBe("this kernel does not defer: it is freed here and now, by consume_skb");
    const { out } = await cli(["inspect", "mixed.pcap", "--design", "5.14", "--after", "clone,defer-free,flush"], folder);
    expect(out).toContain("2  defer-free  this kernel does not defer: it is freed here and now, by consume_skb\n");
    expect(out).toContain("3  flush       this kernel does not defer: its receive softirqs have nothing to free\n");
    expect(after("defer-free").operations[0]!.note).toBeUndefined();
  });

  test("the document has each change as a field, and the same in words", () => {
    const { operations } = after("clone,expand,free-original");
    expect(operations[1]!.effects).toEqual([
      { of: ["A"], changes: [{ what: "dataref", from: 2, to: 1 }], text: "A: dataref 2 → 1" },
      { of: ["B"], changes: [{ what: "head", from: "p1", to: "s1" }, { what: "dataref", from: 2, to: 1 }, { what: "pp_recycle", from: true, to: false }, { what: "cloned", from: true, to: false }], text: "B: head p1 → s1, dataref 2 → 1, pp_recycle on → off, cloned on → off" },
      { of: ["p2", "p3"], changes: [{ what: "refcount", from: 1, to: 2 }], text: "p2, p3: refcount 1 → 2" },
    ]);
    expect(operations[2]!.effects.map(({ of, changes }) => [of, changes])).toEqual([
      [["A"], [{ what: "exists", from: true, to: false }]],
      [["p1"], [{ what: "place", from: "held", to: "ring" }]],
      [["p2", "p3"], [{ what: "refcount", from: 2, to: 1 }, { what: "page_pool", from: 3, to: null }]],
    ]);
  });

  test("a packet in another's frag list is drawn as such, and goes when that goes", async () => {
    const { out } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "receive,cow:B=400,gro:A.B=40"], folder);
    expect(out).toContain("A, received: 10 460 bytes = 3 504 in the head + 5 496 in 2 frags + 1 460 in its frag list B, truesize");
    expect(out).toContain("nohdr; in the frag list of A");
    expect(after("receive,cow:B=400,gro:A.B=40").homecomings.map(({ order }) => order)).toEqual([["A"]]);
  });

  test("a user's page is his, whoever else has it", async () => {
    const { out } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "user=200"], folder);
    expect(out).toMatch(/p4 {3}page pfn 0x\w+ {3}the user's {12}refcount 2 {20}A frag 2, the user\n/);
    expect(out).toContain("   p4  a user's page\n");
    expect(out).toContain("frags in a user's memory, which has 1 reference");
  });

  test("what stops a kernel stops the machine: said with the operation, drawn as it lay then, exit 1", async () => {
    const { code, out, err } = await cli(["inspect", "mixed.pcap", "--packet", "2", "--after", "push=400,free"], folder);
    expect([code, err]).toEqual([1, expect.stringMatching(/^netmem: 6\.18: push=400: kernel panic: skb-under-panic: sk_buff \d+ \(eth0\): skb_push of 400 bytes, headroom 272\n$/)]);
    expect(out).toMatch(/A, received: 9 000 bytes/);
    expect(out).not.toContain("freed now");
  });

  test("more packets than letters: A2 comes after Z", () => {
    const { snapshot } = after("segment=300");
    expect(snapshot.skbs.slice(25, 28).map(({ name }) => name)).toEqual(["Z", "A2", "B2"]);
  });
});

/** Whatever is asked for, there is an answer, and no page stays behind when nobody holds it. */
test.each(PRESET_NAMES)("%s: operations at random: every page is home in the end, or a report says why not", (design) => {
  const step = fc.tuple(fc.constantFrom(...OPERATIONS), fc.constantFrom("", ":A", ":B", ":C"), fc.nat(4000)).map(([{ name, on, pair, most, global }, letter, bytes]) =>
    `${name}${on !== undefined || global === true ? "" : pair === true && letter !== "" ? (letter === ":A" ? ":A.B" : ":B.A") : letter}${most === 0 ? "" : `=${bytes}`}`);
  let drawn = 0;
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
    // From the first that makes no sense on, nothing more is asked.
    let run: InspectedDesign | null = null;
    for (let n = steps.length; run === null; n--) {
      try {
        run = after(steps.slice(0, n).join(), design);
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
      }
    }
    drawn++;
    if (run.reports.length > 0 || run.operations.some(({ panic }) => panic !== undefined)) return;
    for (const { memory, reports } of run.homecomings) if (reports.length === 0) expect(memory.filter(({ end }) => end === "held" || end === "withheld")).toEqual([]);
  }), { numRuns: 40, seed: 3 });
  expect(drawn).toBe(40);
});

describe("bad input: one line, exit 2, nothing on stdout", () => {
  test.each<readonly [readonly string[], RegExp]>([
    [["mixed.pcap", "--packet", "4"], /^netmem: --packet 4: mixed\.pcap holds 3 packets; give 1 to 3$/],
    [["mixed.pcap", "--packet", "0"], /^netmem: --packet 0: give a whole number from 1/],
    [["none.pcap"], /^netmem: --packet 1: none\.pcap holds 0 packets$/],
    [["nope.pcap"], /^netmem: nope\.pcap: no such file$/],
    [[], /^netmem: missing required argument 'capture' \(see netmem inspect --help\)$/],
    [["mixed.pcap", "mixed.pcap"], /^netmem: too many arguments/],
    [["mixed.pcap", "--packet", "1", "--packet", "2"], /^netmem: --packet 2: --packet is given twice; one at a time$/],
    [["mixed.pcap", "--after", "clone", "--after", "expand"], /^netmem: --after expand: --after is given twice; one at a time$/],
    [["mixed.pcap", "--design", "6.1", "--design", "6.8"], /^netmem: --design 6\.8: --design is given twice; one at a time$/],
    [["mixed.pcap", "--design", "7.0"], /^netmem: --design 7\.0: no such design; choose from stock/],
    [["mixed.pcap", "--after", ""], /^netmem: --after: operation 1, nothing: write name, name:A, name=bytes or name:A=bytes, names in small letters and packets in capitals, separated by commas$/],
    [["mixed.pcap", "--after", "clone,"], /^netmem: --after: operation 2, nothing:/],
    [["mixed.pcap", "--after", "duplicate"], /^netmem: --after: operation 1, duplicate: no such operation; choose from clone, get,/],
    [["mixed.pcap", "--after", "Clone"], /^netmem: --after: operation 1, Clone: write name, name:A, name=bytes or name:A=bytes, names in small letters and packets in capitals, separated by commas$/],
    [["mixed.pcap", "--after", "pull"], /^netmem: --after: operation 1, pull: it takes a number of bytes; write pull\[:A\]=BYTES$/],
    [["mixed.pcap", "--after", "pull=-1"], /^netmem: --after: operation 1, pull=-1: -1 is no number of bytes; give 0 to 65536$/],
    [["mixed.pcap", "--after", "pull=99999"], /^netmem: --after: operation 1, pull=99999: 99999 is no number of bytes; give 0 to 65536$/],
    [["mixed.pcap", "--after", "expand=1+"], /^netmem: --after: operation 1, expand=1\+: a number is missing; give 0 to 65536$/],
    [["mixed.pcap", "--after", "expand=1+2+3"], /^netmem: --after: operation 1, expand=1\+2\+3: it takes at most two numbers of bytes; write expand\[:A\]\[=HEAD\[\+TAIL\]\]$/],
    [["mixed.pcap", "--after", "clone=1"], /^netmem: --after: operation 1, clone=1: it takes no number$/],
    [["mixed.pcap", "--after", "clone:B"], /^netmem: --after: operation 1, clone:B: there is no packet B; there is A$/],
    [["mixed.pcap", "--after", "clone:A.A"], /^netmem: --after: operation 1, clone:A\.A: it is for one packet$/],
    [["mixed.pcap", "--after", "clone,coalesce:A"], /^netmem: --after: operation 2, coalesce:A: it is for two packets; write coalesce:A\.B$/],
    [["mixed.pcap", "--after", "coalesce"], /^netmem: --after: operation 1, coalesce: it takes two packets, and there is one$/],
    [["mixed.pcap", "--after", "clone,coalesce:B.B"], /^netmem: --after: operation 2, coalesce:B\.B: it takes two packets$/],
    [["mixed.pcap", "--after", "free,clone"], /^netmem: --after: operation 2, clone: every packet was freed$/],
    [["mixed.pcap", "--after", "clone,free:A,expand:A"], /^netmem: --after: operation 3, expand:A: A was given up before$/],
    [["mixed.pcap", "--after", "free-clone"], /^netmem: --after: operation 1, free-clone: nothing was cloned$/],
    [["mixed.pcap", "--after", "clone,free-original:A"], /^netmem: --after: operation 2, free-original:A: free-original says whom it frees; write free:A for another$/],
    [["mixed.pcap", "--after", "flush:A"], /^netmem: --after: operation 1, flush:A: it is for no packet; write flush$/],
  ])("%j", async (args, line) => {
    const { code, out, err } = await cli(["inspect", ...args], folder);
    expect([code, out]).toEqual([2, ""]);
    expect(err.trimEnd()).toMatch(line);
    expect(err.trimEnd().split("\n").length).toBe(1);
  });

  test("help lists every operation with the kernel's function", async () => {
    const { code, out } = await cli(["inspect", "--help"], folder);
    expect(code).toBe(0);
    for (const { name, kernel } of OPERATIONS) expect(out).toMatch(new RegExp(`^  ${name}[^ ]* +${kernel}`, "m"));
  });
});
