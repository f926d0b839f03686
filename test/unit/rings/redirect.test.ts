/** Frames that one worker sends on to another whose stack is gone: they go home, every link of a train. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import { D_FRAME, DESC_WORDS, OWNER_RING } from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';

const SIZES = { rx: 16, tx: 16, grant: 16, redirect: 8 };
const FRAMES = 16;

test('redirected frames of a worker that has gone quiet come home', () => {
  const plan = planPortRings(3, FRAMES, SIZES);
  const block = createPortRings(plan, FRAMES, SIZES);
  const frames = new FrameTable(createFrameTable(0, FRAMES, 2048), new SharedArrayBuffer(FRAMES * 2048));
  const workers = [0, 1, 2].map((w) => new WorkerPort(block, plan, w, frames));
  const broker = new BrokerPort(block, plan, 1);
  const send = (from: number, frame: number): void => {
    const ring = workers[from]!.redirectOut[1]!;
    assert.is(ring.room(1), 1);
    const s = ring.slot(0);
    ring.words.fill(0, s, s + DESC_WORDS);
    ring.words[s + D_FRAME] = frame;
    frames.owner[frame] = OWNER_RING;
    ring.put(1);
    ring.flush();
  };
  const quiet = workers[1]!;
  assert.not(quiet.redirected());
  assert.is(quiet.discardRedirected(), 0);
  // A train of three from worker 0, a single frame from worker 2.
  frames.next[3] = 4;
  frames.next[4] = 5;
  send(0, 3);
  send(2, 9);
  assert.ok(quiet.redirected());
  assert.is(quiet.discardRedirected(), 2);
  quiet.flush();
  assert.not(quiet.redirected());
  const home: number[] = [];
  for (let n = broker.recycle.readyNow(); n > 0; n--) {
    home.push(broker.recycle.words[broker.recycle.slot(0)]!);
    broker.recycle.take(1);
  }
  assert.equal(home, [3, 4, 5, 9]);
});

test.run();
