/**
 * A thread that publishes counters into a control file as a runtime does through its mapping, but with every step of the
 * seqlock visible for long: odd word, first half, second half, even word. rx and tx packets are always equal.
 */
import { openSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { C_RX_PACKETS, C_TX_PACKETS, COUNTERS } from '../../../src/rings/counters.ts';

const { path, countersAt, stop } = workerData as { path: string; countersAt: number; stop: SharedArrayBuffer };
const fd = openSync(path, 'r+');
const values = new Float64Array(COUNTERS);
const seq = new Int32Array(1);
const flag = new Int32Array(stop);
while (Atomics.load(flag, 0) === 0) {
  seq[0]! += 1;
  writeSync(fd, seq, 0, 4, countersAt);
  values[C_RX_PACKETS]! += 1;
  writeSync(fd, values, C_RX_PACKETS * 8, 8, countersAt + 128 + C_RX_PACKETS * 8);
  values[C_TX_PACKETS]! += 1;
  writeSync(fd, values, C_TX_PACKETS * 8, 8, countersAt + 128 + C_TX_PACKETS * 8);
  seq[0]! += 1;
  writeSync(fd, seq, 0, 4, countersAt);
  // a quiet moment, as long as a busy worker's between two commits
  for (let i = 0; i < 20000; i++) Atomics.load(flag, 0);
}
Atomics.store(flag, 0, 2);
Atomics.notify(flag, 0);
