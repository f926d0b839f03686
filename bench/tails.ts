/** Why round trips took long: each slow one beside what the two threads that made it saw of their own stalls (bench/threadTrace.mjs). */
import type { Exhibit } from './question.ts';
import { median } from './statistics.ts';

/** A time during which a thread did nothing for its program. Times are milliseconds of the machine's monotonic clock. */
export interface Stall {
  from: number;
  to: number;
  /** Without a CPU since the stall before, and how often it was taken or given up. */
  offMs: number;
  involuntary: number;
  voluntary: number;
  gcs: number;
  gcMs: number;
  /** The event loop had a turn. */
  turned: boolean;
}

export interface Trip {
  from: number;
  to: number;
}

export type Where = 'client' | 'server';

export interface Explained {
  us: number;
  cause: string;
  where: string;
  /** Milliseconds after the first slow one. */
  atMs: number;
}

/** A cause must account for this share of a round trip. */
const SHARE = 0.25;

/** The index of the first stall that ends after `t`; stalls are in order of time. */
function firstAfter(stalls: readonly Stall[], t: number): number {
  let [low, high] = [0, stalls.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stalls[middle]!.to <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Stalls of a thread that fill a good part of a round trip. */
function within(stalls: readonly Stall[], trip: Trip): Stall[] {
  const found: Stall[] = [];
  for (let i = firstAfter(stalls, trip.from); i < stalls.length && stalls[i]!.from < trip.to; i++) {
    const common = Math.min(stalls[i]!.to, trip.to) - Math.max(stalls[i]!.from, trip.from);
    if (common >= SHARE * (trip.to - trip.from)) found.push(stalls[i]!);
  }
  return found;
}

export const CAUSES: readonly string[] = [
  'another thread had the CPU',
  'garbage collection',
  'turn of the event loop',
  'asleep, or waiting for a lock',
  'no CPU, and no switch of threads: the hypervisor',
  'stalled for none of these reasons',
];
export const NO_STALL = 'no stall of either thread';

/** What a stall was, as an index of CAUSES; where several things happened in it, the first of these. */
function causeOf(s: Stall): number {
  const ms = s.to - s.from;
  if (s.involuntary > 0 && s.offMs >= SHARE * ms) return 0;
  if (s.gcs > 0 && s.gcMs >= SHARE * ms) return 1;
  if (s.offMs >= SHARE * ms) return s.voluntary > 0 ? 3 : 4;
  return s.turned ? 2 : 5;
}

/**
 * Each slow round trip with its cause. A peer that waits for a stalled thread has no stall of its own to tell but waiting: so the
 * strongest cause of either thread counts, and one without a reason only where neither has any.
 */
export function explain(trips: readonly Trip[], stalls: Readonly<Record<Where, readonly Stall[]>>): Explained[] {
  const start = trips[0]?.from ?? 0;
  return trips.map((trip) => {
    let best: number = CAUSES.length;
    let where: Where[] = [];
    for (const side of ['client', 'server'] as const)
      for (const s of within(stalls[side], trip)) {
        const cause = causeOf(s);
        if (cause < best) [best, where] = [cause, [side]];
        else if (cause === best && !where.includes(side)) where.push(side);
      }
    return {
      us: (trip.to - trip.from) * 1000,
      cause: CAUSES[best] ?? NO_STALL,
      where: where.join(' and ') || '–',
      atMs: trip.from - start,
    };
  });
}

/** Periods of the kernel's timer tick that are built: CONFIG_HZ 1000, 250, 100. */
const TICKS_MS = [1, 4, 10];
const PHASES = 40;
const EXPECTED_TIMES = 3;

/**
 * Stalls without a reason of their own that keep a clock: whether some phase of the kernel's tick has far more of them than chance would
 * give it. Returns the period and how many they are, or null.
 */
export function ticking(timesMs: readonly number[]): { periodMs: number; count: number } | null {
  let best: { periodMs: number; count: number } | null = null;
  for (const periodMs of TICKS_MS) {
    const bins = new Uint32Array(PHASES);
    for (const t of timesMs) bins[Math.floor(((t % periodMs) / periodMs) * PHASES)]!++;
    // A phase may lie on the border of two.
    const fullest = Math.max(...bins.map((n, i) => n + bins[(i + 1) % PHASES]!));
    const crowded = fullest >= 10 && fullest > (EXPECTED_TIMES * 2 * timesMs.length) / PHASES;
    // What comes every 4 ms keeps the phase of 1 ms, too: the longer period tells more.
    if (crowded && fullest >= (best?.count ?? 0) * 0.8) best = { periodMs, count: fullest };
  }
  return best;
}

/** Figures of a traced round that its exhibit tells. */
export interface Traced {
  title: string;
  /** Round trips that were timed, their median, and from when on one was slow. */
  operations: number;
  p50: number;
  slowUs: number;
  seconds: number;
  explained: readonly Explained[];
}

const us = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toFixed(1));
/** Of a share, so that small ones are not 0.00 %. */
const percent = (x: number): string => `${(x * 100).toPrecision(2)} %`;

function causeRows(t: Traced): string[][] {
  return [...CAUSES, NO_STALL].flatMap((cause) =>
    [...new Set(t.explained.filter((e) => e.cause === cause).map((e) => e.where))].sort().map((where) => {
      const times = t.explained.filter((e) => e.cause === cause && e.where === where).map((e) => e.us);
      const share = times.length / t.operations;
      return [cause, where, String(times.length), percent(share), us(median(times)), us(Math.max(...times))];
    }),
  );
}

/** By cause, then the ten slowest one by one. */
export function tailExhibits(t: Traced): Exhibit[] {
  const n = t.explained.length;
  const text =
    `${t.operations.toLocaleString('en-US')} timed round trips in ${t.seconds} s, median ${us(t.p50)} µs; ${n} of them (${percent(n / t.operations)}) took longer ` +
    `than ${us(t.slowUs)} µs. Each is put down to what the two threads saw of themselves meanwhile, by their own CPU time, context switches, collections and turns of the event loop.`;
  const unknown = t.explained.filter((e) => e.cause === CAUSES.at(-1));
  const tick = ticking(unknown.map((e) => e.atMs));
  const clock =
    tick === null
      ? []
      : [
          `Of the ${unknown.length} that stalled for none of these reasons ${tick.count} came in one phase of ${tick.periodMs} ms, where chance would have put ` +
            `${Math.round((2 * unknown.length) / PHASES)}: the kernel's tick, whose interrupt is on the thread's own account.`,
        ];
  const slowest = [...t.explained].sort((a, b) => b.us - a.us).slice(0, 10);
  return [
    {
      title: t.title,
      text: [text, ...clock],
      head: ['cause', 'in', 'round trips', 'of all', 'median µs', 'longest µs'],
      rows: causeRows(t),
    },
    {
      title: `${t.title}: the ten slowest`,
      text: [],
      head: ['µs', 'cause', 'in', 'ms after the first'],
      rows: slowest.map((e) => [us(e.us), e.cause, e.where, e.atMs.toFixed(1)]),
    },
  ];
}
