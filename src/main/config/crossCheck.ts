/** What only several values together can get wrong. Each refusal names the value to blame, where it stands, and the fix. */
import { parseCpus } from '../cpuList.ts';
import { checkCpus, type Machine } from '../cpus.ts';
import { HEADROOM, REGION_BYTES_MAX, TRAIN_LINKS_MAX } from '../../rings/layout.ts';
import { maskOf, parseCidr, refuseHostAddress } from './address.ts';
import { parseIpv4 } from '../../wire/ipv4.ts';
import { ConfigError } from './configError.ts';
import { camelOf, type Config, type Key, specOf } from './schema.ts';

type Origin = (key: Key) => string;

/** Ethernet header and one VLAN tag. */
const LINK_BYTES = 18;

/** Most bytes of a worker's arena in which positions are int32, with some for what is not counted here, and what a connection has of it. */
const ARENA_BYTES_MAX = 0x7c000000;
const CONNECTION_BYTES = 512;

class CrossCheck {
  private readonly c: Config;
  private readonly origin: Origin;
  readonly warnings: string[] = [];

  constructor(c: Config, origin: Origin) {
    this.c = c;
    this.origin = origin;
  }

  private refuse(key: Key, message: string): never {
    const place = this.origin(key);
    throw new ConfigError(`${key}: ${message}`, place.startsWith('default') ? '' : place);
  }

  addresses(): void {
    const { c } = this;
    const { ip, prefix } = parseCidr(c.address)!;
    const why = refuseHostAddress(ip, prefix);
    if (why !== null) this.refuse('address', `"${c.address}" ${why}; give the stack a host address of its own`);
    if (c.gateway === null) return;
    const gw = parseIpv4(c.gateway)!;
    if (gw === ip) this.refuse('gateway', `"${c.gateway}" is the stack's own address; name the router's`);
    if (((gw ^ ip) & maskOf(prefix)) !== 0)
      this.refuse('gateway', `"${c.gateway}" is not on the link of ${c.address}; name a router inside it`);
    const bad = refuseHostAddress(gw, prefix);
    if (bad !== null) this.refuse('gateway', `"${c.gateway}" ${bad}; name the router's own address`);
  }

  neighbours(): void {
    const { ip, prefix } = parseCidr(this.c.address)!;
    for (const pair of this.c.arpStatic) {
      const neighbour = parseIpv4(pair.split('=')[0]!)!;
      if (neighbour === ip) this.refuse('arp.static', `"${pair}" is the stack's own address; remove it`);
      if (((neighbour ^ ip) & maskOf(prefix)) !== 0)
        this.refuse('arp.static', `"${pair}" is not on the link of ${this.c.address}; remove it`);
    }
  }

  threads(machine: Machine): void {
    const { c } = this;
    if (c.layout === 'inline' && c.workers > 1)
      this.refuse('workers', `${c.workers} do not fit layout inline, which is one thread; say --workers 1 or --layout dispatcher`);
    if (c.cpus !== 'auto' && c.cpus !== 'none') checkCpus(parseCpus(c.cpus) as number[], machine, this.origin('cpus'));
    if (c.backgroundCpus !== 'auto' && c.backgroundCpus !== 'none')
      checkCpus(parseCpus(c.backgroundCpus) as number[], machine, this.origin('background.cpus'), 'background.cpus');
  }

  frames(): void {
    const { c } = this;
    if (c.frames * c.frameBytes > REGION_BYTES_MAX) {
      const most = Math.floor(REGION_BYTES_MAX / c.frameBytes);
      this.refuse('frames', `${c.frames} of ${c.frameBytes} bytes are more than 2 GiB; at most ${most}`);
    }
    const need = c.workers * 2 * c.ringsGrant + TRAIN_LINKS_MAX + c.burst;
    if (c.frames < need) {
      const most = 2 ** Math.floor(Math.log2(Math.max(1, (c.frames - TRAIN_LINKS_MAX - c.burst) / (2 * c.workers))));
      const fix = most >= 64 ? `raise frames or lower rings.grant to ${most}` : 'raise frames';
      this.refuse(
        'frames',
        `${c.frames} are too few: ${c.workers} workers may hold ${need - TRAIN_LINKS_MAX - c.burst} as credit, so at least ${need}; ${fix}`,
      );
    }
    const room = c.frameBytes - HEADROOM - LINK_BYTES;
    if (c.mtu > room)
      this.refuse('mtu', `${c.mtu} does not fit frames of ${c.frameBytes} bytes (at most ${room}); say frame-bytes ${c.frameBytes * 2}`);
    if (c.ringsRx < c.burst) this.refuse('rings.rx', `${c.ringsRx} is below burst ${c.burst}; raise it`);
  }

  tcp(): void {
    const { c } = this;
    if (c.tcpMss > c.mtu - 40) this.refuse('tcp.mss', `${c.tcpMss} does not fit mtu ${c.mtu}; at most ${c.mtu - 40}`);
    if (c.tcpRtoMinMs > c.tcpRtoInitialMs)
      this.refuse('tcp.rto-min-ms', `${c.tcpRtoMinMs} is above tcp.rto-initial-ms ${c.tcpRtoInitialMs}; lower it`);
    if (c.tcpRtoInitialMs > c.tcpRtoMaxMs)
      this.refuse('tcp.rto-initial-ms', `${c.tcpRtoInitialMs} is above tcp.rto-max-ms ${c.tcpRtoMaxMs}; lower it`);
    // RFC 7323 section 2.3: the window field has 16 bits, shifted
    const windowMax = 65535 * 2 ** c.tcpWindowScale;
    if (c.tcpRcvbuf > windowMax) {
      const scale = Math.ceil(Math.log2(c.tcpRcvbuf / 65535));
      this.refuse(
        'tcp.rcvbuf',
        `${c.tcpRcvbuf} is more than window scale ${c.tcpWindowScale} can say (${windowMax}); say tcp.window-scale ${scale}`,
      );
    }
    if (c.pipes * c.pipeBytes > 0x10000000)
      this.refuse(
        'pipes',
        `${c.pipes} of ${c.pipeBytes} bytes are more than 256 MiB a worker; at most ${Math.floor(0x10000000 / c.pipeBytes)}`,
      );
    const bytes = c.chunks * c.chunkBytes;
    if (bytes > 0x40000000)
      this.refuse('chunks', `${c.chunks} of ${c.chunkBytes} bytes are more than 1 GiB a worker; at most ${0x40000000 / c.chunkBytes}`);
    const rest = bytes + c.pipes * c.pipeBytes;
    if (rest + c.tcpMaxConnections * CONNECTION_BYTES > ARENA_BYTES_MAX)
      this.refuse(
        'tcp.max-connections',
        `${c.tcpMaxConnections} of ${CONNECTION_BYTES} bytes and ${rest} of chunks and pipes are more than ${ARENA_BYTES_MAX} bytes a worker; ` +
          `at most ${Math.floor((ARENA_BYTES_MAX - rest) / CONNECTION_BYTES)}, or fewer chunks`,
      );
    const one = c.tcpRcvbuf + c.tcpSndbuf;
    if (bytes < one)
      this.refuse(
        'chunks',
        `${c.chunks} of ${c.chunkBytes} bytes do not hold one connection's buffers (${one}); at least ${Math.ceil(one / c.chunkBytes)}`,
      );
  }

  withoutEffect(): void {
    if (!this.c.nic.startsWith('packet:')) this.idle(['packet.rx-slots', 'packet.transmit-ring'], 'a packet socket');
    if (this.c.nic === 'switch') return;
    const keys: readonly Key[] = [
      'switch.loss',
      'switch.delay-us',
      'switch.jitter-us',
      'switch.reorder',
      'switch.duplicate',
      'switch.corrupt',
      'switch.rate-bps',
      'switch.seed',
    ];
    this.idle(keys, 'the switch');
  }

  /** Warns of each key that was set to something else than its default, for a port that this is not. */
  private idle(keys: readonly Key[], port: string): void {
    for (const key of keys)
      if (this.origin(key) !== 'default' && this.c[camelOf(key)] !== specOf(key)!.default)
        this.warnings.push(`${this.origin(key)}: ${key} has no effect: the port is ${this.c.nic}, not ${port}`);
  }
}

/** Throws ConfigError, or returns warnings. */
export function crossCheck(c: Config, origin: Origin, machine: Machine): string[] {
  const check = new CrossCheck(c, origin);
  check.addresses();
  check.neighbours();
  check.threads(machine);
  check.frames();
  check.tcp();
  check.withoutEffect();
  return check.warnings;
}
