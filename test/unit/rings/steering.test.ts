// Steering: exact unsigned modulo, placement by RETA, by modulo and by port masks, and masks changed by several threads.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAX_WORKERS, RETA_SIZE } from '../../../src/rings/layout.ts';
import { hashModulo, STEER_MODULO, STEER_RETA, STEER_TCP, STEER_UDP, STEERING_BYTES, Steering } from '../../../src/rings/steering.ts';
import { withdrawClaims } from '../../../src/workers/burial.ts';
import type { SteeringJob } from './steeringThread.ts';
import { bits31, seedOf, startThread } from './threads.ts';

const THREAD = new URL('./steeringThread.js', import.meta.url);
const seed = seedOf('steering');
const ROUNDS = 400_000;

function steering(workers: number, mode = STEER_RETA): { block: SharedArrayBuffer; s: Steering } {
  const block = new SharedArrayBuffer(STEERING_BYTES);
  Steering.format(block, 0, workers, mode);
  return { block, s: new Steering(block, 0) };
}

test('hashModulo is the modulo of the unsigned hash, for every number of workers', () => {
  const random = bits31(seed);
  const edges = [0, 1, -1, 0x7fffffff, -0x80000000, 65535, 65536, -65536];
  for (let n = 1; n <= MAX_WORKERS; n++) {
    for (const h of edges) assert.is(hashModulo(h, n), (h >>> 0) % n, `${h} % ${n}`);
    for (let i = 0; i < 500; i++) {
      const h = (random() << 1) ^ random();
      assert.is(hashModulo(h | 0, n), (h >>> 0) % n);
    }
  }
});

test('modulo places by the unsigned hash, RETA by its low bits, evenly', () => {
  for (let n = 1; n <= MAX_WORKERS; n++) {
    const { s } = steering(n, STEER_MODULO);
    for (const h of [5, -5, 0x7fffffff, -0x80000000]) assert.is(s.byHash(h), (h >>> 0) % n);
    const { s: reta } = steering(n);
    const count = new Array<number>(n).fill(0);
    for (let h = 0; h < RETA_SIZE; h++) {
      count[reta.byHash(h)]!++;
      assert.is(reta.byHash(h), reta.byHash(h | 0xffff0000));
    }
    assert.ok(Math.max(...count) - Math.min(...count) <= 1);
  }
});

test('0 and 65 workers are refused', () => {
  assert.throws(() => steering(0), /not in 1/);
  assert.throws(() => steering(65), /not in 1/);
});

test('a port served by some is steered among them only, the k-th for hash % n', () => {
  const { s } = steering(MAX_WORKERS);
  const random = bits31(seed + 1);
  for (let round = 0; round < 200; round++) {
    const port = 1 + round;
    const serving = [...new Set(Array.from({ length: 1 + (random() % 10) }, () => random() % MAX_WORKERS))].sort((a, b) => a - b);
    for (const w of serving) s.serve(STEER_TCP, port, w, true);
    for (let i = 0; i < 50; i++) {
      const h = ((random() << 1) ^ random()) | 0;
      assert.is(s.owner(STEER_TCP, h, port), serving[(h >>> 0) % serving.length]);
      assert.is(s.owner(STEER_UDP, h, port), s.byHash(h), 'UDP has its own table');
    }
    for (let w = 0; w < MAX_WORKERS; w++) assert.is(s.serves(STEER_TCP, port, w), serving.includes(w));
    assert.ok(s.served(STEER_TCP, port));
  }
  assert.not(s.served(STEER_TCP, 60000));
});

test('all 64 workers serve: every one is reached', () => {
  const { s } = steering(MAX_WORKERS);
  for (let w = 0; w < MAX_WORKERS; w++) s.serve(STEER_TCP, 80, w, true);
  for (let h = 0; h < MAX_WORKERS; h++) assert.is(s.owner(STEER_TCP, h, 80), h);
});

test('the owner before the last change: by hash before the first, -1 when there was none', () => {
  const { s } = steering(4);
  const h = 7;
  assert.is(s.ownerBefore(STEER_TCP, h, 80), -1);
  s.serve(STEER_TCP, 80, 2, true);
  assert.equal([s.owner(STEER_TCP, h, 80), s.ownerBefore(STEER_TCP, h, 80)], [2, s.byHash(h)]);
  s.serve(STEER_TCP, 80, 1, true);
  assert.equal([s.owner(STEER_TCP, h, 80), s.ownerBefore(STEER_TCP, h, 80)], [2, 2]);
  assert.is(s.owner(STEER_TCP, 6, 80), 1);
  s.serve(STEER_TCP, 80, 2, false);
  assert.equal([s.owner(STEER_TCP, h, 80), s.ownerBefore(STEER_TCP, h, 80), s.ownerBefore(STEER_TCP, 6, 80)], [1, 2, 1]);
});

test('saying again what stands does not forget the owner before', () => {
  const { s } = steering(4);
  s.serve(STEER_TCP, 80, 2, true);
  s.serve(STEER_TCP, 80, 3, true);
  const before = s.ownerBefore(STEER_TCP, 5, 80);
  s.serve(STEER_TCP, 80, 3, true);
  s.serve(STEER_TCP, 80, 0, false);
  assert.equal([before, s.ownerBefore(STEER_TCP, 5, 80)], [2, 2]);
});

test('the last to leave hands the port back to the hash', () => {
  const { s } = steering(3, STEER_MODULO);
  s.serve(STEER_UDP, 53, 1, true);
  assert.is(s.owner(STEER_UDP, 3, 53), 1);
  s.serve(STEER_UDP, 53, 1, false);
  assert.equal([s.owner(STEER_UDP, 3, 53), s.served(STEER_UDP, 53), s.ownerBefore(STEER_UDP, 3, 53)], [0, false, 1]);
});

test("a claimed port is one worker's alone until it ends to serve it; a claim without a server says nothing", () => {
  const { s } = steering(4);
  assert.ok(s.claim(STEER_UDP, 40000, 2));
  assert.equal([s.claimed(STEER_UDP, 40000), s.claimed(STEER_TCP, 40000), s.claimed(STEER_UDP, 40001)], [true, false, false]);
  assert.not(s.claim(STEER_UDP, 40000, 2), 'twice');
  assert.not(s.claim(STEER_UDP, 40000, 1));
  assert.not(s.share(STEER_UDP, 40000, 1));
  assert.ok(s.share(STEER_UDP, 40000, 2), 'its own');
  for (let h = 0; h < 8; h++) assert.is(s.owner(STEER_UDP, h, 40000), 2);
  s.serve(STEER_UDP, 40000, 2, false);
  assert.not(s.claimed(STEER_UDP, 40000));
  assert.ok(s.share(STEER_UDP, 40000, 1));
  assert.ok(s.share(STEER_UDP, 40000, 3), 'shared by who names it');
  assert.not(s.claim(STEER_UDP, 40000, 0), "nobody's to be given");
});

test('a dead worker keeps the UDP ports its program named, and loses those that were chosen for it', () => {
  const { s } = steering(4);
  s.share(STEER_UDP, 53, 2);
  s.share(STEER_UDP, 53, 3);
  s.claim(STEER_UDP, 40000, 2);
  s.claim(STEER_UDP, 40001, 3);
  withdrawClaims(s, 2, null, false);
  assert.equal([s.serves(STEER_UDP, 53, 2), s.served(STEER_UDP, 40000), s.served(STEER_UDP, 40001)], [true, false, true]);
});

test('a worker that dies again before it listens again keeps what it shares: survivors’ flows do not move', () => {
  const { s } = steering(4);
  for (const w of [0, 1, 2]) s.serve(STEER_TCP, 80, w, true);
  s.claim(STEER_TCP, 40000, 2);
  withdrawClaims(s, 2, null, true);
  assert.equal([s.serves(STEER_TCP, 80, 2), s.served(STEER_TCP, 40000)], [true, false]);
  withdrawClaims(s, 2, null, false);
  assert.equal([s.serves(STEER_TCP, 80, 2), s.serves(STEER_TCP, 80, 1)], [false, true]);
});

test('three threads change the masks of the same ports at once: each finds its last word kept', async () => {
  const { block, s } = steering(64);
  const workers = [0, 31, 40];
  const ports = 20;
  const gate = new SharedArrayBuffer(4);
  const job = (worker: number): SteeringJob => ({ block, worker, rounds: ROUNDS, ports, seed, gate, threads: workers.length });
  const words = await Promise.all(workers.map((w) => startThread<boolean[]>(THREAD, job(w)).done));
  const all = new Int32Array(block);
  assert.is(all[2], workers.length * ROUNDS, 'epoch: a step a call, none lost');
  for (let port = 1; port <= ports; port++) {
    for (const [i, w] of workers.entries()) assert.is(s.serves(STEER_TCP, port, w), words[i]![port - 1], `worker ${w} port ${port}`);
    const entry = 32 + RETA_SIZE + port * 4;
    const changed = [0, 1].map((half) => all[entry + half]! ^ all[entry + 2 + half]!);
    assert.is(
      changed.flatMap((x) => [...(x >>> 0).toString(2)]).filter((b) => b === '1').length,
      1,
      `port ${port}: one worker between the masks`,
    );
  }
  // The lock is free again.
  s.serve(STEER_TCP, 1, 5, true);
  assert.ok(s.serves(STEER_TCP, 1, 5));
});

test.run();
