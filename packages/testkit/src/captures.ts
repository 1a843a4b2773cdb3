/** A packet to be written, its time in nanoseconds from the capture's start. */
export interface PacketToWrite {
  readonly bytes: Uint8Array;
  readonly timeNs?: number;
  /** Bytes on the wire, if the capture cut it. */
  readonly wireBytes?: number;
}

/** A classic pcap file, little endian, nanoseconds. */
export function pcapFile(packets: readonly PacketToWrite[], linkType: number = 1): Uint8Array {
  const total = packets.reduce((sum, packet) => sum + 16 + packet.bytes.length, 24);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b23c4d, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262_144, true);
  view.setUint32(20, linkType, true);
  let at = 24;
  for (const { bytes, timeNs = 0, wireBytes = bytes.length } of packets) {
    view.setUint32(at, Math.floor(timeNs / 1e9), true);
    view.setUint32(at + 4, timeNs % 1e9, true);
    view.setUint32(at + 8, bytes.length, true);
    view.setUint32(at + 12, wireBytes, true);
    file.set(bytes, at + 16);
    at += 16 + bytes.length;
  }
  return file;
}
