import type { FrameSource } from "@netmem/driver/api";
import { mvneta } from "@netmem/driver-mvneta";
import { SocketReaders, USER_BUFFER_BYTES, createMachine } from "@netmem/machine";
import { backingBytes, createWasmBacking } from "@netmem/mm";
import type { PayloadRegion } from "@netmem/mm/api";
import { tcpFrame, testPayload, udpFrame } from "@netmem/testkit";

/** Frames of one round on the wire: more than are under way at a time. */
const FRAMES = 4096;
/** The longest frame, and eight bytes in front of it. */
const STRIDE = 1536;
const LEAD = 8;
const TCP_PAYLOAD_BYTES = 1448;
/** As the pages of a packet under way are counted: a burst of datagrams is not to be dropped. */
const RCVBUF_BYTES = 8_388_608;
const SYN = 0x02;
const ACK = 0x10;
const FIN = 0x01;

/** The same frames again and again, as many as are asked for. */
class Repeated implements FrameSource {
  readonly region: PayloadRegion;
  readonly lossless = true;
  left: number;
  private readonly lengths: Int32Array;
  private next: number;

  constructor(region: PayloadRegion, frames: readonly Uint8Array[]) {
    this.region = region;
    this.left = 0;
    this.lengths = Int32Array.from(frames, ({ length }) => length);
    this.next = 0;
    for (const [i, frame] of frames.entries()) region.bytes.set(frame, i * STRIDE + LEAD);
  }

  peekBytes(): number {
    return this.left === 0 ? -1 : this.lengths[this.next]!;
  }

  peekOffset(): number {
    return this.next * STRIDE + LEAD;
  }

  advance(): void {
    this.left--;
    this.next = this.next + 1 === this.lengths.length ? 0 : this.next + 1;
  }
}

/** From the wire through NIC, driver and stack into a socket, which is read on the other CPU. */
function intoSocket(frames: readonly Uint8Array[], gro: boolean): (ops: number) => void {
  const size = { nrPages: 16_384, extraBytes: FRAMES * STRIDE + USER_BUFFER_BYTES };
  const machine = createMachine({ ...size, reports: "panic", memory: { dmaDebug: "off" }, backing: createWasmBacking(backingBytes(size)) });
  const { kernel, mm, net } = machine;
  const source = new Repeated(mm.payload.addRegion("wire", FRAMES * STRIDE, true), frames);
  const user = mm.payload.addRegion("user", USER_BUFFER_BYTES, true);
  const readers = new SocketReaders(kernel, net, mm.userMappings, user, { cpu: 1, sockets: 1, reads: "prompt", rcvbufBytes: RCVBUF_BYTES, onBytes: () => undefined });
  const { nic, netif } = machine.attach(mvneta);
  netif.dev.gro = gro;
  if (netif.open() !== 0) throw new Error("the interface did not come up");
  nic.connect(source);
  return (ops) => {
    const before = readers.bytes;
    source.left = ops;
    nic.frameArrived();
    while (kernel.scheduler.step());
    if (source.left !== 0 || readers.bytes === before) throw new Error("nothing was received");
  };
}

/** Frames of 60 bytes, which are 64 with their checksum. */
export function udpIntoSocket(): (ops: number) => void {
  const payload = testPayload(18, 1);
  return intoSocket(Array.from({ length: FRAMES }, (_, i) => udpFrame(payload, { dport: 53, ipId: i })), false);
}

/** One connection; each round of frames begins it anew, and ends it. */
export function tcpThroughGro(): (ops: number) => void {
  const frames = [tcpFrame(new Uint8Array(0), { dport: 80, seq: 0, flags: SYN })];
  for (let i = 1; i < FRAMES; i++) frames.push(tcpFrame(testPayload(TCP_PAYLOAD_BYTES, i), { dport: 80, seq: 1 + (i - 1) * TCP_PAYLOAD_BYTES, flags: i === FRAMES - 1 ? ACK | FIN : ACK, ipId: i }));
  return intoSocket(frames, true);
}
