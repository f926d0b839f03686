/** Addresses that stand for many hosts, or for none: what no reply may go to (RFC 1122 section 3.2.1.3). */
import type { HostView } from '../rings/hostState.ts';
import { isBadSource } from '../wire/ipv4.ts';

// hot: per packet
/** 255.255.255.255, or the highest address of our subnet. */
export function isBroadcast(host: HostView, ip: number): boolean {
  if (ip === -1) return true;
  const prefix = host.prefix();
  if (prefix === 0 || prefix >= 31) return false;
  const part = ~(-1 << (32 - prefix));
  return ((ip ^ host.address()) & ~part) === 0 && (ip & part) === part;
}

// hot: per packet
/** What must not be answered: bad sources, ourselves, and the broadcast and network address of our subnet. */
export function isNoUnicast(host: HostView, ip: number): boolean {
  const address = host.address();
  if (isBadSource(ip) || ip === address) return true;
  const prefix = host.prefix();
  if (prefix === 0 || prefix >= 31) return false;
  const mask = -1 << (32 - prefix);
  if (((ip ^ address) & mask) !== 0) return false;
  const part = ip & ~mask;
  return part === 0 || part === ~mask;
}
