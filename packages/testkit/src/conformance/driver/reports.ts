/** Which rule a report of the machine speaks of, where the driver's own calls have shown nothing. */
const RULE_OF_REPORT: Readonly<Record<string, string>> = {
  "page_pool leak": "R2", "pp-double-put": "R2", "pp-foreign-put": "R2", "pp-unowned-put": "R2", "pp-use-after-destroy": "R2", "pp-negative-inflight": "R2", "pp-put-in-hardirq": "R2",
  "page-ref-underflow": "R2", "page-ref-zero": "R2", "page-ref-store": "R2", "bad-page": "R2", "page-word-claim": "R2", "pp-ring-refcnt": "R2", "pp-null-owner": "R2",
  "skb-use-after-free": "R2", "slab-double-free": "R2", "xdp-frame-gone": "R2", "xdp-wrong-memory-type": "R2", "xdp-unknown-mem-id": "R2", "wrong-memory-model": "R2",
  "pp-holders-left": "R11", "pp-ref-underflow": "R11",
  "pp-direct-after-destroy": "R3",
  "dma-bad-direction": "R4", "dma-debug-direction": "R4", "dma-debug-sync-direction": "R4", "dma-debug-sync-read-only": "R4", "dma-debug-sync-write-only": "R4",
  "dma-sync-nothing": "R6", "dma-debug-sync-not-allocated": "R6",
  "xdp-rxq": "R7", "pp-create-failed": "R7", "dma-debug-error-unchecked": "R7", "dma-unmap-nothing": "R2", "dma-debug-not-allocated": "R2", "dma-leak": "R2", "dma-debug-size": "R2",
  "dma-fault": "R8", "nic-ring-overcommitted": "R8", "dma-free-in-irq": "R7",
  "pp-napi-running": "R9", "pp-napi-attached": "R9",
  "unreadable-access": "R12", "netmem-not-a-page": "R12", "mp-not-taken": "R12", "skb-copy-unreadable": "R12",
};

export function ruleOfReport(kind: string): string {
  return Object.hasOwn(RULE_OF_REPORT, kind) ? RULE_OF_REPORT[kind]! : "traffic";
}
