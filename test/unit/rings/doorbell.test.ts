// Bells: no wake is lost in any kind of sleep, and ringing an awake thread writes nothing.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AWAKE, BELL_COUNT, BELL_MODE, Doorbell, SLEEP_ASYNC, SLEEP_POLL, SLEEP_WAIT } from '../../../src/rings/doorbell.ts';
import type { DoorbellJob, DoorbellResult } from './doorbellThread.ts';
import { seedOf, startThread } from './threads.ts';

const THREAD = new URL('./doorbellThread.js', import.meta.url);
const seed = seedOf('doorbell');

async function play(mode: number, rounds: number): Promise<void> {
  const block = new SharedArrayBuffer(192 * 4);
  new Int32Array(block)[0] = 1;
  const job = (player: 0 | 1): DoorbellJob => ({ block, player, rounds, mode, seed });
  const threads = [startThread<DoorbellResult>(THREAD, job(0)), startThread<DoorbellResult>(THREAD, job(1))];
  const results = await Promise.all(threads.map((t) => t.done));
  for (const r of results) assert.is(r.rounds, rounds);
  assert.ok(results.reduce((n, r) => n + r.sleeps, 0) > rounds / 20, 'the run did sleep');
}

test('Atomics.wait: ten thousand rounds', () => play(SLEEP_WAIT, 10_000));
test('poll with an eventfd: ten thousand rounds', () => play(SLEEP_POLL, 10_000));
test('Atomics.waitAsync: three thousand rounds', () => play(SLEEP_ASYNC, 3_000));

test('ringing who is awake leaves the bell as it is', () => {
  const words = new Int32Array(new SharedArrayBuffer(128));
  let written = 0;
  const bell = new Doorbell(words, 0, () => written++);
  bell.awake();
  for (let i = 0; i < 1000; i++) bell.ring();
  assert.equal([words[BELL_MODE], words[BELL_COUNT], written], [AWAKE, 0, 0]);
});

test('a ring between prepare and wait is not slept through', () => {
  const words = new Int32Array(new SharedArrayBuffer(128));
  const bell = new Doorbell(words, 0);
  const ticket = bell.prepare(SLEEP_WAIT);
  new Doorbell(words, 0).ring();
  const before = performance.now();
  assert.ok(bell.wait(ticket, 5000));
  assert.ok(performance.now() - before < 1000);
  bell.awake();
});

test('a wait that nobody ends says so', () => {
  const bell = new Doorbell(new Int32Array(new SharedArrayBuffer(128)), 0);
  assert.not(bell.wait(bell.prepare(SLEEP_WAIT), 5));
});

test('mode poll writes to the eventfd that the sleeper has set, and to no other bell', () => {
  const words = new Int32Array(new SharedArrayBuffer(128));
  const fds: number[] = [];
  const bell = new Doorbell(words, 0, (fd) => fds.push(fd));
  bell.setEventfd(42);
  bell.prepare(SLEEP_POLL);
  bell.ring();
  bell.awake();
  bell.ring();
  assert.equal(fds, [42]);
});

test.run();
