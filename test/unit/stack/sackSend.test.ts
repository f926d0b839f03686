/** Loss recovery with SACK (RFC 6675): what the peer's blocks make us send again, and when. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import { C_TCP_FAST_RETRANS, C_TCP_RETRANS_SEGS, C_TCP_RTO_FIRED } from '../../../src/rings/counters.ts';
import { RANGES_MAX, Scoreboard, scoreboardWords } from '../../../src/stack/tcp/recovery/scoreboard.ts';
import { rowOf, T_RECOVERY, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { TcpOptions } from '../../../src/wire/tcpOptions.ts';
import { ACK, FIN, pattern, PSH, Trace, trace } from './trace.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const MSS = 1460;
/** Relative sequence number of segment `i`. */
const at = (i: number): number => 1 + i * MSS;
const span = (from: number, to: number): readonly [number, number] => [at(from), at(to)];
const starts = (t: Trace): number[] => t.out.splice(0).map((s) => (s.seq - 1) / MSS);

/** A connection with SACK and `segments` full segments out, all sent in the first window of ten. */
function sender(t: Trace, segments = 10, more = 0): number {
  const s = t.accepted({ sackOk: true });
  t.write(s, pattern(0, segments * MSS + more));
  t.breath();
  t.out.length = 0;
  return s;
}

/** The second of a few rows. */
const ROW = rowOf(1);
const inRecovery = (t: Trace, s: number): boolean => (t.machine.tcb.flags[t.row(s)]! & T_RECOVERY) !== 0;

test(
  'the third SACKed segment beyond the hole retransmits it',
  trace({}, (t) => {
    const s = sender(t);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 2)] });
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 3)] });
    t.silent();
    assert.not(inRecovery(t, s));
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 4)] });
    assert.equal(t.sends(ACK, { seq: 1, len: MSS }).data, pattern(0, MSS));
    t.silent();
    assert.is(t.counters.v[C_TCP_FAST_RETRANS], 1);
    t.recv(ACK, { seq: 1, ack: at(10) });
    assert.not(inRecovery(t, s));
  }),
);

test(
  'one ACK that reports more than two segments starts the recovery at once',
  trace({}, (t) => {
    sender(t);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 3)] });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1, sack: [[at(1), at(3) + 1]] });
    assert.equal(starts(t), [0]);
  }),
);

test(
  'blocks on segments with data, or beside another window, count',
  trace({}, (t) => {
    sender(t);
    t.recv(ACK | PSH, { seq: 1, ack: 1, len: 5, win: 60000, sack: [span(2, 6)] });
    assert.equal(starts(t).slice(0, 1), [0]);
    assert.is(t.counters.v[C_TCP_FAST_RETRANS], 1);
  }),
);

test(
  'duplicates without blocks start nothing where SACK was agreed on',
  trace({}, (t) => {
    const s = sender(t, 10, 20000);
    for (let i = 0; i < 5; i++) t.recv(ACK, { seq: 1, ack: 1 });
    t.silent();
    assert.not(inRecovery(t, s));
  }),
);

test(
  'several holes are mended in one round trip',
  trace({}, (t) => {
    const s = sender(t);
    // 0, 2, 4 and 6 are lost.
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 2)] });
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(3, 4), span(1, 2)] });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(5, 6), span(3, 4), span(1, 2)] });
    // cwnd 5, pipe: 10 less 3 reported, less the one hole that is lost, and it again: 7.
    assert.equal(starts(t), [0]);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(7, 8), span(5, 6), span(3, 4)] });
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(7, 10), span(5, 6), span(3, 4)] });
    // Everything below the third range from above is lost: 2 and 4; 6 has three segments above it.
    assert.equal(starts(t), [2, 4, 6]);
    t.recv(ACK, { seq: 1, ack: at(2), sack: [span(7, 10), span(5, 6), span(3, 4)] });
    t.recv(ACK, { seq: 1, ack: at(4), sack: [span(7, 10), span(5, 6)] });
    t.recv(ACK, { seq: 1, ack: at(6), sack: [span(7, 10)] });
    assert.ok(inRecovery(t, s));
    t.recv(ACK, { seq: 1, ack: at(10) });
    assert.not(inRecovery(t, s));
    assert.is(t.counters.v[C_TCP_RETRANS_SEGS], 4);
    assert.is(t.counters.v[C_TCP_RTO_FIRED], 0);
  }),
);

test(
  'limited transmit: what the peer reports before a recovery lets new segments out',
  trace({}, (t) => {
    sender(t, 10, 10 * MSS);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 2)] });
    assert.equal(starts(t), [10]);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 3)] });
    assert.equal(starts(t), [11]);
  }),
);

test(
  'in a recovery new segments go when nothing lost is left, as the pipe empties',
  trace({}, (t) => {
    const s = sender(t, 10, 10 * MSS);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 5)] });
    // ssthresh and cwnd 5; out 10, reported 4, lost 1 and sent again: pipe 6.
    assert.equal(starts(t), [0]);
    assert.is(t.machine.tcb.cwnd[t.row(s)], 5 * MSS);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 6)] });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 8)] });
    assert.equal(starts(t), [10, 11]);
  }),
);

test(
  'an ACK of all that was out ends the recovery at half the window, one of less does not',
  trace({}, (t) => {
    const s = sender(t, 10, 30 * MSS);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 8)] });
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: at(9) });
    assert.ok(inRecovery(t, s));
    t.recv(ACK, { seq: 1, ack: at(10) });
    assert.not(inRecovery(t, s));
    assert.is(t.machine.tcb.cwnd[t.row(s)], 5 * MSS);
    assert.is(t.machine.tcb.ssthresh[t.row(s)], 5 * MSS);
  }),
);

test(
  'what was sent again is not sent a third time in the same recovery, until the timeout',
  trace({}, (t) => {
    sender(t);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 4)] });
    assert.equal(starts(t), [0]);
    for (let i = 5; i <= 9; i++) t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, i)] });
    // The rescue: nothing new to send, so the end goes again, once.
    assert.equal(starts(t), [9]);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 10)] });
    t.silent();
    t.pass(250);
    assert.equal(starts(t), [0]);
    assert.is(t.counters.v[C_TCP_RTO_FIRED], 1);
  }),
);

test(
  'a timeout forgets what was reported; what is reported after it is not sent again',
  trace({}, (t) => {
    const s = sender(t);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(5, 7)] });
    t.silent();
    t.pass(200);
    assert.equal(starts(t), [0]);
    assert.is(t.machine.tcb.sackBytes[t.row(s)], 0);
    t.recv(ACK, { seq: 1, ack: at(1), sack: [span(5, 7), span(3, 4)] });
    assert.equal(starts(t), [1, 2]);
    t.recv(ACK, { seq: 1, ack: at(4), sack: [span(5, 7)] });
    // 4, not 5 and 6, then 7 and 8
    assert.equal(starts(t), [4, 7, 8, 9]);
    t.recv(ACK, { seq: 1, ack: at(10) });
    assert.is(t.machine.tcb.sackBytes[t.row(s)], 0);
  }),
);

test(
  'after a timeout no recovery starts before all that was out is acknowledged',
  trace({}, (t) => {
    const s = sender(t);
    t.pass(200);
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: at(1), sack: [span(3, 9)] });
    assert.not(inRecovery(t, s));
  }),
);

test(
  'a peer that gives up what it reported gets it again after the timeout',
  trace({}, (t) => {
    sender(t);
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 10)] });
    assert.equal(starts(t), [0]);
    // The hole is mended, but the ACK stops where a reported range began.
    t.recv(ACK, { seq: 1, ack: at(1) });
    t.out.length = 0;
    t.pass(300);
    assert.equal(starts(t).slice(0, 1), [1]);
    t.recv(ACK, { seq: 1, ack: at(10) });
  }),
);

test(
  'blocks that are reversed, empty, old, duplicate or beyond what was sent are ignored',
  trace({}, (t) => {
    const s = sender(t);
    const c = t.machine.tcb;
    const r = t.row(s);
    t.recv(ACK, { seq: 1, ack: at(2) });
    t.out.length = 0;
    for (const bad of [
      [at(5), at(4)],
      [at(4), at(4)],
      [1, at(1)],
      [at(1), at(3)],
      [at(2), at(5)],
      [at(9), at(11)],
      [at(12), at(13)],
      [at(5) - 2 ** 31, at(5)],
      [at(5), at(5) - 2 ** 31],
    ] as const) {
      t.recv(ACK, { seq: 1, ack: at(2), sack: [bad] });
      assert.is(c.sackCount[r], 0, String(bad));
    }
    // RFC 2883: the first block may tell of a duplicate.
    t.recv(ACK, { seq: 1, ack: at(2), sack: [span(0, 1), span(4, 5)] });
    assert.equal([c.sackCount[r], c.sackBytes[r]], [1, MSS]);
    t.recv(ACK, { seq: 1, ack: at(2), sack: [span(4, 5)] });
    assert.equal([c.sackCount[r], c.sackBytes[r], c.dupAcks[r]], [1, MSS, 1]);
    t.out.length = 0;
  }),
);

test(
  'a FIN beyond the hole is reported, the hole is mended, the FIN is not sent again',
  trace({}, (t) => {
    const s = t.accepted({ sackOk: true });
    t.write(s, pattern(0, 5 * MSS));
    t.sockets.shutdown(s, 1);
    t.breath();
    assert.is(t.out.at(-1)!.flags & FIN, FIN);
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: 1, sack: [[at(1), at(5) + 1]] });
    assert.equal(t.sends(ACK, { seq: 1, len: MSS }).flags, ACK);
    t.silent();
    t.recv(ACK, { seq: 1, ack: at(5) + 1 });
  }),
);

test(
  'a lost FIN behind reported data goes again with the rescue',
  trace({}, (t) => {
    const s = t.accepted({ sackOk: true });
    t.write(s, pattern(0, 5 * MSS));
    t.sockets.shutdown(s, 1);
    t.breath();
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: 1, sack: [span(1, 4)] });
    t.sends(ACK, { seq: 1, len: MSS });
    t.recv(ACK, { seq: 1, ack: at(4) });
    assert.equal(t.sends(ACK | FIN, { seq: at(4) + 1, len: MSS - 1 }).segs, 1);
    t.silent();
    t.recv(ACK, { seq: 1, ack: at(5) + 1 });
  }),
);

test('a lost train goes again as a train', () => {
  const t = new Trace({ config: { trainLinksMax: 44, sndbuf: 262144 }, trainBytesMax: 65549 });
  const s = t.accepted({ sackOk: true });
  t.write(s, pattern(0, 40 * MSS));
  t.breath();
  t.recv(ACK, { seq: 1, ack: at(10) });
  t.out.length = 0;
  // 20 out: the first eight are lost.
  t.recv(ACK, { seq: 1, ack: at(10), sack: [span(18, 28)] });
  assert.equal(
    t.out.splice(0).map((x) => [(x.seq - 1) / MSS, x.segs]),
    [
      [10, 1],
      [11, 7],
      [28, 1],
    ],
  );
  t.end();
});

test(
  'segments with data say what stands beyond a hole where there is room, full ones do not',
  trace({}, (t) => {
    const s = t.accepted({ sackOk: true });
    t.recv(ACK | PSH, { seq: 101, ack: 1, len: 100 });
    t.out.length = 0;
    t.write(s, pattern(0, 100));
    t.breath();
    assert.equal(t.sends(ACK, { len: 100 }).sack, [[101, 201]]);
    t.write(s, pattern(0, 2 * MSS - 12));
    t.breath();
    assert.equal(t.sends(ACK, { len: MSS }).sack, []);
    assert.equal(t.sends(ACK, { len: MSS - 12 }).sack, [[101, 201]]);
  }),
);

test(
  'in a recovery the echoed timestamp is the sample',
  trace({ config: { timestamps: true } }, (t) => {
    const s = t.accepted({ sackOk: true, ts: [7, 0] });
    const size = MSS - 12;
    t.write(s, pattern(0, 5 * size));
    t.breath();
    t.out.length = 0;
    t.pass(30);
    t.recv(ACK, { seq: 1, ack: 1, ts: [9, 0], sack: [[1 + size, 1 + 5 * size]] });
    const again = t.sends(ACK, { seq: 1, len: size });
    t.pass(60);
    t.recv(ACK, { seq: 1, ack: 1 + 5 * size, ts: [10, again.ts![0]] });
    // The first sample was 0 ms: SRTT 7/8 * 0 + 1/8 * 60 ms.
    assert.is(t.machine.tcb.srtt[t.row(s)]! >> 3, 7500);
  }),
);

/** The scoreboard against a set of octets. */
test('scoreboard: equals a set of octets in everything it says', () => {
  const block = fc.tuple(fc.integer({ min: -5, max: 130 }), fc.integer({ min: -3, max: 40 }));
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('sack' as const), blocks: fc.array(block, { minLength: 1, maxLength: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('ack' as const), to: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('send' as const), n: fc.integer({ min: 1, max: 40 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('resend' as const), n: fc.integer({ min: 1, max: 12 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('clear' as const, 'begin' as const) }) },
  );
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { maxLength: 60 }), (base, steps) => {
      const words = new SharedArena(createArena(1 << 21));
      const t = new Tcb(words, 4);
      const b = new Scoreboard(words, t, 256);
      const o = new TcpOptions();
      const mss = 3;
      let una = 0;
      let max = 60;
      let high = 0;
      let sacked = new Set<number>();
      t.mss[ROW] = mss;
      const put = (): void => {
        t.sndUna[ROW] = (base + una) | 0;
        t.sndMax[ROW] = (base + max) | 0;
      };
      put();
      t.sackHead[ROW] = -1;
      b.clear(ROW);
      for (const x of steps) {
        if (x.kind === 'sack') {
          o.sackCount = x.blocks.length;
          let fresh = 0;
          x.blocks.forEach(([l, n], i) => {
            const left = una + l;
            const right = left + n;
            o.sack[i * 2] = (base + left) | 0;
            o.sack[i * 2 + 1] = (base + right) | 0;
            if (left <= una || right <= left || right > max) return;
            for (let k = left; k < right; k++) {
              if (!sacked.has(k)) fresh++;
              sacked.add(k);
            }
          });
          assert.is(b.update(ROW, o), fresh);
        } else if (x.kind === 'ack') {
          una = Math.min(max, una + x.to);
          // A range that the ACK reached but did not pass was given up.
          let given = una;
          while (sacked.has(given)) given++;
          sacked = new Set([...sacked].filter((k) => k >= given));
          put();
          b.advance(ROW);
        } else if (x.kind === 'send') {
          max += x.n;
          put();
        } else if (x.kind === 'resend') {
          b.hole(ROW, t.highRxt[ROW]!);
          const from = (b.holeAt - base) | 0;
          const to = Math.min((b.holeEnd - base) | 0, from + x.n);
          if (to > from) {
            b.resent(ROW, b.holeAt, (base + to) | 0);
            high = to;
          }
        } else if (x.kind === 'clear') {
          b.clear(ROW);
          sacked.clear();
          high = una;
        } else {
          b.begin(ROW);
          high = una;
        }
        if (high < una) high = una;
        // The model, octet by octet, as section 4 has it.
        const starts = [...sacked].filter((k) => !sacked.has(k - 1));
        const isLost = (s: number): boolean => starts.filter((k) => k > s).length >= 3 || [...sacked].filter((k) => k > s).length > 2 * mss;
        let pipe = 0;
        let lost = 0;
        for (let k = una; k < max; k++) {
          if (sacked.has(k)) continue;
          if (isLost(k)) lost++;
          else pipe++;
          if (k < high) pipe++;
        }
        assert.equal([t.sackBytes[ROW], t.sackCount[ROW], t.lostBytes[ROW], b.pipe(ROW)], [sacked.size, starts.length, lost, pipe]);
        let hole = high;
        while (sacked.has(hole)) hole++;
        b.hole(ROW, t.highRxt[ROW]!);
        assert.is((b.holeAt - base) | 0, hole);
        let end = hole;
        while (end < max && !sacked.has(end)) end++;
        if (hole < max) assert.is((b.holeEnd - base) | 0, end);
        const nxt = una + ((max - una) >> 1);
        assert.is(b.flight(ROW, (base + nxt) | 0), nxt - una - [...sacked].filter((k) => k < nxt).length);
        if (una < max) {
          let top = max - 1;
          while (sacked.has(top)) top--;
          if (top >= una) {
            b.lastHole(ROW);
            assert.is((b.holeEnd - base) | 0, top + 1);
            while (top > una && !sacked.has(top - 1)) top--;
            assert.is((b.holeAt - base) | 0, top);
          }
        }
      }
      b.clear(ROW);
      assert.is(b.free, 256);
    }),
    { seed, numRuns: 400 },
  );
});

test('scoreboard: a connection has a bounded number of ranges, and a worker too; the rest is forgotten', () => {
  const words = new SharedArena(createArena(1 << 21));
  const t = new Tcb(words, 4);
  const b = new Scoreboard(words, t, RANGES_MAX + 10);
  const o = new TcpOptions();
  for (const c of [0, ROW]) {
    t.sackHead[c] = -1;
    t.mss[c] = 100;
    t.sndMax[c] = 10_000;
    for (let i = 0; i < 400; i++) {
      o.sackCount = 1;
      o.sack[0] = 2 + i * 4;
      o.sack[1] = 4 + i * 4;
      b.update(c, o);
    }
  }
  assert.equal([t.sackCount[0], t.sackCount[ROW]], [RANGES_MAX, 10]);
  assert.equal([t.sackBytes[0], t.sackBytes[ROW]], [RANGES_MAX * 2, 20]);
  assert.is(b.free, 0);
  // What joins the ranges that are there is still taken, and gives them back.
  o.sack[0] = 2;
  o.sack[1] = 2000;
  b.update(0, o);
  assert.is(t.sackCount[0], 1);
  assert.is(b.free, RANGES_MAX - 1);
  assert.ok(scoreboardWords(16) >= 3 * RANGES_MAX);
});

test.run();
