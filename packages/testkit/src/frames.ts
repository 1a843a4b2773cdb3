/**
 * An Ethernet frame of `lengthBytes` ≥ 14 with a type no protocol claims and a payload that differs for each `seed`,
 * so that a byte in the wrong place is seen.
 */
export function testFrame(lengthBytes: number, seed: number): Uint8Array {
  const frame = new Uint8Array(lengthBytes);
  let x = (seed * 2654435761) >>> 0;
  for (let i = 0; i < lengthBytes; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    frame[i] = x >>> 24;
  }
  if (lengthBytes >= 14) {
    frame[12] = 0x88;
    frame[13] = 0xb5;
  }
  return frame;
}
