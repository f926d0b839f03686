/** Receiving: acceptability, order, windows, acknowledgments, PAWS, RFC 5961. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_RX_BYTES_COPIED, C_TCP_CHALLENGE_ACKS, C_TCP_PREDICTED } from '../../../src/rings/counters.ts';
import { DROP_UNACCEPTABLE } from '../../../src/rings/drops.ts';
import { EAGAIN, ECONNRESET, EPOLLIN } from '../../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED } from '../../../src/stack/tcp/states.ts';
import { ACK, FIN, PSH, RST, SYN, pattern, trace, Trace } from './trace.ts';

test(
  'data is read in its breath with one copy, and acknowledged by the delayed ACK',
  trace({}, (t) => {
    const s = t.accepted();
    const got: Buffer[] = [];
    t.app = () => {
      if (t.sockets.readable(s) > 0) got.push(t.read(s));
    };
    t.recv(ACK | PSH, { seq: 1, ack: 1, len: 100 });
    assert.equal(got[0], pattern(0, 100));
    assert.is(t.counters.v[C_RX_BYTES_COPIED], 100);
    t.silent();
    t.pass(39).silent();
    t.pass(1);
    // The edge stays: 100 bytes are too few to move it (receiver silly window avoidance).
    t.sends(ACK, { seq: 1, ack: 101, win: 65435 });
  }),
);

test(
  'a breath takes so many bytes and acknowledges them, and leaves the rest to the next one',
  trace({ config: { burstBytes: 2000 } }, (t) => {
    const s = t.accepted();
    for (let i = 0; i < 5; i++) t.queue(ACK, { seq: 1 + i * 1460, ack: 1, len: 1460 });
    for (const ack of [2921, 5841]) {
      t.breath();
      t.sends(ACK, { seq: 1, ack });
      assert.ok(t.stack.pending());
    }
    t.breath().silent();
    assert.not(t.stack.pending());
    assert.equal(t.read(s), pattern(0, 7300));
  }),
);

test(
  'data read later was copied twice and is the same',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK | PSH, { seq: 1, ack: 1, len: 1460 });
    assert.is(t.sockets.ready.levels(s) & EPOLLIN, EPOLLIN);
    assert.equal(t.read(s), pattern(0, 1460));
    assert.is(t.counters.v[C_RX_BYTES_COPIED], 2920);
    assert.is(t.sockets.read(s, Buffer.alloc(9), 0, 9, false), -EAGAIN);
  }),
);

test(
  'peek leaves the bytes; short reads cross frames and chunks',
  trace({}, (t) => {
    const s = t.accepted();
    for (let i = 0; i < 5; i++) t.recv(ACK, { seq: 1 + i * 1000, ack: 1, len: 1000 });
    t.queue(ACK, { seq: 5001, ack: 1, len: 1000 }).queue(ACK, { seq: 6001, ack: 1, len: 500 });
    t.app = () => {
      t.app = () => {};
      const b = Buffer.alloc(7000);
      assert.is(t.sockets.read(s, b, 10, 6500, true), 6500);
      assert.equal(b.subarray(10, 6510), pattern(0, 6500));
      let at = 0;
      for (const n of [1, 2047, 1, 900, 2100, 777]) {
        assert.equal(t.read(s, n), pattern(at, n));
        at += n;
      }
    };
    t.breath();
    assert.equal(t.read(s), pattern(5826, 674));
  }),
);

test(
  'every second full segment is acknowledged at once',
  trace({}, (t) => {
    t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 1460 }).silent();
    t.recv(ACK, { seq: 1461, ack: 1, len: 1460 });
    t.sends(ACK, { ack: 2921 });
    t.silent();
  }),
);

test(
  'out of order: a duplicate ACK for each, the hole filled delivers all and is acknowledged at once',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 1001, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 1 });
    t.recv(ACK, { seq: 3001, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 1 });
    t.recv(ACK, { seq: 2001, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 1 });
    t.recv(ACK, { seq: 1, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 4001 });
    assert.equal(t.read(s), pattern(0, 4000));
  }),
);

test(
  'duplicate ACKs carry SACK blocks, that of the segment received last first (RFC 2018 section 4)',
  trace({}, (t) => {
    const s = t.accepted({ sackOk: true });
    t.recv(ACK, { seq: 1001, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 1, sack: [[1001, 2001]] });
    t.recv(ACK, { seq: 5001, ack: 1, len: 500 });
    t.sends(ACK, {
      ack: 1,
      sack: [
        [5001, 5501],
        [1001, 2001],
      ],
    });
    t.recv(ACK, { seq: 3001, ack: 1, len: 1000 });
    t.sends(ACK, {
      ack: 1,
      sack: [
        [3001, 4001],
        [5001, 5501],
        [1001, 2001],
      ],
    });
    // It joins two blocks: they are one, and first.
    t.recv(ACK, { seq: 2001, ack: 1, len: 1000 });
    t.sends(ACK, {
      ack: 1,
      sack: [
        [1001, 4001],
        [5001, 5501],
      ],
    });
    // A duplicate names the block it lies in first.
    t.recv(ACK, { seq: 5101, ack: 1, len: 100 });
    t.sends(ACK, {
      ack: 1,
      sack: [
        [5001, 5501],
        [1001, 4001],
      ],
    });
    t.recv(ACK, { seq: 1, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 4001, sack: [[5001, 5501]] });
    t.recv(ACK, { seq: 4001, ack: 1, len: 1000 });
    t.sends(ACK, { ack: 5501, sack: [] });
    assert.equal(t.read(s), pattern(0, 5500));
  }),
);

test(
  'four SACK blocks fit without timestamps, three with them, none unless agreed',
  trace({ config: { timestamps: true } }, (t) => {
    const holes = (ack: object): readonly (readonly [number, number])[] => {
      for (let i = 0; i < 6; i++) t.queue(ACK, { seq: 1001 + i * 2000, ack: 1, len: 10, ...ack });
      t.breath();
      const last = t.out.at(-1)!.sack;
      t.out.length = 0;
      return last;
    };
    t.accepted({ sackOk: true });
    assert.is(holes({}).length, 4);
    t.accepted({ sackOk: true, ts: [1, 0], port: 40001 });
    assert.is(holes({ port: 40001, ts: [2, 0] }).length, 3);
    t.accepted({ port: 40002 });
    assert.equal(holes({ port: 40002 }), []);
  }),
);

test(
  'overlaps are trimmed on both sides',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 501, ack: 1, len: 500 });
    t.recv(ACK, { seq: 401, ack: 1, len: 300 });
    t.recv(ACK, { seq: 901, ack: 1, len: 400 });
    t.recv(ACK, { seq: 301, ack: 1, len: 1500 });
    t.recv(ACK, { seq: 1, ack: 1, len: 350 });
    t.recv(ACK, { seq: 1701, ack: 1, len: 200 });
    assert.equal(t.read(s), pattern(0, 1900));
  }),
);

test(
  'a breath with in-order data and a filled hole keeps the order',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 2001, ack: 1, len: 1000 });
    t.queue(ACK, { seq: 1, ack: 1, len: 1000 }).queue(ACK, { seq: 1001, ack: 1, len: 1000 }).queue(ACK, { seq: 3001, ack: 1, len: 1000 });
    let got = Buffer.alloc(0);
    t.app = () => {
      if (t.sockets.readable(s) > 0) got = Buffer.concat([got, t.read(s)]);
    };
    t.breath();
    assert.equal(got, pattern(0, 4000));
  }),
);

test(
  'one-byte pieces beyond a hole are bounded in chunks',
  trace({ config: { chunks: 256 } }, (t) => {
    const s = t.accepted();
    for (let i = 0; i < 400; i++) t.recv(ACK, { seq: 3 + i * 2, ack: 1, len: 1 });
    t.out.length = 0;
    const free = t.config.chunks;
    assert.ok(free > 0);
    // Others still get memory: in-order data of the same connection is taken.
    t.recv(ACK, { seq: 1, ack: 1, len: 900 });
    assert.equal(t.read(s), pattern(0, 900));
  }),
);

test(
  'a duplicate below the window is acknowledged and dropped',
  trace({}, (t) => {
    t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.sends(ACK, { ack: 101 });
    assert.is(t.drop(DROP_UNACCEPTABLE), 1);
  }),
);

test(
  'data beyond the window is trimmed; a shut window takes ACKs but no data',
  trace({ config: { rcvbuf: 4096 } }, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 1400 });
    t.recv(ACK, { seq: 1401, ack: 1, len: 1400 });
    t.sends(ACK, { ack: 2801, win: 1296 });
    t.recv(ACK, { seq: 2801, ack: 1, len: 1400 });
    t.pass(40);
    t.sends(ACK, { ack: 4097, win: 0 });
    assert.is(t.write(s, 'abc'), 3);
    t.breath();
    t.sends(ACK, { seq: 1, len: 3 });
    t.recv(ACK, { seq: 4097, ack: 4, len: 1 });
    t.sends(ACK, { ack: 4097, win: 0 });
    assert.is(t.sockets.writable(s), 65536);
    assert.equal(t.read(s), pattern(0, 4096));
    t.breath();
    t.sends(ACK, { ack: 4097, win: 4096 });
  }),
);

test(
  'receiver silly window: a small read does not open a shut window',
  trace({ config: { rcvbuf: 4096 } }, (t) => {
    const s = t.accepted();
    for (let i = 0; i < 3; i++) t.recv(ACK, { seq: 1 + i * 1400, ack: 1, len: i < 2 ? 1400 : 1296 });
    t.pass(40);
    t.out.length = 0;
    t.read(s, 100);
    t.breath().silent();
    t.read(s, 1000);
    t.breath().silent();
    t.read(s, 400);
    t.breath();
    t.sends(ACK, { win: 1500 });
  }),
);

test(
  'the right edge never moves back',
  trace({ config: { rcvbuf: 8192 } }, (t) => {
    t.accepted();
    let edge = 8193;
    for (let i = 0; i < 9; i++) {
      t.recv(ACK | PSH, { seq: 1 + i * 900, ack: 1, len: 900 });
      for (const s of t.out.splice(0)) {
        assert.ok(s.ack + s.win >= edge, `${s.ack} + ${s.win} < ${edge}`);
        edge = s.ack + s.win;
      }
    }
  }),
);

test(
  'RST: only at exactly RCV.NXT; elsewhere in the window a challenge ACK, rate limited; outside nothing',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(RST, { seq: 100 });
    t.sends(ACK, { seq: 1, ack: 1 });
    t.recv(RST, { seq: 101 }).silent();
    assert.is(t.counters.v[C_TCP_CHALLENGE_ACKS], 1);
    t.pass(600);
    t.recv(RST, { seq: 102 });
    t.sends(ACK);
    t.recv(RST, { seq: 70000 }).silent();
    assert.is(t.sockets.state(s), ESTABLISHED);
    t.recv(RST, { seq: 1 }).silent();
    assert.is(t.sockets.state(s), CLOSED);
    assert.is(t.sockets.read(s, Buffer.alloc(1), 0, 1, false), -ECONNRESET);
    assert.is(t.sockets.read(s, Buffer.alloc(1), 0, 1, false), 0);
  }),
);

test(
  'SYN on a synchronized connection: a challenge ACK and nothing else',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(SYN, { seq: 50 });
    t.sends(ACK, { seq: 1, ack: 1 });
    assert.is(t.sockets.state(s), ESTABLISHED);
  }),
);

test(
  'an ACK of what was never sent, or far below: challenge ACK, data not taken',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 1, ack: 5000, len: 10 });
    t.sends(ACK, { ack: 1 });
    t.pass(600);
    t.recv(ACK, { seq: 1, ack: -70000, len: 10 });
    t.sends(ACK, { ack: 1 });
    assert.is(t.sockets.readable(s), 0);
  }),
);

test(
  'PAWS: an old timestamp is dropped and acknowledged; RST is exempt',
  trace({ config: { timestamps: true } }, (t) => {
    const s = t.accepted({ ts: [1000, 0] });
    t.recv(ACK, { seq: 1, ack: 1, len: 10, ts: [1005, 0] });
    assert.is(t.sockets.readable(s), 10);
    t.out.length = 0;
    t.recv(ACK, { seq: 11, ack: 1, len: 10, ts: [900, 0] });
    const a = t.sends(ACK, { ack: 11 });
    assert.is(a.ts![1], 1005);
    assert.is(t.sockets.readable(s), 10);
    assert.is(t.drop(DROP_UNACCEPTABLE), 1);
  }),
);

test(
  'TS.Recent moves only on segments that cover Last.ACK.sent',
  trace({ config: { timestamps: true } }, (t) => {
    t.accepted({ ts: [1000, 0] });
    t.recv(ACK, { seq: 1001, ack: 1, len: 500, ts: [2000, 0] });
    assert.is(t.sends(ACK, { ack: 1 }).ts![1], 1001);
    t.recv(ACK, { seq: 1, ack: 1, len: 1000, ts: [1500, 0] });
    assert.is(t.sends(ACK, { ack: 1501 }).ts![1], 1500);
  }),
);

test(
  'FIN: end of stream after the data, acknowledged; beyond a hole it waits',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 101, ack: 1, len: 50 });
    t.sends(ACK, { ack: 1 });
    assert.is(t.sockets.readable(s), 0);
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.sends(ACK, { ack: 152 });
    assert.equal(t.read(s), pattern(0, 150));
    assert.is(t.sockets.read(s, Buffer.alloc(1), 0, 1, false), 0);
  }),
);

test(
  'header prediction takes the ordinary segment',
  trace({}, (t) => {
    t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.recv(ACK | PSH, { seq: 101, ack: 1, len: 100 });
    assert.is(t.counters.v[C_TCP_PREDICTED], 2);
  }),
);

test('a buffer of 4 MiB fills to the last byte, shuts the window, and is read back whole', () => {
  const size = 4 << 20;
  const t = new Trace({ config: { rcvbuf: size, sndbuf: size, chunks: 8192, windowScale: 7 } });
  const s = t.accepted({ ws: 7 });
  let at = 0;
  let edge = 65536;
  while (at < size) {
    const len = Math.min(1400, edge - 1 - at);
    assert.ok(len > 0, `shut at ${at}`);
    t.recv(ACK | PSH, { seq: 1 + at, ack: 1, len });
    at += len;
    if (at === edge - 1) t.pass(40);
    for (const x of t.out.splice(0)) edge = Math.max(edge, x.ack + (x.win << 7));
    if (edge - 1 > size) edge = size + 1;
  }
  assert.is(t.sockets.readable(s), size);
  let read = 0;
  while (read < size) {
    const b = t.read(s);
    for (let i = 0; i < b.length; i += 97)
      if (b[i] !== ((((read + i) * 7) ^ ((read + i) >> 8)) & 255)) assert.unreachable(`byte ${read + i}`);
    read += b.length;
  }
  t.breath();
  assert.is(t.out.at(-1)!.win << 7, size);
  t.end();
});

test(
  'beyond a hole the duplicate ACK goes by itself before full segments that have no room for blocks',
  trace({ config: { trainLinksMax: 8 }, trainBytesMax: 65535 }, (t) => {
    for (const sackOk of [true, false]) {
      const port = sackOk ? 1111 : 2222;
      const s = t.accepted({ sackOk, port });
      t.write(s, pattern(0, 4 * 1460));
      t.queue(ACK, { seq: 101, ack: 1, len: 100, port }).breath();
      t.sends(ACK, { ack: 1, len: 0, sack: sackOk ? [[101, 201]] : [] });
      assert.is(t.sends(ACK).len, 4 * 1460);
      // What fills it is acknowledged by what is sent anyway.
      t.write(s, pattern(0, 1460));
      t.queue(ACK, { seq: 1, ack: 1 + 4 * 1460, len: 100, port }).breath();
      t.sends(ACK, { ack: 201, len: 1460 });
      t.silent();
    }
  }),
);

test.run();
