/**
 * mTCP's `mtcp_init`, `mtcp_getconf` and `mtcp_setconf`. Here the configuration is made before the program is loaded, by the
 * command line, a file, or `open()` in main: memory, threads and rings stand when a worker runs. So these calls read it, and
 * say what is wrong where a program counts on another.
 */
import type { WorkerContext } from './context.ts';
import { FlowringError } from './errors.ts';
import { workerContext } from './mctx.ts';

/** `struct mtcp_conf` in camelCase. */
export interface MtcpConf {
  /** Stack workers. */
  numCores?: number;
  /** Connections and sockets a worker may have. */
  maxConcurrency?: number;
  /** Pieces of memory a worker has for send and receive buffers; `chunks` in the configuration. */
  maxNumBuffers?: number;
  /** Bytes a connection may hold unread, and unacknowledged. */
  rcvbufSize?: number;
  sndbufSize?: number;
  /** Seconds. */
  tcpTimewait?: number;
  /** Seconds without traffic after which a connection fails, -1 never. */
  tcpTimeout?: number;
}

type Entry = readonly [keyof MtcpConf, string, (context: WorkerContext) => number, (value: number) => number];

const same = (value: number): number => value;
const FIELDS: readonly Entry[] = [
  ['numCores', 'workers', (c) => c.workers, same],
  ['maxConcurrency', 'tcp.max-connections', (c) => c.config.maxConnections, same],
  ['maxNumBuffers', 'chunks', (c) => c.config.chunks, same],
  ['rcvbufSize', 'tcp.rcvbuf', (c) => c.config.rcvbuf, same],
  ['sndbufSize', 'tcp.sndbuf', (c) => c.config.sndbuf, same],
  ['tcpTimewait', 'tcp.time-wait-ms', (c) => c.config.timeWaitMs / 1000, (seconds) => seconds * 1000],
  [
    'tcpTimeout',
    'tcp.idle-timeout-ms',
    (c) => (c.config.idleTimeoutMs === 0 ? -1 : c.config.idleTimeoutMs / 1000),
    (seconds) => seconds * 1000,
  ],
];

/**
 * Checks that the run was configured by `configFile`, as mTCP's programs name theirs; left out, that there is a stack. 0.
 *
 * @throws FlowringError FLOWRING_CONFIG when it was another file or none, naming the option; FLOWRING_NO_STACK.
 *
 * @example
 * init('server.conf'); // flowring run program.mjs --config server.conf
 */
export function init(configFile?: string): number {
  const { configFile: file } = workerContext('init');
  if (configFile === undefined) return 0;
  const wanted = configFile.replace(/^(\.\/)+/, '');
  if (file !== null && (file === wanted || file.endsWith(`/${wanted}`))) return 0;
  throw new FlowringError(
    'FLOWRING_CONFIG',
    `init: this run was configured by ${file ?? 'no file'}, not ${configFile}; a file is read before the program is loaded: start it with --config ${configFile}`,
  );
}

/**
 * Fills `into` with what this worker runs with. 0.
 *
 * @throws FlowringError FLOWRING_NO_STACK outside a stack worker.
 *
 * @example
 * const conf = {};
 * getconf(conf);
 * const connections = Math.min(10_000, conf.maxConcurrency);
 */
export function getconf(into: MtcpConf): number {
  const context = workerContext('getconf');
  for (const [field, , effective] of FIELDS) into[field] = effective(context);
  return 0;
}

/**
 * Checks that this worker runs with `conf`; fields left out, and as in mTCP those of 0 and less, are not asked for. 0.
 *
 * @throws FlowringError FLOWRING_CONFIG when a field differs, naming the option that sets it; FLOWRING_NO_STACK.
 *
 * @example
 * setconf({ rcvbufSize: 8192 }); // start with --set tcp.rcvbuf=8192
 */
export function setconf(conf: MtcpConf): number {
  const context = workerContext('setconf');
  const wrong: string[] = [];
  const options: string[] = [];
  for (const [field, key, effective, scaled] of FIELDS) {
    const wanted = conf[field];
    if (wanted === undefined || wanted <= 0 || wanted === effective(context)) continue;
    wrong.push(`${field} is ${effective(context)}, not ${wanted}`);
    options.push(`--set ${key}=${scaled(wanted)}`);
  }
  if (wrong.length === 0) return 0;
  throw new FlowringError(
    'FLOWRING_CONFIG',
    `setconf: ${wrong.join(', ')}; memory and threads are made before the program is loaded: start it with ${options.join(' ')}`,
  );
}
