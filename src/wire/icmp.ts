/** ICMP (RFC 792). `icmp` is the byte offset of the header. */
export const LEN_ICMP = 8;
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

// Codes of ICMP_UNREACHABLE (RFC 792)
export const CODE_PROTOCOL_UNREACHABLE = 2;
export const CODE_PORT_UNREACHABLE = 3;

// Codes of ICMP_TIME_EXCEEDED (RFC 792)
export const CODE_REASSEMBLY_TIME_EXCEEDED = 1;

export const OFF_ICMP_CHECKSUM = 2;

export const type = (v: DataView, icmp: number): number => v.getUint8(icmp);
export const code = (v: DataView, icmp: number): number => v.getUint8(icmp + 1);
export const checksum = (v: DataView, icmp: number): number => v.getUint16(icmp + OFF_ICMP_CHECKSUM);
/** Echo only. */
export const echoId = (v: DataView, icmp: number): number => v.getUint16(icmp + 4);
export const echoSeq = (v: DataView, icmp: number): number => v.getUint16(icmp + 6);

/** Types that quote the datagram they are about (RFC 1122 section 3.2.2). */
export const isIcmpError = (t: number): boolean =>
  t === ICMP_UNREACHABLE || t === ICMP_TIME_EXCEEDED || t === ICMP_PARAMETER_PROBLEM || t === ICMP_REDIRECT || t === ICMP_SOURCE_QUENCH;
