/**
 * `--check`: an answer held against the one in bench/results.
 *
 * A row has fallen when the whole 95 % interval of its paired ratio lies below 0.85 of the baseline's ratio (where less is better:
 * above it divided by 0.85); a count has risen when it is more than 5 % above the baseline's. What cannot be compared is said.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { COUNT_UNIT } from './counts.ts';
import type { Environment } from './environment.ts';
import type { Row } from './question.ts';
import type { Answer } from './report.ts';
import { lessIsBetter } from './statistics.ts';

/** Share of its baseline that a ratio must hold. */
export const RATIO_SHARE_MIN = 0.85;
/** Times its baseline that a count may be. */
export const COUNT_SHARE_MAX = 1.05;

export type Verdict = 'held' | 'fell' | 'not compared';

export interface Finding {
  verdict: Verdict;
  /** Case and port. */
  row: string;
  why: string;
}

/** The baseline is missing or is none. */
export class BaselineError extends Error {}

const positive = (x: unknown): boolean => typeof x === 'number' && Number.isFinite(x) && x > 0;
const isRow = (r: Partial<Row> | null): boolean =>
  typeof r?.case === 'string' &&
  typeof r.port === 'string' &&
  typeof r.unit === 'string' &&
  [r.ours, r.peer, r.ratio].every((x) => positive(x));

/** The answer to compare with. Throws BaselineError with the file's name. */
export function readBaseline(directory: string, question: string): Answer {
  const file = join(directory, `${question}.json`);
  let a: Partial<Answer> | null;
  try {
    a = JSON.parse(readFileSync(file, 'utf8')) as Partial<Answer> | null;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new BaselineError(missing ? `no baseline: ${file} is missing` : `${file} is no baseline: ${(error as Error).message}`);
  }
  if (a?.question !== question || typeof a.environment !== 'object' || a.environment === null || !Array.isArray(a.rows))
    throw new BaselineError(`${file} is no baseline: it is not an answer to "${question}"`);
  const bad = a.rows.findIndex((r) => !isRow(r as Partial<Row> | null));
  if (bad >= 0) throw new BaselineError(`${file} is no baseline: row ${bad} has no case, port and figures`);
  if (a.rows.length === 0) throw new BaselineError(`${file} is no baseline: it has no rows`);
  return a as Answer;
}

const nameOf = (r: Row): string => (r.port === 'none' ? r.case : `${r.case}, ${r.port}`);
const major = (compiler: string | null | undefined): string => /^\S+ \d+/.exec(compiler ?? '')?.[0] ?? 'none';

/** Why counts of two environments cannot be compared, or null. */
function otherCode(now: Environment, then: Environment): string | null {
  if (major(now.compiler) !== major(then.compiler)) return `${now.compiler} here, the baseline is of ${then.compiler}`;
  return now.libc === then.libc ? null : `${now.libc} here, the baseline is of ${then.libc}`;
}

function counted(now: Row, then: Row): Finding {
  const sides = [
    ['avx2', now.ours, then.ours],
    [then.peerName, now.peer, then.peer],
  ] as const;
  const risen = sides.filter(([, a, b]) => a > b * COUNT_SHARE_MAX);
  const told = (risen.length > 0 ? risen : sides).map(
    ([side, a, b]) => `${side} ${a}, baseline ${b} (${((a / b - 1) * 100).toFixed(1)} %)`,
  );
  return { verdict: risen.length > 0 ? 'fell' : 'held', row: nameOf(now), why: told.join('; ') };
}

function timed(now: Row, then: Row): Finding {
  const row = nameOf(now);
  if (now.interval === null) return { verdict: 'not compared', row, why: 'one round has no interval: --rounds 2 or more' };
  const [low, high] = now.interval;
  const less = lessIsBetter(now.unit);
  const bound = less ? then.ratio / RATIO_SHARE_MIN : then.ratio * RATIO_SHARE_MIN;
  const fell = less ? low > bound : high < bound;
  const share = ((fell ? (less ? low : high) : now.ratio) / then.ratio) * 100;
  const by = fell ? `: at best ${share.toFixed(0)} % of it` : '';
  const why = `ratio ${now.ratio} (${low.toPrecision(3)} to ${high.toPrecision(3)}), baseline ${then.ratio}${by}`;
  return { verdict: fell ? 'fell' : 'held', row, why };
}

/** Every row of either, in the baseline's order. */
export function check(now: Answer, then: Answer): Finding[] {
  const found: Finding[] = [];
  const key = (r: Row): string => `${r.case} ${r.port}`;
  const rows = new Map(now.rows.map((r) => [key(r), r]));
  for (const b of then.rows) {
    const r = rows.get(key(b));
    rows.delete(key(b));
    const row = nameOf(b);
    if (r === undefined) {
      const skipped = now.skipped.find((s) => s.case === row || b.case.startsWith(s.case));
      found.push({ verdict: 'not compared', row, why: skipped?.reason ?? 'not asked' });
    } else if (b.unit === COUNT_UNIT) {
      const other = otherCode(now.environment, then.environment);
      found.push(other === null ? counted(r, b) : { verdict: 'not compared', row, why: other });
    } else found.push(timed(r, b));
  }
  for (const r of rows.values()) found.push({ verdict: 'not compared', row: nameOf(r), why: 'the baseline has no such row' });
  return found;
}

export const findingLine = (f: Finding): string => `${f.verdict.padEnd(12)} ${f.row}: ${f.why}`;
