/** The work a client offers, and what it says of it: bench/clients/load.c and bench/clients/work.mjs speak this. */

export type Mode = 'echo' | 'short' | 'sink' | 'source' | 'http' | 'http-close' | 'udp';

export interface Load {
  mode: Mode;
  /** Connections at a time; for udp datagrams under way. */
  connections: number;
  /** Bytes of a message. */
  size: number;
}

/** A client's numbers of one round. Latencies are µs. */
export interface Tally {
  operations: number;
  bytes: number;
  /** Operations since the round began, warm-up included; bytes for sink and source. */
  total: number;
  seconds: number;
  p50: number;
  p99: number;
  /** Not told by wrk and ab. */
  p999?: number;
  p9999?: number;
  max?: number;
  wrong: number;
  failed: number;
  /** Datagrams that had no answer within 500 ms. */
  lost: number;
}

/** A round whose work was not right: it counts for nothing, and the case has failed. */
export class WrongWork extends Error {}

/**
 * Lost datagrams a round may have: a full socket buffer of the kernel's is not a wrong answer, and where somebody else has the CPU for
 * long all that are under way at the time are late.
 */
const LOST_SHARE_MAX = 0.01;

/** Throws when a single answer was wrong, a connection broke, or nothing was done. */
export function checkTally(t: Tally, load: Load): void {
  if (t.wrong > 0) throw new WrongWork(`${t.wrong} wrong answers`);
  if (t.failed > 0) throw new WrongWork(`${t.failed} failed connections`);
  if (t.total === 0 || t.seconds <= 0) throw new WrongWork('nothing was done');
  if (t.lost > Math.max(load.connections, LOST_SHARE_MAX * (t.total + t.lost)))
    throw new WrongWork(`${t.lost} of ${t.total + t.lost} datagrams of ${load.size} bytes were lost`);
}

/** One figure taken from a round. */
export interface Measure {
  /** Added to the case's name, for a second figure of the same rounds. */
  suffix: string;
  unit: string;
  of(t: Tally): number;
}

export const perSecond = (what: string): Measure => ({ suffix: '', unit: `${what}/s`, of: (t) => t.operations / t.seconds });
export const gbits: Measure = { suffix: '', unit: 'Gbit/s', of: (t) => (t.bytes * 8) / t.seconds / 1e9 };
export const p50: Measure = { suffix: '', unit: 'µs', of: (t) => t.p50 };
const told = (x: number | undefined): number => {
  if (x === undefined) throw new WrongWork('this client does not tell its slowest');
  return x;
};
export const p999: Measure = { suffix: ' p99.9', unit: 'µs', of: (t) => told(t.p999) };
export const p9999: Measure = { suffix: ' p99.99', unit: 'µs', of: (t) => told(t.p9999) };
export const slowest: Measure = { suffix: ' max', unit: 'µs', of: (t) => told(t.max) };
export const p99: Measure = { suffix: ' p99', unit: 'µs', of: (t) => t.p99 };
