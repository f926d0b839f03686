// When a dead worker is replaced, when not, and whose heartbeat counts as stopped.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BACKOFF_MAX_MS, HEALTHY_MS, RestartPolicy, Watchdog, WINDOW_MS } from '../../../src/main/supervisor.ts';

const policy = (o: Partial<{ restart: boolean; restarts: number; backoffMs: number }> = {}): RestartPolicy =>
  new RestartPolicy({ restart: true, backoffMs: 100, restarts: 1000, watchdogMs: 0, ...o });

test('the first restart is at once, further ones after doubling pauses up to 5 s', () => {
  const p = policy();
  p.born(0, 0);
  const pauses = Array.from({ length: 10 }, (_, i) => p.died(0, i));
  assert.equal(pauses, [0, 100, 200, 400, 800, 1600, 3200, BACKOFF_MAX_MS, BACKOFF_MAX_MS, BACKOFF_MAX_MS]);
  assert.is(p.died(1, 20), 0, 'another worker has pauses of its own');
});

test('ten seconds of health start the pauses over', () => {
  const p = policy();
  p.born(0, 0);
  assert.equal([p.died(0, 1), p.died(0, 2)], [0, 100]);
  p.born(0, 1000);
  assert.is(p.died(0, 1000 + HEALTHY_MS - 1), 200);
  p.born(0, 20_000);
  assert.is(p.died(0, 20_000 + HEALTHY_MS), 0);
});

test('more deaths within a minute than are forgiven end the run; older ones are forgotten', () => {
  const p = policy({ restarts: 2, backoffMs: 0 });
  assert.equal([p.died(0, 0), p.died(1, 1)], [0, 0]);
  assert.is(p.died(0, WINDOW_MS), 0, 'the first death is a minute old');
  assert.is(p.died(0, WINDOW_MS + 0.5), -1);
  assert.is(policy({ restarts: 0 }).died(0, 0), -1);
  assert.is(policy({ restart: false }).died(0, 0), -1);
});

test('a heartbeat that stands still for the limit is found, once; one that moves, or is none, is not', () => {
  const dog = new Watchdog(3, 1000, 100);
  const found: [number, number][] = [];
  let beat = 0;
  for (let t = 0; t <= 1300; t += 100) for (const w of dog.look(t, (i) => (i === 0 ? 7 : i === 1 ? beat++ : null))) found.push([t, w]);
  assert.is(found.length, 1);
  assert.ok(found[0]![0] >= 1000 && found[0]![0] <= 1100, String(found[0]![0]));
});

test('time in which main did not look counts as two looks at most', () => {
  const dog = new Watchdog(1, 1000, 100);
  dog.look(0, () => 1);
  dog.look(100, () => 1);
  assert.equal(
    dog.look(60_000, () => 1),
    [],
    'the whole process was stopped',
  );
  let t = 60_000;
  let looks = 0;
  while (dog.look((t += 100), () => 1).length === 0) looks++;
  assert.ok(looks >= 5 && looks <= 8, String(looks));
});

test.run();
