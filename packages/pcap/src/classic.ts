import { CaptureError } from "./api/index.ts";
import { NumberReader, type CutOff, type PacketTable } from "./reader.ts";

export const MAGIC_MICROSECONDS = 0xa1b2c3d4;
export const MAGIC_NANOSECONDS = 0xa1b23c4d;

export const HEADER_BYTES = 24;
export const RECORD_BYTES = 16;
/** The largest snap length that capture tools accept; a longer record means that we lost the thread of the file. */
export const MAX_SNAPLEN = 262_144;

/**
 * Classic pcap: a header of 24 bytes, then records of 16 bytes and data.
 * ```
 *   0 magic   4 version   8 zone, accuracy   16 snap length   20 link type (low 16 bits)
 *   record: 0 seconds   4 fraction   8 captured   12 on the wire
 * ```
 */
export function readClassic(path: string, bytes: Uint8Array, little: boolean, nanoseconds: boolean, table: PacketTable): CutOff | null {
  if (bytes.length < HEADER_BYTES) throw new CaptureError(path, bytes.length, `pcap header cut off: ${bytes.length} of ${HEADER_BYTES} bytes; capture it again`);
  const numbers = new NumberReader(bytes, little);
  const linkType = numbers.u32(20) & 0xffff;
  table.addLinkType(linkType);
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    if (at + RECORD_BYTES > bytes.length) return { recordOffset: at, missingBytes: at + RECORD_BYTES - bytes.length };
    const capturedBytes = numbers.u32(at + 8);
    const wireBytes = numbers.u32(at + 12);
    if (capturedBytes > MAX_SNAPLEN) {
      throw new CaptureError(path, at, `record claims ${capturedBytes} captured bytes, more than any capture holds (${MAX_SNAPLEN}); the file is damaged here`);
    }
    const dataOffset = at + RECORD_BYTES;
    if (capturedBytes > bytes.length) throw new CaptureError(path, at, `record of ${capturedBytes} bytes, longer than the whole file of ${bytes.length}; the file is damaged or cut off here`);
    if (dataOffset + capturedBytes > bytes.length) return { recordOffset: at, missingBytes: dataOffset + capturedBytes - bytes.length };
    table.add({
      recordOffset: at, dataOffset, capturedBytes, wireBytes, linkType,
      timeSeconds: numbers.u32(at),
      timeNanoseconds: numbers.u32(at + 4) * (nanoseconds ? 1 : 1000),
    });
    at = dataOffset + capturedBytes;
  }
  return null;
}
