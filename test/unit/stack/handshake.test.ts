/** Opening: RFC 9293 sections 3.5 and 3.10.7.1 to 3.10.7.4, options, backlog, bad sources. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_PASSIVE_OPENS } from '../../../src/rings/counters.ts';
import { DROP_BACKLOG, DROP_BAD_SOURCE, DROP_L4_CHECKSUM, DROP_NO_CONNECTION, DROP_NOT_FOR_US } from '../../../src/rings/drops.ts';
import { HostPublisher, NB_FAILED, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import { EAGAIN, ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, EPOLLERR, EPOLLIN, EPOLLOUT, ETIMEDOUT } from '../../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED, STATE_NAME, SYN_RCVD, SYN_SENT } from '../../../src/stack/tcp/states.ts';
import { ACK, FIN, OURS, PEER, PEER_ISS, PSH, RST, SYN, Trace, trace } from './trace.ts';

const connecting = (t: Trace): number => {
  const s = t.sockets.open();
  assert.is(t.sockets.connect(s, PEER, 9000), -EINPROGRESS);
  t.breath();
  return s;
};

test(
  'passive open: SYN, SYN-ACK, ACK, accept',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN, { mss: 1460 });
    t.sends(SYN | ACK, { seq: 0, ack: 1, mss: 1460, ws: -1, sackOk: false, ts: null, win: 65535 });
    assert.is(t.sockets.accept(t.listener), -EAGAIN);
    t.recv(ACK, { seq: 1, ack: 1 });
    t.silent();
    assert.is(t.sockets.ready.levels(t.listener), EPOLLIN);
    const s = t.sockets.accept(t.listener);
    assert.is(t.sockets.state(s), ESTABLISHED);
    assert.is(t.sockets.ready.levels(s), EPOLLOUT);
    assert.is(t.sockets.remotePort(s), 40000);
    assert.is(t.sockets.remoteAddress(s), PEER);
    assert.is(t.sockets.localPort(s), 80);
  }),
);

test(
  'options are agreed: scale, timestamps and SACK when offered',
  trace({ config: { windowScale: 7, timestamps: true, rcvbuf: 262144 } }, (t) => {
    t.listen();
    t.recv(SYN, { ws: 3, ts: [100, 0], sackOk: true, mss: 1400 });
    const s = t.sends(SYN | ACK, { ws: 7, sackOk: true, win: 65535 });
    assert.is(s.ts![1], 100);
    t.recv(SYN, { port: 40001, mss: 1400 });
    t.sends(SYN | ACK, { ws: -1, sackOk: false, ts: null });
  }),
);

test(
  'the window of an accepted connection is scaled both ways',
  trace({ config: { windowScale: 7, rcvbuf: 262144, sndbuf: 262144 } }, (t) => {
    const s = t.accepted({ ws: 4, win: 1000 }, 1000);
    // 1000 << 4 = 16000 may be out.
    assert.is(t.write(s, Buffer.alloc(20000)), 20000);
    t.breath();
    assert.is(t.out.reduce((n, x) => n + x.len, 0) <= 16000, true);
    assert.is(
      t.out.reduce((n, x) => n + x.len, 0),
      10 * 1460,
    );
    t.out.length = 0;
    t.recv(ACK | PSH, { seq: 1, ack: 1 + 14600, win: 1000, len: 10 });
    const a = t.out.at(-1)!;
    // Rounded up: rounding down would pull the advertised edge back (RFC 7323 section 2.4).
    assert.is(a.win, Math.ceil((262144 - 10) / 128));
  }),
);

test(
  'active open: SYN with all options, SYN-ACK, ACK',
  trace({ config: { windowScale: 7, timestamps: true } }, (t) => {
    const s = connecting(t);
    const syn = t.sends(SYN, { seq: 0, mss: 1460, ws: 7, sackOk: true, port: 9000 });
    assert.is(syn.ts![1], 0);
    assert.is(t.sockets.state(s), SYN_SENT);
    t.recv(SYN | ACK, { ack: 1, port: 9000, ws: 2, ts: [7, syn.ts![0]] });
    const ack = t.sends(ACK, { seq: 1, ack: 1 });
    assert.is(ack.ts![1], 7);
    assert.is(t.sockets.state(s), ESTABLISHED);
    assert.ok((t.sockets.ready.takeEdges(s) & EPOLLOUT) !== 0);
  }),
);

test(
  'a refused connection: ECONNREFUSED once, EPOLLERR',
  trace({}, (t) => {
    const s = connecting(t);
    t.sends(SYN);
    t.recv(RST | ACK, { seq: 0, ack: 1, port: 9000 });
    t.silent();
    assert.is(t.sockets.state(s), CLOSED);
    assert.ok((t.sockets.ready.levels(s) & EPOLLERR) !== 0);
    assert.is(t.sockets.takeError(s), ECONNREFUSED);
    assert.is(t.sockets.takeError(s), 0);
  }),
);

test(
  'SYN_SENT: a RST without a good ACK is ignored, a bad ACK is answered with RST',
  trace({}, (t) => {
    const s = connecting(t);
    t.sends(SYN);
    t.recv(RST, { seq: 0, port: 9000 });
    t.recv(RST | ACK, { seq: 0, ack: 5, port: 9000 });
    t.silent();
    t.recv(SYN | ACK, { ack: 77, port: 9000 });
    t.sends(RST, { seq: 77 });
    assert.is(t.sockets.state(s), SYN_SENT);
  }),
);

test(
  'simultaneous open: both SYNs, both SYN-ACKs',
  trace({}, (t) => {
    const s = connecting(t);
    t.sends(SYN);
    t.recv(SYN, { port: 9000 });
    t.sends(SYN | ACK, { seq: 0, ack: 1 });
    assert.is(t.sockets.state(s), SYN_RCVD);
    t.recv(SYN | ACK, { seq: 0, ack: 1, port: 9000 });
    assert.is(t.sockets.state(s), ESTABLISHED);
    assert.is(t.write(s, 'x'), 1);
    t.breath();
    t.sends(ACK, { seq: 1, ack: 1, len: 1 });
  }),
);

test(
  'the SYN is sent again with back-off, then ETIMEDOUT',
  trace({ config: { synRetries: 2 } }, (t) => {
    const s = connecting(t);
    t.sends(SYN);
    t.pass(999).silent();
    t.pass(1);
    t.sends(SYN, { seq: 0 });
    t.pass(1999).silent();
    t.pass(1);
    t.sends(SYN, { seq: 0 });
    t.pass(4000).silent();
    assert.is(t.sockets.takeError(s), ETIMEDOUT);
  }),
);

test(
  'a lost SYN: RTO 3 s and a window of one segment follow (RFC 6298 5.7)',
  trace({}, (t) => {
    const s = connecting(t);
    t.sends(SYN);
    t.pass(1000);
    t.sends(SYN);
    t.recv(SYN | ACK, { ack: 1, port: 9000 });
    t.sends(ACK);
    t.write(s, Buffer.alloc(5000));
    t.breath();
    t.sends(ACK, { len: 1460 });
    t.silent();
    t.pass(2999).silent();
    t.pass(1);
    t.sends(ACK, { seq: 1, len: 1460 });
  }),
);

test(
  'the SYN-ACK is sent again for a repeated SYN and by timer',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN);
    t.sends(SYN | ACK);
    t.recv(SYN);
    t.sends(SYN | ACK, { seq: 0, ack: 1 });
    t.pass(1000);
    t.sends(SYN | ACK);
  }),
);

test(
  'a half-open connection that never completes goes away',
  trace({ config: { synRetries: 1 } }, (t) => {
    t.listen();
    t.recv(SYN);
    t.sends(SYN | ACK);
    t.pass(10_000);
    t.sends(SYN | ACK);
    t.silent();
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'CLOSED: RST with the right numbers, never to a RST',
  trace({}, (t) => {
    t.recv(SYN, { seq: 5, len: 3, to: 81 });
    t.sends(RST | ACK, { ack: 9 });
    t.recv(ACK, { seq: 5, ack: 1234, to: 81 });
    t.sends(RST, { seq: 1234 });
    t.recv(RST, { to: 81 });
    t.recv(FIN, { seq: 5, to: 81 });
    t.sends(RST | ACK, { ack: 6 });
    t.silent();
    assert.is(t.drop(DROP_NO_CONNECTION), 4);
  }),
);

test(
  'LISTEN: an ACK gets a RST, a RST nothing, SYN+FIN nothing',
  trace({}, (t) => {
    t.listen();
    t.recv(ACK, { seq: 1, ack: 500 });
    t.sends(RST, { seq: 500 });
    t.recv(RST).silent();
    t.recv(SYN | FIN).silent();
    assert.is(t.counters.v[C_TCP_PASSIVE_OPENS], 0);
  }),
);

test(
  'SYN_RCVD: a bad ACK gets a RST, a RST ends it',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN);
    t.sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 99 });
    t.sends(RST, { seq: 99 });
    t.recv(RST, { seq: 1 }).silent();
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'the backlog bounds half-open and waiting connections together; what is beyond is dropped',
  trace({}, (t) => {
    t.listen(2);
    t.recv(SYN, { port: 1001 });
    t.sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 1, port: 1001 });
    t.recv(SYN, { port: 1002 });
    t.sends(SYN | ACK);
    t.recv(SYN, { port: 1003 }).silent();
    assert.is(t.drop(DROP_BACKLOG), 1);
    assert.ok(t.sockets.accept(t.listener) >= 0);
    t.recv(SYN, { port: 1003 });
    t.sends(SYN | ACK);
  }),
);

test(
  'sources that must not be on the wire, LAND, wrong destinations and bad checksums are dropped in silence',
  trace({}, (t) => {
    t.listen();
    for (const src of [OURS, 0xe0000001 | 0, -1, 0x7f000001, 0x00000005, 0xc00002ff | 0]) t.recv(SYN, { src }).silent();
    assert.is(t.drop(DROP_BAD_SOURCE), 6);
    t.recv(SYN, { dst: 0xc0000203 | 0 }).silent();
    t.recv(SYN, { multicast: true }).silent();
    assert.is(t.drop(DROP_NOT_FOR_US), 2);
    t.recv(SYN, { badChecksum: true }).silent();
    assert.is(t.drop(DROP_L4_CHECKSUM), 1);
  }),
);

test(
  'a tiny MSS is clamped to 48, a missing one means 536',
  trace({ config: { nagle: false } }, (t) => {
    const s = t.accepted({ mss: 1 });
    t.write(s, Buffer.alloc(100));
    t.breath();
    t.sends(ACK, { len: 48 });
    t.out.length = 0;
    t.recv(SYN, { port: 2000, options: new Uint8Array(0) });
    t.sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 1, port: 2000 });
    const u = t.sockets.accept(t.listener);
    t.write(u, Buffer.alloc(1000));
    t.breath();
    t.sends(ACK, { len: 536 });
  }),
);

test('broken options end the parse and nothing else', () => {
  for (const bytes of [
    [2, 0, 5, 180],
    [2, 1, 1, 1],
    [3, 44, 1, 1],
    [99, 4, 1, 1, 2, 4, 5, 180],
    [1, 1, 1, 2],
  ]) {
    const t = new Trace();
    t.listen();
    t.recv(SYN, { options: Uint8Array.from(bytes) });
    t.sends(SYN | ACK, { ack: 1 });
    t.end();
  }
});

test('an unresolved neighbour holds the SYN back until it resolves; a failed one is EHOSTUNREACH', () => {
  const t = new Trace({ neighbour: false });
  const s = connecting(t);
  t.silent();
  t.host.put(PEER, NB_REACHABLE, 0x02000000, 1);
  t.breath();
  t.sends(SYN);
  t.end();
  const u = new Trace({ neighbour: false });
  const r = connecting(u);
  u.silent();
  new HostPublisher(u.control, 0);
  u.host.put(PEER, NB_FAILED, 0, 0);
  u.breath().silent();
  assert.is(u.sockets.takeError(r), EHOSTUNREACH);
  assert.is(STATE_NAME[u.sockets.state(r)], 'CLOSED');
  assert.is(s, r);
  u.end();
});

test(
  'initial sequence numbers differ by identity and grow with time',
  trace({}, (t) => {
    t.listen(64);
    const seen = new Set<number>();
    for (let p = 0; p < 40; p++) {
      t.recv(SYN, { port: 3000 + p });
      t.sends(SYN | ACK);
      seen.add(t.iss);
      t.recv(RST, { seq: 1, port: 3000 + p });
    }
    assert.is(seen.size, 40);
    t.recv(SYN, { port: 3000 });
    t.sends(SYN | ACK);
    const first = t.iss;
    t.recv(RST, { seq: 1, port: 3000 });
    t.pass(1000);
    t.recv(SYN, { port: 3000 });
    t.sends(SYN | ACK);
    assert.is((t.iss - first) | 0, 250_000);
  }),
);

assert.is(PEER_ISS, 0x7ffffff0);
test.run();
