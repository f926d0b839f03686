/**
 * What the rows are to reach, and the document's account of it: each target beside what was measured, and for one that is missed by how
 * much and where the time goes.
 *
 * A profile is a file of Markdown in bench/results/profiles, named after its row: `echo-64-switch.md` for case `echo 64` over `switch`,
 * spaces as dashes; rows without a port by their case alone. It says what was profiled, with which command, and the shares. It is shown
 * below the targets whether or not its row has one.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from './question.ts';
import type { Answer } from './report.ts';
import { lessIsBetter } from './statistics.ts';

export interface Target {
  case: string;
  ports: readonly Row['port'][];
  /** Of the row: `ratio` to the peer, `cpuRatio`, or the figure `ours`. */
  figure: 'ratio' | 'cpuRatio' | 'ours';
  /** At least; where less is better, and for CPU, at most. */
  least: number;
  /** Null: none was set. */
  stretch: number | null;
  /** mTCP in C on a machine of this kind, in the same figure; null where it has none. */
  mtcp: number | null;
}

const DEVICES = ['tap', 'packet'] as const;
const of = (
  name: string,
  ports: Target['ports'],
  least: number,
  stretch: number | null,
  mtcp: number | null,
  figure: Target['figure'] = 'ratio',
): Target => ({ case: name, ports, figure, least, stretch, mtcp });

/** Of a target over both devices the better one counts. */
export const TARGETS: readonly Target[] = [
  of('echo 64', ['switch'], 10, 15, 7.7),
  of('echo 1', ['switch'], 0.2, null, null),
  of('echo 1', ['switch'], 5, 2, 12.8, 'ours'),
  of('short 64', ['switch'], 28, 45, 24),
  of('bulk 1', ['switch'], 1.5, 2.5, 0.7),
  of('bulk 1 source', ['switch'], 1.5, 2.5, 0.7),
  of('http keep-alive', DEVICES, 3.6, null, 3.6),
  of('http keep-alive', DEVICES, 0.28, 0.2, 0.28, 'cpuRatio'),
  of('http close', DEVICES, 2.3, 3, 2.3),
  of('short 64', DEVICES, 3.5, 4.5, 3.1),
  of('echo 64', DEVICES, 2.5, 3, 2),
  of('echo 1', ['packet'], 0.6, 0.4, 0.7),
  of('echo 1 p99', ['packet'], 0.6, 0.4, 0.7),
  of('udp 64', DEVICES, 2.5, 3, null),
  of('bulk 1', ['tap'], 1, 1.4, null),
  of('bulk 1 source', ['tap'], 1, 1.4, null),
  of('bulk 1 1500', ['packet'], 1.3, 2, 1.3),
  of('bulk 1 1500 source', ['packet'], 1.3, 2, 1.3),
  of('dispatch 4', ['switch'], 5, 12, null, 'ours'),
];

const lessWins = (t: Target, r: Row): boolean => t.figure === 'cpuRatio' || lessIsBetter(r.unit);
const figureOf = (t: Target, r: Row): number | null => r[t.figure];

/** The row that a target is held against: of several ports the better one. */
function rowOfTarget(t: Target, rows: readonly Row[]): Row | null {
  const found = rows.filter((r) => r.case === t.case && t.ports.includes(r.port) && figureOf(t, r) !== null);
  const best = (a: Row, b: Row): Row => (figureOf(t, a)! < figureOf(t, b)! === lessWins(t, a) ? a : b);
  return found.length === 0 ? null : found.reduce(best);
}

const FIGURES = { ratio: 'ratio', cpuRatio: 'CPU' } as const;

function targetLine(t: Target, rows: readonly Row[]): string {
  const r = rowOfTarget(t, rows);
  const x = r === null ? null : figureOf(t, r);
  const less = r !== null && lessWins(t, r);
  const reaches = (bound: number | null): boolean => x !== null && bound !== null && (less ? x <= bound : x >= bound);
  const by = x === null ? '' : less ? `${(x / t.least).toFixed(2)} times it` : `${((x / t.least) * 100).toFixed(0)} % of it`;
  const verdict =
    x === null ? 'not measured' : reaches(t.stretch) ? 'reached, the stretch too' : reaches(t.least) ? 'reached' : `**missed**: ${by}`;
  const ports = r === null ? t.ports.filter((p) => p !== 'none').join(', ') : r.port;
  const cells = [
    t.case,
    ports,
    t.figure === 'ours' ? (r?.unit ?? 'ours') : FIGURES[t.figure],
    x === null ? '–' : x.toFixed(2),
    String(t.least),
    t.stretch ?? '–',
    t.mtcp ?? '–',
    verdict,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** A profile beside the results. */
export interface Profile {
  /** The file's name without its ending. */
  name: string;
  text: string;
}

export function readProfiles(results: string): Profile[] {
  const directory = join(results, 'profiles');
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((f) => f.endsWith('.md'))
    .sort()
    .map((f) => ({ name: f.slice(0, -3), text: readFileSync(join(directory, f), 'utf8').trim() }));
}

/** The document's section about targets, with the profiles. */
export function targetSection(answers: readonly Answer[], profiles: readonly Profile[], targets: readonly Target[] = TARGETS): string[] {
  const rows = answers.flatMap((a) => a.rows);
  return [
    '## Targets',
    '',
    'At least and stretch are what was set out to be reached on two cores, in the figure named; for µs and CPU less is better. *mTCP* is that',
    'stack in C measured in the same figure on a machine of this kind, its own client beside it. Over both devices the better one counts.',
    '',
    '| case | port | figure | measured | at least | stretch | mTCP | |',
    '|---|---|---|---:|---:|---:|---:|---|',
    ...targets.map((t) => targetLine(t, rows)),
    '',
    ...(profiles.length === 0 ? [] : ['### Where the time goes', '']),
    ...profiles.flatMap((p) => [`#### ${p.name.replaceAll('-', ' ')}`, '', p.text, '']),
  ];
}
