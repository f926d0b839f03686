/** Closing: RFC 9293 sections 3.6 and 3.10.4, 3.10.5, TIME_WAIT, orphans. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_TIME_WAIT_REUSED } from '../../../src/rings/counters.ts';
import { EBADF, ECONNRESET, EINPROGRESS, EPIPE, EPOLLHUP, EPOLLIN, EPOLLRDHUP, SHUT_RD, SHUT_WR } from '../../../src/stack/sockets.ts';
import { CLOSE_WAIT, CLOSED, CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, TIME_WAIT } from '../../../src/stack/tcp/states.ts';
import { ACK, FIN, PEER, PSH, RST, SYN, pattern, trace } from './trace.ts';

test(
  'active close through FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT; 2 MSL later the id is free',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    assert.is(t.sockets.state(s), FIN_WAIT_1);
    t.breath();
    t.sends(FIN | ACK, { seq: 1, ack: 1 });
    t.recv(ACK, { seq: 1, ack: 2 });
    assert.is(t.sockets.state(s), FIN_WAIT_2);
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK, { seq: 2, ack: 2 });
    assert.is(t.sockets.state(s), TIME_WAIT);
    t.pass(59_999);
    assert.is(t.sockets.inUse(), 2);
    t.pass(1);
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'passive close through CLOSE_WAIT and LAST_ACK; CLOSE_WAIT still sends',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 1, ack: 1 });
    t.sends(ACK, { ack: 2 });
    assert.is(t.sockets.state(s), CLOSE_WAIT);
    assert.is(t.sockets.ready.levels(s) & (EPOLLIN | EPOLLRDHUP), EPOLLIN | EPOLLRDHUP);
    t.write(s, 'late');
    t.breath();
    t.sends(ACK | PSH, { seq: 1, len: 4 });
    t.sockets.close(s);
    assert.is(t.sockets.state(s), LAST_ACK);
    t.breath();
    t.sends(FIN | ACK, { seq: 5 });
    t.recv(ACK, { seq: 2, ack: 6 });
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'simultaneous close through CLOSING',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK, { seq: 1 });
    t.recv(FIN | ACK, { seq: 1, ack: 1 });
    t.sends(ACK, { seq: 2, ack: 2 });
    assert.is(t.sockets.state(s), CLOSING);
    t.recv(ACK, { seq: 2, ack: 2 });
    assert.is(t.sockets.state(s), TIME_WAIT);
  }),
);

test(
  'the FIN follows queued data, is sent again, and is held back by nothing but the window',
  trace({ config: { nagle: true } }, (t) => {
    const s = t.accepted();
    t.write(s, pattern(0, 2000));
    t.sockets.close(s);
    t.breath();
    t.sends(ACK, { len: 1460 });
    t.sends(FIN | PSH | ACK, { seq: 1461, len: 540 });
    t.recv(ACK, { seq: 1, ack: 2001 });
    t.pass(200);
    t.sends(FIN | ACK, { seq: 2001, len: 0 });
    t.recv(ACK, { seq: 1, ack: 2002 });
    assert.is(t.sockets.state(s), FIN_WAIT_2);
  }),
);

test(
  'FIN acknowledged together with the peer FIN goes straight to TIME_WAIT',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK, { ack: 2 });
    assert.is(t.sockets.state(s), TIME_WAIT);
  }),
);

test(
  'half close: shutdown(WR) sends FIN, reading goes on',
  trace({}, (t) => {
    const s = t.accepted();
    assert.is(t.sockets.shutdown(s, SHUT_WR), 0);
    t.breath();
    t.sends(FIN | ACK, { seq: 1 });
    assert.is(t.write(s, 'x'), -EPIPE);
    t.recv(ACK, { seq: 1, ack: 2, len: 500 });
    assert.equal(t.read(s), pattern(0, 500));
    t.recv(FIN | ACK, { seq: 501, ack: 2 });
    assert.is(t.sockets.state(s), TIME_WAIT);
    assert.is(t.sockets.ready.levels(s) & EPOLLHUP, EPOLLHUP);
    assert.is(t.read(s).length, 0);
    t.pass(60_000);
    assert.is(t.sockets.state(s), CLOSED);
    assert.is(t.sockets.close(s), 0);
  }),
);

test(
  'shutdown(RD) reads end of stream',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.shutdown(s, SHUT_RD);
    assert.is(t.read(s).length, 0);
  }),
);

test(
  'close with unread data is a RST',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 10 });
    t.sockets.close(s);
    t.breath();
    t.sends(RST | ACK, { seq: 1, ack: 11 });
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'data after close is a RST',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(ACK, { seq: 1, ack: 2, len: 10 });
    t.sends(RST | ACK, { seq: 2, ack: 11 });
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'abort is a RST and the id is gone',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, 'never sent');
    assert.is(t.sockets.abort(s), 0);
    t.breath();
    t.sends(RST | ACK, { seq: 1 });
    t.silent();
    assert.is(t.sockets.abort(s), -EBADF);
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'a RST leaves what was received readable, then ECONNRESET once, then the end',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(ACK, { seq: 1, ack: 1, len: 10 });
    t.recv(RST, { seq: 11 });
    assert.equal(t.read(s), pattern(0, 10));
    assert.throws(() => t.read(s), `errno ${ECONNRESET}`);
    assert.is(t.read(s).length, 0);
  }),
);

test(
  'an orphan in FIN_WAIT_2 times out',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(ACK, { seq: 1, ack: 2 });
    t.pass(4999);
    assert.is(t.sockets.inUse(), 2);
    t.pass(1);
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'TIME_WAIT: the FIN again is acknowledged and restarts 2 MSL; RST is ignored',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK);
    t.pass(50_000);
    t.recv(RST, { seq: 2 }).silent();
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK, { seq: 2, ack: 2 });
    t.pass(50_000);
    assert.is(t.sockets.state(s), TIME_WAIT);
    t.pass(10_000);
    assert.is(t.sockets.inUse(), 1);
  }),
);

test(
  'TIME_WAIT gives way to a SYN with a later sequence number, with a higher ISN; not to an old one',
  trace({}, (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK);
    const before = t.iss;
    t.recv(SYN, { seq: -500 });
    t.sends(ACK, { ack: 2 });
    t.recv(SYN, { seq: 5000 });
    t.sends(SYN | ACK, { ack: 5001 });
    assert.ok(((t.iss - before) | 0) > 0);
    assert.is(t.counters.v[C_TCP_TIME_WAIT_REUSED], 1);
  }),
);

test(
  'TIME_WAIT gives way to a SYN with a later timestamp, whatever its sequence number',
  trace({ config: { timestamps: true } }, (t) => {
    const s = t.accepted({ ts: [1000, 0] });
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK);
    t.recv(FIN | ACK, { seq: 1, ack: 2, ts: [1010, 0] });
    t.sends(ACK);
    t.recv(SYN, { seq: -70000, ts: [900, 0] });
    t.sends(ACK);
    t.recv(SYN, { seq: -70000, ts: [2000, 0] });
    t.sends(SYN | ACK, { ack: -69999 });
  }),
);

test(
  'closing a listener resets what nobody accepted',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN, { port: 1001 });
    t.sends(SYN | ACK);
    t.recv(ACK, { seq: 1, ack: 1, port: 1001 });
    t.recv(SYN, { port: 1002 });
    t.sends(SYN | ACK);
    t.sockets.close(t.listener);
    t.breath();
    t.sends(RST | ACK, { port: 1001 });
    assert.is(t.out.shift()!.port, 1002);
    assert.is(t.sockets.inUse(), 0);
    t.recv(SYN, { port: 1003 });
    t.sends(RST | ACK);
  }),
);

test(
  'close of a connecting socket',
  trace({}, (t) => {
    const s = t.sockets.open();
    assert.is(t.sockets.connect(s, PEER, 9), -EINPROGRESS);
    t.breath();
    t.sends(SYN);
    t.sockets.close(s);
    assert.is(t.sockets.inUse(), 0);
    t.breath().silent();
  }),
);

test(
  'drain: listeners stop, connections get a FIN, drained when they are gone',
  trace({}, (t) => {
    t.accepted();
    t.stack.drain();
    assert.not(t.stack.drained());
    t.breath();
    t.sends(FIN | ACK);
    t.recv(SYN, { port: 7777 }).silent();
    t.recv(FIN | ACK, { seq: 1, ack: 2 });
    t.sends(ACK);
    assert.ok(t.stack.drained());
  }),
);

test.run();
