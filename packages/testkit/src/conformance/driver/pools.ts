import type { NapiStruct } from "@netmem/xdp/api";
import type { PagePool } from "@netmem/page-pool/api";

/** A pool of the driver's: the real one, and the one that the driver was given. */
export class WatchedPool {
  readonly real: PagePool;
  /** Whose poll takes from it, once that is known. */
  consumer: NapiStruct | null;
  /** Memory models registered for it, and the queue that the first was of. */
  registrations: number;
  queueIndex: number;
  destroyed: boolean;
  /** Where it was made. */
  readonly where: string;
  /** It has been cut up, or given references in advance. */
  counted: boolean;

  constructor(real: PagePool, where: string) {
    this.real = real;
    this.where = where;
    this.consumer = real.params.napi;
    this.registrations = 0;
    this.queueIndex = -1;
    this.destroyed = false;
    this.counted = false;
  }
}
