/**
 * One raw value (JSON, flag text or code) to what its schema entry promises, or a ConfigError that names the place, the
 * value, what is allowed and, where there is one, the fix.
 */
import { parseCidr } from './address.ts';
import { formatMac, parseMac } from '../../wire/ethernet.ts';
import { formatIpv4, parseIpv4 } from '../../wire/ipv4.ts';
import { ConfigError } from './configError.ts';
import { formatCpus, parseCpus } from '../cpuList.ts';
import type { KeySpec } from './schema.ts';

/** Resolved later, from other keys and the machine. */
export const AUTO = Symbol('auto');
export type Parsed = number | boolean | string | null | readonly string[] | typeof AUTO;

const BINARY: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const DECIMAL: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
const MICROS: Readonly<Record<string, number>> = { us: 1, µs: 1, ms: 1e3, s: 1e6, sec: 1e6, m: 6e7, min: 6e7, h: 3.6e9 };
const NICS_ELSEWHERE = ['xdp', 'netmap', 'dpdk', 'pcap', 'vale'];

const shown = (raw: unknown): string =>
  typeof raw === 'string' ? `"${raw.replace(/[\r\n]+/g, ' ')}"` : (JSON.stringify(raw) ?? String(raw));

const plain = (n: number): string => (Number.isSafeInteger(n) ? String(n) : n.toExponential());

/** What a key takes, for messages, --help and the documentation. */
export function allowed(spec: KeySpec): string {
  const range = spec.min === undefined ? '' : `${plain(spec.min)} to ${plain(spec.max!)}${spec.unit === undefined ? '' : ` ${spec.unit}`}`;
  const words = [spec.auto === undefined ? '' : 'auto', spec.none === true ? 'none' : ''].filter((w) => w !== '');
  const or = words.length === 0 ? '' : ` or ${words.join(' or ')}`;
  switch (spec.type) {
    case 'int':
      return range + or;
    case 'size':
      return `${range}${spec.powerOfTwo === true ? ', a power of two' : ''} (K, M, G are 1024s)${or}`;
    case 'duration':
      return `${range} (or with a unit: us, ms, s)${or}`;
    case 'rate':
      return `${range} (K, M, G are 1000s)`;
    case 'fraction':
      return '0 to 1, or 0% to 100%';
    case 'bool':
      return 'true or false';
    case 'word':
      return spec.choices!.join(', ');
    case 'nic':
      return 'switch, tap, tap:NAME or packet:NAME';
    case 'cidr':
      return `an IPv4 address with prefix, as 192.0.2.2/24${or}`;
    case 'ip':
      return `an IPv4 address, as 192.0.2.1${or}`;
    case 'mac':
      return `a unicast MAC address, as 02:00:00:00:00:01${or}`;
    case 'cpus':
      return `a cpulist, as 0-3,8${or}`;
    case 'pairs':
      return `a list of IP=MAC, as 192.0.2.9=02:00:00:00:00:09${or}`;
  }
}

class Value {
  private readonly spec: KeySpec;
  private readonly raw: unknown;
  private readonly place: string;

  constructor(spec: KeySpec, raw: unknown, place: string) {
    this.spec = spec;
    this.raw = raw;
    this.place = place;
  }

  fail(why: string, fix = ''): never {
    const tail = fix === '' ? '' : `; ${fix}`;
    throw new ConfigError(`${this.spec.key}: ${shown(this.raw)} ${why}; allowed: ${allowed(this.spec)}${tail}`, this.place);
  }

  text(): string {
    return typeof this.raw === 'string' ? this.raw.trim() : this.fail('is not text');
  }

  /** A number, or text with a unit found in `units`, in units of `base`. */
  private measured(pattern: RegExp, units: Readonly<Record<string, number>>, base: number, fallback: number): number {
    if (typeof this.raw === 'number') return this.raw;
    if (typeof this.raw !== 'string') return this.fail('is not a number');
    const m = pattern.exec(this.raw.trim());
    if (m === null) return this.fail('is not a number');
    const word = (m[2] ?? '').toLowerCase();
    const factor = word === '' ? fallback : units[word];
    if (factor === undefined) return this.fail(`has an unknown unit "${m[2]}"`);
    return (Number(m[1]) * factor) / base;
  }

  number(): number {
    const { spec } = this;
    const num = /^(-?\d+(?:\.\d+)?(?:e\d+)?)\s*([a-zµ%]*)$/i;
    let n: number;
    if (spec.type === 'size') n = this.measured(/^(-?\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i, BINARY, 1, 1);
    else if (spec.type === 'rate') n = this.measured(/^(-?\d+(?:\.\d+)?(?:e\d+)?)\s*([kmgt]?)(?:bit\/s|bits|bit|bps)?$/i, DECIMAL, 1, 1);
    else if (spec.type === 'duration') {
      const base = spec.unit === 'us' ? 1 : 1000;
      n = this.measured(num, MICROS, base, base);
    } else if (spec.type === 'fraction') n = this.measured(/^(-?\d+(?:\.\d+)?)\s*(%?)$/, { '%': 0.01 }, 1, 1);
    else n = this.measured(/^(-?\d+(?:\.\d+)?)$/, {}, 1, 1);
    if (Number.isNaN(n)) return this.fail('is not a number');
    if (spec.type === 'int' && !Number.isInteger(n)) return this.fail('is not a whole number');
    if (spec.type === 'size' || spec.type === 'duration' || spec.type === 'rate') n = Math.round(n);
    if (n < spec.min!) return this.fail(`is below ${plain(spec.min!)}`);
    if (n > spec.max!) return this.fail(`is above ${plain(spec.max!)}`);
    if (spec.powerOfTwo === true && (n & (n - 1)) !== 0) {
      const near = 2 ** Math.round(Math.log2(n));
      return this.fail('is not a power of two', `the nearest is ${Math.min(Math.max(near, spec.min!), spec.max!)}`);
    }
    return n;
  }

  bool(): boolean {
    if (typeof this.raw === 'boolean') return this.raw;
    const t = typeof this.raw === 'string' ? this.raw.trim().toLowerCase() : '';
    if (t === 'true' || t === 'on' || t === 'yes' || t === '1') return true;
    if (t === 'false' || t === 'off' || t === 'no' || t === '0') return false;
    return this.fail('is neither true nor false');
  }

  word(): string {
    const t = this.text();
    const lower = t.toLowerCase();
    const { choices, aliases } = this.spec;
    if (choices!.includes(lower)) return lower;
    const alias = aliases?.[lower];
    if (alias !== undefined) return alias;
    return this.fail('is not one of its words');
  }

  nic(): string {
    const t = this.text();
    const [kind, ...rest] = t.split(':');
    const name = rest.join(':');
    if (t === 'switch' || t === 'tap') return t;
    if (kind === 'switch') return this.fail('names an interface, but the switch is in memory', 'write switch');
    if (NICS_ELSEWHERE.includes(kind!))
      return this.fail('is not available in this version', 'use packet:NAME, a TAP device, or the switch');
    if (kind !== 'tap' && kind !== 'packet')
      return this.fail('is not a kind of port', 'say packet:NAME for an interface of the kernel, tap:NAME for a TAP device');
    // IFNAMSIZ is 16 with the terminating zero, and dev_valid_name() refuses these
    if (!/^[^\s/:%]{1,15}$/.test(name) || name === '.' || name === '..')
      return this.fail('has no valid interface name', '1 to 15 characters, no space, "/", ":" or "%"');
    return t;
  }

  cidr(): string {
    const t = this.text();
    const c = parseCidr(t);
    if (c === null) return this.fail('is not an IPv4 address with prefix', parseIpv4(t) === null ? '' : `write ${t}/24`);
    return `${formatIpv4(c.ip)}/${c.prefix}`;
  }

  ip(): string {
    const ip = parseIpv4(this.text());
    return ip === null ? this.fail('is not an IPv4 address') : formatIpv4(ip);
  }

  mac(): string {
    const mac = parseMac(this.text());
    if (mac === null) return this.fail('is not a MAC address');
    const [hi, lo] = mac;
    if (((hi >>> 24) & 1) !== 0) return this.fail('is a multicast address');
    if (hi === 0 && lo === 0) return this.fail('is all zeros');
    return formatMac(hi, lo);
  }

  cpus(): string {
    const t = typeof this.raw === 'number' ? String(this.raw) : this.text();
    const list = parseCpus(t);
    return typeof list === 'string' ? this.fail(list) : formatCpus(list);
  }

  pairs(): readonly string[] {
    const list = typeof this.raw === 'string' ? this.raw.split(',').filter((p) => p.trim() !== '') : this.raw;
    if (!Array.isArray(list)) return this.fail('is not a list');
    return list.map((pair: unknown) => {
      const [ipText, macText, more] = String(pair).trim().split('=');
      const ip = parseIpv4(ipText!);
      const mac = parseMac(macText ?? '');
      if (ip === null || mac === null || more !== undefined) return this.fail(`has ${shown(pair)}`);
      return `${formatIpv4(ip)}=${formatMac(mac[0], mac[1])}`;
    });
  }
}

/** Parses `raw` for `spec`; `place` is where it stands, for the message. */
export function parseValue(spec: KeySpec, raw: unknown, place: string): Parsed {
  const value = new Value(spec, raw, place);
  const word = typeof raw === 'string' ? raw.trim().toLowerCase() : raw;
  if (spec.type !== 'word') {
    if (word === 'auto')
      return spec.auto === undefined ? value.fail('is not offered') : spec.type === 'cpus' ? 'auto' : spec.type === 'mac' ? null : AUTO;
    if (word === 'none' && spec.none === true) return spec.type === 'cpus' ? 'none' : spec.type === 'pairs' ? [] : null;
    // null is what print and a Config say for "not set"
    if (raw === null && spec.default === null) return spec.type === 'cidr' ? AUTO : null;
  }
  switch (spec.type) {
    case 'int':
    case 'size':
    case 'duration':
    case 'rate':
    case 'fraction':
      return value.number();
    default:
      return value[spec.type]();
  }
}
