/** Where flows belong: source ports that come home, claimed ports, redirected segments; and what is not to be believed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_REDIRECTED, C_RX_DELIVERED, C_RX_PACKETS } from '../../../src/rings/counters.ts';
import { DROP_BAD_DESCRIPTOR, DROP_NO_CONNECTION, DROP_RING_FULL_DATA } from '../../../src/rings/drops.ts';
import { D_DATA, D_FLAGS_GSO, D_FRAME, D_REGION_GEN, F_REDIRECTED, OWNER_RING } from '../../../src/rings/layout.ts';
import { STEER_TCP } from '../../../src/rings/steering.ts';
import { EADDRINUSE, EADDRNOTAVAIL, EINPROGRESS, EINVAL, EISCONN, ENETUNREACH } from '../../../src/stack/sockets.ts';
import { flowHash } from '../../../src/wire/flow.ts';
import { ACK, OURS, PEER, RST, SYN, Trace, trace } from './trace.ts';

test('connect picks ports whose hash comes home, and different ones', () => {
  const t = new Trace({ workers: 4 });
  const ports = new Set<number>();
  for (let i = 0; i < 30; i++) {
    const s = t.sockets.open();
    assert.is(t.sockets.connect(s, PEER, 9000), -EINPROGRESS);
    const p = t.sockets.localPort(s);
    assert.is(t.steering.owner(STEER_TCP, flowHash(PEER, OURS, 9000, p), p), 0);
    assert.ok(p >= 32768 && p < 61000);
    ports.add(p);
  }
  assert.is(ports.size, 30);
  t.end();
});

test('a bound port that does not come home is claimed, and given up with the socket', () => {
  const t = new Trace({ workers: 4 });
  let port = 5000;
  while (t.steering.owner(STEER_TCP, flowHash(PEER, OURS, 9000, port), port) === 0) port++;
  const s = t.sockets.open();
  assert.is(t.sockets.bind(s, 0, port), 0);
  assert.is(t.sockets.connect(s, PEER, 9000), -EINPROGRESS);
  assert.is(t.steering.owner(STEER_TCP, flowHash(PEER, OURS, 9000, port), port), 0);
  t.sockets.abort(s);
  assert.not(t.steering.served(STEER_TCP, port));
  // A port another worker serves cannot be claimed.
  t.steering.serve(STEER_TCP, port, 2, true);
  const u = t.sockets.open();
  t.sockets.bind(u, 0, port);
  assert.is(t.sockets.connect(u, PEER, 9000), -EADDRNOTAVAIL);
  t.end();
});

test(
  'listen publishes the port in the steering table, close takes it back',
  trace({}, (t) => {
    t.listen();
    assert.ok(t.steering.serves(STEER_TCP, 80, 0));
    const s = t.sockets.open();
    assert.is(t.sockets.bind(s, 0, 80), -EADDRINUSE);
    assert.is(t.sockets.bind(s, 0x01020304, 81), -EADDRNOTAVAIL);
    assert.is(t.sockets.bind(s, 0, 70000), -EINVAL);
    t.sockets.close(t.listener);
    assert.not(t.steering.served(STEER_TCP, 80));
    assert.is(t.sockets.bind(s, 0, 80), 0);
    assert.is(t.sockets.listen(s, 1), 0);
  }),
);

test(
  'connect refuses what it must',
  trace({}, (t) => {
    const s = t.sockets.open();
    assert.is(t.sockets.connect(s, 0x01020304, 80), -ENETUNREACH);
    assert.is(t.sockets.connect(s, OURS, 80), -ENETUNREACH);
    assert.is(t.sockets.connect(s, 0xe0000001 | 0, 80), -ENETUNREACH);
    const c = t.accepted();
    assert.is(t.sockets.connect(c, PEER, 80), -EISCONN);
  }),
);

test('a segment of a flow that lived with another worker is redirected once, its SYN is not', () => {
  const t = new Trace({ workers: 2 });
  // Worker 1 served port 80 alone; now worker 0 does too, and this flow falls to it.
  t.steering.serve(STEER_TCP, 80, 1, true);
  t.listen();
  const ring = t.port.redirectOut[1]!;
  t.recv(ACK, { seq: 100, ack: 5, len: 10 }).silent();
  assert.is(t.counters.v[C_REDIRECTED], 1);
  const at = ring.slot(-1);
  assert.ok((ring.words[at + D_FLAGS_GSO]! & F_REDIRECTED) !== 0);
  const f = ring.words[at + D_FRAME]!;
  assert.is(t.frames.owner[f], OWNER_RING);
  assert.is(t.counters.v[C_RX_PACKETS], t.counters.v[C_RX_DELIVERED]);
  t.home(f);
  const back = t.build(ACK, { seq: 100, ack: 5 });
  back[D_FLAGS_GSO] = F_REDIRECTED;
  t.put(back);
  t.breath();
  t.sends(RST, { seq: 5 });
  assert.is(t.drop(DROP_NO_CONNECTION), 1);
  t.recv(SYN);
  t.sends(SYN | ACK);
  t.end();
});

test('a full redirect ring drops the segment: a RST would kill the connection that lives elsewhere', () => {
  const t = new Trace({ workers: 2 });
  t.steering.serve(STEER_TCP, 80, 1, true);
  t.listen();
  const ring = t.port.redirectOut[1]!;
  for (let i = 0; i < 16; i++) t.recv(ACK, { seq: 100, ack: 5 });
  t.recv(ACK, { seq: 100, ack: 5 }).silent();
  assert.is(t.drop(DROP_RING_FULL_DATA), 1);
  for (let i = 1; i <= 16; i++) t.home(ring.words[ring.slot(-i) + D_FRAME]!);
  t.end();
});

test(
  'descriptors that cannot be believed are dropped without touching what is not theirs',
  trace({}, (t) => {
    for (const spoil of [
      (d: Int32Array) => {
        d[D_FRAME] = -1;
      },
      (d: Int32Array) => {
        d[D_FRAME] = 100_000;
      },
      (d: Int32Array) => {
        d[D_REGION_GEN]! ^= 1;
      },
    ]) {
      const d = t.build(SYN, {});
      const f = d[D_FRAME]!;
      t.frames.owner[f] = OWNER_RING;
      spoil(d);
      const s = t.broker.rx.slot(0);
      t.broker.rx.room(1);
      t.broker.rx.words.set(d, s);
      t.broker.rx.put(1);
      t.broker.flush();
      t.breath().silent();
      assert.is(t.frames.owner[f], OWNER_RING);
      t.home(f);
    }
    const d = t.build(SYN, {});
    d[D_DATA] = (2000 << 16) | 400;
    t.put(d);
    t.breath().silent();
    assert.is(t.drop(DROP_BAD_DESCRIPTOR), 4);
  }),
);

test.run();
