/**
 * `npm start`: a multi-core TCP server behind a dispatcher, and its clients on stacks of their own, over the switch port.
 * Shows figures per thread while it runs, and ends with a check: every byte verified, no connection failed, every frame
 * home, and for every thread received = delivered + drops.
 */
import { ConfigError } from '../config/configError.ts';
import { loadConfig, type ResolvedConfig } from '../config/load.ts';
import { cpuPlan, dispatcherThreads } from '../cpus.ts';
import type { ThreadFigures } from '../figures.ts';
import { controlPath, openSwitch, runtimeOptions } from '../open.ts';
import { reconcile } from '../reconcile.ts';
import { Runtime } from '../runtime.ts';
import type { Switch } from '../../ports/switch.ts';
import { formatIpv4 } from '../../wire/ipv4.ts';
import { LiveTable } from './liveTable.ts';
import type { DemoOptions } from './cli.ts';
import { resolveModule } from './modulePath.ts';
import { drainOnSignals } from './signals.ts';

const SERVER_IP = '198.18.0.1';
const ECHO_PORT = 7;

/** One thread's row of the summary. */
export interface SummaryThread {
  name: string;
  role: 'main' | 'dispatcher' | 'server' | 'client';
  tid: number;
  cpu: number;
  cpuSeconds: number;
  rxPackets: number;
  txPackets: number;
  gbps: number;
  ringHighWater: number;
  drops: number;
}

interface Demo {
  server: Runtime;
  clients: Runtime[];
  fabric: Switch;
}

/** What the server keeps for itself: a client has one inline worker, an address of its own, and no pinning list. */
const SERVER_ONLY = ['layout', 'workers', 'address', 'cpus'];

/** The server's configuration: what the user says, over the demo's own defaults. */
export function serverConfig(o: Pick<DemoOptions, 'config' | 'load'>): ResolvedConfig {
  const workers = o.config.values.layout === 'inline' ? 1 : 2;
  const own = { workers, address: `${SERVER_IP}/24` };
  return loadConfig({ ...o.load, codePlace: o.load.codePlace ?? 'demo', code: { ...own, ...o.load.code } });
}

function configs(o: DemoOptions): { server: ResolvedConfig; clients: ResolvedConfig[] } {
  const { flags = {}, sets = [] } = o.load;
  const clientFlags = Object.fromEntries(Object.entries(flags).filter(([key]) => !SERVER_ONLY.includes(key)));
  const clientSets = sets.filter((s) => !SERVER_ONLY.includes(s.split('=')[0]!.trim()));
  const server = serverConfig(o);
  if (server.values.address !== `${SERVER_IP}/24`)
    throw new ConfigError('address: the demo gives server and clients theirs (198.18.0.0/24)', server.origin('address'));
  if (server.values.nic !== 'switch')
    throw new ConfigError(`nic: the demo runs on the switch, not on ${server.values.nic}; use: flowring run`);
  return {
    server,
    clients: Array.from({ length: o.clients }, (_, i) =>
      loadConfig({
        ...o.load,
        flags: clientFlags,
        sets: [...clientSets, 'layout=inline', 'workers=1', 'supervise=fail', `address=198.18.0.${i + 2}/24`],
      }),
    ),
  };
}

function build(o: DemoOptions, say: (line: string) => void): Demo {
  const { server, clients } = configs(o);
  const { workers } = server.values;
  const own = dispatcherThreads(server.values.layout) + workers;
  const threads = own + o.clients;
  const plan = cpuPlan(server.values, threads);
  for (const w of plan.warnings) say(w);
  // Threads that share CPUs are left to the scheduler: pinning two busy ones together would starve a third.
  const cpus = plan.warnings.length > 0 ? plan.cpus.map(() => -1) : plan.cpus;
  const fabric = openSwitch(server.values, ['server', ...clients.map((_, i) => `client${i}`)]);
  for (const f of fabric.handle(0).offloads) say(`switch: ${f.name}: ${f.provider}${f.reason === '' ? '' : ` (${f.reason})`}`);
  return {
    fabric,
    server: new Runtime(runtimeOptions(server.values, fabric.handle(0), 'srv-', cpus, controlPath(), 2)),
    clients: clients.map(
      (c, i) => new Runtime(runtimeOptions(c.values, fabric.handle(i + 1), `cli${i}-`, [cpus[own + i]!], controlPath(`.${i + 1}`), 2)),
    ),
  };
}

const ROLES: Readonly<Record<string, SummaryThread['role']>> = { main: 'main', dispatcher: 'dispatcher' };

/** Threads, with the brokers that run inside workers as part of these. */
function withBrokers(figures: readonly ThreadFigures[]): ThreadFigures[] {
  return figures
    .filter((f) => f.role !== 'broker')
    .map((f) => {
      const broker = f.role !== 'worker' ? undefined : figures.find((b) => b.role === 'broker' && b.worker === f.worker);
      if (broker === undefined) return f;
      return { ...f, drops: f.drops + broker.drops, ringHighWater: Math.max(f.ringHighWater, broker.ringHighWater) };
    });
}

/** All rows: main once, then the server's threads, then the clients'. An inline worker's broker is part of its row. */
function rows(d: Demo): { f: ThreadFigures; role: SummaryThread['role'] }[] {
  const out: { f: ThreadFigures; role: SummaryThread['role'] }[] = [];
  for (const f of withBrokers(d.server.figures())) out.push({ f, role: ROLES[f.role] ?? 'server' });
  for (const c of d.clients) for (const f of withBrokers(c.figures())) if (f.role === 'worker') out.push({ f, role: 'client' });
  return out;
}

function summarise(before: ReturnType<typeof rows>, after: ReturnType<typeof rows>, seconds: number): SummaryThread[] {
  return after.map(({ f, role }, i) => {
    const b = before[i]!.f;
    const bytes = f.rxBytes - b.rxBytes + f.txBytes - b.txBytes;
    return {
      name: f.name,
      role,
      tid: f.tid,
      cpu: f.cpu,
      cpuSeconds: round(f.cpuSeconds - b.cpuSeconds, 3),
      rxPackets: f.rxPackets - b.rxPackets,
      txPackets: f.txPackets - b.txPackets,
      gbps: round((bytes * 8) / seconds / 1e9, 4),
      ringHighWater: f.ringHighWater,
      drops: f.drops - b.drops,
    };
  });
}

const round = (x: number, digits: number): number => Math.round(x * 10 ** digits) / 10 ** digits;
const sum = <T>(list: readonly T[], of: (t: T) => number): number => list.reduce((n, t) => n + of(t), 0);

async function traffic(d: Demo, o: DemoOptions, live: LiveTable): Promise<{ threads: SummaryThread[]; seconds: number }> {
  const echo = resolveModule('echo-client');
  const args = [
    '--connect',
    `${SERVER_IP}:${ECHO_PORT}`,
    '--connections',
    String(o.connections),
    '--size',
    String(o.size),
    '--seconds',
    String(o.seconds),
  ];
  const before = rows(d);
  // Traffic lasts from the first verified byte to the last: starting threads and closing connections take longer.
  const progress = (): number =>
    sum(
      d.clients.flatMap((c) => c.figures()),
      (f) => f.bytesVerified,
    );
  let verified = 0;
  let t0 = performance.now();
  let t1 = t0;
  const look = (): void => {
    const now = progress();
    if (verified === 0) t0 = performance.now();
    if (now !== verified) t1 = performance.now();
    verified = now;
  };
  const watch = setInterval(look, 20);
  const ticker = setInterval(() => live.show(rows(d).map((r) => ({ ...r.f, role: r.role }))), 1000);
  try {
    await Promise.all(d.clients.map((c) => c.start({ url: echo, args })));
    await Promise.all(d.clients.map((c) => c.finished()));
  } finally {
    clearInterval(watch);
    clearInterval(ticker);
  }
  look();
  const seconds = round(Math.max(t1 - t0, 1) / 1000, 3);
  return { threads: summarise(before, rows(d), seconds), seconds };
}

async function takeDown(d: Demo): Promise<void> {
  const all = [...d.clients, d.server];
  for (const r of all) await r.drain();
  for (const r of all) await r.quiet();
  // Frames of one host may still be on their way home through another's dispatcher: all of them go on for a moment.
  await new Promise((done) => setTimeout(done, 50));
  for (const r of all) await r.stop();
  for (const r of all) r.release();
}

/** Runs the demo. Resolves to the exit code. */
export async function demoCommand(o: DemoOptions): Promise<number> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const d = build(o, say);
  const live = new LiveTable(o.json ? process.stderr : process.stdout);
  const signals = drainOnSignals(async () => {
    await Promise.all(d.clients.map((c) => c.drain()));
  });
  const problems: string[] = [];
  let measured: { threads: SummaryThread[]; seconds: number } | null = null;
  d.server.onListening = (address, port) => say(`listening ${formatIpv4(address)}:${port}`);
  try {
    await d.server.start({ url: resolveModule('echo-server'), args: ['--listen', String(ECHO_PORT)] });
    measured = await traffic(d, o, live);
  } catch (error) {
    problems.push(`a thread failed: ${(error as Error).stack ?? String(error)}`);
  }
  await takeDown(d).catch((error: Error) => problems.push(`while stopping: ${error.message}`));
  signals.remove();
  live.done();
  const ends = [d.server, ...d.clients].map((r) => r.figures());
  const workers = ends.flat().filter((f) => f.role === 'worker');
  const totals = {
    bytesVerified: sum(workers, (f) => f.bytesVerified),
    connections: sum(workers, (f) => f.connections),
    failed: sum(workers, (f) => f.failed),
    wrongBytes: sum(workers, (f) => f.wrongBytes),
  };
  problems.push(...reconcile(ends));
  const audit = d.fabric.settle();
  if (audit.free !== audit.total) problems.push(`${audit.total - audit.free} of ${audit.total} frames did not come home`);
  if (totals.wrongBytes > 0) problems.push(`${totals.wrongBytes} wrong bytes`);
  if (totals.failed > 0) problems.push(`${totals.failed} failed connections`);
  if (totals.bytesVerified === 0) problems.push('no byte was verified');
  return report(
    o,
    live,
    measured,
    totals,
    problems,
    d.clients.some((c) => c.exitCode !== 0),
  );
}

function report(
  o: DemoOptions,
  live: LiveTable,
  measured: { threads: SummaryThread[]; seconds: number } | null,
  counts: { bytesVerified: number; connections: number; failed: number; wrongBytes: number },
  problems: readonly string[],
  clientFailed: boolean,
): number {
  const threads = measured?.threads ?? [];
  const verified = problems.length === 0 && !clientFailed;
  for (const p of problems) process.stderr.write(`FAILED: ${p}\n`);
  const totals = {
    cpuSeconds: round(
      sum(threads, (t) => t.cpuSeconds),
      3,
    ),
    rxPackets: sum(threads, (t) => t.rxPackets),
    txPackets: sum(threads, (t) => t.txPackets),
    gbps: round(
      sum(threads, (t) => t.gbps),
      4,
    ),
    drops: sum(threads, (t) => t.drops),
    ...counts,
  };
  const summary = { verified, seconds: measured?.seconds ?? 0, threads, totals };
  live.summary(threads, summary.seconds, totals, verified);
  if (o.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  return verified ? 0 : 1;
}
