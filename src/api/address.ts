/**
 * IPv4 addresses as users write them. Inside, an address is an int32 in host order: 192.0.2.1 is 0xc0000201 | 0.
 */
import { FlowringError } from './errors.ts';

/** Any of our own addresses. */
export const INADDR_ANY = 0;

/** An address, dotted or int32 (`parseAddress` once, then no text is parsed per connection), and a port, 0..65535. */
export interface SocketAddress {
  address?: string | number;
  port: number;
}

/**
 * '192.0.2.1' → int32. Four decimal numbers, no leading zeros (they are octal to some readers, RFC 6943 section 3.1.1).
 * Throws FlowringError EINVAL naming the text otherwise.
 *
 * @example
 * connect(mctx, s, { address: parseAddress('192.0.2.1'), port: 80 });
 */
export function parseAddress(text: string): number {
  const parts = typeof text === 'string' ? text.split('.') : [];
  let ip = 0;
  let good = parts.length === 4;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) good = false;
    ip = (ip << 8) | Number(part);
  }
  if (!good) throw new FlowringError('EINVAL', `${JSON.stringify(text)} is not an IPv4 address, write it like 192.0.2.1`);
  return ip;
}

/** int32 → '192.0.2.1'. */
export function formatAddress(ip: number): string {
  return `${(ip >>> 24) & 255}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;
}

/** The int32 of either form; nothing given is INADDR_ANY. */
export function addressOf(address: string | number | undefined): number {
  if (address === undefined) return INADDR_ANY;
  return typeof address === 'number' ? address | 0 : parseAddress(address);
}

export function isPort(port: unknown): port is number {
  return Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535;
}
