import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../../src/api/context.ts';
import * as m from '../../../src/api/mtcp.ts';
import { FakeWorker } from './fakeWorker.ts';

function bench() {
  const w = new FakeWorker();
  return { w, mctx: m.createContext(), sockets: w.sockets };
}

test('socket: only what exists', () => {
  const { mctx } = bench();
  assert.ok(m.socket(mctx, m.AF_INET, m.SOCK_STREAM) >= 0);
  assert.ok(m.socket(mctx, m.AF_INET, m.SOCK_STREAM, m.IPPROTO_TCP) >= 0);
  assert.is(m.socket(mctx, 10, m.SOCK_STREAM, 0), -m.EAFNOSUPPORT);
  assert.ok(m.socket(mctx, m.AF_INET, m.SOCK_DGRAM) >= 0);
  assert.ok(m.socket(mctx, m.AF_INET, m.SOCK_DGRAM, m.IPPROTO_UDP) >= 0);
  assert.is(m.socket(mctx, m.AF_INET, 3, 0), -m.ESOCKTNOSUPPORT);
  assert.is(m.socket(mctx, m.AF_INET, m.SOCK_DGRAM, m.IPPROTO_TCP), -m.EPROTONOSUPPORT);
  assert.is(m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 17), -m.EPROTONOSUPPORT);
});

test('bind and listen: addresses as text, int32 or left out; the worker hears where it listens', () => {
  const { w, mctx, sockets } = bench();
  const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.bind(mctx, s, { address: '192.0.2.1', port: 80 }), 0);
  assert.is(sockets.all[s]!.ip, 0xc0000201 | 0);
  assert.is(m.listen(mctx, s, 128), 0);
  assert.is(sockets.all[s]!.backlog, 128);
  m.bind(mctx, s, { port: 81 });
  assert.is(sockets.all[s]!.ip, m.INADDR_ANY);
  m.listen(mctx, s);
  assert.equal(w.listened, [`${0xc0000201}:80`, `${0xc0000201}:81`]);
  assert.is(m.bind(mctx, s, { address: m.INADDR_ANY, port: 65536 }), -m.EINVAL);
  assert.is(m.bind(mctx, s, { port: '80' as never }), -m.EINVAL);
  assert.is(m.listen(mctx, s, 0), -m.EINVAL);
  assert.throws(
    () => m.bind(mctx, s, { address: 'localhost', port: 1 }),
    (e: m.FlowringError) => e instanceof m.FlowringError && e.code === 'EINVAL',
  );
});

test('connect', () => {
  const { mctx, sockets } = bench();
  const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.connect(mctx, s, { address: m.parseAddress('198.51.100.9'), port: 443 }), -m.EINPROGRESS);
  assert.is(m.formatAddress(sockets.all[s]!.peerIp), '198.51.100.9');
  assert.is(m.connect(mctx, s, { address: '192.0.2.2', port: 0 }), -m.EINVAL);
  assert.is(m.connect(mctx, s, { port: 80 }), -m.EINVAL);
});

test('read, recv with MSG_PEEK, and write move exactly what offset and length say', () => {
  const { mctx, sockets } = bench();
  const s = sockets.connected(3);
  sockets.arrive(s, 1, 2, 3, 4, 5);
  const buffer = new Uint8Array(6);
  assert.is(m.recv(mctx, s, buffer, m.MSG_PEEK, 0, 2), 2);
  assert.is(m.read(mctx, s, buffer, 1, 3), 3);
  assert.equal([...buffer], [1, 1, 2, 3, 0, 0]);
  assert.is(m.recv(mctx, s, buffer), 2);
  assert.is(m.read(mctx, s, buffer), -m.EAGAIN);
  assert.is(m.recv(mctx, s, buffer, m.MSG_DONTWAIT), -m.EAGAIN);
  assert.is(m.recv(mctx, s, buffer, 0x100), -m.EOPNOTSUPP);
  assert.is(m.write(mctx, s, buffer, 2), 3);
  assert.equal(sockets.all[s]!.outbox, [2, 3, 0]);
  assert.is(m.write(mctx, s, buffer), -m.EAGAIN);
});

test('ranges outside the buffer, and what is no buffer, are EINVAL', () => {
  const { mctx, sockets } = bench();
  const s = sockets.connected(9);
  sockets.arrive(s, 1, 2);
  const buffer = new Uint8Array(4);
  for (const [offset, length] of [
    [0, 5],
    [4, 1],
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, Number.NaN],
    [5, undefined],
  ] as [number, number | undefined][]) {
    assert.is(m.read(mctx, s, buffer, offset, length), -m.EINVAL, `read ${offset} ${length}`);
    assert.is(m.recv(mctx, s, buffer, 0, offset, length), -m.EINVAL, `recv ${offset} ${length}`);
    assert.is(m.write(mctx, s, buffer, offset, length), -m.EINVAL, `write ${offset} ${length}`);
  }
  assert.is(m.write(mctx, s, 'text' as never), -m.EINVAL);
  assert.is(m.read(mctx, s, new Uint16Array(4) as never), -m.EINVAL);
});

test('every call refuses ids that are no socket', () => {
  const { mctx } = bench();
  const ep = m.epollCreate(mctx);
  const closed = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.close(mctx, closed), 0);
  const b = new Uint8Array(1);
  const into = { port: 0 };
  const calls: Record<string, (s: number) => number> = {
    bind: (s) => m.bind(mctx, s, { port: 1 }),
    listen: (s) => m.listen(mctx, s, 1),
    accept: (s) => m.accept(mctx, s),
    connect: (s) => m.connect(mctx, s, { address: '192.0.2.2', port: 1 }),
    read: (s) => m.read(mctx, s, b),
    recv: (s) => m.recv(mctx, s, b),
    write: (s) => m.write(mctx, s, b),
    abort: (s) => m.abort(mctx, s),
    shutdown: (s) => m.shutdown(mctx, s, m.SHUT_WR),
    getsockopt: (s) => m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_ERROR),
    setsockopt: (s) => m.setsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY, 1),
    getsockname: (s) => m.getsockname(mctx, s, into),
    getpeername: (s) => m.getpeername(mctx, s, into),
    socketIoctl: (s) => m.socketIoctl(mctx, s, m.FIONREAD),
    setsockNonblock: (s) => m.setsockNonblock(mctx, s),
    epollCtl: (s) => m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN }),
  };
  for (const [name, call] of Object.entries(calls)) {
    for (const wrong of [closed, -1, 0.5, Number.NaN, ep, undefined as never]) assert.is(call(wrong), -m.EBADF, `${name}(${wrong})`);
  }
  assert.is(m.close(mctx, -1), -m.EBADF);
  assert.is(m.close(mctx, ep + 1), -m.EBADF);
});

test('close, abort, shutdown', () => {
  const { mctx, sockets } = bench();
  const [a, b] = [sockets.connected(), sockets.connected()];
  assert.is(m.shutdown(mctx, a, m.SHUT_WR), 0);
  assert.is(sockets.all[a]!.down, m.SHUT_WR);
  assert.is(m.shutdown(mctx, a, 3), -m.EINVAL);
  assert.is(m.close(mctx, a), 0);
  assert.is(m.close(mctx, a), -m.EBADF);
  assert.is(m.abort(mctx, b), 0);
  assert.equal(sockets.calls, [`close ${a}`, `abort ${b}`]);
});

test('options: SO_ERROR once, TCP_NODELAY both ways, ENOPROTOOPT for the rest', () => {
  const { mctx, sockets } = bench();
  const s = sockets.connected();
  sockets.all[s]!.error = m.ECONNREFUSED;
  assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_ERROR), m.ECONNREFUSED);
  assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_ERROR), 0);
  assert.is(m.getsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY), 0);
  assert.is(m.setsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY, 1), 0);
  assert.is(m.getsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY), 1);
  assert.is(m.setsockopt(mctx, s, m.SOL_SOCKET, 2, 1), -m.ENOPROTOOPT);
  assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, 2), -m.ENOPROTOOPT);
});

test('getsockname is our side, getpeername the other', () => {
  const { mctx, sockets } = bench();
  const s = sockets.connected();
  const into = { address: '', port: 0 };
  assert.is(m.getsockname(mctx, s, into), 0);
  assert.equal(into, { address: '192.0.2.1', port: 80 });
  assert.is(m.getpeername(mctx, s, into), 0);
  assert.equal(into, { address: '192.0.2.2', port: 40000 });
  assert.is(m.getpeername(mctx, m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0), into), -m.ENOTCONN);
});

test('socketIoctl', () => {
  const { mctx, sockets } = bench();
  const s = sockets.connected();
  sockets.arrive(s, 1, 2, 3);
  assert.is(m.socketIoctl(mctx, s, m.FIONREAD), 3);
  assert.is(m.socketIoctl(mctx, s, m.FIONBIO, 1), 0);
  assert.is(m.socketIoctl(mctx, s, m.FIONBIO, 0), -m.EOPNOTSUPP);
  assert.is(m.socketIoctl(mctx, s, 1), -m.EINVAL);
  assert.is(m.setsockNonblock(mctx, s), 0);
});

test('contexts: this worker by id, CPU or nothing; another is refused with the way out', () => {
  const w = new FakeWorker(2, 5);
  const mctx = m.createContext();
  assert.is(m.createContext(2), mctx);
  assert.is(m.createContext(5), mctx);
  assert.throws(
    () => m.createContext(3),
    (e: m.FlowringError) => e.code === 'EINVAL' && e.message.includes('worker 2 on CPU 5'),
  );
  assert.is(m.coreAffinitize(5), 0);
  assert.is(m.coreAffinitize(1), -m.EINVAL);
  assert.equal([mctx.worker, mctx.workers, mctx.cpu, mctx.address], [2, 4, 5, '192.0.2.1']);
  mctx.counters.v[m.C_APP_OPERATIONS]!++;
  assert.is(w.counters.v[m.C_APP_OPERATIONS], 1);
  const ep = m.epollCreate(mctx);
  assert.is(m.destroyContext(mctx), 0);
  assert.is(w.stopped, 1);
  assert.is(m.epollWait(mctx, ep, new m.EpollEvents(1), 1, 0), -m.EBADF);
  injectContext(null);
  for (const call of [() => m.createContext(), () => m.coreAffinitize(0)]) {
    assert.throws(call, (e: m.FlowringError) => e.code === 'FLOWRING_NO_STACK' && e.message.includes('flowring run'));
  }
});

test('addresses', () => {
  assert.is(m.parseAddress('255.255.255.255'), -1);
  for (const ip of ['0.0.0.0', '192.0.2.1', '10.255.0.7']) assert.is(m.formatAddress(m.parseAddress(ip)), ip);
  for (const text of ['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.x', ' 1.2.3.4', '1..2.3', '-1.2.3.4', undefined as never]) {
    assert.throws(
      () => m.parseAddress(text),
      (e: m.FlowringError) => e.code === 'EINVAL',
      String(text),
    );
  }
});

test('errno names cover every errno that is exported', () => {
  for (const [name, value] of Object.entries(m)) {
    if (/^E[A-Z]+$/.test(name) && !name.startsWith('EPOLL')) {
      assert.is(m.errnoName(-(value as number)), name);
      assert.ok(m.errnoMessage(value as number).startsWith(`${name}: `));
    }
  }
  assert.is(m.errnoName(0), 'OK');
  assert.is(m.errnoName(-4095), 'E4095');
});

test.run();
