import type { NapiStruct } from "@netmem/xdp/api";

/** One CPU's instances to poll, chained through themselves. @kernel softnet_data.poll_list */
export class PollList {
  length = 0;
  #first: NapiStruct | null = null;
  #last: NapiStruct | null = null;

  append(napi: NapiStruct): void {
    napi.next = null;
    napi.queued = true;
    if (this.#last === null) this.#first = napi;
    else this.#last.next = napi;
    this.#last = napi;
    this.length++;
  }

  /** The list is not empty. */
  takeFirst(): NapiStruct {
    const napi = this.#first!;
    this.#first = napi.next;
    if (this.#first === null) this.#last = null;
    napi.next = null;
    napi.queued = false;
    this.length--;
    return napi;
  }

  remove(napi: NapiStruct): void {
    if (!napi.queued) return;
    for (let i = this.length; i > 0; i--) {
      const other = this.takeFirst();
      if (other !== napi) this.append(other);
    }
  }
}
