// Slow round trips put down to what two threads saw of their stalls.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CAUSES, explain, NO_STALL, type Stall, tailExhibits, ticking } from '../../../bench/tails.ts';

const [PREEMPTED, COLLECTED, TURNED, ASLEEP, HYPERVISOR, UNKNOWN] = CAUSES as [string, string, string, string, string, string];
const stall = (from: number, to: number, more: Partial<Stall> = {}): Stall => ({
  ...{ from, to, offMs: 0, involuntary: 0, voluntary: 0, gcs: 0, gcMs: 0, turned: false },
  ...more,
});
const causes = (client: Stall[], server: Stall[], trips = [{ from: 10, to: 11 }]): string[][] =>
  explain(trips, { client, server }).map((e) => [e.cause, e.where]);

test('each reason by itself', () => {
  for (const [more, cause] of [
    [{ offMs: 0.9, involuntary: 1 }, PREEMPTED],
    [{ offMs: 0.9, voluntary: 1 }, ASLEEP],
    [{ offMs: 0.9 }, HYPERVISOR],
    [{ gcs: 1, gcMs: 0.8 }, COLLECTED],
    [{ turned: true }, TURNED],
    [{}, UNKNOWN],
    // A switch, a collection, without the time to account for it.
    [{ offMs: 0.1, involuntary: 1 }, UNKNOWN],
    [{ gcs: 1, gcMs: 0.01 }, UNKNOWN],
  ] as const)
    assert.equal(causes([], [stall(10, 11, more)]), [[cause, 'server']], JSON.stringify(more));
});

test('the strongest reason of either thread counts: the other one only waited', () => {
  const [waited, preempted] = [stall(9.9, 11), stall(10, 10.9, { offMs: 0.8, involuntary: 1 })];
  assert.equal(causes([waited], [preempted]), [[PREEMPTED, 'server']]);
  assert.equal(causes([preempted], [waited]), [[PREEMPTED, 'client']]);
  assert.equal(causes([waited], [waited]), [[UNKNOWN, 'client and server']]);
});

test('only a stall that fills a quarter of the round trip counts, of many in order', () => {
  assert.equal(causes([], [stall(10.9, 20, { turned: true })]), [[NO_STALL, '–']]);
  assert.equal(causes([], [stall(10.7, 20, { turned: true })]), [[TURNED, 'server']]);
  const stalls = Array.from({ length: 1000 }, (_, i) => stall(i, i + 0.9, i === 500 ? { turned: true } : { gcs: 1, gcMs: 0.5 }));
  assert.equal(causes(stalls, [], [{ from: 500, to: 501 }]), [[TURNED, 'client']]);
  assert.equal(causes(stalls, [], [{ from: 2000, to: 2001 }]), [[NO_STALL, '–']]);
});

test('what keeps the clock of the tick is seen, what is spread is not', () => {
  const ticks = Array.from({ length: 50 }, (_, i) => i * 4 + 3.9);
  const spread = Array.from({ length: 200 }, (_, i) => i * 1.0707);
  assert.equal(ticking([...ticks, ...spread]), { periodMs: 4, count: ticking([...ticks, ...spread])!.count });
  assert.ok(ticking([...ticks, ...spread])!.count >= 50);
  assert.is(ticking(spread), null);
  assert.is(ticking([]), null);
});

test('the exhibit: a row a cause and place, the slowest first', () => {
  const explained = explain(
    [
      { from: 1, to: 1.1 },
      { from: 10, to: 11 },
      { from: 20, to: 23 },
    ],
    { client: [stall(20, 23, { turned: true })], server: [stall(10, 11, { turned: true })] },
  );
  const [byCause, slowest] = tailExhibits({ title: 'echo', operations: 1000, p50: 10, slowUs: 30, seconds: 1, explained });
  assert.equal(byCause!.rows, [
    [TURNED, 'client', '1', '0.10 %', '3000', '3000'],
    [TURNED, 'server', '1', '0.10 %', '1000', '1000'],
    [NO_STALL, '–', '1', '0.10 %', '100', '100'],
  ]);
  assert.equal(slowest!.rows, [
    ['3000', TURNED, 'client', '19.0'],
    ['1000', TURNED, 'server', '9.0'],
    ['100', NO_STALL, '–', '0.0'],
  ]);
  assert.match(byCause!.text[0]!, /1,000 timed round trips in 1 s, median 10\.0 µs; 3 of them \(0\.30 %\) took longer than 30\.0 µs\./);
});

test.run();
