/** Medians, their spread, and a row's ratios. */
import type { Row } from './question.ts';

export function median(xs: readonly number[]): number {
  const sorted = [...xs].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median absolute deviation over the median: 0 is no spread. */
export function relativeSpread(xs: readonly number[]): number {
  const m = median(xs);
  return m === 0 ? 0 : median(xs.map((x) => Math.abs(x - m))) / Math.abs(m);
}

/** Where less is better. */
export const isTime = (unit: string): boolean => unit === 'µs';

/** Four significant digits: more would be noise that every run of the report changes. */
export const rounded = (x: number): number => (Number.isFinite(x) ? Number(x.toPrecision(4)) : 0);

/** What the rounds of one case amount to. CPU is seconds of the server per operation, a list entry a round, null unknown. */
export interface Rounds {
  ours: readonly number[];
  peer: readonly number[];
  oursCpu: readonly (number | null)[];
  peerCpu: readonly (number | null)[];
}

function cpuRatio(ours: readonly (number | null)[], peer: readonly (number | null)[]): number | null {
  if (ours.length === 0 || [...ours, ...peer].some((x) => x === null)) return null;
  const below = median(peer as number[]);
  return below > 0 ? rounded(median(ours as number[]) / below) : null;
}

export function rowOf(about: Pick<Row, 'case' | 'port' | 'unit' | 'peerName'>, r: Rounds): Row {
  const [ours, peer] = [median(r.ours), median(r.peer)];
  const best = isTime(about.unit) ? Math.min(...r.peer) : Math.max(...r.peer);
  return {
    case: about.case,
    port: about.port,
    unit: about.unit,
    ours: rounded(ours),
    peer: rounded(peer),
    peerName: about.peerName,
    ratio: rounded(ours / peer),
    ratioBest: rounded(ours / best),
    cpuRatio: cpuRatio(r.oursCpu, r.peerCpu),
    spread: rounded(Math.max(relativeSpread(r.ours), relativeSpread(r.peer))),
  };
}
