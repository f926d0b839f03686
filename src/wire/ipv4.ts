/**
 * IPv4 (RFC 791). `ip` is the byte offset of the header; addresses are int32 in host order of the DataView's big-endian reads.
 * `check` in wire/burst (inspect) validates lengths once; accessors never check. setTotalLength and setIhl invalidate it.
 */
export const LEN_IPV4 = 20;
export const PROTO_ICMP = 1;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;

export const OFF_TOTAL_LENGTH = 2;
export const OFF_ID = 4;
export const OFF_FRAGMENT = 6;
export const OFF_TTL = 8;
export const OFF_PROTOCOL = 9;
export const OFF_IP_CHECKSUM = 10;
export const OFF_SRC = 12;
export const OFF_DST = 16;

export const version = (v: DataView, ip: number): number => v.getUint8(ip) >> 4;
/** Header length in bytes. */
export const headerLen = (v: DataView, ip: number): number => (v.getUint8(ip) & 15) << 2;
export const totalLength = (v: DataView, ip: number): number => v.getUint16(ip + OFF_TOTAL_LENGTH);
export const id = (v: DataView, ip: number): number => v.getUint16(ip + OFF_ID);
/** DF, MF and offset: 0x4000, 0x2000, low 13 bits in 8-byte units. */
export const fragmentField = (v: DataView, ip: number): number => v.getUint16(ip + OFF_FRAGMENT);
/** In 8-byte units; 0 of a whole datagram and of a first fragment. */
export const fragmentOffset = (v: DataView, ip: number): number => v.getUint16(ip + OFF_FRAGMENT) & 0x1fff;
export const isFragment = (v: DataView, ip: number): boolean => (v.getUint16(ip + OFF_FRAGMENT) & 0x3fff) !== 0;
export const ttl = (v: DataView, ip: number): number => v.getUint8(ip + OFF_TTL);
export const protocol = (v: DataView, ip: number): number => v.getUint8(ip + OFF_PROTOCOL);
export const checksum = (v: DataView, ip: number): number => v.getUint16(ip + OFF_IP_CHECKSUM);
export const src = (v: DataView, ip: number): number => v.getInt32(ip + OFF_SRC);
export const dst = (v: DataView, ip: number): number => v.getInt32(ip + OFF_DST);

// hot: per packet
/** Writes a 20-byte header, DF set, with its checksum. */
export function setIpv4(v: DataView, ip: number, totalLen: number, ident: number, proto: number, from: number, to: number): void {
  v.setInt32(ip, 0x45000000 | totalLen);
  v.setInt32(ip + 4, ((ident & 0xffff) << 16) | 0x4000);
  let s = 0x4500 + totalLen + (ident & 0xffff) + 0x4000 + (0x4000 | proto);
  s += (from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff);
  s = (s & 0xffff) + (s >>> 16);
  s = (s & 0xffff) + (s >>> 16);
  v.setInt32(ip + 8, 0x40000000 | (proto << 16) | (~s & 0xffff));
  v.setInt32(ip + OFF_SRC, from);
  v.setInt32(ip + OFF_DST, to);
}

/** "192.0.2.1" → int32; null when it is not an address. */
export function parseIpv4(text: string): number | null {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (m === null) return null;
  let n = 0;
  for (let i = 1; i <= 4; i++) {
    const b = Number(m[i]);
    if (b > 255 || (m[i]!.length > 1 && m[i]![0] === '0')) return null;
    n = (n << 8) | b;
  }
  return n;
}

export function formatIpv4(ip: number): string {
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;
}

/** Multicast (224/4), limited broadcast, this-network (0/8), loopback (127/8): never a source on the wire (RFC 1122 section 3.2.1.3). */
export const isBadSource = (ip: number): boolean => {
  const top = ip >>> 24;
  return top >= 224 || top === 0 || top === 127;
};
