import { UsageError } from "@netmem/kernel/api";
import { MAX_NR_ZONES, ZONE_NAMES, ZONE_NORMAL, type NodeOptions } from "../api/index.ts";
import { FIRST_PFN, type MemMap } from "./mem-map.ts";
import { Zone } from "./zone.ts";

const LOCAL_DISTANCE = 10;
const REMOTE_DISTANCE = 20;
const MAX_NUMNODES = 64;
/** What a zone keeps from requests that could have used a higher one: a 256th, or a 32nd, of that. @kernel sysctl_lowmem_reserve_ratio */
const RESERVE_RATIO = [256, 256, 32] as const;

/** Where a request may look, best first; all zones in it may serve it. @kernel struct zonelist, cut off at the highest zone */
export type Zonelist = readonly Zone[];

/** Zones by node, and for each node the order in which requests try the zones of all. */
export class Nodes {
  readonly zones: Zone[] = [];
  /** By node, then by `ZONE_*` of the highest zone allowed. */
  readonly #fallbackLists: Zonelist[][] = [];
  readonly #thisNodeLists: Zonelist[][] = [];

  constructor(map: MemMap, nodes: readonly NodeOptions[], cpuNodes: readonly number[]) {
    for (const [nid, node] of nodes.entries()) this.#addZones(map, nid, node);
    const distances = nodes.map((node, nid) => nodes.map((_, other) => node.distances?.[other] ?? (nid === other ? LOCAL_DISTANCE : REMOTE_DISTANCE)));
    const load = Array.from({ length: nodes.length }, () => 0);
    for (const nid of nodes.keys()) {
      const order = nodeOrder(nid, distances, cpuNodes, load);
      this.#fallbackLists.push(listsOf(order.flatMap((other) => this.#zonesDown(other))));
      this.#thisNodeLists.push(listsOf(this.#zonesDown(nid)));
    }
    this.#setLowmemReserves(nodes.length);
  }

  get count(): number {
    return this.#fallbackLists.length;
  }

  /** @kernel node_zonelist (include/linux/gfp.h) */
  zonelist(nid: number, thisNode: boolean, highest: number): Zonelist {
    return (thisNode ? this.#thisNodeLists : this.#fallbackLists)[nid]![highest]!;
  }

  #addZones(map: MemMap, nid: number, node: NodeOptions): void {
    let above = -1;
    for (const { name, pages } of node.zones) {
      const type = ZONE_NAMES.indexOf(name);
      if (type <= above) throw new UsageError("mm", `zone of node ${nid}`, name, `give each of ${ZONE_NAMES.join(", ")} once at most, in this order`);
      above = type;
      const zone = new Zone(type, nid, this.zones.length, FIRST_PFN + map.pages.length, pages);
      this.zones.push(zone);
      for (let i = 0; i < pages; i++) map.addPage(nid, zone.index);
    }
  }

  #zonesDown(nid: number): Zone[] {
    return this.zones.filter((zone) => zone.nid === nid).toReversed();
  }

  /** @kernel setup_per_zone_lowmem_reserve (mm/page_alloc.c) */
  #setLowmemReserves(nodes: number): void {
    for (let nid = 0; nid < nodes; nid++) {
      for (const zone of this.zones) {
        if (zone.nid !== nid) continue;
        let above = 0;
        for (let type = zone.type + 1; type < MAX_NR_ZONES; type++) {
          above += this.zones.find((other) => other.nid === nid && other.type === type)?.managedPages ?? 0;
          zone.lowmemReserve[type] = Math.floor(above / RESERVE_RATIO[zone.type]!);
        }
      }
    }
  }
}

function listsOf(zones: readonly Zone[]): Zonelist[] {
  const lists: Zonelist[] = [];
  for (let highest = 0; highest <= ZONE_NORMAL; highest++) lists.push(zones.filter((zone) => zone.type <= highest));
  return lists;
}

/**
 * Itself first, then the nearest that is left: nodes behind one's own before those in front, nodes without CPUs and
 * nodes that others lean on less before the rest. @kernel find_next_best_node, build_zonelists (mm/page_alloc.c)
 */
function nodeOrder(nid: number, distances: readonly (readonly number[])[], cpuNodes: readonly number[], load: number[]): number[] {
  const order = [nid];
  let previous = nid;
  while (order.length < distances.length) {
    let best = -1;
    let least = Infinity;
    for (let node = 0; node < distances.length; node++) {
      if (order.includes(node)) continue;
      const value = (distances[nid]![node]! + (node < nid ? 1 : 0) + (cpuNodes.includes(node) ? 1 : 0)) * MAX_NUMNODES + load[node]!;
      if (value >= least) continue;
      least = value;
      best = node;
    }
    // Of several at one distance the first bears the load of them all.
    if (distances[nid]![best] !== distances[nid]![previous]) load[best]!++;
    order.push(best);
    previous = best;
  }
  return order;
}

/** The pages of all zones; names the option that is no such number. */
export function checkNodes(nodes: readonly NodeOptions[], cpuNodes: readonly number[]): number {
  let pages = 0;
  for (const [nid, node] of nodes.entries()) {
    for (const zone of node.zones) {
      if (!(ZONE_NAMES as readonly string[]).includes(zone.name)) throw new UsageError("mm", `zone of node ${nid}`, zone.name, `choose ${ZONE_NAMES.join(", ")}`);
      if (!Number.isInteger(zone.pages) || zone.pages < 1) throw new UsageError("mm", `pages of zone ${zone.name} of node ${nid}`, zone.pages, "give 1 page or more");
      pages += zone.pages;
    }
    const { distances } = node;
    if (distances !== undefined && (distances.length !== nodes.length || distances.some((distance, other) => !Number.isInteger(distance) || distance < LOCAL_DISTANCE || (other === nid && distance !== LOCAL_DISTANCE)))) {
      throw new UsageError("mm", `distances of node ${nid}`, distances.join(), `give ${nodes.length} numbers, ${LOCAL_DISTANCE} for itself and more for others`);
    }
  }
  if (nodes.length > MAX_NUMNODES) throw new UsageError("mm", "nodes", nodes.length, `give at most ${MAX_NUMNODES}`);
  const stray = cpuNodes.find((node) => node >= nodes.length);
  if (stray !== undefined) throw new UsageError("mm", "nodes", nodes.length, `a CPU of this machine is on node ${stray}: give each such node, with or without zones`);
  return pages;
}
