/** An address with its prefix, and which addresses a host may have. */
import { parseIpv4 } from '../../wire/ipv4.ts';

export interface Cidr {
  /** int32, host order. */
  ip: number;
  prefix: number;
}

/** `192.0.2.2/24`, or null. */
export function parseCidr(text: string): Cidr | null {
  const m = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  if (m === null) return null;
  const ip = parseIpv4(m[1]!);
  const prefix = Number(m[2]);
  return ip === null || prefix > 32 ? null : { ip, prefix };
}

/** int32 mask of a prefix length. */
export const maskOf = (prefix: number): number => (prefix === 0 ? 0 : -1 << (32 - prefix));

/** Why an address cannot be a host's own, or null. */
export function refuseHostAddress(ip: number, prefix: number): string | null {
  const top = ip >>> 24;
  if (top === 0) return 'is in 0.0.0.0/8 ("this network")';
  if (top === 127) return 'is a loopback address';
  if (top >= 224) return top >= 240 ? 'is in the reserved range 240.0.0.0/4' : 'is a multicast address';
  if (prefix <= 30) {
    const host = ip & ~maskOf(prefix);
    if (host === 0) return `is the network address of its /${prefix}`;
    if (host === ~maskOf(prefix)) return `is the broadcast address of its /${prefix}`;
  }
  return null;
}
