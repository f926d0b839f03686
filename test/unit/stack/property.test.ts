/**
 * Properties over random traces: whatever arrives in whatever state, nothing throws, SND.UNA <= SND.NXT <= SND.MAX, the right
 * edge never moves back, chunks and frames add up and come home; and header prediction changes nothing but its counter.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SHUT_WR } from '../../../src/stack/sockets.ts';
import { setPrediction } from '../../../src/stack/tcp/input.ts';
import { rangesOf } from '../../../src/stack/tcp/recovery/scoreboard.ts';
import { TCB_ROW } from '../../../src/stack/tcp/tcb.ts';
import { CLOSED, LISTEN } from '../../../src/stack/tcp/states.ts';
import { ACK, FIN, PEER, PSH, RST, SYN, Trace } from './trace.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

type Op =
  | { kind: 'segment'; flags: number; seq: number; ack: number; len: number; win: number; port: number; ts: number }
  | { kind: 'good'; len: number; fin: boolean; ack: boolean; skip: number }
  | { kind: 'sack'; at: number; len: number; more: number; ack: number }
  | { kind: 'write'; len: number }
  | { kind: 'read'; len: number }
  | { kind: 'pass'; ms: number }
  | { kind: 'call'; what: 'close' | 'abort' | 'shutdown' | 'connect' | 'accept' };

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('segment' as const),
      flags: fc.integer({ min: 0, max: 63 }),
      seq: fc.oneof(fc.integer({ min: -3, max: 6000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
      ack: fc.oneof(fc.integer({ min: -3, max: 6000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
      len: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 1400 })),
      win: fc.oneof(fc.constant(65535), fc.constant(0), fc.integer({ min: 0, max: 65535 })),
      port: fc.constantFrom(40000, 40000, 40001),
      ts: fc.integer({ min: 0, max: 3000 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('good' as const),
      len: fc.integer({ min: 0, max: 1400 }),
      fin: fc.constantFrom(false, false, false, true),
      ack: fc.boolean(),
      skip: fc.constantFrom(0, 0, 0, -50, 700, 1400),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('sack' as const),
      at: fc.integer({ min: -100, max: 9000 }),
      len: fc.integer({ min: -10, max: 3000 }),
      more: fc.integer({ min: 0, max: 4000 }),
      ack: fc.constantFrom(0, 0, 0, 700, 1460),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('write' as const), len: fc.integer({ min: 1, max: 9000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('read' as const), len: fc.integer({ min: 1, max: 9000 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 50, 300, 5000, 70000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('call' as const),
      what: fc.constantFrom('close' as const, 'abort' as const, 'shutdown' as const, 'connect' as const, 'accept' as const),
    }),
  },
);

/** What the peer has seen of us: the largest ack and the largest right edge. */
class Peer {
  ack = 1;
  edge = -Infinity;
  next = 1;
  sent = 1;
}

function invariants(t: Trace): void {
  const c = t.machine.tcb;
  for (let s = 0; s < c.end; s += TCB_ROW) {
    if (c.state[s] === CLOSED || c.state[s] === LISTEN) continue;
    assert.ok(((c.sndNxt[s]! - c.sndUna[s]!) | 0) >= 0, 'SND.UNA <= SND.NXT');
    assert.ok(((c.sndMax[s]! - c.sndNxt[s]!) | 0) >= 0, 'SND.NXT <= SND.MAX');
    const out = (c.sndMax[s]! - c.sndUna[s]!) | 0;
    assert.ok(c.sackBytes[s]! >= 0 && c.sackBytes[s]! + c.lostBytes[s]! <= out, 'reported and lost is at most what is out');
    assert.ok(t.machine.board.pipe(s) >= 0, 'pipe');
    assert.ok(c.sbLen[s]! >= 0 && c.sbLen[s]! <= t.config.sndbuf, 'send buffer');
    assert.ok(c.rbLen[s]! + c.pfLen[s]! >= 0 && c.rbLen[s]! + c.pfLen[s]! <= t.config.rcvbuf, 'receive buffer');
    assert.ok(c.pfHead[s]! < 0, 'no frame outlives its breath');
    assert.ok(((c.rcvAdv[s]! - c.rcvNxt[s]!) | 0) >= 0, 'RCV.NXT is inside the advertised window');
  }
}

function run(ops: Op[], timestamps: boolean): unknown[] {
  const t = new Trace({ config: { timestamps, rcvbuf: 8192, sndbuf: 16384, chunks: 64, timeWaitMs: 1000, nagle: true, coalesce: true } });
  const log: unknown[] = [];
  const peer = new Peer();
  const buffer = Buffer.alloc(9000);
  let s = t.accepted(timestamps ? { ts: [1000, 0], sackOk: true } : { sackOk: true });
  const ts = (n: number) => (timestamps ? { ts: [1000 + n, 0] as const } : {});
  const edges = new Map<number, number>();
  for (const o of ops) {
    if (o.kind === 'segment') t.recv(o.flags, { seq: o.seq, ack: o.ack, len: o.len, win: o.win, port: o.port, ...ts(o.ts) });
    else if (o.kind === 'good') {
      t.recv(ACK | PSH | (o.fin ? FIN : 0), { seq: peer.next + o.skip, ack: o.ack ? peer.sent : 1, len: o.len, ...ts(3000) });
    } else if (o.kind === 'sack') {
      // Blocks of what we sent, or not: any ACK may carry any.
      const una = peer.ack + o.ack <= peer.sent ? peer.ack + o.ack : peer.ack;
      peer.ack = una;
      const first = una + o.at;
      t.recv(ACK, {
        seq: peer.next,
        ack: una,
        sack: [
          [first, first + o.len],
          [first + o.len + o.more, first + 2 * o.len + o.more],
        ],
        ...ts(3000),
      });
    } else if (o.kind === 'write') {
      log.push(t.sockets.write(s, buffer, 0, o.len));
      t.breath();
    } else if (o.kind === 'read') {
      const n = t.sockets.read(s, buffer, 0, o.len, false);
      log.push(n, n > 0 ? buffer.subarray(0, n).toString('hex') : '');
      t.breath();
    } else if (o.kind === 'pass') t.pass(o.ms);
    else if (o.what === 'close') t.sockets.close(s);
    else if (o.what === 'abort') t.sockets.abort(s);
    else if (o.what === 'shutdown') t.sockets.shutdown(s, SHUT_WR);
    else if (o.what === 'connect') {
      const n = t.sockets.open();
      if (n >= 0) t.sockets.connect(n, PEER, 40001);
      t.breath();
    } else {
      const n = t.sockets.accept(t.listener);
      if (n >= 0) s = n;
    }
    invariants(t);
    for (const x of t.out.splice(0)) {
      log.push([x.flags, x.seq, x.ack, x.win, x.len]);
      if ((x.flags & SYN) !== 0) edges.delete(x.port);
      if (x.port !== 40000) continue;
      if ((x.flags & (ACK | SYN | RST)) === ACK) {
        const edge = (x.ack + x.win) | 0;
        const before = edges.get(x.port);
        if (before !== undefined) assert.ok(((edge - before) | 0) >= 0, `right edge moved back from ${before} to ${edge}`);
        edges.set(x.port, edge);
        peer.next = x.ack;
        peer.sent = x.seq + x.len + ((x.flags & FIN) !== 0 ? 1 : 0);
      }
    }
  }
  t.end();
  assert.is(t.machine.chunks.free, t.config.chunks, 'chunks come home');
  assert.is(t.machine.board.free, rangesOf(t.config.chunks), 'SACK ranges come home');
  return log;
}

test('any segment in any state: nothing throws, the invariants hold, everything comes home', () => {
  fc.assert(
    fc.property(fc.array(op, { minLength: 1, maxLength: 60 }), fc.boolean(), (ops, ts) => {
      run(ops, ts);
    }),
    { seed, numRuns: 300 },
  );
});

test('header prediction equals the book', () => {
  fc.assert(
    fc.property(fc.array(op, { minLength: 1, maxLength: 60 }), fc.boolean(), (ops, ts) => {
      setPrediction(true);
      const a = run(ops, ts);
      setPrediction(false);
      const b = run(ops, ts);
      setPrediction(true);
      assert.equal(b, a);
    }),
    { seed, numRuns: 150 },
  );
});

test('any split, order and overlap of a stream reassembles to the stream', () => {
  const piece = fc.record({ at: fc.integer({ min: 0, max: 7000 }), len: fc.integer({ min: 1, max: 1400 }) });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), fc.boolean(), (pieces, group, coalesce) => {
      const t = new Trace({ config: { rcvbuf: 16384, chunkBytes: 512, coalesce } });
      const s = t.accepted();
      let got = Buffer.alloc(0);
      t.app = () => {
        if (t.sockets.readable(s) > 0) got = Buffer.concat([got, t.read(s, 1 + ((got.length * 7) % 3000))]);
      };
      let n = 0;
      const all = [...pieces, ...Array.from({ length: 6 }, (_, i) => ({ at: i * 1400, len: 1400 }))];
      for (const p of all) {
        t.queue(ACK, { seq: 1 + p.at, ack: 1, len: p.len });
        if (++n % group === 0) t.breath();
      }
      for (let i = 0; i < 20; i++) t.breath();
      const end = Math.max(...all.map((p) => p.at + p.len));
      assert.is(got.length, end);
      for (let i = 0; i < end; i++) if (got[i] !== (((i * 7) ^ (i >> 8)) & 255)) assert.unreachable(`byte ${i} is wrong`);
      t.end();
    }),
    { seed, numRuns: 150 },
  );
});

test.run();
