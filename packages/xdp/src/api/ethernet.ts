/** @kernel ETH_HLEN, ETH_DATA_LEN (include/uapi/linux/if_ether.h) */
export const ETH_HLEN = 14;
export const ETH_DATA_LEN = 1500;
/** @kernel ETH_MIN_MTU, ETH_MAX_MTU */
export const ETH_MIN_MTU = 68;
export const ETH_MAX_MTU = 0xffff;
/** @kernel VLAN_HLEN (include/linux/if_vlan.h) */
export const VLAN_HLEN = 4;
/** @kernel ETH_P_IP, ETH_P_IPV6 */
export const ETH_P_IP = 0x0800;
export const ETH_P_IPV6 = 0x86dd;
/** Larger packets have lengths that an IP header cannot say. @kernel GRO_LEGACY_MAX_SIZE (include/linux/netdevice.h) */
export const GRO_LEGACY_MAX_SIZE = 65_536;
