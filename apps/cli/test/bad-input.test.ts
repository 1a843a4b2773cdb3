import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pcapFile, testFrame } from "@netmem/testkit";
import { readError } from "../src/reading.ts";
import { pagesFor } from "../src/replay/run.ts";
import { cli } from "./cli.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-bad-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const GOOD = pcapFile([{ bytes: testFrame(60, 1) }, { bytes: testFrame(80, 2) }]);

function patched(bytes: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(offset, value, true);
  return copy;
}

/** Root may read everything; so it steps down for a moment. */
async function asOrdinaryUser<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid!() !== 0) return work();
  process.seteuid!(65_534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}

/** File name, its bytes, and what the one line on stderr must say. */
const FILES: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["empty.pcap", new Uint8Array(0), /^netmem: empty\.pcap: byte 0: not a capture: 0 bytes/],
  ["junk.pcap", new TextEncoder().encode("this is no capture at all"), /^netmem: junk\.pcap: byte 0: not a capture: it starts with 74 68 69 73/],
  ["packed.pcap.gz", Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0), /^netmem: packed\.pcap\.gz: byte 0: not a capture: compressed with gzip; unpack it first/],
  ["cooked.pcap", patched(GOOD, 20, 113), /link type 113 \(LINUX_SLL\): .*record on one device, not on "any"/],
  ["header.pcap", GOOD.slice(0, 20), /^netmem: header\.pcap: byte 20: pcap header cut off/],
  ["long.pcap", patched(GOOD, 24 + 8, 5000), /^netmem: long\.pcap: byte 24: record of 5000 bytes, longer than the whole file/],
  ["absurd.pcap", patched(GOOD, 24 + 76 + 8, 0x7fffffff), /^netmem: absurd\.pcap: byte 100: record claims 2147483647 captured bytes/],
  ["first.pcap", GOOD.slice(0, 60), /^netmem: first\.pcap: byte 24: (file cut off in its first record|record of 60 bytes, longer)/],
  ["linktype.pcap", patched(GOOD, 20, 147), /^netmem: linktype\.pcap: byte 24: link type 147 \(USER0\): a NIC receives Ethernet frames/],
  ["zero.pcap", pcapFile([{ bytes: testFrame(60, 1) }, { bytes: new Uint8Array(0) }]), /^netmem: zero\.pcap: byte 100: frame of 0 bytes/],
  ["huge.pcap", pcapFile([{ bytes: testFrame(65_537, 1) }]), /^netmem: huge\.pcap: byte 24: frame of 65537 bytes, more than 64 KiB/],
  ["frags.pcap", pcapFile([{ bytes: testFrame(63_355, 1) }]), /^netmem: frags\.pcap: byte 24: frame of 63355 bytes, and mvneta takes at most \d+: record with segmentation offload off/],
];

describe("a file that cannot be replayed: one line with file and byte, exit 2, nothing on stdout", () => {
  test.each(FILES)("%s", async (name, bytes, line) => {
    writeFileSync(join(folder, name), bytes);
    const { code, out, err } = await cli(["replay", name], folder);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(line);
    expect(err.trimEnd().split("\n").length).toBe(1);
  });

  test("a bad file behind a good one stops everything before anything runs", async () => {
    writeFileSync(join(folder, "good.pcap"), GOOD);
    writeFileSync(join(folder, "bad.pcap"), new Uint8Array(9));
    const { code, out, err } = await cli(["replay", "good.pcap", "bad.pcap"], folder);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/^netmem: bad\.pcap: byte 0: not a capture/);
  });

  test("missing, a folder, not readable", async () => {
    mkdirSync(join(folder, "sub"));
    expect((await cli(["replay", "nope.pcap"], folder)).err).toBe("netmem: nope.pcap: no such file\n");
    expect((await cli(["replay", "sub"], folder)).err).toBe("netmem: sub: a folder, not a capture; name the files in it\n");
  });

  test("every reason for which a file cannot be read has its words", () => {
    const words = ["ENOENT", "EACCES", "EPERM", "EISDIR", "EIO"].map((code) => readError(Object.assign(new Error("x"), { code })));
    expect(words).toEqual(["no such file", "no permission to read it", "no permission to read it", "a folder, not a capture; name the files in it", "cannot be read (EIO)"]);
  });

  test.skipIf(process.getuid === undefined)("no read permission (skipped where there are no users)", async () => {
    writeFileSync(join(folder, "secret.pcap"), GOOD);
    chmodSync(join(folder, "secret.pcap"), 0);
    const { code, err } = await asOrdinaryUser(() => cli(["replay", "secret.pcap"], folder));
    expect([code, err]).toEqual([2, "netmem: secret.pcap: no permission to read it\n"]);
  });
});

describe("damage that leaves something to replay is said, and replayed", () => {
  test("a file cut off in its last record is replayed up to there", async () => {
    writeFileSync(join(folder, "cut.pcap"), GOOD.slice(0, GOOD.length - 10));
    const { code, out, err } = await cli(["replay", "cut.pcap", "--json"], folder);
    expect([code, err]).toEqual([0, "netmem: cut.pcap: byte 100: file cut off in its last record, 10 bytes missing; read up to there\n"]);
    expect(JSON.parse(out).inputs[0]).toEqual({ path: "cut.pcap", packets: 1, bytes: 60, linkType: 1, cutOffAtByte: 100 });
  });

  test("records cut by the snap length are replayed at their captured length, and counted; even shorter than a header", async () => {
    writeFileSync(join(folder, "snap.pcap"), pcapFile([{ bytes: testFrame(60, 1), wireBytes: 1500 }, { bytes: testFrame(8, 2), wireBytes: 64 }, { bytes: testFrame(60, 3) }]));
    const { code, out, err } = await cli(["replay", "snap.pcap", "--json"], folder);
    expect([code, err]).toEqual([0, "netmem: snap.pcap: 2 of 3 packets cut by the capture's snap length; received as captured, in fewer buffers than on the wire\n"]);
    expect(JSON.parse(out).inputs[0]).toMatchObject({ packets: 3, bytes: 128, snapped: 2 });
    expect(JSON.parse(out).runs[0].delivered).toMatchObject({ packets: 3, bytes: 128 });
  });
});

describe("bad usage: one line, exit 2", () => {
  test.each<[readonly string[], RegExp]>([
    [["replay"], /missing required argument 'capture'/],
    [["replay", "x", "--design", "4.4"], /--design 4\.4: no such design; choose from stock, v3-2021, 5\.14, 6\.1, 6\.8, 6\.18/],
    [["replay", "x", "--design", "6.18,6.18"], /a design is named twice/],
    [["replay", "x", "--design", ","], /name at least one of/],
    [["replay", "x", "--design", "6.18", "--design", "5.14"], /--design is given twice/],
    [["inspect", "x", "--after", Array.from({ length: 101 }, () => "clone").join(",")], /--after: 101 operations, more than the 100 whose outcome can be looked at/],
    [["replay", "x", "--nonsense"], /unknown option '--nonsense'/],
    [["replay", "x", "--free-order", "sideways", "--tap"], /Allowed choices are original, clone, alternate/],
    [["replay", "x", "--timing", "never"], /Allowed choices are back-to-back, capture/],
    [["replay", "x", "--return-path", "magic"], /Allowed choices are mem-info, pool-pointer, skb-mem-info/],
    [["replay", "x", "--shared-release", "never"], /Allowed choices are leave-pool, last-reference, pp-ref-count/],
    [["replay", "x", "--reader-lag", "-1"], /--reader-lag/],
    [["replay", "x", "--reader-lag", "1.5"], /--reader-lag 1\.5: give a whole number from 0 to 100000/],
    [["replay", "x", "--seed", "4294967296"], /--seed 4294967296: give a whole number/],
    [["replay", "x", "--ring", "16"], /--ring 16: give a whole number from 32 to 512/],
    [["replay", "x", "--packet-cost", "5"], /--packet-cost is simulated time, .*: give --timing capture too/],
    [["replay", "x", "--dma", "iommu"], /Allowed choices are coherent, non-coherent, bounce, iommu-strict, iommu-deferred/],
    [["replay", "x", "--dma", "bounce", "--cpu-cache"], /--cpu-cache: a coherent device, as --dma bounce has it, .*give another kind/],
    [["replay", "x", "--expand"], /--expand makes the tap's clone private: give --tap too/],
    [["replay", "x", "--free-order", "clone"], /give --tap too/],
    [["replay", "x", "--tap", "--early-drop"], /give one of them/],
    [["replay", ""], /a capture without a name: name a file/],
    [["replay", "good.pcap", "--forward", "--design", "6.18", "--write", ""], /--write: no name; name a file/],
    [["replay", "good.pcap", "--forward", "--design", "6.18", "--write", "-"], /--write -: only what is read may be that; name a file, or \/dev\/stdout/],
    [["replay", "/dev/zero"], /\/dev\/zero: a terminal, or a device, which may never end; give a file, or pipe one into -/],
    [["frobnicate"], /unknown command 'frobnicate'/],
  ])("netmem %j", async (args, line) => {
    const { code, out, err } = await cli(args, folder);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(line);
    expect(err.trimEnd().split("\n").length).toBe(1);
  });

  test("asking for help is no mistake", async () => {
    const { code, out } = await cli(["replay", "--help"], folder);
    expect(code).toBe(0);
    expect(out).toContain("--shared-release");
  });

  test("a reader lag that no machine has the memory for is refused before anything runs", () => {
    const frame = { bytes: new Uint8Array(0), offset: 0, lengthBytes: 9000, arrivalNs: 0 };
    const frames = Array.from({ length: 100_000 }, () => frame);
    expect(() => pagesFor(frames, { readerLag: 100_000, expand: false })).toThrow(/^--reader-lag 100000: holding back that many of these packets takes 308192 pages, .* lower it$/);
    expect(pagesFor(frames, { readerLag: 10, expand: false })).toBe(8192 + 30);
    const oneLarge = [{ ...frame, lengthBytes: 60_000 }, ...Array.from({ length: 20_000 }, () => ({ ...frame, lengthBytes: 60 }))];
    expect(pagesFor(oneLarge, { readerLag: 100_000, expand: false })).toBe(8192 + 18 + 20_000);
  });
});
