/** UDP header (RFC 768). `udp` is the byte offset of the header. */
export const LEN_UDP = 8;
export const OFF_UDP_LENGTH = 4;
export const OFF_UDP_CHECKSUM = 6;
export const srcPort = (v: DataView, udp: number): number => v.getUint16(udp);
export const dstPort = (v: DataView, udp: number): number => v.getUint16(udp + 2);
export const length = (v: DataView, udp: number): number => v.getUint16(udp + OFF_UDP_LENGTH);
/** 0 means the sender computed none (IPv4 only). */
export const checksum = (v: DataView, udp: number): number => v.getUint16(udp + OFF_UDP_CHECKSUM);
