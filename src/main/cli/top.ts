/**
 * `flowring top`: figures per thread of a running process, read from its control block in /dev/shm. Packets, CPU seconds,
 * drops and stage times count from the start of the process; `gbps`, `rxPps`, `txPps` and `busy` are rates over `seconds`.
 */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../config/configError.ts';
import { CONTROL_DIRECTORY, type ObservedThread, readControlFile, runningProcesses } from './controlFile.ts';
import { LiveTable } from './liveTable.ts';

export interface TopOptions {
  pid?: number | undefined;
  once: boolean;
  json: boolean;
  /** Seconds between two looks. */
  seconds: number;
  /** Where the control blocks are; /dev/shm but in tests. */
  directory?: string;
}

export interface TopThread {
  name: string;
  role: string;
  tid: number;
  cpu: number;
  cpuSeconds: number;
  rxPackets: number;
  txPackets: number;
  gbps: number;
  rxPps: number;
  txPps: number;
  /** CPU used within the interval, 0..1. */
  busy: number;
  ringHighWater: number;
  /** How often the worker has died and been started again. */
  deaths: number;
  drops: number;
  dropsByReason: Record<string, number>;
  stages: Record<string, number>;
}

export interface TopReport {
  pid: number;
  /** What the rates were measured over. */
  seconds: number;
  threads: TopThread[];
  totals: Record<string, number>;
}

/** The CPU seconds and the last CPU of a thread as the kernel knows them; null when it is gone or hidden. */
function kernelView(pid: number, tid: number): { cpuSeconds: number; cpu: number } | null {
  try {
    const task = `/proc/${pid}/task/${tid}`;
    const ns = Number(readFileSync(`${task}/schedstat`, 'latin1').split(' ')[0]);
    const stat = readFileSync(`${task}/stat`, 'latin1');
    const cpu = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[36]);
    return Number.isFinite(ns) && Number.isInteger(cpu) ? { cpuSeconds: ns / 1e9, cpu } : null;
  } catch {
    return null;
  }
}

/** A stack is a server when it listens, else a client; main and dispatcher are what they are. */
function roleOf(t: ObservedThread): string {
  return t.role === 'worker' ? (t.listeners > 0 ? 'server' : 'client') : t.role;
}

/** Threads of all control blocks of a process: main once, the broker of an inline worker within that worker's row. */
export function observe(pid: number, paths: readonly string[]): ObservedThread[] {
  const all = paths.flatMap((path) => readControlFile(path));
  const out: ObservedThread[] = [];
  for (const t of all) {
    if (t.role === 'broker' || (t.role === 'main' && out.some((o) => o.role === 'main'))) continue;
    const broker = t.role === 'worker' ? all.find((b) => b.role === 'broker' && b.tid === t.tid && b.tid > 0) : undefined;
    const seen = t.tid > 0 ? kernelView(pid, t.tid) : null;
    out.push({
      ...t,
      ...(seen ?? {}),
      role: roleOf(t),
      drops: t.drops + (broker?.drops ?? 0),
      ringHighWater: Math.max(t.ringHighWater, broker?.ringHighWater ?? 0),
    });
  }
  return out;
}

const round = (x: number, digits: number): number => Math.round(x * 10 ** digits) / 10 ** digits;

/** Two looks, `seconds` apart, as one report. Threads that came between count from zero. */
export function compare(pid: number, before: readonly ObservedThread[], after: readonly ObservedThread[], seconds: number): TopReport {
  const threads = after.map((t): TopThread => {
    const same = before.find((o) => o.name === t.name && o.tid === t.tid);
    // A worker that died counts on where its forerunner stopped, but for CPU time, which is a thread's.
    const b = same ?? before.find((o) => o.name === t.name && o.role !== 'main' && o.deaths < t.deaths);
    const since = (now: number, then: number | undefined): number => Math.max(0, now - (then ?? 0)) / seconds;
    return {
      name: t.name,
      role: t.role,
      tid: t.tid,
      cpu: t.cpu,
      cpuSeconds: round(t.cpuSeconds, 3),
      rxPackets: t.rxPackets,
      txPackets: t.txPackets,
      gbps: round((since(t.rxBytes + t.txBytes, b === undefined ? 0 : b.rxBytes + b.txBytes) * 8) / 1e9, 4),
      rxPps: Math.round(since(t.rxPackets, b?.rxPackets)),
      txPps: Math.round(since(t.txPackets, b?.txPackets)),
      busy: round(Math.min(1, since(t.cpuSeconds, same?.cpuSeconds)), 3),
      ringHighWater: t.ringHighWater,
      deaths: t.deaths,
      drops: t.drops,
      dropsByReason: t.dropsByReason,
      stages: t.stages,
    };
  });
  const sum = (of: (t: TopThread) => number): number => threads.reduce((n, t) => n + of(t), 0);
  const own = (of: (t: ObservedThread) => number): number => after.reduce((n, t) => n + of(t), 0);
  const totals = {
    cpuSeconds: round(
      sum((t) => t.cpuSeconds),
      3,
    ),
    rxPackets: sum((t) => t.rxPackets),
    txPackets: sum((t) => t.txPackets),
    gbps: round(
      sum((t) => t.gbps),
      4,
    ),
    drops: sum((t) => t.drops),
    deaths: sum((t) => t.deaths),
    bytesVerified: own((t) => t.bytesVerified),
    connections: own((t) => t.connections),
    failed: own((t) => t.failed),
    wrongBytes: own((t) => t.wrongBytes),
  };
  return { pid, seconds: round(seconds, 3), threads, totals };
}

/** The process to look at, and its control blocks. ConfigError when it has to be named, or is none of ours. */
export function choose(pid: number | undefined, directory = CONTROL_DIRECTORY): { pid: number; paths: string[] } {
  const running = runningProcesses(directory);
  if (pid !== undefined) {
    const paths = running.get(pid);
    if (paths === undefined) throw new ConfigError(`process ${pid} runs no flowring that can be seen here; ${known(running)}`);
    return { pid, paths };
  }
  if (running.size === 0)
    throw new ConfigError('no flowring is running here that publishes its figures (that takes the native addon, see flowring doctor)');
  if (running.size > 1)
    throw new ConfigError(
      `several processes run flowring: ${[...running.keys()].join(', ')}; name one, as: flowring top ${[...running.keys()][0]}`,
    );
  const [[only, paths]] = [...running] as [[number, string[]]];
  return { pid: only, paths };
}

const known = (running: Map<number, string[]>): string =>
  running.size === 0 ? 'none is running' : `running: ${[...running.keys()].join(', ')}`;

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      done();
    });
  });

class Watch {
  private readonly options: TopOptions;
  private readonly pid: number;
  private readonly stop = new AbortController();
  private rows: ObservedThread[];
  private at = performance.now();

  constructor(options: TopOptions) {
    this.options = options;
    const { pid, paths } = choose(options.pid, options.directory);
    this.pid = pid;
    this.rows = this.look(paths)!;
  }

  /** Null when the process has ended, and its files with it. */
  private look(paths: readonly string[] | undefined): ObservedThread[] | null {
    try {
      return paths === undefined ? null : observe(this.pid, paths);
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') return null;
      if (code === 'EACCES') throw new ConfigError(`no permission to read the figures of process ${this.pid}; run as its user, or as root`);
      throw e;
    }
  }

  /** One interval later; null when the process has ended or we were asked to stop. */
  private async next(): Promise<TopReport | null> {
    await sleep(this.options.seconds * 1000, this.stop.signal);
    if (this.stop.signal.aborted) return null;
    const now = performance.now();
    const rows = this.look(runningProcesses(this.options.directory).get(this.pid));
    if (rows === null) return null;
    const report = compare(this.pid, this.rows, rows, (now - this.at) / 1000);
    this.rows = rows;
    this.at = now;
    return report;
  }

  async run(): Promise<number> {
    const { once, json } = this.options;
    const end = (): void => this.stop.abort();
    process.once('SIGINT', end).once('SIGTERM', end);
    const table = json ? null : new LiveTable(process.stdout);
    table?.show(this.rows);
    for (;;) {
      const report = await this.next();
      if (report === null) break;
      if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
      else table!.show(this.rows);
      if (once) {
        table?.done();
        return 0;
      }
    }
    table?.done();
    if (this.stop.signal.aborted) return 0;
    process.stderr.write(`flowring: process ${this.pid} has ended\n`);
    return once ? 1 : 0;
  }
}

/** Exit code 0; 1 when the process ended before one look was complete. ConfigError (2) when it has to be named. */
export function topCommand(options: TopOptions): Promise<number> {
  return new Watch(options).run();
}
