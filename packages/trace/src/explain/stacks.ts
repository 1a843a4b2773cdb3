/** How a page came or went says little inside page_pool itself: callers are looked for above it. */
const INSIDE = /^(?:__)?page_pool_|^__page_pool|^napi_pp_put_page$|^skb_pp_recycle$|^trace_event_/;
const FRAMES_SHOWN = 3;

/** Who called page_pool, as `skb_pp_cow_data ← veth_xdp_rcv_skb ← veth_xdp_rcv`. */
export function callerOf(stack: readonly string[]): string {
  const first = stack.findIndex((name) => !INSIDE.test(name));
  return stack.slice(first < 0 ? 0 : first, (first < 0 ? 0 : first) + FRAMES_SHOWN).join(" ← ");
}

/** The stack's own pools serve programs that run on no driver's behalf. @kernel netif_skb_check_for_xdp, do_xdp_generic (net/core/dev.c) */
const GENERIC: readonly string[] = ["do_xdp_generic", "netif_skb_check_for_xdp", "bpf_prog_run_generic_xdp", "netif_receive_generic_xdp"];
/** @kernel xdp_test_run_batch (net/bpf/test_run.c) */
const TEST_RUN: readonly string[] = ["bpf_test_run_xdp_live", "xdp_test_run_batch", "bpf_prog_test_run_xdp"];

export function isGenericXdp(stack: readonly string[]): boolean {
  return stack.some((name) => GENERIC.includes(name.replace(/\..*$/, "")));
}

export function isTestRun(stack: readonly string[]): boolean {
  return stack.some((name) => TEST_RUN.includes(name.replace(/\..*$/, "")));
}
