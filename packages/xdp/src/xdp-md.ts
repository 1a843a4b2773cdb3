import { EFAULT, EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import type { PayloadRegion } from "@netmem/mm/api";
import { xdpDataMetaUnsupported, xdpGetBuffLen, type RedirectMap, type XdpBuff, type XdpMd, type XdpReturn } from "./api/index.ts";
import { adjustHead, adjustMeta, adjustTail } from "./bounds.ts";
import type { RedirectTargets } from "./redirect-info.ts";

/** Of load and store. */
const MOST_BYTES = 0xffff;

/** The one context of a machine: a program runs to its end before another begins. Between runs it is nobody's. */
export class ProgramContext implements XdpMd {
  private buff: XdpBuff | null;
  /** Bytes that may be accessed directly: of the linear part, and in front of it. */
  private linear: number;
  private meta: number;
  private bytes: Uint8Array;
  /** Byte of `bytes` at which the packet starts. */
  private at: number;
  private readonly xdpReturn: XdpReturn;
  private readonly targets: RedirectTargets;
  private readonly metalenMax: number;

  constructor(xdpReturn: XdpReturn, targets: RedirectTargets, metalenMax: number) {
    this.buff = null;
    this.linear = 0;
    this.meta = 0;
    this.bytes = new Uint8Array(0);
    this.at = 0;
    this.xdpReturn = xdpReturn;
    this.targets = targets;
    this.metalenMax = metalenMax;
  }

  /** The packet has a head that the CPU can read. */
  enter(buff: XdpBuff, region: PayloadRegion): void {
    this.buff = buff;
    this.bytes = region.bytes;
    this.refresh(buff);
  }

  /** A program that kept the context finds no packet in it. */
  leave(): void {
    this.buff = null;
    this.linear = 0;
    this.meta = 0;
  }

  get linearBytes(): number {
    return this.linear;
  }

  get metaBytes(): number {
    return this.meta;
  }

  get ingressIfindex(): number {
    return this.packet().rxq.dev?.ifindex ?? 0;
  }

  get rxQueueIndex(): number {
    return this.packet().rxq.queueIndex;
  }

  get egressIfindex(): number {
    return this.packet().txDev?.ifindex ?? 0;
  }

  getUint8(offset: number): number {
    this.check(offset, 1);
    return this.bytes[this.at + offset]!;
  }

  getUint16(offset: number): number {
    this.check(offset, 2);
    const at = this.at + offset;
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  getUint32(offset: number): number {
    this.check(offset, 4);
    const at = this.at + offset;
    return ((this.bytes[at]! << 24) | (this.bytes[at + 1]! << 16) | (this.bytes[at + 2]! << 8) | this.bytes[at + 3]!) >>> 0;
  }

  setUint8(offset: number, value: number): void {
    this.check(offset, 1);
    this.bytes[this.at + offset] = value;
  }

  setUint16(offset: number, value: number): void {
    this.check(offset, 2);
    const at = this.at + offset;
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }

  setUint32(offset: number, value: number): void {
    this.check(offset, 4);
    const at = this.at + offset;
    this.bytes[at] = value >>> 24;
    this.bytes[at + 1] = value >>> 16;
    this.bytes[at + 2] = value >>> 8;
    this.bytes[at + 3] = value;
  }

  getBuffLen(): number {
    return xdpGetBuffLen(this.packet());
  }

  adjustHead(delta: number): number {
    const buff = this.packet();
    return this.moved(buff, Number.isInteger(delta) ? adjustHead(buff, delta) : -EINVAL);
  }

  adjustTail(delta: number): number {
    const buff = this.packet();
    return this.moved(buff, Number.isInteger(delta) ? adjustTail(buff, delta, this.xdpReturn) : -EINVAL);
  }

  adjustMeta(delta: number): number {
    const buff = this.packet();
    return this.moved(buff, Number.isInteger(delta) ? adjustMeta(buff, delta, this.metalenMax) : -EINVAL);
  }

  loadBytes(offset: number, target: Uint8Array, bytes: number): number {
    return this.copy(offset, target, bytes, false);
  }

  storeBytes(offset: number, source: Uint8Array, bytes: number): number {
    return this.copy(offset, source, bytes, true);
  }

  metadataRxTimestamp(): number {
    const buff = this.packet();
    return buff.rxq.dev?.xdpMetadataOps?.rxTimestamp?.(buff) ?? -EOPNOTSUPP;
  }

  metadataRxHash(): number {
    const buff = this.packet();
    return buff.rxq.dev?.xdpMetadataOps?.rxHash?.(buff) ?? -EOPNOTSUPP;
  }

  metadataRxVlanTag(): number {
    const buff = this.packet();
    return buff.rxq.dev?.xdpMetadataOps?.rxVlanTag?.(buff) ?? -EOPNOTSUPP;
  }

  redirect(ifindex: number, flags: number): number {
    this.packet();
    return this.targets.redirect(ifindex, flags);
  }

  redirectMap(map: RedirectMap, key: number, flags: number): number {
    this.packet();
    return this.targets.redirectMap(map, key, flags);
  }

  private packet(): XdpBuff {
    if (this.buff === null) throw new UsageError("xdp", "packet", "none", "a context is valid while its program runs");
    return this.buff;
  }

  private moved(buff: XdpBuff, answer: number): number {
    if (answer === 0) this.refresh(buff);
    return answer;
  }

  private refresh(buff: XdpBuff): void {
    this.at = buff.head!.base + buff.data;
    this.linear = buff.dataEnd - buff.data;
    this.meta = xdpDataMetaUnsupported(buff) ? 0 : buff.data - buff.dataMeta;
  }

  private check(offset: number, width: number): void {
    if (offset >= -this.meta && offset + width <= this.linear && (offset | 0) === offset) return;
    throw new UsageError("xdp", `access of ${width} byte${width === 1 ? "" : "s"} at offset`, typeof offset === "number" ? offset : `a ${typeof offset}`, `the packet's linear part is 0 to ${this.linear}${this.meta > 0 ? `, its metadata −${this.meta} to 0` : ""}: test linearBytes first, or use loadBytes`);
  }

  /** @kernel __bpf_xdp_load_bytes, bpf_xdp_copy_buf (net/core/filter.c) */
  private copy(offset: number, other: Uint8Array, bytes: number, toPacket: boolean): number {
    const buff = this.packet();
    if (!(offset >= 0 && bytes >= 0 && offset <= MOST_BYTES && bytes <= MOST_BYTES && bytes <= other.length) || !Number.isInteger(offset) || !Number.isInteger(bytes)) return -EFAULT;
    if (offset + bytes > xdpGetBuffLen(buff)) return -EINVAL;
    let done = 0;
    const linear = buff.dataEnd - buff.data;
    if (offset < linear) done = part(this.bytes, this.at + offset, other, 0, Math.min(bytes, linear - offset), toPacket);
    let start = linear;
    for (let i = 0; done < bytes; i++) {
      const frag = buff.frags[i]!;
      const skip = offset + done - start;
      if (skip < frag.sizeBytes) {
        const { region, base } = frag.netmem!;
        if (!region.cpuReadable) return -EFAULT;
        done += part(region.bytes, base + frag.offset + skip, other, done, Math.min(bytes - done, frag.sizeBytes - skip), toPacket);
      }
      start += frag.sizeBytes;
    }
    return 0;
  }
}

function part(packet: Uint8Array, at: number, other: Uint8Array, otherAt: number, bytes: number, toPacket: boolean): number {
  if (toPacket) for (let i = 0; i < bytes; i++) packet[at + i] = other[otherAt + i]!;
  else for (let i = 0; i < bytes; i++) other[otherAt + i] = packet[at + i]!;
  return bytes;
}
