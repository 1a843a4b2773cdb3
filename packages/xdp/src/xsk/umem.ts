import { DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING, DMA_BIDIRECTIONAL, PAGE_SHIFT, PAGE_SIZE, type DmaDevice, type Page, type PageRefs, type PayloadMemory, type PayloadRegion } from "@netmem/mm/api";
import { EINVAL, ENOMEM } from "@netmem/kernel/api";
import { XDP_PACKET_HEADROOM, XDP_UMEM_MIN_CHUNK_SIZE, XDP_UMEM_UNALIGNED_CHUNK_FLAG, XdpUmem } from "../api/index.ts";

const MAP_ATTRS: number = DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING;

/** Addresses of one umem for one device, however many queues use it. @kernel struct xsk_dma_map */
interface DmaMap {
  readonly umem: XdpUmem;
  readonly dma: DmaDevice;
  readonly addrs: number[];
  users: number;
}

/** User memory: pinned, mapped, copied from and to. @kernel net/xdp/xdp_umem.c, net/xdp/xsk_buff_pool.c */
export class Umems {
  readonly #pages: PageRefs;
  readonly #payload: Pick<PayloadMemory, "copy">;
  readonly #maps: DmaMap[] = [];

  constructor(pages: PageRefs, payload: Pick<PayloadMemory, "copy">) {
    this.#pages = pages;
    this.#payload = payload;
  }

  /** Pinned until the last `put`, or -EINVAL. @kernel xdp_umem_reg */
  create(pages: readonly Page[], chunkSize: number, headroom: number, flags: number): XdpUmem | number {
    const unaligned = (flags & XDP_UMEM_UNALIGNED_CHUNK_FLAG) !== 0;
    if (!Number.isInteger(chunkSize) || chunkSize < XDP_UMEM_MIN_CHUNK_SIZE || chunkSize > PAGE_SIZE) return -EINVAL;
    if ((flags & ~XDP_UMEM_UNALIGNED_CHUNK_FLAG) !== 0) return -EINVAL;
    if (!unaligned && (chunkSize & (chunkSize - 1)) !== 0) return -EINVAL;
    if (pages.length === 0) return -EINVAL;
    if (!Number.isInteger(headroom) || headroom < 0 || headroom >= chunkSize - XDP_PACKET_HEADROOM) return -EINVAL;
    const umem = new XdpUmem([...pages], chunkSize, headroom, unaligned, PAGE_SIZE);
    umem.users = 1;
    for (const page of umem.pages) this.#pages.getPage(page);
    return umem;
  }

  put(umem: XdpUmem): void {
    umem.users--;
    if (umem.users > 0) return;
    for (const page of umem.pages) this.#pages.putPage(page);
  }

  /** Device addresses by page, or -ENOMEM with nothing left mapped. @kernel xp_dma_map */
  map(umem: XdpUmem, dma: DmaDevice): readonly number[] | number {
    const known = this.#maps.find((map) => map.umem === umem && map.dma === dma);
    if (known !== undefined) {
      known.users++;
      return known.addrs;
    }
    const addrs: number[] = [];
    for (const page of umem.pages) {
      const addr = dma.mapPage(page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL, MAP_ATTRS);
      if (dma.mappingError(addr)) {
        for (const mapped of addrs) dma.unmapPage(mapped, PAGE_SIZE, DMA_BIDIRECTIONAL, MAP_ATTRS);
        return -ENOMEM;
      }
      addrs.push(addr);
    }
    this.#maps.push({ umem, dma, addrs, users: 1 });
    return addrs;
  }

  /** @kernel xp_dma_unmap */
  unmap(umem: XdpUmem, dma: DmaDevice): void {
    const index = this.#maps.findIndex((map) => map.umem === umem && map.dma === dma);
    const map = this.#maps[index];
    if (map === undefined || --map.users > 0) return;
    this.#maps.splice(index, 1);
    for (const addr of map.addrs) dma.unmapPage(addr, PAGE_SIZE, DMA_BIDIRECTIONAL, MAP_ATTRS);
  }

  /** From anywhere into the umem; its pages need not lie side by side. */
  copyIn(umem: XdpUmem, addr: number, source: PayloadRegion, sourceOffset: number, bytes: number): void {
    for (let done = 0; done < bytes;) {
      const page = umem.pages[(addr + done) >>> PAGE_SHIFT]!;
      const offset = (addr + done) & (PAGE_SIZE - 1);
      const part = Math.min(bytes - done, PAGE_SIZE - offset);
      this.#payload.copy(page.region, page.base + offset, source, sourceOffset + done, part);
      done += part;
    }
  }

  copyOut(umem: XdpUmem, addr: number, target: PayloadRegion, targetOffset: number, bytes: number): void {
    for (let done = 0; done < bytes;) {
      const page = umem.pages[(addr + done) >>> PAGE_SHIFT]!;
      const offset = (addr + done) & (PAGE_SIZE - 1);
      const part = Math.min(bytes - done, PAGE_SIZE - offset);
      this.#payload.copy(target, targetOffset + done, page.region, page.base + offset, part);
      done += part;
    }
  }
}
