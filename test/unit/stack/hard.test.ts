/** Cases that ordinary traffic seldom meets: wrapped counters, crossed opens that are closed, shut windows and what stands behind them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_CHALLENGE_ACKS, C_TCP_FAST_RETRANS } from '../../../src/rings/counters.ts';
import { DROP_BAD_DESCRIPTOR } from '../../../src/rings/drops.ts';
import {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_OFFSETS,
  D_SEGS_VLAN,
  D_TOTAL,
  F_CSUM_OK,
  F_IPCSUM_OK,
  F_PARSED,
  F_TCP,
  F_TRAIN,
  OWNER_BROKER,
  OWNER_FREE,
  OWNER_RING,
  OWNER_WORKER,
} from '../../../src/rings/layout.ts';
import { setIpv4 } from '../../../src/wire/ipv4.ts';
import { ECONNREFUSED, EINPROGRESS } from '../../../src/stack/sockets.ts';
import { IsnGenerator } from '../../../src/stack/tcp/isn.ts';
import { CLOSE_WAIT, CLOSED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, SYN_RCVD } from '../../../src/stack/tcp/states.ts';
import { ACK, FIN, OURS, PEER, PSH, RST, SYN, Trace, trace } from './trace.ts';

const crossed = (t: Trace): number => {
  const s = t.sockets.open();
  assert.is(t.sockets.connect(s, PEER, 9000), -EINPROGRESS);
  t.breath();
  t.sends(SYN);
  t.recv(SYN, { port: 9000 });
  t.sends(SYN | ACK, { seq: 0, ack: 1 });
  assert.is(t.sockets.state(s), SYN_RCVD);
  return s;
};

test(
  'a RST whose text covers RCV.NXT but begins elsewhere is a challenge, not the end (RFC 5961 3.2)',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK | PSH, { seq: 1, ack: 1, len: 100 });
    t.pass(50);
    t.out.length = 0;
    t.recv(RST, { seq: 51, len: 100 });
    assert.is(t.sockets.state(s), ESTABLISHED);
    t.recv(RST, { seq: 102 });
    t.sends(ACK, { ack: 101 });
    assert.is(t.counters.v[C_TCP_CHALLENGE_ACKS], 1);
    assert.is(t.sockets.state(s), ESTABLISHED);
    t.recv(RST, { seq: 101, len: 7 });
    assert.is(t.sockets.state(s), CLOSED);
  }),
);

test(
  'crossed opens, closed before they are established: SYN and FIN are both acknowledged before FIN_WAIT_2',
  trace({}, (t) => {
    const s = crossed(t);
    assert.is(t.sockets.close(s), 0);
    t.breath().silent();
    // Our SYN-ACK was lost: it comes again, no FIN before it is acknowledged.
    t.pass(1000);
    t.sends(SYN | ACK, { seq: 0, ack: 1 });
    t.recv(ACK, { seq: 1, ack: 1, port: 9000 });
    t.sends(FIN | ACK, { seq: 1, ack: 1 });
    assert.is(t.sockets.state(s), FIN_WAIT_1);
    t.recv(ACK, { seq: 1, ack: 2, port: 9000 });
    assert.is(t.sockets.state(s), FIN_WAIT_2);
  }),
);

test(
  'a RST to crossed opens is a refusal',
  trace({}, (t) => {
    const s = crossed(t);
    t.recv(RST, { seq: 1, port: 9000 });
    assert.is(t.sockets.takeError(s), ECONNREFUSED);
  }),
);

test(
  'a SYN-ACK that went out again is not timed',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN).sends(SYN | ACK);
    t.pass(600);
    t.recv(SYN).sends(SYN | ACK);
    t.clock[0] = (t.clock[0]! + 1000) | 0;
    t.recv(ACK, { seq: 1, ack: 1 });
    const c = t.sockets.accept(t.listener);
    assert.is(t.machine.tcb.srtt[t.row(c)], 0);
  }),
);

test(
  'recover follows SND.UNA: after 2 GiB without a loss three duplicates still start a fast retransmit',
  trace({ config: { sndbuf: 1 << 20 } }, (t) => {
    const s = t.accepted();
    let at = 1;
    const exchange = (n: number): void => {
      t.write(s, Buffer.alloc(n));
      t.breath();
      at += n;
      t.out.length = 0;
      t.recv(ACK, { seq: 1, ack: at });
      t.out.length = 0;
    };
    // The first byte moves it up; a stand-in for 2 GiB then is a recover that far behind an otherwise equal connection.
    exchange(1);
    const { recover, sndUna } = t.machine.tcb;
    for (let i = 0; i < 50; i++) exchange(1460);
    assert.ok(((sndUna[t.row(s)]! - recover[t.row(s)]!) | 0) <= 1, `recover is ${(sndUna[t.row(s)]! - recover[t.row(s)]!) | 0} behind`);
    t.write(s, Buffer.alloc(5 * 1460));
    t.breath();
    t.out.length = 0;
    for (let i = 0; i < 3; i++) t.recv(ACK, { seq: 1, ack: at });
    assert.is(t.counters.v[C_TCP_FAST_RETRANS], 1);
    assert.ok(t.out.some((x) => x.seq === at && x.len === 1460));
  }),
);

test(
  'segments beyond a hole that come in one breath are acknowledged one by one: the peer counts duplicates',
  trace({}, (t) => {
    t.accepted();
    for (let i = 1; i <= 5; i++) t.queue(ACK, { seq: 1 + i * 100, ack: 1, len: 100 });
    t.breath();
    for (let i = 0; i < 5; i++) t.sends(ACK, { ack: 1, len: 0 });
    t.silent();
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.sends(ACK, { ack: 601 });
    t.silent();
  }),
);

test(
  'duplicate ACKs go ahead of data and without it',
  trace({}, (t) => {
    const s = t.accepted();
    t.app = () => void t.write(s, 'reply');
    for (let i = 1; i <= 3; i++) t.queue(ACK, { seq: 1 + i * 100, ack: 1, len: 100 });
    t.breath();
    for (let i = 0; i < 3; i++) t.sends(ACK, { ack: 1, len: 0 });
    t.sends(ACK, { ack: 1, len: 5 });
    t.silent();
  }),
);

test(
  'duplicate ACKs without credit wait for it',
  trace({ credit: 2 }, (t) => {
    t.accepted();
    for (let i = 1; i <= 5; i++) t.queue(ACK, { seq: 1 + i * 100, ack: 1, len: 100 });
    t.breath();
    assert.is(t.out.length, 2);
    t.breath().breath();
    for (let i = 0; i < 5; i++) t.sends(ACK, { ack: 1, len: 0 });
    t.silent();
  }),
);

test('a scaled window: small segments to an application that does not read fill the buffer, not more', () => {
  const rcvbuf = 65536;
  const t = new Trace({ config: { windowScale: 7, rcvbuf } });
  const s = t.accepted({ ws: 7 });
  let sent = 0;
  let edge = 1 + 65535;
  for (let i = 0; i < 6000; i++) {
    const room = edge - (1 + sent);
    if (room <= 0) break;
    const n = Math.min(100, room);
    t.recv(ACK | PSH, { seq: 1 + sent, ack: 1, len: n, win: 512 });
    sent += n;
    for (const x of t.out.splice(0)) edge = Math.max(edge, x.ack + x.win * 128);
    if (i % 16 === 0) {
      t.pass(50);
      for (const x of t.out.splice(0)) edge = Math.max(edge, x.ack + x.win * 128);
    }
  }
  assert.ok(t.sockets.readable(s) <= rcvbuf + 128, `${t.sockets.readable(s)} bytes in a buffer of ${rcvbuf}`);
  assert.ok(t.sockets.readable(s) >= rcvbuf - 1460, `${t.sockets.readable(s)} bytes only`);
  t.end();
});

test(
  'a FIN behind a shut window: the peer that keeps answering keeps the connection',
  trace({ config: { retries: 3 } }, (t) => {
    const s = t.accepted({ win: 1000 });
    t.write(s, Buffer.alloc(1000));
    t.breath();
    t.sends(ACK, { len: 1000 });
    t.recv(ACK, { seq: 1, ack: 1001, win: 0 });
    t.sockets.shutdown(s, 1);
    t.breath();
    for (let i = 0; i < 600; i++) {
      t.pass(500);
      for (const x of t.out.splice(0)) if (x.flags & FIN) t.recv(ACK, { seq: 1, ack: 1001, win: 0 });
    }
    assert.is(t.sockets.state(s), FIN_WAIT_1);
    t.recv(ACK, { seq: 1, ack: 1002, win: 1000 });
    assert.is(t.sockets.state(s), FIN_WAIT_2);
  }),
);

test(
  'an orphan whose peer keeps the window shut is cut after R2, inside the window; one that the application holds stays',
  trace({ config: { retries: 4 } }, (t) => {
    const a = t.accepted({ win: 1000, port: 5001 });
    const b = t.accepted({ win: 1000, port: 5002 });
    const iss = [0, 0];
    [a, b].forEach((s, i) => {
      iss[i] = t.machine.tcb.iss[t.row(s)]!;
      t.write(s, Buffer.alloc(3000));
    });
    t.breath();
    t.out.length = 0;
    const answer = (): void => {
      for (let i = 0; i < 2; i++) {
        t.iss = iss[i]!;
        t.recv(ACK, { seq: 1, ack: 1001, win: 0, port: 5001 + i });
      }
    };
    answer();
    t.sockets.close(a);
    let cut = null;
    for (let i = 0; i < 600 && cut === null; i++) {
      t.pass(500);
      cut = t.out.splice(0).find((x) => (x.flags & RST) !== 0) ?? null;
      if (cut === null) answer();
    }
    assert.ok(cut !== null, 'the orphan lives on');
    assert.is(cut.port, 5001);
    assert.is((cut.seq + t.iss - iss[0]!) | 0, 1001, 'the number of a RST the peer believes');
    assert.is(t.sockets.state(b), ESTABLISHED);
  }),
);

test(
  'data that a peer sends beyond its own FIN does not keep the end of the stream away',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 101, ack: 1 });
    t.recv(ACK, { seq: 101, ack: 1, len: 50 });
    t.recv(ACK, { seq: 1, ack: 1, len: 100 });
    t.out.length = 0;
    assert.ok(t.read(s).length >= 100);
    assert.is(t.read(s).length, 0);
    assert.is(t.sockets.state(s), CLOSE_WAIT);
  }),
);

test(
  'after the peer FIN reading sends no window updates',
  trace({ config: { rcvbuf: 8192 } }, (t) => {
    const s = t.accepted();
    for (let i = 0; i < 5; i++) t.recv(ACK, { seq: 1 + i * 1460, ack: 1, len: 1460 });
    t.recv(FIN | ACK, { seq: 7301, ack: 1 });
    t.out.length = 0;
    assert.is(t.read(s).length, 7300);
    t.breath().silent();
  }),
);

test('initial sequence numbers grow through a quiet hour too', () => {
  let x = 1;
  const g = new IsnGenerator(() => (x = Math.imul(x, 48271)), 0);
  const first = g.next(1, 2, 3, 0);
  const later = g.next(1, 2, 3, 2_400_000_000 | 0);
  assert.is((later - first) | 0, 600_000_000);
});

test('PAWS: a timestamp remembered for more than 24 days proves nothing and is replaced', () => {
  const t = new Trace({ config: { timestamps: true } });
  const s = t.accepted({ ts: [1000, 0] });
  for (const days of [25, 40]) {
    // Nothing on the wheel, or it walks through every millisecond.
    t.pass(50);
    t.clock[1] = (t.clock[1]! + days * 86_400_000) | 0;
    const seq = t.sockets.readable(s) + 1;
    const ts = t.machine.tcb.tsRecent[t.row(s)]! - 5;
    t.recv(ACK | PSH, { seq, ack: 1, len: 10, ts: [ts, 0] });
    assert.is(t.sockets.readable(s), seq + 9, `after ${days} days`);
    assert.is(t.machine.tcb.tsRecent[t.row(s)], ts);
  }
  t.out.length = 0;
  t.end();
});

test('a train with a link that somebody else holds is refused, and the link is left alone', () => {
  for (const owner of [OWNER_FREE, OWNER_BROKER, OWNER_WORKER + 1, OWNER_RING]) {
    const t = new Trace({ config: { trainLinksMax: 8 } });
    const s = t.accepted();
    const d = t.build(ACK | PSH, { seq: 1, ack: 1, len: 1000 });
    const g = t.takeFrame();
    t.frames.next[d[D_FRAME]!] = g;
    t.frames.next[g] = -1;
    t.frames.length[g] = 500;
    t.frames.owner[g] = owner;
    d[D_FLAGS_GSO] = (1000 << 16) | F_TRAIN | F_TCP;
    d[D_TOTAL]! += 500;
    d[D_SEGS_VLAN] = 2;
    const v = t.frames.view;
    const ip = t.frames.offset[d[D_FRAME]!]! + (d[D_DATA]! >>> 16) + 14;
    setIpv4(v, ip, v.getUint16(ip + 2) + 500, 1, 6, PEER, OURS);
    d[D_FLAGS_GSO]! |= F_PARSED | F_CSUM_OK | F_IPCSUM_OK;
    d[D_OFFSETS] = (34 << 16) | (14 << 8);
    t.put(d);
    t.breath();
    assert.is(t.sockets.readable(s), owner === OWNER_RING ? 1500 : 0, `owner ${owner}`);
    assert.is(t.drop(DROP_BAD_DESCRIPTOR), owner === OWNER_RING ? 0 : 1);
    if (owner !== OWNER_RING) {
      assert.is(t.frames.owner[g], owner);
      t.home(g);
    }
    t.out.length = 0;
    t.end();
  }
});

test.run();
