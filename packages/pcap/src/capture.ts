import { CaptureError, type Capture } from "./api/index.ts";
import { MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, readClassic } from "./classic.ts";
import { BLOCK_SECTION, readPcapng } from "./pcapng.ts";
import { NumberReader, PacketTable } from "./reader.ts";

/** First bytes of what captures are often packed with. */
const COMPRESSED: Readonly<Record<string, string>> = { "1f 8b 08 00": "gzip", "1f 8b 08 08": "gzip", "28 b5 2f fd": "zstd", "fd 37 7a 58": "xz" };

/**
 * Reads a whole capture: classic pcap in either byte order, with micro- or nanoseconds, or pcapng. `bytes` stays the
 * caller's and is referred to, not copied. Throws `CaptureError`; a file cut off in its last record is read up to it.
 */
export function readCapture(path: string, bytes: Uint8Array): Capture {
  if (bytes.length < 4) throw new CaptureError(path, 0, `not a capture: ${bytes.length} bytes; give a pcap or pcapng file`);
  const table = new PacketTable();
  for (const little of [true, false]) {
    const magic = new NumberReader(bytes, little).u32(0);
    if (magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS) {
      const cutOff = readClassic(path, bytes, little, magic === MAGIC_NANOSECONDS, table);
      return { path, format: "pcap", bytes, packets: table.packets, linkTypes: table.linkTypes, snapped: table.snapped, cutOff };
    }
  }
  if (new NumberReader(bytes, true).u32(0) === BLOCK_SECTION) {
    const cutOff = readPcapng(path, bytes, table);
    return { path, format: "pcapng", bytes, packets: table.packets, linkTypes: table.linkTypes, snapped: table.snapped, cutOff };
  }
  const start = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const packer = COMPRESSED[start];
  if (packer !== undefined) throw new CaptureError(path, 0, `not a capture: compressed with ${packer}; unpack it first`);
  throw new CaptureError(path, 0, `not a capture: it starts with ${start}, which is neither pcap nor pcapng`);
}
