import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Capture } from "../src/api/index.ts";
import { readCapture } from "../src/index.ts";
import {
  block, bytes, captureErrorOf, classic, CLASSIC_HEADER, concat, dataOf, enhanced, iface, obsolete, read, readOrRefuse, section, simple, timesOf,
  type Block, type Written,
} from "./build.ts";

describe("what is no capture", () => {
  test.each([[0, "0 bytes"], [3, "3 bytes"]])("%i bytes are an error at byte 0", (length, says) => {
    const error = captureErrorOf(bytes(length));
    expect(error.byteOffset).toBe(0);
    expect(error.message).toContain(says);
  });

  test("other first bytes are an error at byte 0 that shows them", () => {
    const error = captureErrorOf(new TextEncoder().encode("GIF89a and more"));
    expect(error.byteOffset).toBe(0);
    expect(error.message).toBe("test.pcap: byte 0: not a capture: it starts with 47 49 46 38, which is neither pcap nor pcapng");
  });
});

test("a capture refers to the caller's bytes and does not copy them", () => {
  const file = classic([{ bytes: bytes(4) }]);
  expect(read(file).bytes).toBe(file);
});

const packet: fc.Arbitrary<Required<Written>> = fc.record({
  bytes: fc.uint8Array({ maxLength: 80, size: "max" }),
  wireBytes: fc.nat(3),
  seconds: fc.integer({ min: 0, max: 0xffffffff }),
  fraction: fc.nat(999_999),
}).map((drawn) => ({ ...drawn, wireBytes: drawn.bytes.length + (drawn.wireBytes === 0 ? 1000 : 0) }));

test("property: classic packets written in any of the four variants are read as they were", () => {
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 20, size: "max" }), fc.boolean(), fc.boolean(), fc.nat(0xffff), (packets, little, nanoseconds, linkType) => {
      const capture = read(classic(packets, { little, nanoseconds, linkType }));
      expect(capture.packets.map((p) => [dataOf(capture, p), p.wireBytes, p.timeSeconds, p.timeNanoseconds, p.linkType])).toEqual(
        packets.map((p) => [[...p.bytes], p.wireBytes, p.seconds, p.fraction * (nanoseconds ? 1 : 1000), linkType]),
      );
      expect([capture.snapped, capture.linkTypes, capture.cutOff]).toEqual([packets.filter((p) => p.wireBytes > p.bytes.length).length, [linkType], null]);
    }),
  );
});

/** A section of interfaces that count nanoseconds, and packets in each kind of block. */
const anySection = fc.record({
  little: fc.boolean(),
  linkTypes: fc.array(fc.nat(0xffff), { minLength: 1, maxLength: 3 }),
  packets: fc.array(fc.record({ packet, kind: fc.constantFrom("enhanced", "obsolete", "simple", "unknown"), interfaceId: fc.nat(2) }), { maxLength: 10, size: "max" }),
});

test("property: pcapng sections with interfaces and packets of any kind are read as they were", () => {
  fc.assert(
    fc.property(fc.array(anySection, { minLength: 1, maxLength: 3, size: "max" }), (sections) => {
      const expected: unknown[] = [];
      const file = concat(...sections.map(({ little, linkTypes, packets }) => {
        const blocks: Block[] = linkTypes.map((linkType) => iface({ linkType, tsresol: 9 }));
        for (const { packet: p, kind, interfaceId: drawn } of packets) {
          const interfaceId = kind === "simple" ? 0 : drawn % linkTypes.length;
          const units = BigInt(p.seconds) * 1_000_000_000n + BigInt(p.fraction);
          if (kind === "unknown") {
            blocks.push(block(0x0bad, (body) => body.bytes(p.bytes)));
            continue;
          }
          if (kind === "simple") blocks.push(simple(p.bytes));
          else blocks.push((kind === "enhanced" ? enhanced : obsolete)({ ...p, interfaceId, units }));
          const time = kind === "simple" ? -1_000_000_000n : units;
          expected.push([[...p.bytes], kind === "simple" ? p.bytes.length : p.wireBytes, time, linkTypes[interfaceId]]);
        }
        return section(little, ...blocks);
      }));
      const capture = read(file);
      const times = timesOf(capture);
      expect(capture.packets.map((p, i) => [dataOf(capture, p), p.wireBytes, times[i], p.linkType])).toEqual(expected);
      expect(capture.linkTypes).toEqual([...new Set(sections.flatMap((s) => s.linkTypes))]);
    }),
  );
});

const CLASSIC_FILE = classic([{ bytes: bytes(60) }, { bytes: bytes(0) }, { bytes: bytes(33), wireBytes: 99 }], { little: false });
const NG_FILE = concat(
  section(true, iface({ tsresol: 9, tsoffset: 5n }), block(5, (body) => body.bytes(bytes(40))), enhanced({ bytes: bytes(21) }), simple(bytes(6))),
  section(false, iface({ linkType: 113 }), iface(), obsolete({ bytes: bytes(9), interfaceId: 1 }), enhanced({ bytes: bytes(40), interfaceId: 1 })),
);
const FILES = [["classic", CLASSIC_FILE], ["pcapng", NG_FILE]] as const;

/** No packet reaches beyond the file or into the one before it. */
function expectWithin(capture: Capture, length: number): void {
  let end = 0;
  for (const { recordOffset, dataOffset, capturedBytes } of capture.packets) {
    expect(recordOffset).toBeGreaterThanOrEqual(end);
    expect(dataOffset).toBeGreaterThan(recordOffset);
    end = dataOffset + capturedBytes;
    expect(end).toBeLessThanOrEqual(length);
  }
}

test.each(FILES)("a %s file truncated at any byte is refused with a CaptureError, or gives the packets that are whole", (_name, file) => {
  const whole = read(file).packets;
  for (let length = 0; length < file.length; length++) {
    const capture = readOrRefuse(file.slice(0, length));
    if (capture === null) continue;
    expectWithin(capture, length);
    expect(capture.packets).toEqual(whole.slice(0, capture.packets.length));
    const { cutOff } = capture;
    if (cutOff !== null) expect([cutOff.recordOffset <= length, cutOff.missingBytes > 0]).toEqual([true, true]);
  }
});

test("a classic file truncated behind its header is refused only while its first record is longer than what is left", () => {
  for (let length = CLASSIC_HEADER; length < CLASSIC_FILE.length; length++) {
    const refused = length >= CLASSIC_HEADER + 16 && length < 60;
    expect(readOrRefuse(CLASSIC_FILE.slice(0, length)) === null).toBe(refused);
  }
});

test.each(FILES)("property: a %s file with any bytes changed is read or refused with a CaptureError, and ends", (_name, file) => {
  const change = fc.record({ at: fc.nat(file.length - 1), value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255)) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6, size: "max" }), (changes) => {
      const copy = file.slice();
      for (const { at, value } of changes) copy[at] = value;
      const capture = readOrRefuse(copy);
      if (capture !== null) expectWithin(capture, copy.length);
    }),
    { numRuns: 2000 },
  );
});

test("property: any bytes behind a right magic number are read or refused with a CaptureError, and end", () => {
  const magic = fc.constantFrom(CLASSIC_FILE.slice(0, 24), NG_FILE.slice(0, 28), NG_FILE.slice(0, 12));
  fc.assert(
    fc.property(magic, fc.uint8Array({ maxLength: 200, size: "max" }), (start, rest) => {
      const file = concat(start, rest);
      const capture = readOrRefuse(file);
      if (capture !== null) expectWithin(capture, file.length);
    }),
    { numRuns: 1000 },
  );
});

const CAPTURES = fileURLToPath(new URL("../../../examples/captures/", import.meta.url));
const EXAMPLES: readonly (readonly [string, number])[] = [["dns-ping.pcapng", 274], ["jumbo.pcap", 293], ["tcp-download.pcap", 1339]];

function example(name: string): Capture {
  return readCapture(name, readFileSync(CAPTURES + name));
}

test.each(EXAMPLES)("%s holds %i packets and is whole", (name, count) => {
  const capture = example(name);
  expect([capture.packets.length, capture.cutOff]).toEqual([count, null]);
  expectWithin(capture, capture.bytes.length);
});

const noTshark = spawnSync("tshark", ["--version"]).status !== 0;
const when = noTshark ? " (skipped: tshark is not on the PATH)" : "";

test.skipIf(noTshark).each(EXAMPLES)(`%s has the frames, lengths and times that tshark finds${when}`, (name) => {
  const fields = ["frame.len", "frame.cap_len", "frame.time_epoch"].flatMap((field) => ["-e", field]);
  const tshark = spawnSync("tshark", ["-r", CAPTURES + name, "-T", "fields", ...fields], { encoding: "utf8", maxBuffer: 1 << 26 });
  const ours = example(name).packets.map((p) => `${p.wireBytes}\t${p.capturedBytes}\t${p.timeSeconds}.${String(p.timeNanoseconds).padStart(9, "0")}`);
  expect(ours).toEqual(tshark.stdout.trimEnd().split("\n"));
});
