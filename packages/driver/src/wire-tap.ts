import type { PayloadRegion } from "@netmem/mm/api";
import type { FrameSink, FrameSource, NicWire } from "./api/index.ts";

/** What hears the frames of a wire: their bytes are read, or copied, before it returns. */
export interface WireTap {
  /** The NIC is done with a frame that came: it took it, or lost it. */
  readonly received?: (region: PayloadRegion, offset: number, lengthBytes: number) => void;
  /** A frame has left. */
  readonly sent?: (region: PayloadRegion, offset: number, lengthBytes: number) => void;
}

/** The wire of a NIC with a tap on it, to be used in its place; frames sent are heard while a sink is connected. @kernel (none): a mirror port */
export function tapWire(nic: NicWire, tap: WireTap): NicWire {
  return {
    connect: (source) => nic.connect(tap.received === undefined ? source : tappedSource(source, tap.received)),
    frameArrived: () => nic.frameArrived(),
    connectSink: (sink) => nic.connectSink(sink === null || tap.sent === undefined ? sink : tappedSink(sink, tap.sent)),
  };
}

function tappedSource(source: FrameSource, received: NonNullable<WireTap["received"]>): FrameSource {
  return {
    region: source.region,
    lossless: source.lossless,
    peekBytes: () => source.peekBytes(),
    peekOffset: () => source.peekOffset(),
    advance: () => {
      received(source.region, source.peekOffset(), source.peekBytes());
      source.advance();
    },
  };
}

function tappedSink(sink: FrameSink, sent: NonNullable<WireTap["sent"]>): FrameSink {
  return {
    region: sink.region,
    offset: () => sink.offset(),
    roomBytes: () => sink.roomBytes(),
    frameSent: (bytes) => {
      sent(sink.region, sink.offset(), bytes);
      sink.frameSent(bytes);
    },
  };
}
