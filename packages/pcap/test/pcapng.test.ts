import { describe, expect, test } from "vitest";
import {
  block, bytes, captureErrorOf, concat, dataOf, enhanced, iface, obsolete, patched, read, section, SECTION_HEADER, simple, timesOf, type InterfaceOptions,
} from "./build.ts";

/** Where the first block behind a section header and one plain interface starts. */
const THIRD = SECTION_HEADER + iface()(true).length;

describe.each([true, false])("little-endian %s", (little) => {
  test("an enhanced packet block: bytes, lengths, time and link type are exact", () => {
    const capture = read(section(little, iface({ linkType: 113 }), enhanced({ bytes: bytes(61), wireBytes: 1500, units: 1_700_000_000_123_456n })));
    expect(capture.packets).toEqual([{
      recordOffset: THIRD, dataOffset: THIRD + 28, capturedBytes: 61, wireBytes: 1500,
      timeSeconds: 1_700_000_000, timeNanoseconds: 123_456_000, linkType: 113,
    }]);
    expect(dataOf(capture, capture.packets[0]!)).toEqual([...bytes(61)]);
    expect(capture).toMatchObject({ format: "pcapng", linkTypes: [113], snapped: 1, cutOff: null });
  });

  test("an obsolete packet block: its interface is 16 bits, and the drops beside it are none of the interface's", () => {
    const packet = obsolete({ bytes: bytes(5), wireBytes: 9, interfaceId: 1, units: 3_000_001n }, 77);
    const capture = read(section(little, iface({ linkType: 113 }), iface({ linkType: 101 }), packet));
    expect(capture.packets).toMatchObject([{ capturedBytes: 5, wireBytes: 9, linkType: 101, timeSeconds: 3, timeNanoseconds: 1000 }]);
    expect(dataOf(capture, capture.packets[0]!)).toEqual([...bytes(5)]);
  });

  test("a simple packet block has no time, and belongs to the first interface", () => {
    const capture = read(section(little, iface({ linkType: 113 }), iface(), simple(bytes(10))));
    expect(capture.packets).toEqual([{
      recordOffset: THIRD + iface()(true).length, dataOffset: THIRD + iface()(true).length + 12, capturedBytes: 10, wireBytes: 10,
      timeSeconds: -1, timeNanoseconds: 0, linkType: 113,
    }]);
  });

  test("a simple packet block is cut by its interface's snap length, and is whole where that is 0 or larger", () => {
    const one = (snapLength: number, kept: number): unknown => {
      const { packets, snapped } = read(section(little, iface({ snapLength }), simple(bytes(kept), 20)));
      return [packets[0]!.capturedBytes, packets[0]!.wireBytes, snapped];
    };
    expect([one(8, 8), one(20, 20), one(64, 20), one(0, 20)]).toEqual([[8, 20, 1], [20, 20, 0], [20, 20, 0], [20, 20, 0]]);
  });

  test.each<[string, InterfaceOptions, bigint, bigint]>([
    ["microseconds by default", {}, 1_500_000n, 1_500_000_000n],
    ["10^-9", { tsresol: 9 }, 1_700_000_000_123_456_789n, 1_700_000_000_123_456_789n],
    ["10^-3", { tsresol: 3 }, 1_001n, 1_001_000_000n],
    ["10^0", { tsresol: 0 }, 7n, 7_000_000_000n],
    ["10^-12, rounded down to nanoseconds", { tsresol: 12 }, 1_000_000_001_999n, 1_000_000_001n],
    ["2^-10", { tsresol: 0x80 | 10 }, 1024n + 512n, 1_500_000_000n],
    ["2^-32", { tsresol: 0x80 | 32 }, (5n << 32n) | 0x4000_0000n, 5_250_000_000n],
    ["an offset in seconds", { tsoffset: 100n }, 1_000_001n, 101_000_001_000n],
    ["a negative offset", { tsresol: 9, tsoffset: -3n }, 5_000_000_001n, 2_000_000_001n],
  ])("times are exact: %s", (_name, options, units, nanoseconds) => {
    expect(timesOf(read(section(little, iface(options), enhanced({ bytes: bytes(1), units }))))).toEqual([nanoseconds]);
  });
});

test("several interfaces: each packet has the link type and the clock of its own", () => {
  const file = section(
    true, iface({ linkType: 1, tsresol: 9 }), iface({ linkType: 276, tsresol: 6 }),
    enhanced({ bytes: bytes(1), interfaceId: 1, units: 5_000_000n }), enhanced({ bytes: bytes(1), interfaceId: 0, units: 5_000_000n }),
  );
  const capture = read(file);
  expect(capture.packets.map((packet) => packet.linkType)).toEqual([276, 1]);
  expect(timesOf(capture)).toEqual([5_000_000_000n, 5_000_000n]);
  expect(capture.linkTypes).toEqual([1, 276]);
});

test("several sections: each has its own byte order, and its interfaces count from 0 again", () => {
  const file = concat(
    section(true, iface({ linkType: 1 }), enhanced({ bytes: bytes(3) })),
    section(false, iface({ linkType: 101 }), enhanced({ bytes: bytes(5) })),
    section(true, iface({ linkType: 1 }), enhanced({ bytes: bytes(7) })),
  );
  const capture = read(file);
  expect(capture.packets.map((packet) => [packet.linkType, packet.capturedBytes])).toEqual([[1, 3], [101, 5], [1, 7]]);
  expect(capture.linkTypes).toEqual([1, 101]);
});

test.each([4, 5, 10, 0x0bad, 0x4000_0bad])("a block of type %i, which is not known, is passed over", (type) => {
  const unknown = block(type, (body) => body.bytes(bytes(13)));
  expect(read(section(false, unknown, iface(), unknown, enhanced({ bytes: bytes(2) }), unknown)).packets).toHaveLength(1);
});

test("an interface without options is read", () => {
  const bare = block(1, (body) => body.u16(1, 0).u32(0));
  expect(timesOf(read(section(true, bare, enhanced({ bytes: bytes(1), units: 2n }))))).toEqual([2000n]);
});

test("what follows the end of an interface's options is no option", () => {
  const odd = block(1, (body) => body.u16(1, 0).u32(0).u16(0, 0).u16(9, 1).bytes([9]).pad());
  expect(timesOf(read(section(true, odd, enhanced({ bytes: bytes(1), units: 2n }))))).toEqual([2000n]);
});

test("a file that lies at an odd offset of its buffer is read the same", () => {
  const file = section(false, iface(), enhanced({ bytes: bytes(4) }));
  expect(read(concat(bytes(5), file).subarray(5)).packets).toEqual(read(file).packets);
});

describe("damage is an error at its very byte", () => {
  const file = section(true, iface(), enhanced({ bytes: bytes(60) }), enhanced({ bytes: bytes(60) }));
  const packetLength = enhanced({ bytes: bytes(60) })(true).length;

  test.each([[packetLength + 2, "no multiple of 4"], [8, "too short for a block"], [0, "zero"], [0x8000_0000, "absurd"]])("a block length of %i: %s", (length) => {
    const error = captureErrorOf(patched(file, THIRD + 4, length));
    expect(error.byteOffset).toBe(THIRD);
    expect(error.message).toContain(`block of type 6 claims ${length} bytes`);
  });

  test("a block longer than the whole file", () => {
    const error = captureErrorOf(patched(file, THIRD + 4, file.length + 4));
    expect(error.byteOffset).toBe(THIRD);
    expect(error.message).toContain(`block of ${file.length + 4} bytes, longer than the whole file of ${file.length}`);
  });

  test("a length at the end that is not the one at the start", () => {
    const error = captureErrorOf(patched(file, THIRD + packetLength - 4, packetLength - 4));
    expect(error.byteOffset).toBe(THIRD + packetLength - 4);
    expect(error.message).toContain(`block length ${packetLength - 4} at its end, ${packetLength} at its start`);
  });

  test("a packet of an interface that its section does not describe", () => {
    const error = captureErrorOf(patched(file, THIRD + packetLength + 8, 1));
    expect(error.byteOffset).toBe(THIRD + packetLength);
    expect(error.message).toContain("packet of interface 1, but its section describes 1");
  });

  test("a simple packet in a section without interfaces, though the one before had some", () => {
    expect(captureErrorOf(concat(file, section(false, simple(bytes(4))))).byteOffset).toBe(file.length + SECTION_HEADER);
  });

  test.each([0, file.length])("a section header at byte %i without byte-order magic", (at) => {
    const error = captureErrorOf(patched(concat(file, file), at + 8, 0x11223344));
    expect(error.byteOffset).toBe(at + 8);
    expect(error.message).toContain("without a byte-order magic");
  });

  test.each([[33, 5], [0xffffffff, 6]])("a packet that claims more captured bytes than its block holds (%i)", (captured) => {
    const error = captureErrorOf(patched(section(true, iface(), enhanced({ bytes: bytes(1) })), THIRD + 20, captured));
    expect(error.byteOffset).toBe(THIRD);
    expect(error.message).toContain(`too short for its ${captured} captured bytes`);
  });

  test.each([[6, 16], [2, 4], [3, 0], [1, 4]])("a block of type %i with a body of %i bytes, too few for its header", (type, length) => {
    const stub = block(type, (body) => body.bytes(new Uint8Array(length)));
    expect(captureErrorOf(section(true, iface(), stub)).byteOffset).toBe(THIRD);
  });

  test("an interface's option that reaches beyond its block", () => {
    const broken = block(1, (body) => body.u16(1, 0).u32(0).u16(9, 100).bytes([9]));
    expect(captureErrorOf(section(true, broken)).byteOffset).toBe(SECTION_HEADER);
  });
});

describe("a file cut off within its last block", () => {
  const before = section(true, iface(), enhanced({ bytes: bytes(100) }));
  const last = enhanced({ bytes: bytes(60) })(true);

  test.each([8, 9, 20, 40, last.length - 1])("after %i of its bytes: the packets before it, and what is missing", (left) => {
    expect(read(concat(before, last.slice(0, left)))).toMatchObject({
      packets: [{ capturedBytes: 100 }], cutOff: { recordOffset: before.length, missingBytes: last.length - left },
    });
  });

  test.each([1, 7])("after %i of its bytes, its length unknown: at least the shortest block's rest is missing", (left) => {
    expect(read(concat(before, last.slice(0, left))).cutOff).toEqual({ recordOffset: before.length, missingBytes: 12 - left });
  });

  test.each([4, 11, 20])("a section header after %i of its bytes", (left) => {
    const { cutOff, packets } = read(concat(before, before.slice(0, left)));
    expect([cutOff!.recordOffset, packets.length]).toEqual([before.length, 1]);
  });
});
