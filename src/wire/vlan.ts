/** IEEE 802.1Q tag. `tag` is the byte offset behind the EtherType 0x8100: TCI, then the EtherType of what follows. */
export const LEN_VLAN = 4;

export const tci = (v: DataView, tag: number): number => v.getUint16(tag);
/** 1..4094; 0 is a priority tag. */
export const vlanId = (v: DataView, tag: number): number => v.getUint16(tag) & 0x0fff;
export const priority = (v: DataView, tag: number): number => v.getUint8(tag) >> 5;
export const innerEthertype = (v: DataView, tag: number): number => v.getUint16(tag + 2);
