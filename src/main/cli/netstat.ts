/**
 * `flowring netstat`: the sockets of all workers of a running process, or with `--statistics` its counters. Asked of the
 * process itself over its socket beside the control file (questions.ts), which needs no addon.
 */
import { connect } from 'node:net';
import { ConfigError } from '../config/configError.ts';
import { QUESTION_VERSION } from '../questions.ts';
import type { SocketFilter, SocketRow } from '../socketList.ts';
import type { ThreadStatistics } from '../statistics.ts';
import { CONTROL_DIRECTORY, questionSockets } from './controlFile.ts';

export interface NetstatOptions {
  pid?: number | undefined;
  json: boolean;
  statistics: boolean;
  filter: SocketFilter;
  /** Where the sockets are; /dev/shm but in tests. */
  directory?: string;
}

export interface NetstatReport {
  pid: number;
  sockets: SocketRow[];
  statistics: ThreadStatistics[];
}

/** A process that lives but does not answer within this long is busy elsewhere, or stopped. */
const ANSWER_MS = 5000;

interface Reply {
  answer?: unknown;
  error?: string;
}

/** One question to the socket at `path`. Rejects with an errno's code, or a ConfigError when the process refuses. */
export function ask(path: string, question: Record<string, unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    const over = (error: Error | null, reply?: Reply): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error !== null) reject(error);
      else if (reply!.error !== undefined) reject(new ConfigError(`the process answers: ${reply!.error}`));
      else resolve(reply!.answer);
    };
    const timer = setTimeout(() => over(new ConfigError(`no answer from ${path} within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
    socket.on('error', (e) => over(e));
    socket.on('end', () => over(Object.assign(new Error(`${path}: the process has ended`), { code: 'ECONNRESET' })));
    socket.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (!text.endsWith('\n')) return;
      try {
        over(null, JSON.parse(text) as Reply);
      } catch {
        over(new ConfigError(`${path} does not speak as flowring does`));
      }
    });
    socket.write(`${JSON.stringify({ v: QUESTION_VERSION, ...question })}\n`);
  });
}

/** The process to ask, and its sockets. ConfigError when it has to be named, or cannot be asked. */
function choose(pid: number | undefined, directory: string): { pid: number; paths: string[] } {
  const running = questionSockets(directory);
  const list = running.size === 0 ? 'none is running' : `running: ${[...running.keys()].join(', ')}`;
  if (pid === undefined && running.size === 0) throw new ConfigError('no flowring is running here that can be asked');
  if (pid === undefined && running.size > 1)
    throw new ConfigError(
      `several processes run flowring: ${[...running.keys()].join(', ')}; name one, as: flowring netstat ${[...running.keys()][0]}`,
    );
  const chosen = pid ?? [...running.keys()][0]!;
  const paths = running.get(chosen);
  if (paths === undefined) throw new ConfigError(`process ${chosen} runs no flowring that can be asked here; ${list}`);
  return { pid: chosen, paths };
}

/** Everything of one process; a runtime of it that ends meanwhile is left out. */
export async function readNetstat(options: NetstatOptions): Promise<NetstatReport> {
  const { pid, paths } = choose(options.pid, options.directory ?? CONTROL_DIRECTORY);
  const report: NetstatReport = { pid, sockets: [], statistics: [] };
  let answered = 0;
  for (const path of paths) {
    try {
      report.sockets.push(...((await ask(path, { ask: 'netstat', ...options.filter })) as SocketRow[]));
      report.statistics.push(...((await ask(path, { ask: 'statistics' })) as ThreadStatistics[]));
      answered++;
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EPERM') throw new ConfigError(`no permission to ask process ${pid}; run as its user, or as root`);
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED' && code !== 'ECONNRESET') throw e;
    }
  }
  if (answered === 0) throw new ConfigError(`process ${pid} has ended, or is about to`);
  return report;
}

const TITLES = ['Proto', 'Thread', 'Recv-Q', 'Send-Q', 'Local address', 'Foreign address', 'State', 'Timer'];
const RIGHT = new Set([2, 3]);

function cells(s: SocketRow): string[] {
  const timer = s.timer === 'off' ? 'off' : `${s.timer} ${(s.timerMs / 1000).toFixed(2)}/${s.retransmits}`;
  const remote = `${s.remoteAddress}:${s.remotePort === 0 ? '*' : s.remotePort}`;
  return [s.proto, s.thread, String(s.recvQ), String(s.sendQ), `${s.localAddress}:${s.localPort}`, remote, s.state, timer];
}

/** Columns as wide as their widest cell, numbers to the right. */
export function printSockets(sockets: readonly SocketRow[]): string {
  const rows = [TITLES, ...sockets.map(cells)];
  const widths = TITLES.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
  return rows
    .map((r) =>
      r
        .map((c, i) => (RIGHT.has(i) ? c.padStart(widths[i]!) : c.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Sums over all threads, by name; drops by thread, since who dropped says where it is full. */
export function printStatistics(threads: readonly ThreadStatistics[]): string {
  const sums = new Map<string, number>();
  for (const t of threads) for (const [name, n] of Object.entries(t.counters)) sums.set(name, (sums.get(name) ?? 0) + n);
  const lines = ['Counters, all threads'];
  for (const [name, n] of sums) lines.push(`  ${String(n).padStart(14)}  ${name}`);
  lines.push('Drops, by thread and reason');
  const drops = threads.flatMap((t) => Object.entries(t.drops).map(([reason, n]) => `  ${String(n).padStart(14)}  ${reason} (${t.name})`));
  return [...lines, ...(drops.length > 0 ? drops : ['               0  none'])].join('\n');
}

/** Exit code 0. ConfigError (2) when the process has to be named, or cannot be asked. */
export async function netstatCommand(options: NetstatOptions): Promise<number> {
  const report = await readNetstat(options);
  let text = JSON.stringify(report);
  if (!options.json) text = options.statistics ? printStatistics(report.statistics) : printSockets(report.sockets);
  process.stdout.write(`${text}\n`);
  return 0;
}
