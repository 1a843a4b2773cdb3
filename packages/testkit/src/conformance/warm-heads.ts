import type { Machine } from "@netmem/machine";

/** Each CPU keeps pages that heads are cut from, once it needed them, until they are used up: done before and after, it has as many, and free pages can be compared. Nothing else may be running. */
export function warmHeads(machine: Machine): void {
  const { kernel, net } = machine;
  for (let cpu = 0; cpu < kernel.nrCpus; cpu++) kernel.timers.modTimer(kernel.timers.timerSetup(() => {
    for (const bytes of [64, 1500]) {
      const skb = net.lifetime.napiAllocSkb(net.loopback, bytes);
      if (skb !== null) net.lifetime.consumeSkb(skb);
    }
  }, cpu), 0);
  kernel.scheduler.runFor(0);
  machine.mm.slab.shrink();
}
