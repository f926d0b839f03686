/** The live table of `npm start`: redrawn on a terminal, plain lines once a second when piped. */
import Table from 'cli-table3';
import { createLogUpdate } from 'log-update';
import type { SummaryThread } from './demo.ts';
import type { ThreadFigures } from '../figures.ts';

type Row = Omit<ThreadFigures, 'role'> & { role: string };
const STAGES = ['pull', 'input', 'app', 'output', 'push', 'rest'] as const;

export class LiveTable {
  private readonly out: NodeJS.WriteStream;
  private readonly update: ReturnType<typeof createLogUpdate> | null;
  private last: { at: number; rows: Row[] } | null = null;

  constructor(out: NodeJS.WriteStream) {
    this.out = out;
    this.update = out.isTTY ? createLogUpdate(out) : null;
  }

  /** Rates since the last call. */
  show(rows: Row[]): void {
    const now = performance.now();
    const before = this.last;
    this.last = { at: now, rows };
    if (before === null || before.rows.length !== rows.length) return;
    const seconds = (now - before.at) / 1000;
    if (this.update !== null) {
      this.update(this.table(rows, before.rows, seconds));
      return;
    }
    for (const [i, r] of rows.entries()) {
      const b = before.rows[i]!;
      const packets = r.rxPackets - b.rxPackets + r.txPackets - b.txPackets;
      if (r.role === 'main') continue;
      this.out.write(
        `${r.name.padEnd(10)} ${si(packets / seconds).padStart(7)}pkt/s ${gbps(r, b, seconds).padStart(8)} Gbit/s  cpu ${percent(cpuUsed(r, b), seconds)}  ` +
          `idle ${percent(idleShare(r, b, seconds), 1)}  ring ${r.ringHighWater}  drops ${r.drops}${r.deaths > 0 ? `  deaths ${r.deaths}` : ''}\n`,
      );
    }
  }

  private table(rows: Row[], before: Row[], seconds: number): string {
    const died = rows.some((r) => r.deaths > 0);
    const t = new Table({
      head: [
        'thread',
        'role',
        'tid',
        'cpu',
        'rx/s',
        'tx/s',
        'Gbit/s',
        'ring high',
        'drops',
        ...(died ? ['deaths'] : []),
        'CPU',
        'idle',
        ...STAGES,
      ],
      style: { compact: true, head: [], border: [] },
    });
    for (const [i, r] of rows.entries()) {
      const b = before[i]!;
      const all = STAGES.reduce((n, s) => n + r.stages[s]! - b.stages[s]!, 0);
      t.push([
        r.name,
        r.role,
        r.tid,
        r.cpu,
        si((r.rxPackets - b.rxPackets) / seconds),
        si((r.txPackets - b.txPackets) / seconds),
        gbps(r, b, seconds),
        r.ringHighWater,
        r.drops,
        ...(died ? [r.deaths] : []),
        percent(cpuUsed(r, b), seconds),
        percent(idleShare(r, b, seconds), 1),
        ...STAGES.map((s) => (all === 0 ? '-' : percent(r.stages[s]! - b.stages[s]!, all))),
      ]);
    }
    return t.toString();
  }

  done(): void {
    this.update?.done();
  }

  summary(
    threads: readonly SummaryThread[],
    seconds: number,
    totals: { bytesVerified: number; connections: number; failed: number; wrongBytes: number },
    verified: boolean,
  ): void {
    const t = new Table({
      head: ['thread', 'role', 'tid', 'cpu', 'CPU s', 'rx packets', 'tx packets', 'Gbit/s', 'ring high', 'drops'],
      style: { compact: true, head: [], border: [] },
    });
    for (const r of threads)
      t.push([r.name, r.role, r.tid, r.cpu, r.cpuSeconds, r.rxPackets, r.txPackets, r.gbps, r.ringHighWater, r.drops]);
    this.out.write(`${t.toString()}\n`);
    this.out.write(
      `${seconds.toFixed(1)} s: ${totals.connections} connections, ${totals.failed} failed, ${totals.bytesVerified} bytes verified, ` +
        `${totals.wrongBytes} wrong; ${verified ? 'all checks passed' : 'CHECKS FAILED'}\n`,
    );
  }
}

type Times = Pick<Row, 'idleSeconds' | 'cpuSeconds'>;

/**
 * The share of an interval that a thread slept, 0..1. A sleep is counted when it ends: who slept all through it has counted
 * nothing and used no CPU, and the next interval is told of both.
 */
export function idleShare(now: Times, before: Times, seconds: number): number {
  const idle = now.idleSeconds - before.idleSeconds;
  if (idle === 0 && now.cpuSeconds - before.cpuSeconds < seconds / 100) return 1;
  return Math.min(1, idle / seconds);
}

/** CPU seconds since the look before: of this thread, which may have taken a dead one's place since. */
const cpuUsed = (now: Row, before: Row): number => (now.tid === before.tid ? now.cpuSeconds - before.cpuSeconds : now.cpuSeconds);
const percent = (part: number, whole: number): string => `${Math.round((part / whole) * 100)}%`.padStart(4);
const gbps = (r: Row, b: Row, seconds: number): string =>
  (((r.rxBytes - b.rxBytes + r.txBytes - b.txBytes) * 8) / seconds / 1e9).toFixed(3);

function si(x: number): string {
  if (x >= 1e6) return `${(x / 1e6).toFixed(2)}M`;
  return x >= 1e3 ? `${(x / 1e3).toFixed(1)}k` : x.toFixed(0);
}
