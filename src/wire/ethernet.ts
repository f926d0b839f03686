/** Ethernet II. `eth` is the byte offset of the header. A check of the frame length (≥ LEN_ETHERNET) must precede all accessors. */
export const LEN_ETHERNET = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;

export const OFF_ETHERTYPE = 12;

/** MAC addresses travel as two numbers: the first 4 bytes (int32) and the last 2. */
export const dstHi = (v: DataView, eth: number): number => v.getInt32(eth);
export const dstLo = (v: DataView, eth: number): number => v.getUint16(eth + 4);
export const srcHi = (v: DataView, eth: number): number => v.getInt32(eth + 6);
export const srcLo = (v: DataView, eth: number): number => v.getUint16(eth + 10);
export const ethertype = (v: DataView, eth: number): number => v.getUint16(eth + OFF_ETHERTYPE);
/** Group bit: multicast or broadcast. */
export const isGroup = (v: DataView, eth: number): boolean => (v.getUint8(eth) & 1) !== 0;

// hot: per packet
export function setEthernet(v: DataView, eth: number, toHi: number, toLo: number, fromHi: number, fromLo: number, type: number): void {
  v.setInt32(eth, toHi);
  v.setUint16(eth + 4, toLo);
  v.setInt32(eth + 6, fromHi);
  v.setUint16(eth + 10, fromLo);
  v.setUint16(eth + 12, type);
}

/** "02:00:00:00:00:01" → [hi, lo]; null when it is not a MAC address. */
export function parseMac(text: string): readonly [number, number] | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return null;
  const b = text.split(':').map((x) => Number.parseInt(x, 16));
  return [(b[0]! << 24) | (b[1]! << 16) | (b[2]! << 8) | b[3]!, (b[4]! << 8) | b[5]!];
}

export function formatMac(hi: number, lo: number): string {
  const hex = (hi >>> 0).toString(16).padStart(8, '0') + lo.toString(16).padStart(4, '0');
  return hex.match(/../g)!.join(':');
}
