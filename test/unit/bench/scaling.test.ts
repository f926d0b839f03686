// The scaling model: worked figures, and the document that keeps measured and modelled apart.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Answer } from '../../../bench/report.ts';
import { report, scalingDocument } from '../../../bench/report.ts';
import { type Costs, CORES, LAYOUTS, modelled, threadCosts, workersToFill } from '../../../bench/scalingModel.ts';

/** An operation is a frame in and a frame out: 400 ns of the worker's stages, 200 of the dispatcher's, 80 ns a descriptor's way. */
const COSTS: Costs = { pull: 120, input: 150, app: 100, output: 150, push: 80, packetsIn: 1, packetsOut: 1, crossing: 80 };

test('what an operation takes of each kind of thread', () => {
  // 200 + 2 descriptors at 80 + 2 ids at 10; 400 + the same.
  assert.equal(threadCosts('dispatcher', COSTS), { dispatcher: 380, worker: 580 });
  assert.equal(threadCosts('run-to-completion', COSTS), { dispatcher: 0, worker: 600 });
  // Receiving: 120 + 80 + 20 + 10; sending: 80 + 80 + 10.
  assert.equal(threadCosts('dispatcher-rx-tx', COSTS), { dispatcher: 230, worker: 580 });
});

test('the slowest kind of thread decides', () => {
  assert.equal(modelled('run-to-completion', COSTS, 6), { perSecond: 1e7, limit: 'workers' });
  assert.equal(modelled('dispatcher', COSTS, 2), { perSecond: 1e9 / 580, limit: 'workers' });
  assert.equal(modelled('dispatcher', COSTS, 3), { perSecond: 1e9 / 380, limit: 'dispatcher' });
  assert.is(workersToFill('dispatcher', COSTS), 2);
  assert.is(workersToFill('dispatcher-rx-tx', COSTS), 3);
  assert.is(workersToFill('run-to-completion', COSTS), null);
});

test('more cores never give less, and without crossings a dispatcher costs nothing but its own stages', () => {
  for (const layout of LAYOUTS)
    for (const [i, n] of CORES.entries())
      if (i > 0) assert.ok(modelled(layout, COSTS, n).perSecond >= modelled(layout, COSTS, CORES[i - 1]!).perSecond, `${layout}, ${n}`);
  assert.equal(threadCosts('dispatcher', { ...COSTS, crossing: 0 }), { dispatcher: 200, worker: 400 });
});

test('the document: rows, costs and model in docs/scaling.md, the rows alone in docs/benchmarks.md', () => {
  const environment = {
    date: '2026-01-02',
    cpu: 'A CPU',
    cores: null,
    sets: [],
    seconds: 1,
    rounds: 2,
  } as unknown as Answer['environment'];
  const row = { case: 'echo 64, 2 workers', port: 'switch', unit: 'round trips/s', ours: 4, peer: 2, peerName: '1 worker' } as const;
  const figures = { ratio: 2, ratioBest: 2, cpuRatio: null, spread: 0, interval: null };
  const exhibits = [{ title: 'Model: echo 64', text: ['An asterisk.'], head: ['layout', '4 cores'], rows: [['dispatcher', '1.7 M *']] }];
  const answer: Answer = { question: 'scaling', environment, rows: [{ ...row, ...figures }], skipped: [], exhibits };
  const text = scalingDocument(answer);
  assert.match(text, /^# Scaling\n/);
  assert.match(text, /a model|The model assumes/);
  assert.match(
    text,
    /## Measured: more workers\n[\s\S]*\| echo 64, 2 workers \| switch \|[\s\S]*## Model: echo 64\n\nAn asterisk\.\n\n\| layout \| 4 cores \|/,
  );
  const both = report([answer], []);
  assert.match(both, /\| echo 64, 2 workers \|/);
  assert.not.match(both, /Model: echo 64/);
});

test.run();
