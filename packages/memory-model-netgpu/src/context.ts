import { NET_IOV_DMABUF, PAGE_SHIFT, PAGE_SIZE, type NetIov } from "@netmem/mm/api";
import type { MemoryModelDeps, ProvidedArea } from "@netmem/memory-model/api";
import type { TcpSocket } from "@netmem/net-core/api";
import type { NetDevice } from "@netmem/xdp/api";
import { NetgpuIfq } from "./interface-queue.ts";
import { NetgpuSkq } from "./socket-queue.ts";

/** Where the first area's addresses begin: 0 is nobody's. */
const FIRST_ADDRESS = 0x1000_0000;

/** Memory that a user has registered, under the addresses by which it knows it. @kernel struct netgpu_dmamap */
export interface NetgpuArea {
  readonly start: number;
  readonly lengthBytes: number;
  readonly provided: ProvidedArea;
}

/** What one user has: its areas, the receive queues that write into them, the sockets that are read from them. @kernel struct netgpu_ctx (include/net/netgpu.h of the proposal) */
export class NetgpuContext {
  readonly areas: NetgpuArea[] = [];
  readonly #deps: MemoryModelDeps;
  readonly #ifqs: NetgpuIfq[] = [];
  #nextAddress = FIRST_ADDRESS;

  constructor(deps: MemoryModelDeps) {
    this.#deps = deps;
  }

  /**
   * `buffers` pages of memory, the device's unless `cpuReadable`, mapped for the devices of queues that are bound. Its first address, or a negative errno if one of them has no room for it. Nothing receives into it
   * before its addresses are on a fill queue. @kernel netgpu_attach_region, NETGPU_IOCTL_ATTACH_REGION
   */
  attachRegion(buffers: number, cpuReadable: boolean = false): number {
    const provided = this.#deps.areas.create(`netgpu area ${this.areas.length}`, NET_IOV_DMABUF, buffers, cpuReadable);
    for (const ifq of this.#ifqs) {
      const errno = ifq.addArea(provided);
      if (errno < 0) return errno;
    }
    const area: NetgpuArea = { start: this.#nextAddress, lengthBytes: buffers << PAGE_SHIFT, provided };
    this.areas.push(area);
    // A page that is nobody's lies between two.
    this.#nextAddress += area.lengthBytes + PAGE_SIZE;
    return area.start;
  }

  /** A receive queue that is not bound yet: its fill queue, of so many entries, may be populated first, since binding fills the device's ring. */
  prepareQueue(dev: NetDevice, queueIndex: number, fillEntries: number): NetgpuIfq {
    return new NetgpuIfq(this, this.#deps, dev, queueIndex, fillEntries);
  }

  /** From now on the queue's payload goes into this context's areas: 0 or a negative errno of the binding. The device is up. Process context. @kernel netgpu_bind_queue */
  bindQueue(ifq: NetgpuIfq): number {
    const errno = ifq.open();
    if (errno === 0) this.#ifqs.push(ifq);
    return errno;
  }

  /** With its last queue the areas are mapped no more. */
  queueClosed(ifq: NetgpuIfq): void {
    const at = this.#ifqs.indexOf(ifq);
    if (at >= 0) this.#ifqs.splice(at, 1);
    if (this.#ifqs.length === 0) for (const { provided } of this.areas) provided.unmap();
  }

  /** From now on the socket's bytes are delivered here. Process context. @kernel netgpu_attach_socket, SO_REGISTER_DMA */
  attachSocket(socket: TcpSocket, rxEntries: number): NetgpuSkq {
    return new NetgpuSkq(this, socket, rxEntries);
  }

  /** Null: no area has it. @kernel xa_load of netgpu_ctx.xa */
  areaAt(address: number): NetgpuArea | null {
    for (let i = 0; i < this.areas.length; i++) {
      const area = this.areas[i]!;
      if (address >= area.start && address < area.start + area.lengthBytes) return area;
    }
    return null;
  }

  /** Null: it is of no area here. */
  areaOf(niov: NetIov): NetgpuArea | null {
    for (let i = 0; i < this.areas.length; i++) if (this.areas[i]!.provided.area === niov.area) return this.areas[i]!;
    return null;
  }
}
