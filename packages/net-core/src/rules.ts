/** The dated behaviours of the skb layer, resolved once; see the presets of the machine. */
export interface NetCoreRules {
  /** From 5.14: an skb that lets go of shared data loses its recycle bit, so that exactly one skb is responsible. */
  readonly releaseClearsRecycle: boolean;
  /** The seed's proposal needs every holder to look at the page: an expanded clone keeps its bit. */
  readonly expandKeepsRecycle: boolean;
  /** From 6.3 (bf9f1baa279f): small heads come from a cache of their own. */
  readonly smallHeads: boolean;
  /** From 5.19: packets read on another CPU are freed on the one that built them. */
  readonly defersFrees: boolean;
  /** From 6.4 (9c94bbf9a87b): a pool's page stays the pool's when its frame becomes an skb; before, it leaves. */
  readonly framesRecycle: boolean;
  /** Packets that may wait on one CPU's list. @kernel net.core.skb_defer_max */
  readonly skbDeferMax: number;
}
