// The rx ring of a worker that died: what it had not taken stays for its successor, each frame once, whatever it had in hand.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createFrameTable, FrameTable, sweepWorker } from '../../../src/rings/frameTable.ts';
import * as L from '../../../src/rings/layout.ts';
import { keepAgain, keepUntaken } from '../../../src/rings/portRings.ts';
import { formatRing, RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';

const SLOTS = 8;
const RINGS = L.OWNER_RING_OF;
const WORKER = L.OWNER_WORKER;

interface Rig {
  words: Int32Array;
  frames: FrameTable;
  ring: RingProducer;
}

function rig(): Rig {
  const words = new Int32Array(new SharedArrayBuffer(L.ringWords(SLOTS, L.DESC_WORDS) * 4));
  formatRing(words, 0, SLOTS, L.DESC_WORDS);
  const frames = new FrameTable(createFrameTable(0, 32, 2048), new SharedArrayBuffer(32 * 2048));
  return { words, frames, ring: new RingProducer(words, 0) };
}

/** Puts frames f to f + links - 1 on the ring as one descriptor. */
function put(r: Rig, f: number, links = 1): void {
  const s = r.ring.slot(0);
  r.words[s + L.D_FRAME] = f;
  r.words[s + L.D_REGION_GEN] = r.frames.generation[f]! & 0xffff;
  r.words[s + L.D_SEGS_VLAN] = links;
  r.words[s + L.D_FLAGS_GSO] = links > 1 ? L.F_TRAIN : 0;
  for (let i = 0; i < links; i++) {
    r.frames.owner[f + i] = RINGS;
    r.frames.next[f + i] = i + 1 < links ? f + i + 1 : -1;
  }
  r.ring.put(1);
}

/** Buries worker 0: frames that were swept, and those that its successor finds. */
function bury(r: Rig): { swept: number[]; kept: number[] } {
  r.ring.flush();
  const swept: number[] = [];
  keepUntaken(r.words, 0, r.frames, RINGS);
  sweepWorker(r.frames, 0, (f) => {
    r.frames.owner[f] = L.OWNER_FREE;
    swept.push(f);
  });
  const n = keepAgain(r.words, 0, r.frames, RINGS);
  const heir = new RingConsumer(r.words, 0);
  assert.is(heir.readyNow(), n);
  const kept: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let f = r.words[heir.slot(i) + L.D_FRAME]!; f >= 0; f = r.frames.next[f]!) {
      assert.is(r.frames.owner[f], RINGS);
      kept.push(f);
      if ((r.words[heir.slot(i) + L.D_FLAGS_GSO]! & L.F_TRAIN) === 0) break;
    }
  }
  return { swept, kept };
}

test('nothing taken: all stay, across the wrap of the ring', () => {
  const r = rig();
  for (let i = 0; i < 6; i++) put(r, i);
  r.ring.flush();
  const dead = new RingConsumer(r.words, 0);
  dead.take(dead.readyNow());
  dead.flush();
  for (let f = 0; f < 6; f++) r.frames.owner[f] = L.OWNER_FREE;
  put(r, 8);
  put(r, 10, 3);
  put(r, 9);
  assert.equal(bury(r), { swept: [], kept: [8, 10, 11, 12, 9] });
});

test('what it had in hand is swept, index published or not; frames elsewhere in its rings, too', () => {
  const r = rig();
  for (let f = 0; f < 5; f++) put(r, f);
  r.frames.owner[0] = r.frames.owner[1] = WORKER;
  // Credit.
  r.frames.owner[20] = RINGS;
  assert.equal(bury(r), { swept: [0, 1, 20], kept: [2, 3, 4] });
});

for (let links = 1; links <= 3; links++)
  test(`in the middle of taking a train, ${links} of 3 links`, () => {
    const r = rig();
    put(r, 0, 3);
    put(r, 4);
    for (let i = 0; i < links; i++) r.frames.owner[i] = WORKER;
    assert.equal(bury(r), { swept: [0, 1, 2], kept: [4] });
  });

test('taken and gone home: another generation, and perhaps granted again', () => {
  const r = rig();
  put(r, 0);
  put(r, 1);
  put(r, 2);
  // Home, and back as credit.
  r.frames.generation[0]!++;
  r.frames.owner[0] = RINGS;
  const { swept, kept } = bury(r);
  assert.equal(swept, [0]);
  assert.equal(kept, [1, 2]);
});

test('what was taken stands before what was not: a frame before one in hand is not kept', () => {
  const r = rig();
  for (let f = 0; f < 4; f++) put(r, f);
  // 0 is on its way home, index not published; 1 in hand.
  r.frames.owner[1] = WORKER;
  assert.equal(bury(r), { swept: [0, 1], kept: [2, 3] });
});

test('taken and on its way home, neither index published: claimed, so it is not had again', () => {
  const r = rig();
  for (let f = 0; f < 4; f++) put(r, f);
  r.ring.flush();
  const dead = new RingConsumer(r.words, 0);
  assert.is(dead.readyNow(), 4);
  for (let i = 0; i < 2; i++) {
    dead.claiming(i);
    dead.claimed(i);
  }
  dead.claiming(2);
  assert.equal(bury(r), { swept: [0, 1, 2], kept: [3] });
});

test('a train that lost its links, or has too many, is no train', () => {
  const r = rig();
  put(r, 0, 2);
  put(r, 4, 2);
  r.frames.next[5] = 9;
  assert.equal(bury(r), { swept: [0, 1, 4, 5], kept: [] });
});

test.run();
