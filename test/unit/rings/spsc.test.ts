// Rings under two real threads: millions of slots, every word checked, index stores bounded, indices that wrap.
import { availableParallelism } from 'node:os';
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PUBLISH_EVERY, RING_HEAD, RING_TAIL, ringWords } from '../../../src/rings/layout.ts';
import { formatRing, RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import type { SpscJob, SpscResult } from './spscThread.ts';
import { seedOf, startThread } from './threads.ts';

const THREAD = new URL('./spscThread.js', import.meta.url);
const seed = seedOf('spsc');

function ring(capacity: number, slotWords: number, index = 0): { block: SharedArrayBuffer; at: number } {
  const at = 64;
  const block = new SharedArrayBuffer((at + ringWords(capacity, slotWords)) * 4);
  const words = new Int32Array(block);
  formatRing(words, at, capacity, slotWords);
  words[at + RING_TAIL] = index;
  words[at + RING_HEAD] = index;
  return { block, at };
}

interface Case {
  capacity: number;
  slotWords: number;
  slots: number;
  burst?: number;
  index?: number;
  cpus?: readonly [number, number];
}

async function run(c: Case): Promise<void> {
  const { block, at } = ring(c.capacity, c.slotWords, c.index);
  const base = { block, at, slots: c.slots, seed, burst: c.burst ?? 64 };
  const job = (side: SpscJob['side'], cpu: number): SpscJob => ({ ...base, side, cpu });
  const threads = [
    startThread<SpscResult>(THREAD, job('consumer', c.cpus?.[0] ?? -1)),
    startThread<SpscResult>(THREAD, job('producer', c.cpus?.[1] ?? -1)),
  ];
  const [consumer, producer] = (await Promise.all(threads.map((t) => t.done))) as [SpscResult, SpscResult];
  assert.ok(consumer.pinned && producer.pinned, 'pinned as asked');
  assert.is(consumer.wrongAt, -1, `first wrong slot of ${c.slots}`);
  assert.equal([consumer.slots, producer.slots], [c.slots, c.slots]);
  assert.is(consumer.checksum, producer.checksum);
  for (const side of [consumer, producer]) {
    const most = c.slots / PUBLISH_EVERY + side.flushes;
    assert.ok(side.publishes <= most, `${side.publishes} index stores, at most ${most} allowed`);
  }
  assert.ok(producer.highWater <= c.capacity, `high water ${producer.highWater} of ${c.capacity}`);
}

test('descriptors, three million, capacity 1024', () => run({ capacity: 1024, slotWords: 8, slots: 3_000_000 }));
test('frame ids, two million, capacity 4096, bursts of up to 256', () =>
  run({ capacity: 4096, slotWords: 1, slots: 2_000_000, burst: 256 }));
test('a ring smaller than a publishing unit', () => run({ capacity: 8, slotWords: 4, slots: 60_000, burst: 8 }));
test('the smallest ring', () => run({ capacity: 2, slotWords: 4, slots: 6_000, burst: 2 }));
test('indices that wrap at 2^31 and at 2^32', async () => {
  await run({ capacity: 64, slotWords: 4, slots: 100_000, index: 0x7fffffff - 5000 });
  await run({ capacity: 64, slotWords: 4, slots: 100_000, index: -5000 });
});

const taskset = spawnSync('taskset', ['--version']).status === 0;
if (taskset) {
  test('both threads pinned to one CPU', () => run({ capacity: 256, slotWords: 8, slots: 300_000, cpus: [0, 0] }));
  if (availableParallelism() > 1)
    test('each thread pinned to its own CPU', () => run({ capacity: 1024, slotWords: 8, slots: 2_000_000, cpus: [0, 1] }));
  else process.stdout.write('SKIP pinned to two CPUs: this machine has one\n');
} else {
  process.stdout.write('SKIP pinned threads: taskset is not installed\n');
}

test('a capacity that is no power of two is refused by name', () => {
  for (const capacity of [0, 1, 3, 100, -4]) assert.throws(() => ring(capacity, 1), /not a power of two/, String(capacity));
});

test('nothing is seen before it is published: 15 slots wait for the flush, 16 do not', () => {
  const { block, at } = ring(64, 1);
  const words = new Int32Array(block);
  const p = new RingProducer(words, at);
  const c = new RingConsumer(words, at);
  assert.is(p.room(16), 16);
  for (let i = 0; i < PUBLISH_EVERY - 1; i++) p.put(1);
  assert.equal([c.readyNow(), p.publishes], [0, 0]);
  p.put(1);
  assert.equal([c.ready(), p.publishes, p.flush()], [16, 1, true]);
  p.put(1);
  assert.is(c.readyNow(), 16);
  assert.ok(p.flush());
  assert.is(c.readyNow(), 17);
});

test('a full ring has no room until the consumer publishes what it took', () => {
  const { block, at } = ring(16, 2);
  const words = new Int32Array(block);
  const p = new RingProducer(words, at);
  const c = new RingConsumer(words, at);
  assert.is(p.room(100), 16);
  p.put(16);
  assert.is(p.room(1), 0);
  assert.equal([p.highWater, p.used()], [16, 16]);
  assert.is(c.ready(), 16);
  c.take(5);
  assert.is(p.room(1), 0, 'taken but not published');
  c.flush();
  assert.is(p.room(100), 5);
  assert.equal([c.ready(), p.used()], [11, 11]);
});

test('a consumer at ease publishes 16 at once, fewer when it has taken nothing more, and tells of it once', () => {
  const { block, at } = ring(128, 1);
  const words = new Int32Array(block);
  const p = new RingProducer(words, at);
  const c = new RingConsumer(words, at);
  p.put(p.room(128));
  assert.is(c.ready(), 128);
  c.take(PUBLISH_EVERY - 1);
  assert.equal([c.ease(), c.slots, c.publishes, p.used()], [false, 15, 0, 128]);
  c.take(1);
  assert.equal([p.used(), c.ease(), c.ease()], [112, true, false]);
  c.take(5);
  assert.equal([c.ease(), p.used()], [false, 112]);
  assert.equal([c.ease(), p.used(), c.slots], [true, 107, 21], 'a breath without anything taken');
  c.take(3);
  c.flush();
  assert.equal([p.used(), c.ease()], [104, true], 'a flush is told of, too');
});

test('a consumer at ease of a small ring keeps at most a quarter of it back', () => {
  const { block, at } = ring(8, 1);
  const words = new Int32Array(block);
  const p = new RingProducer(words, at);
  const c = new RingConsumer(words, at);
  p.put(p.room(8));
  p.flush();
  assert.is(c.ready(), 8);
  c.take(1);
  assert.equal([c.ease(), p.room(8)], [false, 0]);
  c.take(1);
  assert.equal([c.ease(), p.room(8)], [true, 2]);
});

test('both ends on one thread: what is published is seen, as between two', () => {
  const { block, at } = ring(16, 1);
  const words = new Int32Array(block);
  const p = new RingProducer(words, at, true);
  const c = new RingConsumer(words, at, true);
  for (let i = 0; i < 100; i++) {
    assert.is(p.room(1), 1);
    words[p.slot(0)] = i;
    p.put(1);
    assert.is(c.ready(), 0, 'not published');
    p.flush();
    assert.equal([c.ready(), words[c.slot(0)], c.readyNow()], [1, i, 1]);
    c.take(1);
    c.flush();
  }
  // An heir finds the indices where they were left.
  assert.equal([new RingConsumer(words, at).readyNow(), new RingProducer(words, at).index], [0, 100]);
});

test('a side that attaches later goes on where the ring stands', () => {
  const { block, at } = ring(16, 1, -3);
  const words = new Int32Array(block);
  const first = new RingProducer(words, at);
  for (let i = 0; i < 6; i++) {
    words[first.slot(0)] = 100 + i;
    first.put(1);
  }
  first.flush();
  const second = new RingProducer(words, at);
  words[second.slot(0)] = 106;
  second.put(1);
  second.flush();
  const c = new RingConsumer(words, at);
  assert.equal(
    Array.from({ length: c.ready() }, (_, i) => words[c.slot(i)]),
    [100, 101, 102, 103, 104, 105, 106],
  );
  c.take(2);
  c.flush();
  const later = new RingConsumer(words, at);
  assert.equal([later.ready(), words[later.slot(0)]], [5, 102]);
});

test.run();
