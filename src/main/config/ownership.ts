/**
 * What the kernel must not have, and what it must grant, before a port is opened: the address belongs to the stack alone
 * (else the kernel answers its SYNs with RST), a TAP device wants /dev/net/tun and CAP_NET_ADMIN, or to be ours, and a packet
 * socket CAP_NET_RAW and an interface that is there and up.
 */
import { accessSync, constants } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type ReadText, readText } from '../cpus.ts';
import { maskOf, parseCidr } from './address.ts';
import { formatIpv4, parseIpv4 } from '../../wire/ipv4.ts';
import { ConfigError, PrivilegeError } from './configError.ts';
import type { Config } from './schema.ts';

export interface KernelAddress {
  ip: number;
  /** Interface name, or empty when nobody says which. */
  iface: string;
  /** 32 when unknown. */
  prefix: number;
}

const prefixOf = (mask: number): number => 32 - (mask === 0 ? 32 : Math.log2((~mask >>> 0) + 1));

/** Destinations on a link, from /proc/net/route: interface, network and mask as int32; the file has them little-endian. */
function linkRoutes(read: ReadText): { iface: string; network: number; mask: number }[] {
  const swapped = (hex: string): number => Buffer.from(hex, 'hex').readInt32LE(0);
  return (read('/proc/net/route') ?? '').split('\n').flatMap((line) => {
    const [iface, network, gateway, , , , , mask] = line.split(/\s+/);
    return gateway === '00000000' && mask?.length === 8 ? [{ iface: iface!, network: swapped(network!), mask: swapped(mask) }] : [];
  });
}

/**
 * Every IPv4 address the kernel has as its own: of interfaces that run, and of the local routing table, which has those of
 * interfaces without carrier, too, as a TAP is that nobody has opened.
 */
export function kernelAddresses(read: ReadText = readText, interfaces: typeof networkInterfaces = networkInterfaces): KernelAddress[] {
  const out: KernelAddress[] = [];
  for (const [iface, list] of Object.entries(interfaces()))
    for (const a of list ?? [])
      if (a.family === 'IPv4') out.push({ ip: parseIpv4(a.address)!, iface, prefix: Number(a.cidr?.split('/')[1] ?? 32) });
  // fib_trie: a leaf "|-- 192.0.2.2" followed by "/32 host LOCAL"
  const links = linkRoutes(read);
  let leaf: number | null = null;
  for (const line of (read('/proc/net/fib_trie') ?? '').split('\n')) {
    const at = /\|--\s+([\d.]+)/.exec(line);
    if (at !== null) leaf = parseIpv4(at[1]!);
    const local = /\/(\d+)\s+host\s+LOCAL/.exec(line);
    if (local === null || leaf === null || local[1] !== '32') continue;
    const ip = leaf;
    if (out.some((a) => a.ip === ip)) continue;
    const link = links.find((l) => ((l.network ^ ip) & l.mask) === 0);
    out.push({ ip, iface: link?.iface ?? '', prefix: link === undefined ? 32 : prefixOf(link.mask) });
  }
  return out;
}

/** The kernel's entry that clashes with the stack's address, or undefined. A switch port is in memory: nothing can clash. */
export function kernelOwner(
  c: Pick<Config, 'nic' | 'address'>,
  addresses: readonly KernelAddress[] = kernelAddresses(),
): KernelAddress | undefined {
  if (c.nic === 'switch') return undefined;
  const { ip } = parseCidr(c.address)!;
  return addresses.find((a) => a.ip === ip);
}

/** Another host address of the same link, for the fix in a message. */
function another(c: Pick<Config, 'address'>, taken: readonly KernelAddress[]): string {
  const { ip, prefix } = parseCidr(c.address)!;
  const network = ip & maskOf(prefix);
  const hosts = prefix >= 31 ? 0 : ~maskOf(prefix) >>> 0;
  for (let host = 2; host < Math.min(hosts, 1024); host++) {
    const candidate = (network + host) | 0;
    if (candidate !== ip && !taken.some((a) => a.ip === candidate)) return `${formatIpv4(candidate)}/${prefix}`;
  }
  return 'another';
}

/** Throws ConfigError, naming where the address was given, when the kernel owns it. */
export function checkAddressOwnership(
  c: Pick<Config, 'nic' | 'address'>,
  addresses: readonly KernelAddress[] = kernelAddresses(),
  place = '',
): void {
  const owner = kernelOwner(c, addresses);
  if (owner === undefined) return;
  const where = owner.iface === '' ? '' : ` on ${owner.iface}`;
  throw new ConfigError(
    `address: the kernel owns ${formatIpv4(owner.ip)}${where} and would answer in the stack's place; ` +
      `give the stack another address of the link, as --address ${another(c, addresses)}`,
    place,
  );
}

const CAP_NET_ADMIN = 12;
const CAP_NET_RAW = 13;

/** Has this process the capability? (/proc/self/status, CapEff) */
export function hasCapability(bit: number, read: ReadText = readText): boolean {
  const m = /^CapEff:\s*([0-9a-f]+)/m.exec(read('/proc/self/status') ?? '');
  return m !== null && ((BigInt(`0x${m[1]}`) >> BigInt(bit)) & 1n) === 1n;
}

function mayOpenTun(): string | null {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return null;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

/** Is there an interface of that name in this network namespace? (/sys/class/net shows the one that /sys was mounted in.) */
export function interfaceExists(name: string, read: ReadText = readText): boolean {
  return (read('/proc/net/dev') ?? '').split('\n').some((line) => line.trim().startsWith(`${name}:`));
}

/** Names of the interfaces in this network namespace, without the loopback. */
function interfaceNames(read: ReadText): string[] {
  const names = (read('/proc/net/dev') ?? '').split('\n').map((line) => /^\s*([^\s:]+):/.exec(line)?.[1]);
  return names.filter((n): n is string => n !== undefined && n !== 'lo');
}

/** An interface of the kernel, shared with it. Whether it is up and carries Ethernet the port itself sees, whatever /sys shows. */
function packetRefusal(name: string, read: ReadText): string | null {
  if (name === 'lo') return 'nic: lo is the loopback, where the kernel owns every address; name a NIC or a veth, or use --nic tap';
  if (!interfaceExists(name, read)) {
    const names = interfaceNames(read);
    const there = names.length === 0 ? 'none is here but lo' : `here are ${names.join(', ')}`;
    return `nic: there is no interface ${name} in this network namespace; ${there}`;
  }
  if (hasCapability(CAP_NET_RAW, read)) return null;
  return `nic: no privilege (CAP_NET_RAW) for packet:${name}; run as root, or: setcap cap_net_raw+ep on the node binary`;
}

/** Why the port cannot be opened by this user on this machine, with the fix; or null. */
export function portRefusal(c: Pick<Config, 'nic'>, read: ReadText = readText, openTun: () => string | null = mayOpenTun): string | null {
  if (c.nic === 'switch') return null;
  const name = c.nic.includes(':') ? c.nic.slice(c.nic.indexOf(':') + 1) : '';
  return c.nic.startsWith('packet:') ? packetRefusal(name, read) : tapRefusal(name, read, openTun());
}

function tapRefusal(name: string, read: ReadText, tun: string | null): string | null {
  if (tun === 'ENOENT')
    return 'nic: /dev/net/tun does not exist; load the module (modprobe tun), or in a container add --device /dev/net/tun';
  if (tun !== null) return 'nic: no permission to open /dev/net/tun; run as root, or give the user access to it';
  const exists = name !== '' && interfaceExists(name, read);
  const flags = exists ? read(`/sys/class/net/${name}/tun_flags`) : null;
  if (exists && flags === null && read(`/sys/class/net/${name}/ifindex`) !== null)
    return `nic: ${name} exists and is no TAP device; choose another name`;
  // IFF_TAP is 2, IFF_TUN is 1 (linux/if_tun.h)
  if (flags !== null && (Number.parseInt(flags, 16) & 2) === 0)
    return `nic: ${name} is a TUN device, which carries no Ethernet; choose another name`;
  if (hasCapability(CAP_NET_ADMIN, read)) return null;
  const owner = name === '' ? -1 : Number.parseInt(read(`/sys/class/net/${name}/owner`) ?? '-1', 10);
  if (flags !== null && owner === process.getuid?.()) return null;
  const user = name === '' ? 'tap0' : name;
  return `nic: no privilege (CAP_NET_ADMIN) for tap${name === '' ? '' : `:${name}`}; run as root, or once: ip tuntap add ${user} mode tap user $USER && ip link set ${user} up`;
}

/** Throws PrivilegeError, naming where the port was given, when it cannot be opened. */
export function checkPrivileges(c: Pick<Config, 'nic'>, place = ''): void {
  const why = portRefusal(c);
  if (why !== null) throw new PrivilegeError(why, place);
}
