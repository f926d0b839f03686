/** When something runs out: ids, ports, the backlog, chunks, the right to answer. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_OUT_RSTS, C_TCP_TIME_WAIT_REUSED } from '../../../src/rings/counters.ts';
import { DROP_BACKLOG, DROP_NO_CONNECTION, DROP_NO_MEMORY, DROP_RATE_LIMIT } from '../../../src/rings/drops.ts';
import { EADDRNOTAVAIL, EAGAIN, EINPROGRESS, EMFILE, EPOLLOUT } from '../../../src/stack/sockets.ts';
import { SYN_SENT, TIME_WAIT } from '../../../src/stack/tcp/states.ts';
import { TokenBucket } from '../../../src/stack/tokenBucket.ts';
import { ACK, FIN, PEER, PSH, RST, SYN, Trace, trace } from './trace.ts';

/** A connection of ours to the peer's port 9000 that we close first. Returns its port, or the errno of connect. */
function shortConnection(t: Trace): number {
  const s = t.sockets.open();
  if (s < 0) return s;
  const made = t.sockets.connect(s, PEER, 9000);
  if (made !== -EINPROGRESS) {
    t.sockets.close(s);
    return made;
  }
  t.breath();
  t.sends(SYN);
  const local = t.localPort;
  t.recv(SYN | ACK, { seq: 0, ack: 1, port: 9000, to: local });
  t.sockets.close(s);
  t.breath();
  t.out.length = 0;
  t.recv(FIN | ACK, { seq: 1, ack: 2, port: 9000, to: local });
  t.sends(ACK, { seq: 2, ack: 2 });
  assert.is(t.sockets.state(s), TIME_WAIT);
  return local;
}

test(
  'ids run out: the oldest TIME_WAIT gives up its own; one that the application still holds does not',
  trace({ config: { maxConnections: 8 } }, (t) => {
    const ports: number[] = [];
    for (let i = 0; i < 8; i++) {
      ports.push(shortConnection(t));
      t.pass(10);
    }
    assert.is(t.sockets.inUse(), 8);
    assert.is(t.counters.v[C_TCP_TIME_WAIT_REUSED], 0);
    for (let i = 0; i < 20; i++) assert.ok(shortConnection(t) > 0);
    assert.is(t.counters.v[C_TCP_TIME_WAIT_REUSED], 20);
    // The last ones are still there: their FIN again is acknowledged, not refused.
    const rsts = t.counters.v[C_TCP_OUT_RSTS];
    t.pass(10);
    t.recv(FIN | ACK, { seq: 1, ack: 2, port: 9000, to: t.localPort });
    t.sends(ACK);
    assert.is(t.counters.v[C_TCP_OUT_RSTS], rsts);
    // Held by the application: never taken.
    const held = Array.from({ length: 8 }, () => t.sockets.open());
    assert.ok(held.every((s) => s >= 0));
    assert.is(t.sockets.open(), -EMFILE);
  }),
);

test('ports to one destination run out: the oldest TIME_WAIT among them gives up its own, with a higher ISN', () => {
  // Of 64 workers one has a 64th of the ports.
  const t = new Trace({ workers: 64, config: { maxConnections: 4096, timeWaitMs: 3_600_000 } });
  const iss = new Map<number, number>();
  const order: number[] = [];
  for (;;) {
    const local = shortConnection(t);
    if (t.counters.v[C_TCP_TIME_WAIT_REUSED]! > 0) {
      assert.is(local, order[0], 'the oldest');
      assert.ok(((t.iss - iss.get(local)!) | 0) > 2);
      break;
    }
    assert.ok(local > 0, `connection ${order.length}: errno ${-local}`);
    iss.set(local, t.iss);
    order.push(local);
    assert.ok(order.length < 4000, 'ports never ran out');
  }
  assert.ok(order.length > 100);
  // At once again, without another search; and other destinations have all ports.
  assert.is(shortConnection(t), order[1]);
  const s = t.sockets.open();
  assert.is(t.sockets.connect(s, PEER, 9001), -EINPROGRESS);
  assert.is(t.sockets.state(s), SYN_SENT);
  // Nothing to take: every port to 9001 is opening.
  let last = -EINPROGRESS;
  let opening = s;
  for (let i = 0; i < 1000 && last === -EINPROGRESS; i++) {
    const next = t.sockets.open();
    last = t.sockets.connect(next, PEER, 9001);
    if (last === -EINPROGRESS) opening = next;
  }
  assert.is(last, -EADDRNOTAVAIL);
  // One of them ends: its port is known without a search, and nobody else gets it twice.
  const given = t.sockets.localPort(opening);
  t.sockets.close(opening);
  const heir = t.sockets.open();
  assert.is(t.sockets.connect(heir, PEER, 9001), -EINPROGRESS);
  assert.is(t.sockets.localPort(heir), given);
  assert.is(t.sockets.connect(t.sockets.open(), PEER, 9001), -EADDRNOTAVAIL);
  t.breath();
  t.out.length = 0;
  t.end();
});

test(
  'a backlog full of half-open connections: the oldest goes once it let a timeout pass, not before',
  trace({}, (t) => {
    t.listen(4);
    for (let p = 0; p < 4; p++) t.recv(SYN, { port: 5000 + p }).sends(SYN | ACK);
    t.recv(SYN, { port: 6000 }).silent();
    assert.is(t.drop(DROP_BACKLOG), 1);
    t.pass(1100);
    t.out.length = 0;
    t.recv(SYN, { port: 6000 }).sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 1, port: 6000 });
    assert.ok(t.sockets.accept(t.listener) >= 0);
    assert.is(t.sockets.inUse(), 1 + 3 + 1);
    // What waits to be accepted is nobody's to evict.
    for (let p = 1; p < 4; p++) {
      t.recv(SYN, { port: 7000 + p }).sends(SYN | ACK);
      t.recv(ACK, { seq: 1, ack: 1, port: 7000 + p });
    }
    t.recv(SYN, { port: 7005 }).sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 1, port: 7005 });
    t.recv(SYN, { port: 7006 }).silent();
    assert.is(t.drop(DROP_BACKLOG), 2);
  }),
);

test('few chunks: an application that reads no more before it has written still finds chunks to write', () => {
  const t = new Trace({ config: { chunks: 32, rcvbuf: 262144, sndbuf: 65536 }, credit: 128 });
  const a = t.accepted();
  let taken = 0;
  for (let i = 0; i < 80; i++) {
    t.recv(ACK | PSH, { seq: 1 + taken, ack: 1, len: 1460 });
    taken = t.sockets.readable(a);
  }
  assert.ok(t.drop(DROP_NO_MEMORY) > 0, 'the pool never ran out');
  assert.ok(taken > 20 * 2048, `receiving may use seven eighths, it got ${taken}`);
  t.out.length = 0;
  assert.is(t.write(a, Buffer.alloc(4 * 2048)), 4 * 2048, 'the chunks are taken by data that nobody reads');
  t.end();
});

test('few chunks: what was written leaves room for what was advertised, and writers are woken', () => {
  const t = new Trace({ config: { chunks: 32, sndbuf: 1 << 20 }, credit: 128 });
  const s = t.accepted();
  let written = 0;
  for (let r = t.write(s, Buffer.alloc(8192)); r > 0; r = t.write(s, Buffer.alloc(8192))) written += r;
  assert.is(t.write(s, 'x'), -EAGAIN);
  t.sockets.ready.takeEdges(s);
  t.breath();
  t.out.length = 0;
  for (let i = 0; i < 3; i++) t.recv(ACK | PSH, { seq: 1 + i * 1460, ack: 1, len: 1460 });
  assert.is(t.sockets.readable(s), 3 * 1460);
  assert.is(t.drop(DROP_NO_MEMORY), 0);
  let at = 1;
  for (let i = 0; i < 60; i++) {
    for (const x of t.out.splice(0)) at = Math.max(at, x.seq + x.len);
    t.recv(ACK, { seq: 1 + 3 * 1460, ack: at });
  }
  assert.is(at, 1 + written);
  assert.is(t.sockets.ready.takeEdges(s) & EPOLLOUT, EPOLLOUT);
  assert.is(t.machine.chunks.sending, 0);
  t.end();
});

test('crumbs that come out of order do not hold a chunk each once they are in order', () => {
  const t = new Trace({ config: { rcvbuf: 16384 } });
  const s = t.accepted();
  for (let i = 0; i < 1000; i++) {
    t.recv(ACK, { seq: 2 + 2 * i, ack: 1, len: 1 });
    t.recv(ACK, { seq: 1 + 2 * i, ack: 1, len: 1 });
    t.out.length = 0;
  }
  assert.is(t.sockets.readable(s), 2000);
  assert.ok(
    t.machine.chunks.chunks - t.machine.chunks.free <= 3,
    `${t.machine.chunks.chunks - t.machine.chunks.free} chunks for 2000 bytes`,
  );
  const got = t.read(s);
  assert.ok(got.equals(Buffer.from(Array.from({ length: 2000 }, (_, i) => ((i * 7) ^ (i >> 8)) & 255))));
  t.end();
});

test('token bucket: so many at once, then so many a millisecond, full after a pause and across the wrap of the clock', () => {
  const b = new TokenBucket(2, 10, 0x7ffffffe);
  const takes = (ms: number): number => {
    let n = 0;
    while (b.take(ms | 0)) n++;
    return n;
  };
  assert.is(takes(0x7ffffffe), 10);
  assert.is(takes(0x7ffffffe), 0);
  assert.is(takes(0x80000001), 6);
  assert.is(takes(0x80000001 + 1000), 10);
  assert.is(takes(0x80000001 + 1000 + 0x7fffffff), 10);
});

test(
  'RSTs to closed ports are limited and what is not answered is counted',
  trace({ credit: 64 }, (t) => {
    for (let i = 0; i < 6000; i++) t.recv(SYN, { to: 81 });
    const rsts = t.out.length;
    assert.ok(t.out.splice(0).every((s) => (s.flags & RST) !== 0));
    assert.is(rsts, 4096);
    assert.is(t.drop(DROP_NO_CONNECTION), 4096);
    assert.is(t.drop(DROP_RATE_LIMIT), 6000 - 4096);
    t.pass(100);
    t.recv(SYN, { to: 81 }).sends(RST | ACK);
  }),
);

test.run();
