import { expect, test } from "vitest";
import fc from "fast-check";
import { CaptureWriter, readCapture } from "../src/index.ts";

const PACKET = fc.record({
  bytes: fc.uint8Array({ maxLength: 3000 }), before: fc.nat(9), seconds: fc.nat(0xffffffff), nanoseconds: fc.nat(999_999_999), more: fc.nat(5000),
});

test("what is written is read back: bytes, times, lengths on the wire, link type, whatever it was cut out of", () => {
  fc.assert(fc.property(fc.array(PACKET, { maxLength: 60 }), fc.nat(0xffff), (packets, linkType) => {
    const writer = new CaptureWriter(linkType);
    for (const { bytes, before, seconds, nanoseconds, more } of packets) {
      const around = new Uint8Array(before + bytes.length + 7).fill(0xee);
      around.set(bytes, before);
      writer.add(around, before, bytes.length, seconds, nanoseconds, bytes.length + more);
      // What the caller does with it later changes nothing.
      around.fill(0);
    }
    const capture = readCapture("written.pcap", writer.toBytes());
    expect([capture.format, capture.linkTypes, capture.cutOff, writer.packets]).toEqual(["pcap", [linkType], null, packets.length]);
    expect(capture.packets.map((packet) => [packet.timeSeconds, packet.timeNanoseconds, packet.capturedBytes, packet.wireBytes]))
      .toEqual(packets.map(({ bytes, seconds, nanoseconds, more }) => [seconds, nanoseconds, bytes.length, bytes.length + more]));
    expect(capture.packets.map(({ dataOffset, capturedBytes }) => [...capture.bytes.subarray(dataOffset, dataOffset + capturedBytes)])).toEqual(packets.map(({ bytes }) => [...bytes]));
  }));
});

test("a packet longer than any reader takes is cut as a snap length cuts it", () => {
  const writer = new CaptureWriter();
  writer.add(new Uint8Array(300_000), 0, 300_000, 1, 2);
  writer.add(new Uint8Array(10), 0, 10, 1, 3);
  const capture = readCapture("long.pcap", writer.toBytes());
  expect(capture.packets.map(({ capturedBytes, wireBytes }) => [capturedBytes, wireBytes])).toEqual([[262_144, 300_000], [10, 10]]);
});

test("the file so far may be taken at any time, and is the taker's", () => {
  const writer = new CaptureWriter();
  const empty = writer.toBytes();
  writer.add(new Uint8Array(4).fill(1), 0, 4, 0, 0);
  const one = writer.toBytes();
  empty.fill(0);
  writer.add(new Uint8Array(4).fill(2), 0, 4, 0, 0);
  expect([empty.length, one.length, readCapture("two.pcap", writer.toBytes()).packets.length]).toEqual([24, 44, 2]);
});
