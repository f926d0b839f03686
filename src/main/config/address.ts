/** IPv4 and MAC addresses as text and as the integers the stack uses. */

export interface Cidr {
  /** int32, host order. */
  ip: number;
  prefix: number;
}

/** Dotted quad to int32 (host order), or null. Leading zeros are refused: some programs read them as octal. */
export function parseIp(text: string): number | null {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (m === null) return null;
  let ip = 0;
  for (const part of m.slice(1)) {
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return null;
    ip = (ip << 8) | Number(part);
  }
  return ip | 0;
}

export const formatIp = (ip: number): string => [24, 16, 8, 0].map((s) => (ip >>> s) & 0xff).join('.');

/** `192.0.2.2/24`, or null. */
export function parseCidr(text: string): Cidr | null {
  const m = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  if (m === null) return null;
  const ip = parseIp(m[1]!);
  const prefix = Number(m[2]);
  return ip === null || prefix > 32 ? null : { ip, prefix };
}

/** int32 mask of a prefix length. */
export const maskOf = (prefix: number): number => (prefix === 0 ? 0 : -1 << (32 - prefix));

/** `02:00:00:00:00:01` as the first 4 bytes and the last 2, or null. */
export function parseMac(text: string): { hi: number; lo: number } | null {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text)) return null;
  const b = text.split(/[:-]/).map((x) => Number.parseInt(x, 16));
  return { hi: (b[0]! << 24) | (b[1]! << 16) | (b[2]! << 8) | b[3]!, lo: (b[4]! << 8) | b[5]! };
}

export function formatMac(hi: number, lo: number): string {
  const bytes = [24, 16, 8, 0].map((s) => (hi >>> s) & 0xff).concat((lo >>> 8) & 0xff, lo & 0xff);
  return bytes.map((b) => b.toString(16).padStart(2, '0')).join(':');
}

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
