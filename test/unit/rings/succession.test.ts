// A ring whose one side has died at each instant of a hand-over: its heir finishes it, nothing is lost and nothing twice.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createFrameTable, FrameTable, sweepHost, sweepWorker } from '../../../src/rings/frameTable.ts';
import {
  D_FRAME,
  DESC_WORDS,
  OWNER_BROKER,
  OWNER_FREE,
  OWNER_HOST_SHIFT,
  OWNER_LEASE_OF,
  OWNER_RING,
  OWNER_RING_OF,
  OWNER_WORKER,
  RING_HEAD,
  RING_TAIL,
  ringWords,
} from '../../../src/rings/layout.ts';
import { settleTrain } from '../../../src/rings/frameTable.ts';
import { formatRing, RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import { succeedConsumer, succeedProducer } from '../../../src/rings/succession.ts';

const SLOTS = 8;

function rig(): { words: Int32Array; frames: FrameTable } {
  const words = new Int32Array(new SharedArrayBuffer(ringWords(SLOTS, DESC_WORDS) * 4));
  formatRing(words, 0, SLOTS, DESC_WORDS);
  return { words, frames: new FrameTable(createFrameTable(0, 16, 2048), new SharedArrayBuffer(16 * 2048)) };
}

/** Hands a train of two over and dies after `steps` stores: slot, offer, first owner, second owner, put. */
function handOver(ring: RingProducer, t: FrameTable, f: number, steps: number): void {
  t.owner[f] = t.owner[f + 1] = OWNER_WORKER;
  t.next[f] = f + 1;
  const store = [
    () => (ring.words[ring.slot(0) + D_FRAME] = f),
    () => ring.offer(),
    () => (t.owner[f] = OWNER_RING),
    () => (t.owner[f + 1] = OWNER_RING),
    () => ring.put(1),
  ];
  for (let i = 0; i < steps; i++) store[i]!();
}

for (let steps = 0; steps <= 5; steps++)
  test(`a producer that dies after ${steps} of 5 steps: its frames are the ring's, or its own, never nobody's`, () => {
    const { words, frames } = rig();
    const ring = new RingProducer(words, 0);
    // One before it is whole and not yet published.
    handOver(ring, frames, 0, 5);
    handOver(ring, frames, 2, steps);
    const finished = succeedProducer(words, 0, (s) => settleTrain(frames, words[s + D_FRAME]!, OWNER_RING, 0));
    assert.is(finished, steps >= 2 ? 2 : 1);
    const swept: number[] = [];
    sweepWorker(frames, 0, (f) => swept.push(f));
    assert.equal(swept, steps >= 2 ? [] : [2, 3]);
    const heir = new RingConsumer(words, 0);
    const found: number[] = [];
    for (let n = heir.readyNow(); n > 0; n--) {
      found.push(words[heir.slot(0) + D_FRAME]!);
      heir.take(1);
    }
    assert.equal(found, steps >= 2 ? [0, 2] : [0]);
    for (const f of found) assert.equal([frames.owner[f], frames.owner[f + 1]], [OWNER_RING, OWNER_RING]);
    assert.is(
      succeedProducer(words, 0, () => assert.unreachable()),
      0,
      'twice is once',
    );
  });

for (let steps = 0; steps <= 4; steps++)
  test(`a consumer that dies after ${steps} of 4 steps: what it took is its own, what it did not take stays`, () => {
    const { words, frames } = rig();
    const ring = new RingProducer(words, 0);
    handOver(ring, frames, 0, 5);
    handOver(ring, frames, 2, 5);
    handOver(ring, frames, 4, 5);
    ring.flush();
    const mine = OWNER_WORKER + 3;
    const consumer = new RingConsumer(words, 0);
    consumer.ready();
    const take = (f: number, most: number): void => {
      const store = [
        () => consumer.claiming(0),
        () => (frames.owner[f] = mine),
        () => (frames.owner[f + 1] = mine),
        () => consumer.claimed(0),
      ];
      for (let i = 0; i < most; i++) store[i]!();
    };
    take(0, 4);
    consumer.take(1);
    take(2, steps);
    succeedConsumer(words, 0, (s) => settleTrain(frames, words[s + D_FRAME]!, mine, OWNER_RING));
    const swept: number[] = [];
    sweepWorker(frames, 3, (f) => swept.push(f));
    assert.equal(swept, steps >= 1 ? [0, 1, 2, 3] : [0, 1]);
    assert.is(words[RING_TAIL]! - words[RING_HEAD]!, steps >= 1 ? 1 : 2);
  });

test('a consumer that dies in the middle of the first slot it ever took', () => {
  const { words, frames } = rig();
  const ring = new RingProducer(words, 0);
  handOver(ring, frames, 0, 5);
  ring.flush();
  const mine = OWNER_WORKER + 3;
  const consumer = new RingConsumer(words, 0);
  consumer.ready();
  consumer.claiming(0);
  frames.owner[0] = mine;
  succeedConsumer(words, 0, (s) => settleTrain(frames, words[s + D_FRAME]!, mine, OWNER_RING));
  assert.equal([frames.owner[0], frames.owner[1]], [mine, mine]);
  assert.is(words[RING_HEAD], words[RING_TAIL]);
});

test('the sweep finds what a worker held, in its hands, leased, in its rings; of its own host, and of nobody else', () => {
  const t = new FrameTable(createFrameTable(0, 12, 2048), new SharedArrayBuffer(12 * 2048), 5);
  const host = 5 << OWNER_HOST_SHIFT;
  const owners = [OWNER_WORKER + 1, OWNER_RING_OF + 1, OWNER_LEASE_OF + 1].map((o) => o | host);
  const others = [OWNER_FREE, OWNER_RING, (OWNER_WORKER + 2) | host, OWNER_WORKER + 1, OWNER_BROKER | host];
  t.owner.set([...owners, ...others]);
  const swept: number[] = [];
  assert.is(
    sweepWorker(t, 1, (f) => swept.push(f)),
    3,
  );
  assert.equal(swept, [0, 1, 2]);
  swept.length = 0;
  sweepHost(t, (f) => swept.push(f));
  assert.equal(swept, [0, 1, 2, 5, 7], 'a thread that was broker and workers in one');
});

test.run();
