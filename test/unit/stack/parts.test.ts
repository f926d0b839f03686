/** The parts alone: wheel, flow table, chunk pool, hashes, ready list, arena plan. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { clearWords, createArena, SharedArena } from '../../../src/rings/arena.ts';
import { arenaBytes } from '../../../src/stack/arenaPlan.ts';
import { ChunkPool } from '../../../src/stack/chunkPool.ts';
import { FlowTable } from '../../../src/stack/flowTable.ts';
import { EPOLLIN, EPOLLOUT } from '../../../src/stack/sockets.ts';
import { createCongestion } from '../../../src/stack/tcp/congestion/newreno.ts';
import { halfSip, halfSipTable } from '../../../src/stack/tcp/isn.ts';
import type { Machine } from '../../../src/stack/tcp/machine.ts';
import { createNewReno } from '../../../src/stack/tcp/recovery/newreno.ts';
import { createRtoEstimator } from '../../../src/stack/tcp/recovery/rto.ts';
import { EDGES, STATES, STATE_NAME } from '../../../src/stack/tcp/states.ts';
import { idOf, rowOf, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { Wheel } from '../../../src/stack/tcp/wheel.ts';
import { ACK, CONFIG, SYN, Trace, trace } from './trace.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);
let x = seed | 1;
const random = (n: number): number => {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return (x >>> 0) % n;
};
const arena = (bytes: number): SharedArena => new SharedArena(createArena(bytes));

test('wheel: every entry fires in its millisecond, across all levels and the wrap of the clock', () => {
  const tcb = new Tcb(arena(1 << 21), 1024);
  const start = (2 ** 31 - 3000) | 0;
  const wheel = new Wheel(arena(1 << 16), tcb, start);
  const due = new Map<number, number>();
  for (let c = 0; c < 1000; c++) {
    const ahead = 1 + random([300, 70000, 3_000_000][c % 3]!);
    due.set(c, ahead);
    wheel.arm(rowOf(c), (start + ahead) | 0);
  }
  for (let c = 0; c < 1000; c += 10) {
    wheel.disarm(rowOf(c));
    due.delete(c);
  }
  // Re-armed later stays (lazy), re-armed earlier moves.
  wheel.arm(rowOf(1), (start + due.get(1)! + 500) | 0);
  if (due.get(2)! > 5) {
    wheel.arm(rowOf(2), (start + 5) | 0);
    due.set(2, 5);
  }
  let now = start;
  while (due.size > 0) {
    const next = wheel.nextMs(now);
    assert.ok(next >= 0, 'entries left');
    now = (now + Math.max(1, Math.min(next, 1 + random(400)))) | 0;
    const before = (now - start) | 0;
    wheel.advance(now, (row) => {
      const c = idOf(row);
      assert.ok(due.has(c), `${c} fired twice`);
      assert.ok(due.get(c)! <= before, `${c} fired early`);
      due.delete(c);
    });
    for (const [c, at] of due) assert.ok(at > before, `${c} is late: ${at} at ${before}`);
  }
  assert.is(wheel.count, 0);
  assert.is(wheel.nextMs(now), -1);
});

test('wheel: a standstill of twenty days is caught up in slots, every entry once and in order', () => {
  const tcb = new Tcb(arena(1 << 21), 1024);
  const heads = arena(1 << 16);
  const wheel = new Wheel(heads, tcb, -1000);
  const due: number[] = [];
  for (let c = 0; c < 600; c++) {
    due[c] = 1 + random([200, 60_000, 16_000_000][c % 3]!);
    wheel.arm(rowOf(c), (-1000 + due[c]!) | 0);
  }
  const fired: number[] = [];
  const standstill = 20 * 86_400_000;
  wheel.advance((-1000 + standstill) | 0, (row) => {
    const c = idOf(row);
    // Armed again from the callback, as timers do: beyond the standstill, so it comes by a few times before.
    if (!fired.includes(c)) fired.push(c);
    if (c === 0) wheel.arm(0, (-1000 + standstill + 50) | 0);
  });
  assert.is(fired.length, 600);
  assert.equal(
    fired.map((c) => due[c]!),
    [...due].sort((a, b) => a - b),
  );
  assert.is(wheel.count, 1);
  // 1.7 billion milliseconds: each entry costs at most a round of the two levels it sinks through.
  assert.ok(wheel.steps < (600 + 110) * 512, `${wheel.steps} steps`);
  let again = 0;
  wheel.advance((-1000 + standstill + 50) | 0, () => again++);
  assert.is(again, 1);
});

test('wheel: nextMs never oversleeps an entry of an upper level', () => {
  const tcb = new Tcb(arena(1 << 21), 16);
  const wheel = new Wheel(arena(1 << 16), tcb, 1000);
  wheel.arm(0, 1000 + 250);
  wheel.advance(1240, () => assert.unreachable());
  wheel.arm(rowOf(1), 1240 + 300);
  wheel.disarm(0);
  wheel.arm(rowOf(2), 1240 + 255);
  assert.ok(wheel.nextMs(1240) <= 255);
});

test('flow table: adds, finds, removes like a Map', () => {
  const tcb = new Tcb(arena(1 << 22), 512);
  const table = new FlowTable(arena(1 << 20), tcb, 11, 22);
  const model = new Map<string, number>();
  const free = Array.from({ length: 512 }, (_, i) => rowOf(i));
  for (let i = 0; i < 20000; i++) {
    const ip = random(8);
    const ports = random(200);
    const hash = table.hash(ip, 5, ports);
    const key = `${ip}/${ports}`;
    assert.is(table.find(ip, 5, ports, hash), model.get(key) ?? -1);
    if (model.has(key) && random(2) === 0) {
      table.remove(model.get(key)!);
      free.push(model.get(key)!);
      model.delete(key);
    } else if (!model.has(key) && free.length > 0) {
      const c = free.pop()!;
      tcb.remoteIp[c] = ip;
      tcb.localIp[c] = 5;
      tcb.ports[c] = ports;
      tcb.tableHash[c] = hash;
      table.add(c);
      model.set(key, c);
    }
  }
  assert.is(table.used, model.size);
});

/** HalfSipHash-c-d as its paper has it: words, rounds, finalization. */
function halfSipByTheBook(k0: number, k1: number, words: number[], c: number, d: number): number {
  const rotl = (x: number, n: number): number => (x << n) | (x >>> (32 - n));
  const v = [k0, k1, k0 ^ 0x6c796765, k1 ^ 0x74656462] as [number, number, number, number];
  const rounds = (n: number): void => {
    for (let r = 0; r < n; r++) {
      v[0] = (v[0] + v[1]) | 0;
      v[1] = rotl(v[1], 5) ^ v[0];
      v[0] = rotl(v[0], 16);
      v[2] = (v[2] + v[3]) | 0;
      v[3] = rotl(v[3], 8) ^ v[2];
      v[0] = (v[0] + v[3]) | 0;
      v[3] = rotl(v[3], 7) ^ v[0];
      v[2] = (v[2] + v[1]) | 0;
      v[1] = rotl(v[1], 13) ^ v[2];
      v[2] = rotl(v[2], 16);
    }
  };
  for (const x of [...words, (words.length * 4) << 24]) {
    v[3] ^= x;
    rounds(c);
    v[0] ^= x;
  }
  v[2] ^= 0xff;
  rounds(d);
  return v[1] ^ v[3];
}

test('HalfSipHash: its vector, the paper’s rounds, and close inputs differ in about half of the bits', () => {
  // vectors_hsip32[12] of the reference implementation: key 00 01 … 07, message 00 01 … 0b.
  assert.is(halfSip(0x03020100, 0x07060504, 0x03020100, 0x07060504, 0x0b0a0908), 0x2f87f057);
  for (let i = 0; i < 1000; i++) {
    const [k0, k1, a, b, m] = Array.from({ length: 5 }, () => random(2 ** 32) | 0) as [number, number, number, number, number];
    assert.is(halfSip(k0, k1, a, b, m), halfSipByTheBook(k0, k1, [a, b, m], 2, 4));
    assert.is(halfSipTable(k0, k1, a, b, m), halfSipByTheBook(k0, k1, [a, b, m], 1, 3));
  }
  assert.is.not(halfSip(1, 2, 3, 4, 5), halfSip(1, 3, 3, 4, 5));
  let bits = 0;
  for (let i = 0; i < 1000; i++) {
    const a = random(2 ** 31);
    let d = halfSipTable(7, 9, a, 1, 2) ^ halfSipTable(7, 9, a ^ (1 << (i & 31)), 1, 2);
    for (; d !== 0; d &= d - 1) bits++;
  }
  assert.ok(bits > 15000 && bits < 17000, `${bits / 1000} bits of 32`);
});

test('chunk pool: reserve keeps chunks for in-order data, spare ones stop at an eighth', () => {
  const pool = new ChunkPool(arena(1 << 20), 64, 2048);
  assert.ok(pool.reserve(10 * 2048));
  let n = 0;
  while (pool.takeSpare() >= 0) n++;
  assert.is(n, 64 - 8 - 8 - 12);
  assert.ok(pool.reserve(2048));
  assert.not(pool.reserve(20 * 2048));
  for (n = 0; pool.takeForSending() >= 0; n++);
  assert.is(n, 8, 'an eighth is left for sending');
});

test('words of an arena are cleared to the last one, and none beside them', () => {
  const { i32 } = arena(1 << 16);
  for (const [at, words] of [
    [40, 5000],
    [1024, 2048],
    [33, 1],
  ] as const) {
    i32.fill(7);
    i32.fill(0, at + 1, at + (words >> 1));
    clearWords(i32, at, words);
    assert.ok(i32.subarray(at, at + words).every((w) => w === 0));
    assert.is(i32.filter((w) => w === 7).length, i32.length - words);
  }
});

test('the arena plan is enough, and not twice too much', () => {
  for (const o of [
    {},
    { maxConnections: 16384, chunks: 8192, rcvbuf: 262144, sndbuf: 262144 },
    { maxConnections: 1, chunks: 8, burst: 1 },
    { burst: 64 },
  ]) {
    const t = new Trace({ config: o });
    t.end();
    const bytes = arenaBytes({ ...CONFIG, ...o });
    const exact = arena(bytes);
    assert.ok(exact.memory.byteLength >= bytes);
  }
  const bytes = arenaBytes({ ...CONFIG, maxConnections: 16384, chunks: 8192, rcvbuf: 262144, sndbuf: 262144 });
  assert.ok(bytes < 32 << 20, `${bytes} bytes`);
});

test('state edges: CLOSED is reached from everywhere, nothing leaves TIME_WAIT but to it', () => {
  for (let s = 1; s < STATES; s++) assert.ok((EDGES[s]! & 1) !== 0, STATE_NAME[s]);
  assert.is(EDGES[10], 1);
});

test('RFC 6298: the worked example', () => {
  const tcb = new Tcb(arena(1 << 20), 4);
  const rto = createRtoEstimator({ tcb, config: { ...CONFIG, rtoMinMs: 1 } } as unknown as Machine);
  rto.sample(0, 100_000);
  assert.is(tcb.rtoMs[0], 300);
  rto.sample(0, 180_000);
  assert.is(tcb.rtoMs[0], 340);
  rto.backOff(0);
  assert.is(tcb.rtoMs[0], 680);
});

test('RFC 5681 and 6582: the worked example', () => {
  const tcb = new Tcb(arena(1 << 20), 4);
  const m = { tcb, counted: new Float64Array(128) } as unknown as Machine;
  const window = createCongestion(m);
  const c = createNewReno(m, window);
  tcb.mss[0] = 1000;
  tcb.cwnd[0] = 10_000;
  tcb.ssthresh[0] = 0x3fffffff;
  tcb.sndUna[0] = 1;
  tcb.sndMax[0] = 10_001;
  tcb.recover[0] = 0;
  c.onDuplicate(0);
  c.onDuplicate(0);
  c.onDuplicate(0);
  assert.equal([tcb.ssthresh[0], tcb.cwnd[0]], [5000, 8000]);
  tcb.sndUna[0] = 2001;
  c.onAck(0, 2000, 10_000);
  assert.is(tcb.cwnd[0], 7000);
  tcb.sndUna[0] = 10_001;
  tcb.sndMax[0] = 20_001;
  c.onAck(0, 8000, 8000);
  assert.is(tcb.cwnd[0], 5000);
  assert.is(window.initialWindow(1460), 14600);
  assert.is(window.initialWindow(9000), 18000);
});

test(
  'ready list: routed sockets are listed once, edges and levels, a freed one is reaped by its consumer',
  trace({}, (t) => {
    const r = t.sockets.ready;
    const a = t.accepted();
    const q = r.openConsumer();
    assert.is(q, 1);
    r.route(a, q);
    assert.is(r.first(q), a);
    assert.is(r.levels(a), EPOLLOUT);
    r.unlink(q, a, -1);
    assert.is(r.first(q), -1);
    r.takeEdges(a);
    t.recv(ACK, { seq: 1, ack: 1, len: 5 });
    t.recv(ACK, { seq: 6, ack: 1, len: 5 });
    assert.is(r.first(q), a);
    assert.is(r.after(a), -1);
    assert.is(r.takeEdges(a), EPOLLIN);
    assert.is(r.takeEdges(a), 0);
    assert.is(r.levels(a), EPOLLIN | EPOLLOUT);
    t.sockets.abort(a);
    assert.is(r.levels(a), 0);
    assert.is(r.first(q), a);
    // Still listed: its id is not given out again until the consumer takes it off.
    const b = t.sockets.open();
    assert.is.not(b, a);
    r.unlink(q, a, -1);
    const c = t.sockets.open();
    assert.is(c, a);
    r.closeConsumer(q);
    assert.is(r.openConsumer(), 1);
    for (const s of [b, c]) t.sockets.close(s);
  }),
);

test(
  'ready list: order, unlinking in the middle, moving to another consumer',
  trace({}, (t) => {
    const r = t.sockets.ready;
    t.listen();
    const q = r.openConsumer();
    const p = r.openConsumer();
    const s = [1, 2, 3].map((i) => {
      t.recv(SYN, { port: 1000 + i });
      t.sends(SYN | ACK);
      t.recv(ACK, { seq: 1, ack: 1, port: 1000 + i });
      const c = t.sockets.accept(t.listener);
      r.route(c, q);
      return c;
    });
    const list = (consumer: number): number[] => {
      const out = [];
      for (let c = r.first(consumer); c >= 0; c = r.after(c)) out.push(c);
      return out;
    };
    assert.equal(list(q), s);
    r.unlink(q, s[1]!, s[0]!);
    assert.equal(list(q), [s[0], s[2]]);
    r.route(s[2]!, p);
    assert.equal(list(q), [s[0]]);
    assert.equal(list(p), [s[2]]);
    assert.is(r.consumerOf(s[2]!), p);
  }),
);

test.run();
