import { ENOMEM } from "@netmem/kernel/api";
import { netmemName } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, XDP_FLAGS_HAS_FRAGS, type MemInfo, type MemModel, type XdpBuff, type XdpPrograms, type XdpRedirect, type XdpReturn, type XdpRxQueues, type XdpRxqInfo } from "@netmem/xdp/api";
import type { PagePool } from "@netmem/page-pool/api";
import { mayRecycleDirect, mayTouchPools } from "./watch-pools.ts";
import { reads } from "./watch-stack.ts";
import type { DriverWatch } from "./watch.ts";

/** Registration: R7, and R1 for a pool that two queues share. */
export function watchRxqs(watch: DriverWatch, rxqs: XdpRxQueues): XdpRxQueues {
  const { findings, failing, registered } = watch;
  /** The pool that the driver means; what is no pool stays what it is. */
  const connect = (type: number, model: MemModel | null, key: object, queueIndex: number, call: (model: MemModel | null) => number): number => {
    findings.occasion("R7");
    if (typeof model === "number") {
      findings.broke("R7", `registers ${String(model)} as a memory model: creating the pool failed with that errno`);
      return -ENOMEM;
    }
    const pool = watch.poolOf.get(model as PagePool) ?? null;
    if (pool?.destroyed === true) findings.broke("R7", `registers page_pool ${pool.real.id}, which is destroyed`);
    if (failing.fails("xdp_rxq_info_reg_mem_model")) return -ENOMEM;
    const errno = call(pool?.real ?? model);
    if (errno < 0 || (type !== MEM_TYPE_PAGE_POOL && pool === null)) return errno;
    registered.set(key, { pool, where: findings.trace() });
    if (pool === null) return errno;
    pool.registrations++;
    findings.occasion("R1");
    if (pool.queueIndex >= 0 && queueIndex >= 0 && pool.queueIndex !== queueIndex) findings.broke("R1", `page_pool ${pool.real.id} is of receive queue ${pool.queueIndex}, and registered for queue ${queueIndex}, too`);
    if (queueIndex >= 0) pool.queueIndex = queueIndex;
    return errno;
  };
  const disconnect = (key: object): void => {
    const pool = registered.get(key)?.pool ?? null;
    registered.delete(key);
    if (pool !== null) pool.registrations--;
  };
  const register = (rxq: XdpRxqInfo, call: () => number): number => {
    if (failing.fails("xdp_rxq_info_reg")) return -ENOMEM;
    const errno = call();
    if (errno === 0) registered.set(keyOf(rxq), { pool: null, where: findings.trace() });
    return errno;
  };
  return watch.watched(rxqs, {
    xdpRxqInfoReg: { instead: (call, rxq, dev, queueIndex) => register(rxq, () => call(rxq, dev, queueIndex)) },
    xdpRxqInfoRegFrags: { instead: (call, rxq, dev, queueIndex, fragSize) => register(rxq, () => call(rxq, dev, queueIndex, fragSize)) },
    xdpRxqInfoUnreg: { before: (rxq) => {
      registered.delete(keyOf(rxq));
      disconnect(rxq);
    } },
    xdpRxqInfoUnregMemModel: { before: (rxq) => disconnect(rxq) },
    xdpRxqInfoRegMemModel: { instead: (call, rxq, type, model) => connect(type, model, rxq, rxq.queueIndex, (given) => call(rxq, type, given)) },
    xdpRegMemModel: { instead: (call, mem, type, model) => connect(type, model, mem, -1, (given) => call(mem, type, given)) },
    xdpUnregMemModel: { before: (mem) => disconnect(mem) },
  });
}

/** The queue's own registration, beside that of its memory. */
function keyOf({ mem }: XdpRxqInfo): MemInfo {
  return mem;
}

/** A program looks at a packet: it reads it (R6), and may send it on, so that it must be known whose it is (R2). */
export function watchPrograms(watch: DriverWatch, programs: XdpPrograms): XdpPrograms {
  const { findings, logs } = watch;
  return watch.watched(programs, { bpfProgRunXdp: {
    before: (_prog, buff) => {
      const pool = logs.of(buff.head)?.pool ?? null;
      if (buff.head !== null) {
        const log = watch.touches(buff.head);
        if (log !== null) log.touchedEnd = buff.dataEnd;
        reads(watch, buff.head, buff.data, buff.dataEnd, "the program");
      }
      for (const { netmem, offset, sizeBytes } of fragsOf(buff)) reads(watch, netmem!, offset, offset + sizeBytes, "the program");
      if (pool === null || buff.head!.poolState >> 1 !== pool.real.id) return;
      findings.occasion("R2");
      const { type, id } = buff.rxq.mem;
      if (type !== MEM_TYPE_PAGE_POOL || id !== pool.real.memId) findings.broke("R2", `a program sees ${netmemName(buff.head!)} of page_pool ${pool.real.id}, and its queue says memory type ${type}, id ${id}: a frame of it would not find home`);
    },
    after: (_act, _prog, buff) => {
      const log = logs.of(buff.head);
      if (log !== null && buff.dataEnd > log.touchedEnd) log.touchedEnd = buff.dataEnd;
    },
  } });
}

function fragsOf({ flags, frags, nrFrags }: XdpBuff): XdpBuff["frags"] {
  return (flags & XDP_FLAGS_HAS_FRAGS) === 0 ? [] : frags.slice(0, nrFrags);
}

/** What says that it is the pool's own poll: R3. */
export function watchReturns(watch: DriverWatch, returns: XdpReturn): XdpReturn {
  const direct = (netmem: Parameters<XdpReturn["xdpReturnNetmem"]>[0] | null): void => {
    if (netmem === null) return;
    watch.touches(netmem);
    watch.leavesDriver(netmem);
    mayTouchPools(watch, `${netmemName(netmem)} is returned`);
    const pool = watch.logs.of(netmem)?.pool ?? null;
    if (pool !== null) mayRecycleDirect(watch, pool, netmemName(netmem));
  };
  return watch.watched(returns, {
    xdpReturnFrameRxNapi: { before: ({ head }) => direct(head) },
    xdpReturnBuff: { before: ({ head }) => direct(head) },
    xdpReturnFrag: { before: (netmem) => direct(netmem) },
    xdpReturnNetmem: { before: (netmem, _type, _id, napiDirect) => void (napiDirect && direct(netmem)) },
  });
}

/** What was redirected before is nothing of a poll's that may not receive: R14. */
export function watchRedirect(watch: DriverWatch, redirect: XdpRedirect): XdpRedirect {
  return watch.watched(redirect, { xdpDoFlush: { before: () => mayTouchPools(watch, "what was redirected is flushed") } });
}
