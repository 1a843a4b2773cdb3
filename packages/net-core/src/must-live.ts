import type { ReportSink } from "@netmem/kernel/api";
import { skbName, skbOwner, type SkBuff } from "./api/index.ts";

/** What its last user let go of may be another packet's: whoever looks at its data is stopped. */
export function mustLive(skb: SkBuff, reports: ReportSink): void {
  if (skb.free === true) stop(skb, reports);
}

function stop(skb: SkBuff, reports: ReportSink): void {
  reports.report("skb-use-after-free", "bug", skbName(skb), skbOwner(skb), "its data is looked at after its last user let go");
}
