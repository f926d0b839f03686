/** Sending: windows, Nagle, trains, retransmission, congestion, probes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_FAST_RETRANS, C_TCP_OUT_SEGS, C_TCP_RETRANS_SEGS, C_TCP_RTO_FIRED, C_TX_BYTES_COPIED } from '../../../src/rings/counters.ts';
import { EAGAIN, EPOLLOUT, ETIMEDOUT, SOL_TCP, TCP_NODELAY } from '../../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED } from '../../../src/stack/tcp/states.ts';
import { ACK, PEER_PORT, PSH, SYN, Trace, pattern, trace } from './trace.ts';

const lens = (out: { len: number }[]): number[] => out.splice(0).map((s) => s.len);

test(
  'a write goes out in segments of MSS, PSH on the last, copied twice',
  trace({}, (t) => {
    const s = t.accepted();
    assert.is(t.write(s, pattern(0, 3000)), 3000);
    t.breath();
    assert.equal(t.sends(ACK, { seq: 1, len: 1460 }).flags, ACK);
    assert.equal(t.sends(ACK, { seq: 1461, len: 1460 }).flags, ACK);
    assert.equal(t.sends(ACK | PSH, { seq: 2921, len: 80 }).data, pattern(2920, 80));
    assert.is(t.counters.v[C_TX_BYTES_COPIED], 6000);
  }),
);

test(
  'a received segment is acknowledged by the reply',
  trace({}, (t) => {
    const s = t.accepted();
    t.app = () => {
      if (t.sockets.readable(s) > 0) t.write(s, t.read(s));
    };
    t.recv(ACK | PSH, { seq: 1, ack: 1, len: 64 });
    assert.equal(t.sends(ACK | PSH, { seq: 1, ack: 65, len: 64 }).data, pattern(0, 64));
    t.pass(100).silent();
  }),
);

test(
  'IW10, then slow start: an ACK of two segments lets four out',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, Buffer.alloc(60000));
    t.breath();
    assert.equal(lens(t.out), Array(10).fill(1460));
    t.recv(ACK, { seq: 1, ack: 1 + 2920 });
    assert.equal(lens(t.out), Array(4).fill(1460));
  }),
);

test(
  'a connection sends so many new bytes a breath, then the next ones have their turn; the rest needs no event',
  trace({ config: { burstBytes: 3000 } }, (t) => {
    const a = t.accepted();
    const b = t.accepted({ port: PEER_PORT + 1 });
    t.write(a, Buffer.alloc(14600));
    t.write(b, Buffer.alloc(1460));
    t.breath();
    assert.equal(
      t.out.splice(0).map((s) => s.port),
      [PEER_PORT, PEER_PORT, PEER_PORT, PEER_PORT + 1],
    );
    for (const more of [3, 3, 1]) {
      assert.ok(t.stack.pending());
      assert.equal(lens(t.breath().out), Array(more).fill(1460));
    }
    assert.not(t.stack.pending());
    t.breath().silent();
  }),
);

test(
  'the peer window bounds what is out',
  trace({}, (t) => {
    const s = t.accepted({ win: 4000 });
    t.write(s, Buffer.alloc(9000));
    t.breath();
    assert.equal(lens(t.out), [1460, 1460]);
    t.recv(ACK, { seq: 1, ack: 2921, win: 4000 });
    assert.equal(lens(t.out), [1460, 1460]);
  }),
);

test(
  'Nagle holds a small segment while data is out; TCP_NODELAY does not',
  trace({ config: { nagle: true } }, (t) => {
    const s = t.accepted();
    t.write(s, 'a');
    t.breath();
    t.sends(ACK, { len: 1 });
    t.write(s, 'bc');
    t.breath().silent();
    t.recv(ACK, { seq: 1, ack: 2 });
    t.sends(ACK, { seq: 2, len: 2 });
    t.write(s, 'd');
    t.breath().silent();
    t.sockets.setOption(s, SOL_TCP, TCP_NODELAY, 1);
    t.breath();
    t.sends(ACK, { seq: 4, len: 1 });
  }),
);

test(
  'the send buffer bounds a write; EPOLLOUT comes back at half',
  trace({ config: { sndbuf: 8192 } }, (t) => {
    const s = t.accepted();
    assert.is(t.write(s, Buffer.alloc(10000)), 8192);
    assert.is(t.write(s, Buffer.alloc(1)), -EAGAIN);
    assert.is(t.sockets.ready.levels(s) & EPOLLOUT, 0);
    t.sockets.ready.takeEdges(s);
    t.breath();
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: 2921 });
    assert.is(t.sockets.ready.takeEdges(s) & EPOLLOUT, 0);
    t.recv(ACK, { seq: 1, ack: 5841 });
    assert.is(t.sockets.ready.takeEdges(s) & EPOLLOUT, EPOLLOUT);
    assert.is(t.sockets.ready.levels(s) & EPOLLOUT, EPOLLOUT);
  }),
);

test(
  'trains: one descriptor of many segments with credit for all, else single segments',
  trace({ config: { trainLinksMax: 44 }, trainBytesMax: 65549 }, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 14000));
    t.breath();
    const train = t.sends(ACK | PSH, { seq: 1, len: 14000, segs: 10 });
    assert.equal(train.data, pattern(0, 14000));
    t.silent();
  }),
);

test(
  'a frame that holds several segments is filled with them, and their size is told',
  trace({ config: { trainLinksMax: 44 }, trainBytesMax: 65549, frameBytes: 8192 }, (t) => {
    const s = t.accepted();
    const before = t.counters.v[C_TCP_OUT_SEGS]!;
    t.write(s, pattern(0, 14000));
    t.breath();
    assert.equal(t.sends(ACK | PSH, { seq: 1, len: 14000, segs: 2, size: 1460 }).data, pattern(0, 14000));
    assert.is(t.counters.v[C_TCP_OUT_SEGS]! - before, 10);
    t.recv(ACK, { seq: 1, ack: 14001 }).silent();
    t.write(s, pattern(0, 1461));
    t.breath();
    assert.equal(t.sends(ACK | PSH, { seq: 14001, len: 1461, segs: 1, size: 1460 }).data, pattern(0, 1461));
    assert.is(t.counters.v[C_TCP_OUT_SEGS]! - before, 12);
    t.write(s, pattern(0, 1460));
    t.breath();
    t.sends(ACK | PSH, { len: 1460, segs: 1, size: 0 });
    t.pass(1000);
    assert.equal(t.sends(ACK, { seq: 14001, len: 1460, segs: 1, size: 0 }).data, pattern(0, 1460));
    t.out.length = 0;
  }),
);

test(
  'where trains are cut a link is one segment, however large the frame',
  trace({ config: { trainLinksMax: 1 }, frameBytes: 8192 }, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 3000));
    t.breath();
    assert.equal(lens(t.out), [1460, 1460, 80]);
  }),
);

test(
  'without credit for a train single segments go, without any nothing is lost',
  trace({ config: { trainLinksMax: 44 }, trainBytesMax: 65549, credit: 3 }, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 5000));
    const got: Buffer[] = [];
    for (let i = 0; i < 4; i++) {
      t.breath();
      for (const x of t.out.splice(0)) {
        assert.is(x.segs, 1);
        got.push(x.data);
      }
    }
    assert.equal(Buffer.concat(got), pattern(0, 5000));
  }),
);

test(
  'RTO: sent again from SND.UNA, doubled, and the estimate stays backed off until a sample',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 100));
    t.breath();
    t.sends(ACK, { len: 100 });
    // The SYN-ACK was a sample of 0 ms: RTO is at its least, 200 ms.
    t.pass(199).silent();
    t.pass(1);
    assert.equal(t.sends(ACK, { seq: 1, len: 100 }).data, pattern(0, 100));
    t.pass(399).silent();
    t.pass(1);
    t.sends(ACK, { seq: 1, len: 100 });
    assert.is(t.counters.v[C_TCP_RTO_FIRED], 2);
    assert.is(t.counters.v[C_TCP_RETRANS_SEGS], 2);
    t.recv(ACK, { seq: 1, ack: 101 });
    t.write(s, 'x');
    t.breath();
    t.sends(ACK, { seq: 101 });
    t.pass(799).silent();
    t.pass(1);
    t.sends(ACK, { seq: 101 });
  }),
);

test('Nagle does not hold a retransmission back', () => {
  const t = new Trace({ config: { nagle: true } });
  const s = t.accepted();
  t.write(s, 'a');
  t.breath();
  t.sends(ACK, { len: 1 });
  t.write(s, 'b');
  t.breath().silent();
  t.pass(200);
  t.sends(ACK, { seq: 1, len: 2 });
  t.recv(ACK, { seq: 1, ack: 3 });
  t.silent();
  t.end();
});

test('a lost segment into a small window is sent again, once a timeout', () => {
  const t = new Trace();
  const s = t.accepted({ win: 4000 });
  t.write(s, Buffer.alloc(9000));
  t.breath();
  t.recv(ACK, { seq: 1, ack: 2921, win: 500 });
  t.out.length = 0;
  t.pass(3000);
  assert.equal(
    t.out.map((x) => [x.seq, x.len]),
    Array(4).fill([2921, 500]),
  );
  t.out.length = 0;
  t.recv(ACK, { seq: 1, ack: 3421, win: 20000 });
  assert.equal(t.sends(ACK, { seq: 3421 }).len, 1460);
  t.out.length = 0;
  t.end();
});

test(
  'after an RTO the window is one segment, then slow start',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, Buffer.alloc(14600));
    t.breath();
    assert.is(lens(t.out).length, 10);
    t.pass(200);
    assert.equal(lens(t.out), [1460]);
    t.recv(ACK, { seq: 1, ack: 1461 });
    assert.equal(lens(t.out), [1460, 1460]);
  }),
);

test(
  'the third duplicate ACK retransmits the hole, partial ACKs the next ones, the full ACK ends it',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 14600));
    t.breath();
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: 1 });
    t.recv(ACK, { seq: 1, ack: 1 });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1 });
    assert.equal(t.sends(ACK, { seq: 1, len: 1460 }).data, pattern(0, 1460));
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1 + 2920 });
    t.sends(ACK, { seq: 2921, len: 1460 });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 14601 });
    t.silent();
    assert.is(t.counters.v[C_TCP_FAST_RETRANS], 1);
    assert.is(t.counters.v[C_TCP_RTO_FIRED], 0);
    t.write(s, Buffer.alloc(20000));
    t.breath();
    // ssthresh is half of what was out; an empty pipe starts with at most two segments (RFC 6582 section 3.2 step 3).
    assert.equal(lens(t.out), [1460, 1460]);
  }),
);

test(
  'duplicates with data or another window do not count',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, Buffer.alloc(14600));
    t.breath();
    t.out.length = 0;
    for (let i = 0; i < 4; i++) t.recv(ACK | PSH, { seq: 1 + i, ack: 1, len: 1 });
    for (let i = 0; i < 4; i++) t.recv(ACK, { seq: 5, ack: 1, win: 60000 + i });
    assert.is(t.counters.v[C_TCP_FAST_RETRANS], 0);
  }),
);

test(
  'limited transmit: each of the first two duplicates lets a new segment out',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, Buffer.alloc(30000));
    t.breath();
    t.out.length = 0;
    t.recv(ACK, { seq: 1, ack: 1 });
    t.sends(ACK, { seq: 14601, len: 1460 });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1 });
    t.sends(ACK, { seq: 16061, len: 1460 });
    t.silent();
  }),
);

test(
  'a shut window: probes of one octet with back-off as long as the peer answers, and on when it opens',
  trace({}, (t) => {
    const s = t.accepted({ win: 0 });
    t.write(s, pattern(0, 3000));
    t.breath().silent();
    let wait = 200;
    for (let i = 0; i < 12; i++) {
      t.pass(wait - 1).silent();
      t.pass(1);
      t.sends(ACK, { seq: 1, len: 1 });
      t.recv(ACK, { seq: 1, ack: 1, win: 0 });
      wait = Math.min(60000, wait * 2);
    }
    t.recv(ACK, { seq: 1, ack: 2, win: 30000 });
    assert.equal(lens(t.out), [1460, 1460, 79]);
  }),
);

test(
  'a shut window nobody answers for is ETIMEDOUT after R2',
  trace({ config: { retries: 3 } }, (t) => {
    const s = t.accepted({ win: 0 });
    t.write(s, 'abc');
    t.breath();
    t.pass(30_000);
    assert.is(lens(t.out).length, 3);
    assert.is(t.sockets.takeError(s), ETIMEDOUT);
  }),
);

test(
  'a window of less than a segment is used when the timer overrides',
  trace({}, (t) => {
    const s = t.accepted({ win: 4000 });
    t.write(s, Buffer.alloc(9000));
    t.breath();
    assert.equal(lens(t.out), [1460, 1460]);
    t.recv(ACK, { seq: 1, ack: 2921, win: 500 });
    t.silent();
    t.pass(1000);
    assert.is(t.out[0]!.len, 500);
    t.out.length = 0;
  }),
);

test(
  'data nobody acknowledges is ETIMEDOUT after R2',
  trace({ config: { retries: 2 } }, (t) => {
    const s = t.accepted();
    t.write(s, 'abc');
    t.breath();
    t.pass(10_000);
    assert.is(lens(t.out).length, 3);
    assert.is(t.sockets.state(s), CLOSED);
    assert.is(t.write(s, 'x'), -ETIMEDOUT);
  }),
);

test(
  'after idling for an RTO the window restarts at IW',
  trace({}, (t) => {
    const s = t.accepted();
    let at = 1;
    for (let i = 0; i < 6; i++) {
      t.write(s, Buffer.alloc(29200));
      t.breath();
      for (const x of t.out.splice(0)) at = Math.max(at, x.seq + x.len);
      t.recv(ACK, { seq: 1, ack: at });
      for (const x of t.out.splice(0)) at = Math.max(at, x.seq + x.len);
      t.recv(ACK, { seq: 1, ack: at });
    }
    t.out.length = 0;
    t.pass(1000);
    t.write(s, Buffer.alloc(58400));
    t.breath();
    assert.is(lens(t.out).length, 10);
  }),
);

test(
  'sequence numbers wrap',
  trace({}, (t) => {
    const s = t.accepted();
    // PEER_ISS is 16 below 2^31: the peer wraps at once; ours by 2^32 would need a choice of ISS, so the peer's side stands for both.
    t.recv(ACK, { seq: 1, ack: 1, len: 1460 });
    assert.is(t.read(s).length, 1460);
    assert.is(t.sockets.state(s), ESTABLISHED);
  }),
);

test(
  'chunks run out: writers are refused, receivers are not, and writers hear when there is room',
  trace({ config: { chunks: 64, sndbuf: 1 << 20 } }, (t) => {
    const s = t.accepted();
    let n = 0;
    for (let r = t.write(s, Buffer.alloc(65536)); r > 0; r = t.write(s, Buffer.alloc(65536))) n += r;
    assert.is(n, 56 * 2048);
    t.sockets.ready.takeEdges(s);
    t.recv(ACK, { seq: 1, ack: 1, len: 1000 });
    assert.is(t.sockets.readable(s), 1000);
    let at = 1;
    for (let i = 0; i < 40; i++) {
      for (const x of t.out.splice(0)) at = Math.max(at, x.seq + x.len);
      t.recv(ACK, { seq: 1001, ack: at });
    }
    assert.is(at, 1 + n);
    assert.is(t.sockets.ready.takeEdges(s) & EPOLLOUT, EPOLLOUT);
    assert.ok(t.write(s, 'x') === 1);
  }),
);

assert.is(SYN, 2);
test.run();
