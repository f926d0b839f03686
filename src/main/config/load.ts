/**
 * The effective configuration: default < code < file < flag < --set, later ones win, each value remembers where it came
 * from. Parsing is per value (value.ts), then what `auto` means is worked out, then what only several values together can
 * get wrong is checked (crossCheck.ts).
 */
import { parseCpus } from '../cpuList.ts';
import { readFileSync } from 'node:fs';
import { resolve as absolute } from 'node:path';
import { autoWorkers, type Machine, readMachine } from '../cpus.ts';
import { FRAME_BYTES_MAX, MAX_WORKERS, REGION_BYTES_MAX, TRAIN_LINKS_MAX } from '../../rings/layout.ts';
import type { StackConfig } from '../../stack/env.ts';
import { ConfigError } from './configError.ts';
import { crossCheck } from './crossCheck.ts';
import { readMtcpConf } from './mtcpConf.ts';
import { allSpecs, type Config, type ConfigInput, camelOf, type Key } from './schema.ts';
import { type RawValue, readJson, readObject, readSet } from './source.ts';
import { AUTO, type Parsed, parseValue } from './value.ts';

export interface LoadOptions {
  /** JSON with comments, or mTCP's key = value (by the ending .conf, or when the first character is not a brace). */
  file?: string | undefined;
  /** Values of command-line options by key: `{ nic: 'tap:tap0', workers: '2' }`; undefined ones count as not given. */
  flags?: Readonly<Record<string, string | undefined>> | undefined;
  /** `key=value` texts of --set. */
  sets?: readonly string[] | undefined;
  code?: ConfigInput | undefined;
  /** What messages call the place of `code`; a module's path where it came from one. */
  codePlace?: string | undefined;
  /** The machine to plan for; this one by default. */
  machine?: Machine | undefined;
}

export interface ResolvedConfig {
  /** Every key, flat camelCase, `auto` resolved. Structured-cloneable. */
  readonly values: Config;
  /** Where a value came from: `default`, `default (auto)`, `file:line`, `--flag`, `--set`, `code` or its `codePlace`. */
  origin(key: Key): string;
  /** The configuration file that was read, absolute, or null. */
  readonly file: string | null;
  /** Lines for stderr: ignored keys, values without effect. */
  readonly warnings: readonly string[];
}

function readFile(file: string): { values: RawValue[]; notes: string[] } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : code === 'EISDIR' ? 'is a directory' : String(code);
    throw new ConfigError(`cannot read the configuration: ${why}`, file);
  }
  const first = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|#.*/g, '').trimStart()[0];
  if (file.endsWith('.conf') || (first !== '{' && !/\.jsonc?$/.test(file))) return readMtcpConf(text, file);
  return { values: readJson(text, file), notes: [] };
}

function gather(options: LoadOptions): { values: RawValue[]; notes: string[] } {
  const file = options.file === undefined ? { values: [], notes: [] } : readFile(options.file);
  const flags = Object.entries(options.flags ?? {}).flatMap(([key, raw]) =>
    raw === undefined ? [] : readObject({ [key]: raw }, `--${key}`),
  );
  const values = [
    ...readObject(options.code ?? {}, options.codePlace ?? 'code'),
    ...file.values,
    ...flags,
    ...(options.sets ?? []).map(readSet),
  ];
  return { values, notes: file.notes };
}

const pow2AtLeast = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** Frames a worker can hold in its rings at a time: received ones, and credit in the ring and in hand. */
const framesPerWorker = (c: Pick<Config, 'ringsRx' | 'ringsGrant'>): number => c.ringsRx + 2 * c.ringsGrant;

const SPINS: Readonly<Record<Config['idle'], number>> = { latency: 0x3fffffff, balanced: 256, powersave: 0 };

/** What `auto` means, from the other values and the machine; in the order in which they depend on each other. */
const RESOLVE: Readonly<Record<string, (c: Config, machine: Machine) => number | string>> = {
  address: (c) => {
    if (c.nic === 'switch') return '198.18.0.1/24';
    throw new ConfigError(`address: missing: the stack on ${c.nic} needs one of its own; add --address 192.0.2.2/24 or the like`);
  },
  workers: (c, machine) => autoWorkers(c.cpus, c.layout, machine, MAX_WORKERS),
  'idle.spins': (c) => SPINS[c.idle],
  // Two threads, or two stacks of a switch, that hand over bursts of 64 move in lockstep. A kernel behind a device does not wait for
  // the burst: there a larger one gives its end more to do before it sleeps again, and a wake-up is what costs most.
  burst: (c) => {
    const alone = c.layout === 'inline' || c.layout === 'run-to-completion';
    return c.nic === 'switch' || !alone ? 16 : 64;
  },
  'background.threads': (c, machine) => {
    const listed = c.backgroundCpus === 'auto' || c.backgroundCpus === 'none' ? null : parseCpus(c.backgroundCpus);
    return Array.isArray(listed) ? Math.max(1, listed.length) : Math.max(1, machine.allowed.length - c.workers);
  },
  'tcp.mss': (c) => c.mtu - 40,
  frames: (c) => {
    const want = pow2AtLeast(Math.max(8192, c.workers * framesPerWorker(c) + 2048));
    const most = Math.floor(REGION_BYTES_MAX / Math.min(c.frameBytes, FRAME_BYTES_MAX));
    return Math.min(want, most, 1048576);
  },
  chunks: (c) => {
    const full = ((c.tcpRcvbuf + c.tcpSndbuf) / c.chunkBytes) * Math.min(c.tcpMaxConnections, 128);
    const least = Math.max(4096, Math.ceil((c.tcpRcvbuf + c.tcpSndbuf) / c.chunkBytes));
    return Math.max(least, Math.min(Math.ceil(full), (256 * 1024 * 1024) / c.chunkBytes));
  },
};

/** Reads, parses, resolves and checks. Throws ConfigError. */
export function loadConfig(options: LoadOptions = {}): ResolvedConfig {
  const { values: raws, notes } = gather(options);
  const parsed: Record<string, Parsed> = {};
  const origins: Record<string, string> = {};
  for (const spec of allSpecs()) {
    parsed[spec.key] = spec.key in RESOLVE ? AUTO : spec.default;
    origins[spec.key] = 'default';
  }
  for (const { spec, raw, place } of raws) {
    parsed[spec.key] = parseValue(spec, raw, place);
    origins[spec.key] = place;
  }
  const machine = options.machine ?? readMachine();
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parsed)) values[camelOf(key)] = value;
  const config = values as unknown as Config;
  for (const [key, resolve] of Object.entries(RESOLVE)) {
    if (parsed[key] !== AUTO) continue;
    values[camelOf(key)] = resolve(config, machine);
    origins[key] += ' (auto)';
  }
  const origin = (key: Key): string => origins[key] ?? 'default';
  const warnings = [...notes, ...crossCheck(config, origin, machine)];
  const file = options.file === undefined ? null : absolute(options.file);
  return { values: Object.freeze(config), origin, file, warnings };
}

/** What a stack is given of the configuration. The runtime narrows trains and checksums by the port's abilities. */
export function stackConfigOf(c: Config): StackConfig {
  return {
    maxConnections: c.tcpMaxConnections,
    maxDatagrams: c.udpMaxSockets,
    udpRcvbuf: c.udpRcvbuf,
    udpSndbuf: c.udpSndbuf,
    rcvbuf: c.tcpRcvbuf,
    sndbuf: c.tcpSndbuf,
    chunkBytes: c.chunkBytes,
    chunks: c.chunks,
    burst: c.burst,
    burstBytes: c.burstBytes,
    mss: c.tcpMss,
    timeWaitMs: c.tcpTimeWaitMs,
    rtoMinMs: c.tcpRtoMinMs,
    rtoInitialMs: c.tcpRtoInitialMs,
    rtoMaxMs: c.tcpRtoMaxMs,
    delayedAckMs: c.tcpDelayedAckMs,
    synRetries: c.tcpSynRetries,
    retries: c.tcpRetries,
    finWait2Ms: c.tcpFinWait2Ms,
    idleTimeoutMs: c.tcpIdleTimeoutMs,
    nagle: c.tcpNagle,
    trainLinksMax: c.offloadTso === 'off' ? 1 : TRAIN_LINKS_MAX,
    coalesce: c.offloadGro !== 'off',
    windowScale: c.tcpWindowScale,
    timestamps: c.tcpTimestamps,
    sack: c.tcpSack,
    pipes: c.pipes,
    pipeBytes: c.pipeBytes,
  };
}
