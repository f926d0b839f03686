/**
 * Every configuration key, once. Parsing, validation, the TypeScript type, docs/config.md, the JSON Schema, `--help` and
 * `--print-config` are all made from this table; a key that is not here does not exist.
 *
 * Keys are kebab-case with dotted groups (`tcp.time-wait-ms`).
 */
import { HEADROOM, MAX_WORKERS } from '../../rings/layout.ts';

export type ValueType =
  | 'int'
  | 'size'
  | 'duration'
  | 'rate'
  | 'fraction'
  | 'bool'
  | 'word'
  | 'nic'
  | 'cidr'
  | 'ip'
  | 'mac'
  | 'cpus'
  | 'pairs';

export interface KeySpec {
  readonly key: string;
  readonly type: ValueType;
  /** Unit of a number: bytes, ms, us, frames … */
  readonly unit?: string;
  readonly default: number | boolean | string | null | readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly powerOfTwo?: boolean;
  /** What the word `auto` (or, for addresses, `none`) resolves to. The word is refused where this is absent. */
  readonly auto?: string;
  readonly none?: boolean;
  /** Words of type `word`. */
  readonly choices?: readonly string[];
  /** Other spellings of a choice, compared without case. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Words that are known but cannot be had in this version. */
  readonly unavailable?: readonly string[];
  /** Command-line option with a place of its own; every other key is reached by --set. */
  readonly flag?: string;
  readonly since: string;
  readonly help: string;
}

const SINCE = '0.1';
const MIB = 1024 * 1024;

export const SCHEMA = [
  {
    key: 'nic',
    type: 'nic',
    default: 'switch',
    flag: '--nic <kind[:iface]>',
    since: SINCE,
    help: 'The port: `switch` (in memory, no root), `tap:NAME` (attaches to or creates that TAP device) or `tap` (creates one).',
  },
  {
    key: 'address',
    type: 'cidr',
    default: null,
    auto: '198.18.0.1/24 on the switch; a TAP needs one',
    flag: '--address <cidr>',
    since: SINCE,
    help: "The stack's own IPv4 address and prefix. It must not be one the kernel has.",
  },
  {
    key: 'gateway',
    type: 'ip',
    default: null,
    none: true,
    flag: '--gateway <ip>',
    since: SINCE,
    help: 'Next hop for destinations off the link.',
  },
  { key: 'mac', type: 'mac', default: null, auto: 'the port picks a locally administered one', since: SINCE, help: 'Our MAC address.' },
  { key: 'mtu', type: 'int', unit: 'bytes', default: 1500, min: 576, max: 9000, since: SINCE, help: 'Largest IP datagram on the link.' },
  {
    key: 'workers',
    type: 'int',
    unit: 'threads',
    default: 'auto',
    min: 1,
    max: MAX_WORKERS,
    flag: '--workers <n>',
    auto: "1 for inline, else one a usable CPU but the dispatcher's",
    since: SINCE,
    help: "Stack workers: threads that each run their own TCP/IP stack and the user's module.",
  },
  {
    key: 'cpus',
    type: 'cpus',
    default: 'auto',
    auto: "isolated CPUs if there are any, the NIC's NUMA node first, SMT siblings last",
    none: true,
    flag: '--cpus <list>',
    since: SINCE,
    help: 'CPUs to pin to, in cpulist syntax (`0-3,8`): the dispatcher takes the first, the workers the next. `none` pins nothing.',
  },
  {
    key: 'layout',
    type: 'word',
    default: 'dispatcher',
    choices: ['inline', 'dispatcher'],
    flag: '--layout <name>',
    aliases: { 'single core': 'inline', 'single-core': 'inline', 'one-bypass': 'dispatcher', '1 kb': 'dispatcher', 'n-1': 'dispatcher' },
    unavailable: ['dispatcher-rx-tx', 'two-bypass', '2 KB', 'N-2', 'run-to-completion', 'VALE-mq', 'NIC RSS'],
    since: SINCE,
    help: 'Threads: `inline` (one thread is dispatcher and stack) or `dispatcher` (one dispatcher and N workers).',
  },
  {
    key: 'steering',
    type: 'word',
    default: 'reta',
    choices: ['reta', 'modulo'],
    since: SINCE,
    help: 'Flow hash to worker: a 512-entry indirection table, or hash modulo workers.',
  },
  {
    key: 'idle',
    type: 'word',
    default: 'balanced',
    choices: ['latency', 'balanced', 'powersave'],
    since: SINCE,
    help: 'What a thread without work does: `latency` spins, `balanced` spins a little and then sleeps, `powersave` sleeps at once.',
  },
  {
    key: 'idle.spins',
    type: 'int',
    unit: 'polls',
    default: 'auto',
    min: 0,
    max: 0x3fffffff,
    auto: 'latency 1073741823, balanced 256, powersave 0',
    since: SINCE,
    help: 'Empty polls before a thread sleeps.',
  },
  {
    key: 'burst',
    type: 'int',
    unit: 'descriptors',
    default: 16,
    min: 1,
    max: 64,
    since: SINCE,
    help: 'Descriptors a breath takes at most.',
  },
  {
    key: 'frames',
    type: 'int',
    unit: 'frames',
    default: 'auto',
    min: 256,
    max: 1048576,
    auto: 'what the rings of all workers need, at least 8192',
    since: SINCE,
    help: "Packet frames of the port's region.",
  },
  {
    key: 'frame-bytes',
    type: 'size',
    unit: 'bytes',
    default: 2048,
    min: 2048,
    max: 16384,
    powerOfTwo: true,
    since: SINCE,
    help: `Bytes a frame, ${HEADROOM} of them headroom. frames × frame-bytes stays under 2 GiB.`,
  },
  {
    key: 'rings.rx',
    type: 'size',
    unit: 'slots',
    default: 1024,
    min: 64,
    max: 65536,
    powerOfTwo: true,
    since: SINCE,
    help: "Received descriptors a worker's ring holds.",
  },
  {
    key: 'rings.tx',
    type: 'size',
    unit: 'slots',
    default: 1024,
    min: 64,
    max: 65536,
    powerOfTwo: true,
    since: SINCE,
    help: "Descriptors to send a worker's ring holds.",
  },
  {
    key: 'rings.grant',
    type: 'size',
    unit: 'slots',
    default: 512,
    min: 64,
    max: 65536,
    powerOfTwo: true,
    since: SINCE,
    help: 'Empty frames granted to a worker ahead of need.',
  },
  {
    key: 'rings.redirect',
    type: 'size',
    unit: 'slots',
    default: 256,
    min: 16,
    max: 65536,
    powerOfTwo: true,
    since: SINCE,
    help: 'Descriptors between two workers.',
  },
  {
    key: 'rings.overflow',
    type: 'size',
    unit: 'descriptors',
    default: 256,
    min: 0,
    max: 65536,
    since: SINCE,
    help: 'Descriptors the dispatcher keeps for a worker whose ring is full, before it drops.',
  },
  {
    key: 'offload.tx-checksum',
    type: 'word',
    default: 'auto',
    choices: ['auto', 'off'],
    since: SINCE,
    help: 'Leave L4 checksums to the port if it can.',
  },
  {
    key: 'offload.tso',
    type: 'word',
    default: 'auto',
    choices: ['auto', 'off'],
    since: SINCE,
    help: 'Send trains (super-segments); `off` sends single segments only.',
  },
  {
    key: 'offload.gro',
    type: 'word',
    default: 'auto',
    choices: ['auto', 'off'],
    since: SINCE,
    help: 'Coalesce received segments into trains.',
  },
  {
    key: 'tcp.max-connections',
    type: 'int',
    unit: 'connections',
    default: 65536,
    min: 16,
    max: 1048576,
    since: SINCE,
    help: 'Sockets and connections a worker may have at a time.',
  },
  {
    key: 'tcp.rcvbuf',
    type: 'size',
    unit: 'bytes',
    default: 262144,
    min: 2048,
    max: 64 * MIB,
    since: SINCE,
    help: 'Bytes a connection may hold unread.',
  },
  {
    key: 'tcp.sndbuf',
    type: 'size',
    unit: 'bytes',
    default: 262144,
    min: 2048,
    max: 64 * MIB,
    since: SINCE,
    help: 'Bytes a connection may hold unacknowledged.',
  },
  {
    key: 'tcp.time-wait-ms',
    type: 'duration',
    unit: 'ms',
    default: 10000,
    min: 0,
    max: 600000,
    since: SINCE,
    help: 'How long TIME-WAIT lasts (2 MSL of RFC 9293).',
  },
  {
    key: 'tcp.rto-min-ms',
    type: 'duration',
    unit: 'ms',
    default: 200,
    min: 1,
    max: 60000,
    since: SINCE,
    help: 'Least retransmission timeout. RFC 6298 says 1000; kernels use 200.',
  },
  {
    key: 'tcp.rto-initial-ms',
    type: 'duration',
    unit: 'ms',
    default: 1000,
    min: 1,
    max: 60000,
    since: SINCE,
    help: 'Retransmission timeout before the first RTT sample (RFC 6298 section 2.1).',
  },
  {
    key: 'tcp.rto-max-ms',
    type: 'duration',
    unit: 'ms',
    default: 60000,
    min: 1000,
    max: 600000,
    since: SINCE,
    help: 'Most retransmission timeout after back-off.',
  },
  {
    key: 'tcp.delayed-ack-ms',
    type: 'duration',
    unit: 'ms',
    default: 40,
    min: 0,
    max: 500,
    since: SINCE,
    help: 'Longest an ACK waits for company (RFC 9293: under 500). 0 acknowledges at once.',
  },
  {
    key: 'tcp.syn-retries',
    type: 'int',
    unit: 'retries',
    default: 6,
    min: 0,
    max: 16,
    since: SINCE,
    help: 'SYN retransmissions before ETIMEDOUT.',
  },
  {
    key: 'tcp.retries',
    type: 'int',
    unit: 'retries',
    default: 15,
    min: 1,
    max: 32,
    since: SINCE,
    help: 'Data retransmissions before ETIMEDOUT.',
  },
  {
    key: 'tcp.fin-wait2-ms',
    type: 'duration',
    unit: 'ms',
    default: 60000,
    min: 0,
    max: 600000,
    since: SINCE,
    help: "How long a closed socket waits in FIN-WAIT-2 for the peer's FIN.",
  },
  {
    key: 'tcp.nagle',
    type: 'bool',
    default: true,
    since: SINCE,
    help: 'Hold small segments back while data is unacknowledged (RFC 1122 section 4.2.3.4).',
  },
  {
    key: 'tcp.window-scale',
    type: 'int',
    unit: 'bits',
    default: 7,
    min: 0,
    max: 14,
    since: SINCE,
    help: 'Window scale we offer (RFC 7323).',
  },
  { key: 'tcp.timestamps', type: 'bool', default: true, since: SINCE, help: 'Offer timestamps (RFC 7323).' },
  {
    key: 'tcp.mss',
    type: 'int',
    unit: 'bytes',
    default: 'auto',
    min: 88,
    max: 8960,
    auto: 'mtu - 40',
    since: SINCE,
    help: 'MSS we announce.',
  },
  {
    key: 'chunks',
    type: 'int',
    unit: 'chunks',
    default: 'auto',
    min: 16,
    max: 1048576,
    since: SINCE,
    auto: 'full buffers for 128 connections, at least 4096 and at most 256 MiB',
    help: 'Chunks a worker has for its send and receive buffers.',
  },
  {
    key: 'chunk-bytes',
    type: 'size',
    unit: 'bytes',
    default: 4096,
    min: 512,
    max: 65536,
    powerOfTwo: true,
    since: SINCE,
    help: 'Bytes a chunk.',
  },
  {
    key: 'switch.loss',
    type: 'fraction',
    default: 0,
    min: 0,
    max: 1,
    since: SINCE,
    help: 'Switch port: frames lost, as a fraction or percentage.',
  },
  {
    key: 'switch.delay-us',
    type: 'duration',
    unit: 'us',
    default: 0,
    min: 0,
    max: 10000000,
    since: SINCE,
    help: 'Switch port: one-way delay.',
  },
  {
    key: 'switch.jitter-us',
    type: 'duration',
    unit: 'us',
    default: 0,
    min: 0,
    max: 10000000,
    since: SINCE,
    help: 'Switch port: each delay differs at random, by at most this either way; the order stays.',
  },
  { key: 'switch.reorder', type: 'fraction', default: 0, min: 0, max: 1, since: SINCE, help: 'Switch port: frames that overtake others.' },
  { key: 'switch.duplicate', type: 'fraction', default: 0, min: 0, max: 1, since: SINCE, help: 'Switch port: frames delivered twice.' },
  { key: 'switch.corrupt', type: 'fraction', default: 0, min: 0, max: 1, since: SINCE, help: 'Switch port: frames with one bit flipped.' },
  {
    key: 'switch.rate-bps',
    type: 'rate',
    unit: 'bit/s',
    default: 0,
    min: 0,
    max: 1e12,
    since: SINCE,
    help: 'Switch port: rate limit; 0 is none.',
  },
  { key: 'switch.seed', type: 'int', default: 1, min: 0, max: 0x7fffffff, since: SINCE, help: 'Switch port: seed of the impairments.' },
  {
    key: 'arp.static',
    type: 'pairs',
    default: [],
    none: true,
    since: SINCE,
    help: 'Neighbours that are never asked for: list of `IP=MAC`.',
  },
  {
    key: 'drain-ms',
    type: 'duration',
    unit: 'ms',
    default: 5000,
    min: 0,
    max: 600000,
    since: SINCE,
    help: 'How long open connections may finish after SIGINT or SIGTERM.',
  },
] as const satisfies readonly KeySpec[];
