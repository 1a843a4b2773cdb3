/** @kernel ETH_HLEN, ETH_DATA_LEN (include/uapi/linux/if_ether.h) */
export const ETH_HLEN = 14;
export const ETH_DATA_LEN = 1500;
/** @kernel VLAN_HLEN (include/linux/if_vlan.h) */
export const VLAN_HLEN = 4;
