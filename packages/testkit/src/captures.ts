import { CaptureWriter } from "@netmem/pcap";

/** A packet to be written, its time in nanoseconds from the capture's start. */
export interface PacketToWrite {
  readonly bytes: Uint8Array;
  readonly timeNs?: number;
  /** Bytes on the wire, if the capture cut it. */
  readonly wireBytes?: number;
}

/** A classic pcap file, little endian, nanoseconds. */
export function pcapFile(packets: readonly PacketToWrite[], linkType: number = 1): Uint8Array {
  const writer = new CaptureWriter(linkType);
  for (const { bytes, timeNs = 0, wireBytes = bytes.length } of packets) writer.add(bytes, 0, bytes.length, Math.floor(timeNs / 1e9), timeNs % 1e9, wireBytes);
  return writer.toBytes();
}
