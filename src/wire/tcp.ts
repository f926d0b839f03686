/** TCP header (RFC 9293 section 3.1). `tcp` is the byte offset of the header. Sequence numbers are int32. */
export const LEN_TCP = 20;
export const OFF_SRC_PORT = 0;
export const OFF_DST_PORT = 2;
export const OFF_SEQ = 4;
export const OFF_ACK = 8;
export const OFF_DATA = 12;
export const OFF_FLAGS = 13;
export const OFF_WINDOW = 14;
export const OFF_CHECKSUM = 16;
export const OFF_URGENT = 18;
export const OFF_OPTIONS = 20;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export const srcPort = (v: DataView, tcp: number): number => v.getUint16(tcp);
export const dstPort = (v: DataView, tcp: number): number => v.getUint16(tcp + OFF_DST_PORT);
export const seq = (v: DataView, tcp: number): number => v.getInt32(tcp + OFF_SEQ);
export const ack = (v: DataView, tcp: number): number => v.getInt32(tcp + OFF_ACK);
/** Header length in bytes. */
export const dataOffset = (v: DataView, tcp: number): number => (v.getUint8(tcp + OFF_DATA) >> 4) << 2;
export const flags = (v: DataView, tcp: number): number => v.getUint8(tcp + OFF_FLAGS);
/** Unscaled. */
export const window = (v: DataView, tcp: number): number => v.getUint16(tcp + OFF_WINDOW);
export const checksum = (v: DataView, tcp: number): number => v.getUint16(tcp + OFF_CHECKSUM);
export const urgent = (v: DataView, tcp: number): number => v.getUint16(tcp + OFF_URGENT);

export const setSeq = (v: DataView, tcp: number, n: number): void => v.setInt32(tcp + OFF_SEQ, n);
export const setAck = (v: DataView, tcp: number, n: number): void => v.setInt32(tcp + OFF_ACK, n);
export const setFlags = (v: DataView, tcp: number, f: number): void => v.setUint8(tcp + OFF_FLAGS, f);
export const setWindow = (v: DataView, tcp: number, n: number): void => v.setUint16(tcp + OFF_WINDOW, n);
export const setChecksum = (v: DataView, tcp: number, n: number): void => v.setUint16(tcp + OFF_CHECKSUM, n);
