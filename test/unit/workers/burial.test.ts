/** The books of a dead worker. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_DROP, C_REDIRECTED, C_RX_DELIVERED, C_RX_PACKETS, COUNTERS_BYTES, Counters } from '../../../src/rings/counters.ts';
import { DROP_NO_CONNECTION, DROP_WORKER_DIED } from '../../../src/rings/drops.ts';
import { closeBooks } from '../../../src/workers/burial.ts';

const books = (): Float64Array => new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0).v;

test('what was received and not accounted for died with the worker', () => {
  const v = books();
  v[C_RX_PACKETS] = 90;
  v[C_RX_DELIVERED] = 80;
  v[C_DROP + DROP_NO_CONNECTION] = 5;
  closeBooks(v, 100, 3);
  assert.equal([v[C_RX_PACKETS], v[C_RX_DELIVERED], v[C_REDIRECTED], v[C_DROP + DROP_WORKER_DIED]], [100, 80, 3, 15]);
});

test('what was accounted for and, by the rings, never taken, is the successor\u2019s to count', () => {
  const v = books();
  v[C_RX_PACKETS] = 16;
  v[C_RX_DELIVERED] = 14;
  v[C_DROP + DROP_NO_CONNECTION] = 2;
  closeBooks(v, 0, 0);
  assert.equal([v[C_RX_PACKETS], v[C_RX_DELIVERED]! + v[C_DROP + DROP_NO_CONNECTION]!, v[C_DROP + DROP_WORKER_DIED]], [0, 0, 0]);
});

test('indices that have wrapped mean the same', () => {
  const v = books();
  v[C_RX_PACKETS] = 2 ** 32 + 10;
  v[C_RX_DELIVERED] = 2 ** 32 + 10;
  closeBooks(v, 12, 0);
  assert.equal([v[C_RX_PACKETS], v[C_DROP + DROP_WORKER_DIED]], [2 ** 32 + 12, 2]);
});

test.run();
