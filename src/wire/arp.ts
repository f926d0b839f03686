/** ARP for IPv4 over Ethernet (RFC 826). `arp` is the byte offset of the packet, LEN_ARP bytes are inside the frame. */
import { isBadSource } from './ipv4.ts';

export const LEN_ARP = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export const OFF_OPER = 6;
export const OFF_SHA = 8;
export const OFF_SPA = 14;
export const OFF_THA = 18;
export const OFF_TPA = 24;

export const oper = (v: DataView, arp: number): number => v.getUint16(arp + OFF_OPER);
/** Sender's and target's hardware address: first 4 bytes, last 2. */
export const shaHi = (v: DataView, arp: number): number => v.getInt32(arp + OFF_SHA);
export const shaLo = (v: DataView, arp: number): number => v.getUint16(arp + OFF_SHA + 4);
export const thaHi = (v: DataView, arp: number): number => v.getInt32(arp + OFF_THA);
export const thaLo = (v: DataView, arp: number): number => v.getUint16(arp + OFF_THA + 4);
/** Sender's and target's protocol address, int32. */
export const spa = (v: DataView, arp: number): number => v.getInt32(arp + OFF_SPA);
export const tpa = (v: DataView, arp: number): number => v.getInt32(arp + OFF_TPA);

// hot: per packet
/**
 * Whether the packet is one of ours to read: Ethernet and IPv4, request or reply, and a sender whose addresses may be on
 * the wire: a MAC that is neither a group's nor zero, and an IP that is none of multicast, broadcast, loopback. The sender
 * IP may be 0 in a request only: that is a probe (RFC 5227 section 2.1.1).
 */
export function check(v: DataView, arp: number): boolean {
  if (v.getInt32(arp) !== 0x00010800 || v.getUint16(arp + 4) !== 0x0604) return false;
  const op = oper(v, arp);
  if (op !== ARP_REQUEST && op !== ARP_REPLY) return false;
  if ((v.getUint8(arp + OFF_SHA) & 1) !== 0 || (shaHi(v, arp) | shaLo(v, arp)) === 0) return false;
  const from = spa(v, arp);
  return from === 0 ? op === ARP_REQUEST : !isBadSource(from);
}

// hot: per packet
export function setSender(v: DataView, arp: number, op: number, macHi: number, macLo: number, ip: number): void {
  v.setInt32(arp, 0x00010800);
  v.setInt32(arp + 4, 0x06040000 | op);
  v.setInt32(arp + OFF_SHA, macHi);
  v.setUint16(arp + OFF_SHA + 4, macLo);
  v.setInt32(arp + OFF_SPA, ip);
}

// hot: per packet
export function setTarget(v: DataView, arp: number, macHi: number, macLo: number, ip: number): void {
  v.setInt32(arp + OFF_THA, macHi);
  v.setUint16(arp + OFF_THA + 4, macLo);
  v.setInt32(arp + OFF_TPA, ip);
}
