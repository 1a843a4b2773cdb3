import { live } from "./live.ts";
import type { Recipe } from "./recipe.ts";
import { splice, tcp, tcpFrags } from "./tcp.ts";
import { cpuMap, deferList, devMap, drop, forward, genericXdp, ping, tap, tx, udp } from "./udp.ts";
import { afXdp } from "./xsk.ts";

/** By what `truth.json` calls the scenario; null: there is none. */
export function recipeFor(scenario: string): Recipe | null {
  switch (scenario) {
    case "a-ping-pass": return ping();
    case "b-udp-late": case "g-leak-socket-holds": return udp();
    case "c-tcp-bulk": return tcp();
    case "c-tcp-bulk-frags": return tcpFrags();
    case "d-xdp-drop": return drop();
    case "e-xdp-tx": return tx();
    case "f-xdp-redirect-cpumap": return cpuMap();
    case "f-xdp-redirect-devmap": return devMap();
    case "h-test-run-live": return live();
    case "i-afxdp-copy": return afXdp();
    case "j-tcp-splice": return splice();
    case "k-packet-tap-clones": return tap();
    case "l-xdp-generic": return genericXdp();
    case "m-forward": return forward();
    case "n-skb-defer-list": return deferList();
    default: return null;
  }
}
