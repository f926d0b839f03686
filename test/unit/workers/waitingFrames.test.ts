// What may wait for one worker: order, the bounds in descriptors and in frames, and who is dropped first beyond them.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COUNTERS_BYTES, Counters } from '../../../src/rings/counters.ts';
import { createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import { D_FRAME, D_SEGS_VLAN, DESC_WORDS, OWNER_RING_OF, ringWords } from '../../../src/rings/layout.ts';
import { formatRing, RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import { STALL_US, SYN_RESERVE, WaitingFrames } from '../../../src/workers/waitingFrames.ts';

const FRAMES = 4096;
const SLOTS = 16;
const OVERFLOW = 8;
const SHARE = 100;
const OWNER = OWNER_RING_OF;

function rig(share = SHARE) {
  const words = new Int32Array(new SharedArrayBuffer(ringWords(SLOTS, DESC_WORDS) * 4));
  formatRing(words, 0, SLOTS, DESC_WORDS);
  const table = new FrameTable(createFrameTable(0, FRAMES, 2048), new SharedArrayBuffer(FRAMES * 2048));
  const clock = new Int32Array(2);
  const counters = new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0);
  const producer = new RingProducer(words, 0);
  const waiting = new WaitingFrames(producer, { overflow: OVERFLOW, share, owner: OWNER, frames: table, counters, clock });
  const consumer = new RingConsumer(words, 0);
  const desc = new Int32Array(DESC_WORDS);
  let id = 0;
  return {
    waiting,
    table,
    clock,
    /** A train of `links` frames (they are numbered on); returns whether it found a place. */
    place: (links: number, { syn = false, free = FRAMES } = {}): boolean => {
      for (let i = 0; i < links; i++) table.next[id + i] = i + 1 < links ? id + i + 1 : -1;
      desc[D_FRAME] = id;
      desc[D_SEGS_VLAN] = links;
      id += links;
      return waiting.place(desc, 0, syn, free);
    },
    /** The worker takes `n` descriptors; their first frames. */
    take: (n: number): number[] => {
      producer.flush();
      const got = Math.min(n, consumer.readyNow());
      const found = Array.from({ length: got }, (_, i) => words[consumer.slot(i) + D_FRAME]!);
      consumer.take(got);
      consumer.flush();
      return found;
    },
    later: (us: number): void => {
      clock[0] = (clock[0]! + us) | 0;
    },
  };
}

const upTo = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

test('ring, then queue, in order; every link of a train is the ring’s when it stands there', () => {
  const r = rig();
  for (let i = 0; i < SLOTS + OVERFLOW; i++) assert.ok(r.place(2), `${i}`);
  assert.is(r.waiting.overflowing, OVERFLOW);
  assert.is(r.table.owner[2 * SLOTS - 1], OWNER);
  assert.is(r.table.owner[2 * SLOTS], 0, 'in the queue it is still the dispatcher’s');
  const found = r.take(SLOTS);
  r.waiting.drain();
  found.push(...r.take(SLOTS));
  assert.equal(
    found,
    upTo(SLOTS + OVERFLOW).map((i) => 2 * i),
  );
  assert.is(r.waiting.frames(), 0);
});

test('descriptors: data first, then SYNs, whether or not the worker is stalled', () => {
  const r = rig();
  for (let i = 0; i < SLOTS + OVERFLOW; i++) r.place(1);
  assert.not.ok(r.place(1));
  for (let i = 0; i < SYN_RESERVE; i++) assert.ok(r.place(1, { syn: true }), `${i}`);
  assert.not.ok(r.place(1, { syn: true }));
  assert.is(r.waiting.frames(), SLOTS + OVERFLOW + SYN_RESERVE);
  for (let i = 0; i < OVERFLOW + SYN_RESERVE; i++) assert.is(r.waiting.shift(), SLOTS + i + (i >= OVERFLOW ? 1 : 0));
  assert.is(r.waiting.shift(), -1);
  assert.is(r.waiting.frames(), SLOTS);
});

test('frames: who is stalled keeps its share, a SYN a little more, and who takes them has no such bound', () => {
  const r = rig();
  assert.ok(r.place(60));
  assert.ok(r.place(60), 'it has not been stalled for long');
  r.later(STALL_US);
  assert.not.ok(r.place(1), '120 of 100');
  r.take(1);
  assert.ok(r.place(60), 'it took some, just now');
  r.later(STALL_US - 1);
  assert.ok(r.place(1));
  r.later(1);
  assert.not.ok(r.place(1));
  r.take(2);
  assert.is(r.waiting.frames(), 1);
  r.later(STALL_US);
  assert.ok(r.place(99), '100 of 100');
  assert.not.ok(r.place(1));
  for (let i = 0; i < SYN_RESERVE - 2; i++) assert.ok(r.place(1, { syn: true }), `SYN ${i}`);
});

test('never more than are still free, however large the share', () => {
  const r = rig(1000);
  r.place(1);
  r.later(STALL_US);
  assert.ok(r.place(49, { free: 50 }));
  assert.not.ok(r.place(10, { free: 50 }));
  assert.ok(r.place(10, { free: 60 }));
});

test('a worker that had nothing to do is not stalled when a burst comes', () => {
  const r = rig();
  r.place(1);
  r.take(1);
  r.later(5_000_000);
  for (let i = 0; i < 3; i++) assert.ok(r.place(46), `train ${i}`);
  r.take(3);
  assert.is(r.waiting.frames(), 0);
  r.later(5_000_000);
  for (let i = 0; i < 3; i++) assert.ok(r.place(46), `train ${i}, nothing unsettled before`);
});

test('counts hold over many rounds of a ring that wraps', () => {
  const r = rig(1 << 20);
  let placed = 0;
  let taken = 0;
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i < 1 + (round % 11); i++) if (r.place(1 + (round % 3))) placed += 1 + (round % 3);
    for (const f of r.take(round % 13)) {
      taken++;
      for (let g = r.table.next[f]!; g >= 0; g = r.table.next[g]!) taken++;
    }
    r.waiting.drain();
    if (round % 7 === 0) assert.is(r.waiting.frames(), placed - taken, `round ${round}`);
  }
  assert.is(r.waiting.frames(), placed - taken);
});

test('a dispatcher that finds frames in the ring counts them', () => {
  const words = new Int32Array(new SharedArrayBuffer(ringWords(SLOTS, DESC_WORDS) * 4));
  formatRing(words, 0, SLOTS, DESC_WORDS);
  const first = new RingProducer(words, 0);
  first.put(5);
  first.flush();
  const table = new FrameTable(createFrameTable(0, 64, 2048), new SharedArrayBuffer(64 * 2048));
  const counters = new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0);
  const options = { overflow: 4, share: 8, owner: OWNER, frames: table, counters, clock: new Int32Array(2) };
  const waiting = new WaitingFrames(new RingProducer(words, 0), options);
  assert.is(waiting.frames(), 5);
  const consumer = new RingConsumer(words, 0);
  consumer.take(consumer.readyNow());
  consumer.flush();
  assert.is(waiting.frames(), 0);
});

test.run();
