import { createSocket, type Socket } from "node:dgram";
import { readSync } from "node:fs";

/** What a script's process in a namespace does: `send ADDRESS PORT COUNT BYTES`, or `receive PORT`, and then what its standard input says, a line a step: `read COUNT`, `close`. A line of JSON for each. */
const [mode, ...args] = process.argv.slice(2);

const RCVBUF_BYTES = 4 << 20;

function say(step: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(step)}\n`);
}

/** On the clock of the trace. */
function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

async function send(address: string, port: number, count: number, bytes: number): Promise<void> {
  const socket = createSocket("udp4");
  let errors = 0;
  const payload = Buffer.alloc(bytes, 0x6b);
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => void socket.send(payload, port, address, (error) => {
    if (error !== null) errors++;
    resolve();
  }));
  say({ step: "sent", n: count, size: bytes, errors });
  socket.close();
}

/** The next line, and until it comes nothing else happens here: what arrives waits in the socket. */
function command(): string {
  const byte = Buffer.alloc(1);
  let line = "";
  while (readSync(0, byte, 0, 1, null) === 1 && byte[0] !== 0x0a) line += byte.toString("latin1");
  return line;
}

/** Reads as many as it is told to, one by one, as Node hands them over, and stands still in between. */
function receive(port: number): void {
  const socket = createSocket({ type: "udp4", recvBufferSize: RCVBUF_BYTES });
  let left = 0;
  let read = 0;
  const next = (): void => {
    for (;;) {
      const [what, count] = command().split(" ");
      if (what === "read" && Number(count) > 0) {
        left = Number(count);
        read = 0;
        return;
      }
      if (what === "mem") {
        say({ step: "mem", mono: monotonic() });
        continue;
      }
      close(socket);
      return;
    }
  };
  socket.on("message", () => {
    read++;
    if (--left > 0) return;
    say({ step: "read", k: read, mono: monotonic() });
    next();
  });
  socket.bind(port, "0.0.0.0", () => {
    say({ step: "ready", rcvbuf: socket.getRecvBufferSize(), pid: process.pid });
    next();
  });
}

function close(socket: Socket): void {
  socket.close(() => say({ step: "closed", mono: monotonic() }));
}

if (mode === "send") await send(args[0]!, Number(args[1]), Number(args[2]), Number(args[3]));
else receive(Number(args[0]));
