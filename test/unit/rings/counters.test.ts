// Counters: a reader beside a writing thread sees one moment of all of them, or says that it could not.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  C_DROP,
  C_RX_PACKETS,
  COUNTER_NAME,
  COUNTERS,
  COUNTERS_BYTES,
  Counters,
  dropsByName,
  dropsTotal,
  readCounters,
} from '../../../src/rings/counters.ts';
import { DROP_ARP, DROP_NAME, DROP_REASONS, DROP_TRUNCATED } from '../../../src/rings/drops.ts';
import * as drops from '../../../src/rings/drops.ts';
import * as counters from '../../../src/rings/counters.ts';
import {
  HOST_STATE_BYTES,
  HostPublisher,
  HostView,
  NB_EMPTY,
  NB_FAILED,
  NB_INCOMPLETE,
  NB_REACHABLE,
} from '../../../src/rings/hostState.ts';
import { macLoOf, type SnapshotJob, type SnapshotResult } from './snapshotThread.ts';
import { seedOf, startThread } from './threads.ts';

const THREAD = new URL('./snapshotThread.js', import.meta.url);
const seed = seedOf('counters');

test('snapshots of counters and neighbours beside a thread that writes both are never torn', async () => {
  const block = new SharedArrayBuffer(COUNTERS_BYTES);
  const host = new SharedArrayBuffer(HOST_STATE_BYTES);
  const stop = new SharedArrayBuffer(4);
  new HostPublisher(host, 0).setHost({ address: 1, prefix: 8, gateway: 0, mtu: 1500, macHi: 2, macLo: 3, key: seed });
  const job: SnapshotJob = { counters: block, host, stop, seed };
  const thread = startThread<SnapshotResult>(THREAD, job);
  const into = new Float64Array(COUNTERS);
  const view = new HostView(host, 0);
  const seen = { snapshots: 0, values: new Set<number>(), reachable: 0, failed: 0, empty: 0 };
  let newest = 0;
  const end = performance.now() + 3000;
  try {
    while (performance.now() < end) {
      for (let round = 0; round < 200; round++) {
        if (readCounters(block, 0, into)) {
          const n = into[0]!;
          for (let i = 0; i < COUNTERS; i++)
            if (into[i] !== n * (i + 1)) assert.unreachable(`counter ${i} is ${into[i]} when counter 0 is ${n}`);
          assert.ok(n >= newest, 'time runs backwards');
          newest = n;
          seen.snapshots++;
          seen.values.add(n);
        }
        const ip = 0x0a000000 + ((round * 7) % 200);
        const state = view.mac(ip);
        if (state === NB_REACHABLE) {
          assert.is(view.macLo, macLoOf(ip, view.macHi), 'MAC of two versions');
          seen.reachable++;
        } else if (state === NB_FAILED) seen.failed++;
        else if (state === NB_EMPTY) seen.empty++;
        else assert.is(state, NB_INCOMPLETE, 'nobody writes another state: the writer was stopped in the middle');
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1);
  }
  const result = await thread.done;
  assert.ok(seen.snapshots > 1000 && seen.values.size > 100, `${seen.snapshots} snapshots, ${seen.values.size} different`);
  assert.ok(seen.reachable > 100 && seen.failed > 10 && seen.empty > 10);
  assert.ok(readCounters(block, 0, into));
  assert.is(into[0], result.last, 'the last commit stays');
});

test('a writer stopped in the middle of a commit is not believed', () => {
  const block = new SharedArrayBuffer(COUNTERS_BYTES);
  const c = new Counters(block, 0);
  c.v[C_RX_PACKETS] = 5;
  c.commit();
  const into = new Float64Array(COUNTERS);
  assert.ok(readCounters(block, 0, into));
  assert.is(into[C_RX_PACKETS], 5);
  Atomics.add(new Int32Array(block), 0, 1);
  assert.not(readCounters(block, 0, into));
});

test('a thread that comes back goes on counting where it stood', () => {
  const block = new SharedArrayBuffer(COUNTERS_BYTES);
  const first = new Counters(block, 0);
  first.v[C_RX_PACKETS] = 2 ** 53 - 1;
  first.commit();
  assert.is(new Counters(block, 0).v[C_RX_PACKETS], 2 ** 53 - 1);
});

test('drops by name and in sum', () => {
  const v = new Float64Array(COUNTERS);
  v[C_DROP + DROP_ARP] = 3;
  v[C_DROP + DROP_TRUNCATED] = 4;
  assert.equal(dropsByName(v), { truncated: 4, arp: 3 });
  assert.is(dropsTotal(v), 7);
});

test('every reason has its own number and a name, every counter too, and none runs into the drops', () => {
  const reasons = Object.entries(drops).filter(([k, n]) => k.startsWith('DROP_') && typeof n === 'number' && k !== 'DROP_REASONS');
  assert.is(new Set(reasons.map(([, n]) => n)).size, DROP_REASONS);
  assert.is(reasons.length, DROP_REASONS);
  assert.is(new Set(DROP_NAME).size, DROP_REASONS);
  const own = Object.entries(counters).filter(([k, n]) => k.startsWith('C_') && typeof n === 'number' && k !== 'C_DROP') as [
    string,
    number,
  ][];
  assert.is(new Set(own.map(([, n]) => n)).size, own.length);
  for (const [k, n] of own) {
    assert.ok(n < C_DROP, k);
    const name = k.slice(2).toLowerCase().replaceAll('_', '');
    assert.is((COUNTER_NAME[n] ?? '').toLowerCase().replace(/ns$/, ''), name.replace(/ns$/, ''), k);
  }
});

test.run();
