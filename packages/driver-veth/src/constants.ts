/** Slots of a receive ring, and of the ring of its pool. @kernel VETH_RING_SIZE (drivers/net/veth.c) */
export const VETH_RING_SIZE = 256;
/** Frames that a poll sends back together. @kernel VETH_XDP_TX_BULK_SIZE */
export const VETH_XDP_TX_BULK_SIZE = 16;
/** Frames that become skbs together. @kernel VETH_XDP_BATCH */
export const VETH_XDP_BATCH = 16;
