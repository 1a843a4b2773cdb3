import { EADDRINUSE } from "@netmem/kernel/api";
import { read16, read32 } from "../api/index.ts";

/** Sockets by port; those of no port share what is left, a connection always going to the same. @kernel struct udp_table, inet_hashinfo, reuseport_select_sock */
export class PortTable<S> {
  /** Made for the first that has one. */
  private byPort: (S | null)[] | null;
  private readonly any: S[];

  constructor() {
    this.byPort = null;
    this.any = [];
  }

  add(port: number | null, socket: S): number {
    if (port === null) {
      this.any.push(socket);
      return 0;
    }
    this.byPort ??= Array.from({ length: 0x10000 }, () => null);
    if (this.byPort[port] !== null) return -EADDRINUSE;
    this.byPort[port] = socket;
    return 0;
  }

  remove(port: number | null, socket: S): void {
    if (port !== null) {
      if (this.byPort !== null && this.byPort[port] === socket) this.byPort[port] = null;
      return;
    }
    const at = this.any.indexOf(socket);
    if (at >= 0) this.any.splice(at, 1);
  }

  all(): S[] {
    return [...(this.byPort ?? []).filter((socket) => socket !== null), ...this.any];
  }

  /** Whose the packet is, with its ports at `ports`; null: nobody's. */
  lookup(bytes: Uint8Array, ip: number, ports: number): S | null {
    const own = this.byPort === null ? null : this.byPort[read16(bytes, ports + 2)]!;
    if (own !== null) return own;
    const { length } = this.any;
    if (length < 2) return length === 0 ? null : this.any[0]!;
    return this.any[connectionHash(bytes, ip, ports) % length]!;
  }
}

/** Of addresses and ports, 31 bits, each of which all of theirs decide: few of them may differ. @kernel inet_ehashfn, udp_ehashfn */
export function connectionHash(bytes: Uint8Array, ip: number, ports: number): number {
  let hash = Math.imul(read32(bytes, ip + 12) ^ Math.imul(read32(bytes, ip + 16), 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ read32(bytes, ports), 0xcc9e2d51);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) & 0x7fffffff;
}
