import type { FrameReceiver, XskTransmitter } from "./api/index.ts";

/** What lies above, null until it has been connected. */
export class Stack {
  receiver: FrameReceiver | null = null;
  transmitter: XskTransmitter | null = null;
}
