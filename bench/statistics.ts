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

export const isTime = (unit: string): boolean => unit === 'µs';
export const lessIsBetter = (unit: string): boolean => isTime(unit) || unit === 'instructions/frame';

/** Student's t, two-sided 95 %, by degrees of freedom from 1; beyond the table it is the normal one's. */
const T95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086,
  2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];
const NORMAL95 = 1.96;

/**
 * 95 % confidence interval of the paired ratio: each round of ours over the peer's round beside it, which shares the machine's drift.
 * Of the logarithms, since 2 and 1/2 are equally far from 1. Null with fewer than two pairs, or where a figure is not positive.
 */
export function pairedInterval(ours: readonly number[], peer: readonly number[]): readonly [number, number] | null {
  const n = Math.min(ours.length, peer.length);
  if (n < 2) return null;
  const logs = Array.from({ length: n }, (_, i) => Math.log(ours[i]! / peer[i]!));
  if (!logs.every(Number.isFinite)) return null;
  const mean = logs.reduce((a, b) => a + b, 0) / n;
  const variance = logs.reduce((a, x) => a + (x - mean) ** 2, 0) / (n - 1);
  const half = (T95[n - 2] ?? NORMAL95) * Math.sqrt(variance / n);
  return [rounded(Math.exp(mean - half)), rounded(Math.exp(mean + half))];
}

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
  const best = lessIsBetter(about.unit) ? Math.min(...r.peer) : Math.max(...r.peer);
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
    interval: pairedInterval(r.ours, r.peer),
  };
}
