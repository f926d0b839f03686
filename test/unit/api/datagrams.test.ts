// UDP through mTCP's calls, on a real stack: what the API adds to the sockets, and that epoll sees datagrams.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../../src/api/context.ts';
import * as m from '../../../src/api/mtcp.ts';
import { datagram, sentDatagram } from '../stack/datagrams.ts';
import { PEER, PEER_PORT, Trace } from '../stack/trace.ts';
import { FakeWorker } from './fakeWorker.ts';

function bench() {
  const t = new Trace();
  const w = new FakeWorker();
  injectContext(Object.assign(w, { sockets: t.sockets }));
  const mctx = m.createContext();
  return { t, w, mctx, s: m.socket(mctx, m.AF_INET, m.SOCK_DGRAM, m.IPPROTO_UDP) };
}

const buffer = new Uint8Array(2048);
const from = { address: 0, port: 0 };

test('bind, recvfrom, sendto to whoever sent it; the worker says what it serves', () => {
  const { t, w, mctx, s } = bench();
  assert.is(m.bind(mctx, s, { port: 7 }), 0);
  assert.equal(w.listened, [`${0xc0000201}:7`]);
  assert.is(m.recvfrom(mctx, s, buffer, 0, 100, from), -m.EAGAIN);
  t.queueBytes(datagram({ data: 'hello' })).breath();
  assert.is(m.recvfrom(mctx, s, buffer, 3, 100, from), 5);
  assert.is(Buffer.from(buffer.subarray(3, 8)).toString(), 'hello');
  assert.equal(from, { address: PEER, port: PEER_PORT });
  assert.is(m.sendto(mctx, s, buffer, 3, 5, from), 5, 'bytes, not 0 as mudp_sendto');
  assert.is(m.sendto(mctx, s, buffer, 3, 4, { address: '192.0.2.1', port: 9 }), 4);
  t.breath();
  assert.equal(
    [sentDatagram(t), sentDatagram(t)].map((d) => [d.to, d.data]),
    [
      [PEER_PORT, 'hello'],
      [9, 'hell'],
    ],
  );
  t.end();
});

test('an empty datagram is 0, none is -EAGAIN', () => {
  const { t, mctx, s } = bench();
  m.bind(mctx, s, { port: 7 });
  t.queueBytes(datagram()).breath();
  assert.equal([m.recvfrom(mctx, s, buffer), m.recvfrom(mctx, s, buffer)], [0, -m.EAGAIN]);
  t.end();
});

test('flags, ranges, ids, addresses', () => {
  const { t, mctx, s } = bench();
  m.bind(mctx, s, { port: 7 });
  t.queueBytes(datagram({ data: 'abcdef' })).breath();
  assert.is(m.recvfrom(mctx, s, buffer, 0, 2, null, m.MSG_PEEK), 2);
  assert.is(m.recv(mctx, s, buffer, m.MSG_PEEK | m.MSG_TRUNC, 0, 2), 6);
  assert.is(m.recvfrom(mctx, s, buffer, 0, 2, null, m.MSG_TRUNC | m.MSG_DONTWAIT), 6);
  assert.is(m.recvfrom(mctx, s, buffer, 0, 2, null, 1), -m.EOPNOTSUPP);
  assert.is(m.sendto(mctx, s, buffer, 0, 2, from, m.MSG_PEEK), -m.EOPNOTSUPP);
  assert.is(m.sendto(mctx, s, buffer, 0, 2), -m.EDESTADDRREQ);
  assert.is(m.sendto(mctx, s, buffer, 0, 2, { address: PEER, port: 0 }), -m.EINVAL);
  assert.is(m.sendto(mctx, s, buffer, 0, 2, { address: PEER, port: 65536 }), -m.EINVAL);
  assert.is(m.sendto(mctx, s, buffer, 2047, 2, from), -m.EINVAL);
  assert.is(m.recvfrom(mctx, s, buffer, -1, 2), -m.EINVAL);
  assert.is(m.sendto(mctx, s, buffer, 0, 1473, from), -m.EMSGSIZE);
  assert.is(m.sendto(mctx, s, buffer, 0, 1, { address: '255.255.255.255', port: 9 }), -m.EACCES);
  for (const none of [-1, 1.5, 1 << 24]) {
    assert.is(m.sendto(mctx, none, buffer, 0, 2, from), -m.EBADF);
    assert.is(m.recvfrom(mctx, none, buffer), -m.EBADF);
  }
  assert.throws(() => m.sendto(mctx, s, buffer, 0, 2, { address: '192.0.2.x', port: 9 }), /not an IPv4 address/);
  t.end();
});

test('connect is done at once; read, write, getpeername; port 0 ends it; names after an implicit bind', () => {
  const { t, mctx, s } = bench();
  const name: m.SocketAddress = { port: 0 };
  assert.is(m.connect(mctx, s, { address: '192.0.2.1', port: 9 }), 0);
  assert.is(m.getpeername(mctx, s, name), 0);
  assert.equal(name, { address: '192.0.2.1', port: 9 });
  assert.is(m.getsockname(mctx, s, name), 0);
  assert.is(name.address, '192.0.2.2');
  assert.ok(name.port >= 32768);
  assert.is(m.write(mctx, s, Buffer.from('ping')), 4);
  t.breath();
  assert.is(sentDatagram(t).data, 'ping');
  t.queueBytes(datagram({ from: 9, to: name.port, data: 'pong' })).breath();
  assert.is(m.read(mctx, s, buffer), 4);
  assert.is(m.connect(mctx, s, { port: 0 }), 0);
  assert.is(m.getpeername(mctx, s, name), -m.ENOTCONN);
  const stream = m.socket(mctx, m.AF_INET, m.SOCK_STREAM);
  assert.is(m.connect(mctx, stream, { port: 0 }), -m.EINVAL);
  t.end();
});

test('epoll, level: reported while datagrams wait, OUT without priming; edge: once an arrival', () => {
  const { t, mctx, s } = bench();
  m.bind(mctx, s, { port: 7 });
  const ep = m.epollCreate(mctx);
  const events = new m.EpollEvents(8);
  const look = (): number[] => {
    m.epollWait(mctx, ep, events, 8, 0);
    return [events.count, events.events[0]!];
  };
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN | m.EPOLLOUT });
  assert.equal(look(), [1, m.EPOLLOUT]);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_MOD, s, { events: m.EPOLLIN });
  assert.is(look()[0], 0);
  t.queueBytes(datagram({ data: 'a' }))
    .queueBytes(datagram({ data: 'b' }))
    .breath();
  assert.equal(look(), [1, m.EPOLLIN]);
  m.recvfrom(mctx, s, buffer);
  assert.equal(look(), [1, m.EPOLLIN], 'one still waits');
  m.recvfrom(mctx, s, buffer);
  assert.is(look()[0], 0);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_MOD, s, { events: m.EPOLLIN | m.EPOLLET });
  t.queueBytes(datagram({ data: 'c' })).breath();
  assert.equal(look(), [1, m.EPOLLIN]);
  assert.is(look()[0], 0);
  t.queueBytes(datagram({ data: 'd' })).breath();
  assert.equal(look(), [1, m.EPOLLIN]);
  m.close(mctx, s);
  assert.is(look()[0], 0);
  t.end();
});

test('options and FIONREAD', () => {
  const { t, mctx, s } = bench();
  m.bind(mctx, s, { port: 7 });
  t.queueBytes(datagram({ data: 'abc' }))
    .queueBytes(datagram({ data: 'defgh' }))
    .breath();
  assert.is(m.socketIoctl(mctx, s, m.FIONREAD), 3, 'the first datagram');
  assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_TYPE), m.SOCK_DGRAM);
  assert.is(m.setsockopt(mctx, s, m.SOL_SOCKET, m.SO_BROADCAST, 1), 0);
  assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_BROADCAST), 1);
  assert.is(m.setsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY, 1), -m.ENOPROTOOPT);
  assert.is(m.listen(mctx, s), -m.EOPNOTSUPP);
  assert.is(m.accept(mctx, s), -m.EOPNOTSUPP);
  t.end();
});

test.after(() => injectContext(null));
test.run();
