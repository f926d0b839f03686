// The broker of one queue of several has died at each instant of a hand-over over the rings between the queues: whoever comes in
// its place finishes it, nothing is lost and nothing twice.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createFrameTable, FrameTable, sweepHost } from '../../../src/rings/frameTable.ts';
import { D_FRAME, OWNER_BROKER, OWNER_FREE, OWNER_HOST_SHIFT, OWNER_RING, OWNER_WORKER } from '../../../src/rings/layout.ts';
import { createQueueRings, drainQueue, leavingWord, succeedQueue } from '../../../src/rings/queueRings.ts';
import { RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';

const FRAMES = 16;
/** Two queues of 8 frames each. */
function rig(dead: number) {
  const rings = createQueueRings([0, 8], [8, 8]);
  const words = new Int32Array(rings.block);
  const table = createFrameTable(0, FRAMES, 2048);
  const memory = new SharedArrayBuffer(FRAMES * 2048);
  const frames = new FrameTable(table, memory, dead);
  const sweep = (): number[] => {
    const found: number[] = [];
    sweepHost(frames, (f) => {
      frames.owner[f] = OWNER_FREE;
      found.push(f);
    });
    return found;
  };
  return { rings, words, frames, sweep, mine: OWNER_BROKER | (dead << OWNER_HOST_SHIFT) };
}

const RINGS = [
  ['home', 1, (r: ReturnType<typeof rig>) => r.rings.home[1 * 2 + 0]!, (r: ReturnType<typeof rig>) => r.rings.home[0 * 2 + 1]!],
  ['host', 1, (r: ReturnType<typeof rig>) => r.rings.host[1]!, null],
  ['home', 0, (r: ReturnType<typeof rig>) => r.rings.home[0 * 2 + 1]!, (r: ReturnType<typeof rig>) => r.rings.home[1 * 2 + 0]!],
  ['host', 0, null, (r: ReturnType<typeof rig>) => r.rings.host[1]!],
] as const;

for (const [name, dead, outOf, intoOf] of RINGS) {
  if (outOf !== null)
    for (let steps = 0; steps <= 4; steps++)
      test(`queue ${dead} dies after ${steps} of 4 steps of giving to a ${name} ring: the ring's, or swept`, () => {
        const r = rig(dead);
        const at = outOf(r);
        const ring = new RingProducer(r.words, at);
        r.frames.owner[3] = (OWNER_WORKER + dead) | (dead << OWNER_HOST_SHIFT);
        const store = [
          () => (r.words[ring.slot(0) + D_FRAME] = 3),
          () => ring.offer(),
          () => (r.frames.owner[3] = OWNER_RING),
          () => ring.put(1),
        ];
        for (let i = 0; i < steps; i++) store[i]!();
        succeedQueue(r.rings, dead, r.frames);
        succeedQueue(r.rings, dead, r.frames);
        assert.equal(r.sweep(), steps >= 2 ? [] : [3]);
        const heir = new RingConsumer(r.words, at);
        assert.is(heir.readyNow(), steps >= 2 ? 1 : 0);
        if (steps >= 2) assert.is(r.words[heir.slot(0) + D_FRAME], 3);
        const freed: number[] = [];
        drainQueue(r.rings, dead, (f) => freed.push(f));
        assert.equal(freed, steps >= 2 ? [3] : [], 'at the very end it is found there');
      });
  if (intoOf !== null)
    for (let steps = 0; steps <= 4; steps++)
      test(`queue ${dead} dies after ${steps} of 4 steps of taking from a ${name} ring: its own, or left`, () => {
        const r = rig(dead);
        const at = intoOf(r);
        const giver = new RingProducer(r.words, at);
        for (const f of [3, 4]) {
          r.words[giver.slot(0) + D_FRAME] = f;
          giver.offer();
          r.frames.owner[f] = OWNER_RING;
          giver.put(1);
        }
        giver.flush();
        const ring = new RingConsumer(r.words, at);
        assert.is(ring.readyNow(), 2);
        const store = [() => ring.claiming(0), () => (r.frames.owner[3] = r.mine), () => ring.claimed(0), () => ring.take(1)];
        for (let i = 0; i < steps; i++) store[i]!();
        succeedQueue(r.rings, dead, r.frames);
        succeedQueue(r.rings, dead, r.frames);
        assert.equal(r.sweep(), steps >= 1 ? [3] : []);
        const heir = new RingConsumer(r.words, at);
        assert.is(heir.readyNow(), steps >= 1 ? 1 : 2);
        assert.is(r.words[heir.slot(0) + D_FRAME], steps >= 1 ? 4 : 3);
      });
}

test('the lock of those who leave is free when its holder has died, and stays when another has it', () => {
  for (const holder of [0, 1]) {
    const r = rig(1);
    r.words[leavingWord(2)] = holder + 1;
    succeedQueue(r.rings, 1, r.frames);
    assert.is(r.words[leavingWord(2)], holder === 1 ? 0 : 1);
  }
});

test.run();
