import { describe, expect, test } from "vitest";
import { bytes, captureErrorOf, classic, CLASSIC_HEADER, CLASSIC_RECORD, concat, dataOf, patched, read } from "./build.ts";

describe.each([[true, "little"], [false, "big"]])("little-endian %s (%s)", (little) => {
  test.each([[false, 123_456_000], [true, 123_456]])("nanoseconds %s: a packet's bytes, lengths and time are exact", (nanoseconds, timeNanoseconds) => {
    const capture = read(classic([{ bytes: bytes(61), wireBytes: 1500, seconds: 0xfedcba98, fraction: 123_456 }], { little, nanoseconds }));
    expect(capture.packets).toEqual([{
      recordOffset: CLASSIC_HEADER, dataOffset: CLASSIC_HEADER + CLASSIC_RECORD, capturedBytes: 61, wireBytes: 1500,
      timeSeconds: 0xfedcba98, timeNanoseconds, linkType: 1,
    }]);
    expect(dataOf(capture, capture.packets[0]!)).toEqual([...bytes(61)]);
    expect(capture).toMatchObject({ format: "pcap", linkTypes: [1], snapped: 1, cutOff: null });
  });

  test("the last nanosecond of a second stays in it", () => {
    expect(read(classic([{ bytes: bytes(1), seconds: 5, fraction: 999_999_999 }], { little, nanoseconds: true })).packets[0])
      .toMatchObject({ timeSeconds: 5, timeNanoseconds: 999_999_999 });
  });
});

test("packets follow each other without padding, in file order", () => {
  const capture = read(classic([{ bytes: bytes(3) }, { bytes: bytes(0) }, { bytes: bytes(5) }]));
  expect(capture.packets.map((packet) => [packet.recordOffset, packet.dataOffset, packet.capturedBytes])).toEqual([[24, 40, 3], [43, 59, 0], [59, 75, 5]]);
});

test("a file without packets is a capture with its header's link type", () => {
  expect(read(classic([], { linkType: 276 }))).toMatchObject({ packets: [], linkTypes: [276], snapped: 0, cutOff: null });
});

test("the upper half of the link-type word, which tells of frame checks, is not part of the link type", () => {
  expect(read(classic([{ bytes: bytes(1) }], { linkType: 0x1400_0001 })).packets[0]!.linkType).toBe(1);
});

test("only packets with fewer bytes than on the wire count as snapped", () => {
  expect(read(classic([{ bytes: bytes(9) }, { bytes: bytes(9), wireBytes: 10 }, { bytes: bytes(0), wireBytes: 1 }])).snapped).toBe(2);
});

test("a file that lies at an odd offset of its buffer is read the same", () => {
  const file = classic([{ bytes: bytes(7), seconds: 9 }]);
  const capture = read(concat(bytes(3), file).subarray(3));
  expect(capture.packets).toEqual(read(file).packets);
  expect(dataOf(capture, capture.packets[0]!)).toEqual([...bytes(7)]);
});

test.each([4, 8, 23])("a header cut off after %i bytes is an error at the file's end", (length) => {
  const error = captureErrorOf(classic([]).slice(0, length));
  expect(error).toMatchObject({ name: "CaptureError", path: "test.pcap", byteOffset: length });
  expect(error.message).toContain(`test.pcap: byte ${length}: pcap header cut off: ${length} of 24 bytes`);
});

test("a record longer than the whole file is an error at that record", () => {
  const file = classic([{ bytes: bytes(60) }, { bytes: bytes(60) }]);
  const second = CLASSIC_HEADER + CLASSIC_RECORD + 60;
  const error = captureErrorOf(patched(file, second + 8, file.length + 1));
  expect(error.byteOffset).toBe(second);
  expect(error.message).toContain(`record of ${file.length + 1} bytes, longer than the whole file of ${file.length}`);
});

test.each([262_145, 0xffffffff])("a record of %i captured bytes, more than any snap length, is an error at that record", (captured) => {
  const error = captureErrorOf(patched(classic([{ bytes: bytes(60) }]), CLASSIC_HEADER + 8, captured));
  expect(error.byteOffset).toBe(CLASSIC_HEADER);
  expect(error.message).toContain(`record claims ${captured} captured bytes`);
});

describe("a file cut off within its last record", () => {
  const file = classic([{ bytes: bytes(60) }, { bytes: bytes(20) }]);
  const last = CLASSIC_HEADER + CLASSIC_RECORD + 60;

  test.each([1, 15])("of which %i bytes of the header are left: the packets before it, and what is missing", (left) => {
    expect(read(file.slice(0, last + left))).toMatchObject({ packets: [{ capturedBytes: 60 }], cutOff: { recordOffset: last, missingBytes: CLASSIC_RECORD - left } });
  });

  test.each([0, 1, 19])("of which the header and %i of 20 data bytes are left: the packets before it, and what is missing", (left) => {
    const capture = read(file.slice(0, last + CLASSIC_RECORD + left));
    expect(capture.packets).toHaveLength(1);
    expect(capture.cutOff).toEqual({ recordOffset: last, missingBytes: 20 - left });
  });

  test("between two records is not cut off", () => {
    expect(read(file.slice(0, last)).cutOff).toBeNull();
  });
});
