/** Writes counters and host state as fast as it can, so that a reader can look for a torn snapshot. */
import { COUNTERS, Counters } from '../../../src/rings/counters.ts';
import { HostPublisher, NB_FAILED, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import { answer, bits31, given } from './threads.ts';

export interface SnapshotJob {
  counters: SharedArrayBuffer;
  host: SharedArrayBuffer;
  /** Word 0: set when the reader has seen enough. */
  stop: SharedArrayBuffer;
  seed: number;
}

export interface SnapshotResult {
  commits: number;
  last: number;
}

/** MAC of version `n` of neighbour `ip`: the last two bytes follow from the first four and the address. */
export const macLoOf = (ip: number, macHi: number): number => (Math.imul(ip ^ macHi, 0x9e3779b1) >>> 16) & 0xffff;

if (given<SnapshotJob | null>() !== null) {
  const job = given<SnapshotJob>();
  const stop = new Int32Array(job.stop);
  const counters = new Counters(job.counters, 0);
  const publisher = new HostPublisher(job.host, 0);
  const random = bits31(job.seed);
  const r: SnapshotResult = { commits: 0, last: 0 };
  while (Atomics.load(stop, 0) === 0) {
    r.last = ++r.commits;
    for (let i = 0; i < COUNTERS; i++) counters.v[i] = r.last * (i + 1);
    counters.commit();
    const ip = 0x0a000000 + (random() % 200);
    const what = random() % 8;
    if (what === 0) publisher.remove(ip);
    else if (what === 1) publisher.put(ip, NB_FAILED, 0, 0);
    else {
      const hi = random();
      publisher.put(ip, NB_REACHABLE, hi, macLoOf(ip, hi));
    }
    // A writer that never rests starves seqlock readers; real ones commit once a breath.
    for (let i = random() % 3000; i > 0; i--);
  }
  answer(r);
}
