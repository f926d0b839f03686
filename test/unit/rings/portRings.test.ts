// The four rings and the redirect rings under a broker and two workers that behave at random: no frame is ever in two
// hands, none is lost, and at the end the audit finds all of them free.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { auditFrames, createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import { OWNER_WORKER } from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import type { PortRingsJob, PortRingsResult } from './portRingsThread.ts';
import { seedOf, startThread } from './threads.ts';

const THREAD = new URL('./portRingsThread.js', import.meta.url);
const seed = seedOf('portRings');
const FRAME_BYTES = 2048;

async function run(workers: number, frames: number, slots: number, steps: number): Promise<void> {
  const sizes = { rx: slots, tx: slots, grant: slots, redirect: slots };
  const plan = planPortRings(workers, frames, sizes);
  const rings = createPortRings(plan, frames, sizes);
  const table = createFrameTable(3, frames, FRAME_BYTES);
  const memory = new SharedArrayBuffer(frames * FRAME_BYTES);
  const flags = new SharedArrayBuffer(64);
  const job = (worker: number): PortRingsJob => ({ rings, plan, table, memory, flags, worker, steps, seed });
  const threads = [-1, ...Array.from({ length: workers }, (_, w) => w)].map((w) => startThread<PortRingsResult>(THREAD, job(w)));
  const view = new FrameTable(table, memory);
  let audits = 0;
  const watching = setInterval(() => {
    // Any moment: an owner is always one of the six, whoever is writing.
    const a = auditFrames(view);
    let sum = a.free + a.device + a.broker + a.ring + a.lease;
    for (const n of a.workers.values()) sum += n;
    if (a.unknown === 0 && sum === a.total) audits++;
    else audits = -Infinity;
  }, 2);
  let results: PortRingsResult[];
  try {
    results = await Promise.all(threads.map((t) => t.done));
  } finally {
    clearInterval(watching);
  }
  assert.equal(
    results.flatMap((r) => r.errors),
    [],
  );
  assert.ok(audits > 0, 'audits while it ran');
  const [broker, ...others] = results as [PortRingsResult, ...PortRingsResult[]];
  const sum = (key: 'received' | 'sent' | 'redirected'): number => others.reduce((n, r) => n + r[key], 0);
  assert.is(sum('received'), broker.received, 'every descriptor arrived');
  assert.is(broker.sent, sum('sent'), 'every descriptor was sent');
  assert.ok(sum('redirected') > 0 || workers === 1);
  assert.ok(broker.received > steps / 4, `${broker.received} received`);
  const end = auditFrames(view);
  assert.equal([end.free, end.unknown, end.total], [frames, 0, frames]);
}

test('a broker and two workers', () => run(2, 512, 64, 12_000));
test('a broker and three workers, rings of four slots, few frames', () => run(3, 96, 4, 6_000));
test('a broker and one worker', () => run(1, 256, 32, 6_000));

test('credit is asked for as it is needed, and goes back at the end', () => {
  const sizes = { rx: 8, tx: 8, grant: 8, redirect: 8 };
  const plan = planPortRings(1, 16, sizes);
  const rings = createPortRings(plan, 16, sizes);
  const frames = new FrameTable(createFrameTable(0, 16, FRAME_BYTES), new SharedArrayBuffer(16 * FRAME_BYTES));
  const broker = new BrokerPort(rings, plan, 0);
  const port = new WorkerPort(rings, plan, 0, frames);
  assert.equal([port.takeFrame(), port.credit(1)], [-1, 0]);
  for (let f = 0; f < 8; f++) {
    assert.is(broker.grant.room(1), 1);
    broker.grant.words[broker.grant.slot(0)] = f;
    broker.grant.put(1);
  }
  assert.is(broker.grant.room(1), 0);
  broker.flush();
  assert.is(port.credit(3), 8);
  const taken = port.takeFrame();
  assert.is(frames.owner[taken], OWNER_WORKER);
  port.freeFrame(taken);
  port.returnCredit();
  assert.is(broker.recycle.readyNow(), 8);
  assert.is(port.credit(1), 0);
});

test.run();
