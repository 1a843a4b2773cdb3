import { netmemName, type Netmem } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM } from "@netmem/page-pool/api";
import { skbHeadlen, type NapiScheduler, type NetReceive, type SkBuff, type SkbEdit, type SkbLifetime, type SkbRecycle } from "@netmem/net-core/api";
import type { MemInfo } from "@netmem/xdp/api";
import type { DriverWatch } from "./watch.ts";

/** Birth and death of skbs: heads that no CPU can read (R12), pages that nobody brings home (R10). */
export function watchLifetime(watch: DriverWatch, lifetime: SkbLifetime): SkbLifetime {
  const { failing, logs } = watch;
  const build = (name: string) => ({
    before: (page: Parameters<SkbLifetime["buildSkb"]>[0]): void => mayBeHead(watch, page),
    instead: (call: SkbLifetime["buildSkb"], ...args: Parameters<SkbLifetime["buildSkb"]>): SkBuff | null => (failing.fails(name) ? null : call(...args)),
  });
  // Its head is the stack's own memory, which may have been the driver's before.
  const ownHead = (skb: SkBuff | null): void => {
    const page = skb?.shinfo!.headPage ?? null;
    if (page !== null) logs.forget(page.head);
  };
  const freed = { before: (skb: SkBuff): void => leavesBySkb(watch, skb) };
  return watch.watched(lifetime, {
    napiBuildSkb: build("napi_build_skb"), buildSkb: build("build_skb"),
    buildSkbAround: { before: (_skb, page) => mayBeHead(watch, page) },
    napiAllocSkb: { instead: (call, ...args) => (failing.fails("napi_alloc_skb") ? null : call(...args)), after: ownHead },
    netdevAllocSkb: { instead: (call, ...args) => (failing.fails("netdev_alloc_skb") ? null : call(...args)), after: ownHead },
    allocSkb: { instead: (call, ...args) => (failing.fails("alloc_skb") ? null : call(...args)), after: ownHead },
    kfreeSkb: freed, consumeSkb: freed, napiConsumeSkb: freed, devKfreeSkbAny: freed, devConsumeSkbAny: freed,
    kfreeSkbList: { before: (first) => { for (let skb = first; skb !== null; skb = skb.next) leavesBySkb(watch, skb); } },
  });
}

function mayBeHead(watch: DriverWatch, page: Netmem): void {
  const log = watch.touches(page);
  if (log?.pool == null) return;
  const { flags } = log.pool.real.params;
  if ((flags & PP_FLAG_ALLOW_UNREADABLE_NETMEM) !== 0) watch.findings.broke("R12", `${netmemName(page)} of page_pool ${log.pool.real.id} becomes a head, and that pool may have unreadable memory: headers need a pool of their own`);
}

/** The driver says whose a page is. */
export function watchRecycle(watch: DriverWatch, recycle: SkbRecycle): SkbRecycle {
  const tell = (netmem: Netmem, mem: MemInfo): void => {
    const log = watch.touches(netmem);
    if (log === null) return;
    log.told = true;
    const pool = log.pool?.real;
    if (pool !== undefined && mem.id !== pool.memId) watch.findings.broke("R10", `${netmemName(netmem)} of page_pool ${pool.id}, which is registered under id ${pool.memId}, is said to be of id ${mem.id}`);
  };
  return watch.watched(recycle, { skbMarkForRecycle: { before: (_skb, netmem, mem) => tell(netmem, mem) }, storeMemInfo: { before: tell } });
}

/** What a packet has of the driver's leaves with it: marked, or with a plain reference for it. */
function leavesBySkb(watch: DriverWatch, skb: SkBuff): void {
  const { findings, logs } = watch;
  for (const netmem of netmemsOf(skb)) {
    const log = logs.of(netmem);
    if (log === null) continue;
    watch.touches(netmem);
    const { pool } = log;
    if (pool === null || netmem.poolState >> 1 !== pool.real.id) {
      log.plainRefs--;
      continue;
    }
    findings.occasion("R10");
    if (skb.ppRecycle && log.told) continue;
    if (!skb.ppRecycle && log.plainRefs > 0) log.plainRefs--;
    else findings.broke("R10", skb.ppRecycle ? `${netmemName(netmem)} of page_pool ${pool.real.id} goes with a marked skb, and nobody was told whose it is: storeMemInfo` : `an skb that is not marked takes ${netmemName(netmem)} of page_pool ${pool.real.id} with it: skbMarkForRecycle`);
  }
}

function* netmemsOf(skb: SkBuff): Iterable<Netmem> {
  const { headPage, frags, nrFrags, fragList } = skb.shinfo!;
  if (headPage !== null) yield headPage;
  for (let i = 0; i < nrFrags; i++) yield frags[i]!.netmem!;
  for (let member = fragList; member !== null; member = member.next) yield* netmemsOf(member);
}

/** The CPU is about to read a range of a page. */
export function reads(watch: DriverWatch, netmem: Netmem, start: number, end: number, who: string): void {
  const { findings, logs } = watch;
  const log = logs.of(netmem);
  if (log === null || !log.mapped || !netmem.region.cpuReadable || end <= start) return;
  findings.occasion("R6");
  const at = log.firstUnreadable(start, end);
  if (at < 0) return;
  log.where = findings.trace();
  findings.broke("R6", `${who} reads bytes ${start} to ${end} of ${netmemName(netmem)}, and from ${at} on nothing is synced for the CPU`);
}

/** Whatever of a packet the stack may read from now on. */
function readsSkb(watch: DriverWatch, skb: SkBuff): void {
  const { headPage, frags, nrFrags } = skb.shinfo!;
  if (headPage !== null) {
    const start = skb.data - headPage.base;
    reads(watch, headPage, start, start + skbHeadlen(skb), "the stack");
  }
  for (let i = 0; i < nrFrags; i++) {
    const { netmem, offset, sizeBytes } = frags[i]!;
    reads(watch, netmem!, offset, offset + sizeBytes, "the stack");
  }
}

export function watchEdit(watch: DriverWatch, edit: SkbEdit): SkbEdit {
  return watch.watched(edit, {
    ethTypeTrans: { before: (skb) => readsSkb(watch, skb) },
    skbAddRxFrag: { before: (_skb, netmem) => void watch.touches(netmem) },
    skbStoreBits: { before: (_skb, _offset, source, sourceOffset, bytes) => {
      const netmem = watch.logs.in(source, sourceOffset)?.netmem;
      if (netmem !== undefined) reads(watch, netmem, sourceOffset - netmem.base, sourceOffset - netmem.base + bytes, "the driver");
    } },
  });
}

export function watchReceive(watch: DriverWatch, receive: NetReceive): NetReceive {
  const up = (skb: SkBuff): void => leavesBySkb(watch, skb);
  return watch.watched(receive, {
    napiGroReceive: { before: (_napi, skb) => up(skb) }, netifReceiveSkb: { before: up }, netifRx: { before: up },
    netifReceiveSkbList: { before: (first) => { for (let skb = first; skb !== null; skb = skb.next) up(skb); } },
  });
}

/** Who polls, and who may. */
export function watchNapi(watch: DriverWatch, napi: NapiScheduler): NapiScheduler {
  return watch.watched(napi, {
    netifNapiAdd: { instead: (call, dev, poller, weight) => call(dev, { poll: (instance, budget) => {
      const { findings } = watch;
      watch.polling.push(instance);
      if (budget === 0) {
        findings.occasion("R14");
        watch.budgetless++;
      }
      const work = poller.poll(instance, budget);
      watch.polling.pop();
      if (budget === 0) {
        watch.budgetless--;
        if (work !== 0) findings.broke("R14", `a poll with a budget of 0 answers ${work}`);
      }
      return work;
    } }, weight) },
    napiCompleteDone: { before: () => {
      if (watch.budgetless > 0) watch.findings.broke("R14", "a poll with a budget of 0 is completed: whoever has scheduled it polls it still");
    } },
    napiEnable: { after: (_answer, instance) => void watch.enabled.add(instance) },
    napiDisable: { after: (_answer, instance) => void watch.enabled.delete(instance) },
  });
}
