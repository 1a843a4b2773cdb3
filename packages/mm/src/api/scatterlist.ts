import type { Page } from "./page.ts";

/** One stretch of memory of a list that is mapped in one go. @kernel struct scatterlist (include/linux/scatterlist.h) */
export class Scatterlist {
  declare private readonly nominal: "Scatterlist";
  /** `sg_set_page`: whose bytes, from which offset, how many. */
  page: Page | null;
  offset: number;
  lengthBytes: number;
  /** Written by `mapSg`, of the first as many entries as it answers. @kernel sg_dma_address, sg_dma_len */
  dmaAddress: number;
  dmaLengthBytes: number;

  constructor() {
    this.page = null;
    this.offset = 0;
    this.lengthBytes = 0;
    this.dmaAddress = 0;
    this.dmaLengthBytes = 0;
  }
}
