import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as m from '../../../src/api/mtcp.ts';
import { FakeWorker } from './fakeWorker.ts';

const { EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET, EPOLLONESHOT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL } = m;

function bench(max = 8) {
  const w = new FakeWorker();
  const mctx = m.createContext();
  const ep = m.epollCreate(mctx, 16);
  const events = new m.EpollEvents(max);
  return { w, sockets: w.sockets, ready: w.sockets.ready, mctx, ep, events, look: () => m.epollWait(mctx, ep, events, max, 0) };
}

const seen = (e: m.EpollEvents): string =>
  Array.from({ length: e.count }, (_, i) => `${e.socket[i]}:${e.events[i]!.toString(16)}`).join(' ');

test('a level-triggered socket is reported as long as its condition holds', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const s = sockets.connected();
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN }), 0);
  assert.is(look(), 0);
  sockets.arrive(s, 1, 2, 3);
  assert.is(look(), 1);
  assert.is(m.read(mctx, s, new Uint8Array(2)), 2);
  assert.is(look(), 1);
  assert.is(seen(events), `${s}:1`);
  assert.is(m.read(mctx, s, new Uint8Array(2)), 1);
  assert.is(look(), 0);
  sockets.arrive(s, 4);
  assert.is(look(), 1);
});

test('an edge-triggered socket is reported once per raise, with all bits that hold', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const s = sockets.connected(100);
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLOUT | EPOLLET });
  assert.is(look(), 1, 'ADD reports what already holds');
  assert.is(seen(events), `${s}:4`);
  assert.is(look(), 0);
  sockets.arrive(s, 1);
  assert.is(look(), 1);
  assert.is(seen(events), `${s}:5`);
  assert.is(look(), 0, 'unread data is no new edge');
  sockets.arrive(s, 2);
  assert.is(look(), 1, 'more data is');
});

test('a raise outside the interest reports nothing, even while a watched condition holds', () => {
  const { sockets, ready, mctx, ep, look } = bench();
  const s = sockets.connected();
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLET });
  sockets.arrive(s, 1);
  assert.is(look(), 1);
  sockets.set(s, { room: 50 }, EPOLLOUT);
  assert.is(look(), 0);
  assert.is(ready.first(1), -1, 'and takes it off the list');
});

test('an edge whose condition is gone by the wait is not reported', () => {
  const { sockets, mctx, ep, look } = bench();
  const s = sockets.connected();
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLET });
  sockets.arrive(s, 1);
  m.read(mctx, s, new Uint8Array(9));
  assert.is(look(), 0);
});

test('ONESHOT fires once, then waits for MOD, which reports what holds', () => {
  for (const extra of [0, EPOLLET]) {
    const { sockets, mctx, ep, look } = bench();
    const s = sockets.connected();
    m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLONESHOT | extra });
    sockets.arrive(s, 1);
    assert.is(look(), 1);
    sockets.arrive(s, 2);
    sockets.set(s, { extra: EPOLLHUP }, EPOLLHUP);
    assert.is(look(), 0, 'disarmed, HUP included');
    assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_MOD, s, { events: EPOLLIN | EPOLLONESHOT | extra }), 0);
    assert.is(look(), 1, 're-armed: data is still there');
    assert.is(look(), 0);
  }
});

test('ERR and HUP come unasked, RDHUP only asked, all in one entry', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const [a, b] = [sockets.connected(), sockets.connected()];
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, a, { events: EPOLLIN });
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, b, { events: EPOLLIN | EPOLLRDHUP });
  const all = EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP;
  sockets.set(a, { extra: all }, all);
  sockets.set(b, { extra: all }, all);
  assert.is(look(), 2);
  assert.is(events.events[0], EPOLLIN | EPOLLERR | EPOLLHUP);
  assert.is(events.events[1], all);
});

test('MOD changes interest and data; an always writable socket is not looked at for EPOLLIN', () => {
  const { sockets, ready, mctx, ep, events, look } = bench();
  const s = sockets.connected(10);
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN });
  assert.is(look(), 0);
  assert.is(ready.first(1), -1);
  m.epollCtl(mctx, ep, EPOLL_CTL_MOD, s, { events: EPOLLOUT, data: 1.5 });
  assert.is(look(), 1);
  assert.is(events.data[0], 1.5);
  m.epollCtl(mctx, ep, EPOLL_CTL_MOD, s, { events: EPOLLIN });
  assert.is(look(), 0);
});

test('data defaults to the socket and holds any double', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const [a, b] = [sockets.connected(1), sockets.connected(1)];
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, a, { events: EPOLLOUT });
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, b, { events: EPOLLOUT, data: 2 ** 52 + 1 });
  assert.is(look(), 2);
  assert.equal([...events.data.subarray(0, 2)], [a, 2 ** 52 + 1]);
});

test('errors: EEXIST, ENOENT, EBADF, EINVAL', () => {
  const { sockets, mctx, ep, events } = bench();
  const s = sockets.connected();
  const other = m.epollCreate(mctx);
  const want = { events: EPOLLIN };
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_MOD, s, want), -m.ENOENT);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_DEL, s), -m.ENOENT);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s), -m.EINVAL);
  assert.is(m.epollCtl(mctx, ep, 9, s, want), -m.EINVAL);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, want), 0);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, want), -m.EEXIST);
  assert.is(m.epollCtl(mctx, other, EPOLL_CTL_ADD, s, want), -m.EEXIST, 'in one epoll at a time');
  assert.is(m.epollCtl(mctx, other, EPOLL_CTL_DEL, s), -m.ENOENT);
  assert.is(m.epollCtl(mctx, s, EPOLL_CTL_ADD, s, want), -m.EBADF, 'a socket is no epoll');
  for (const wrong of [-1, 1.5, Number.NaN, 1 << 24, 999, ep]) {
    assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, wrong, want), -m.EBADF, String(wrong));
  }
  assert.is(m.epollWait(mctx, ep, events, 9, 0), -m.EINVAL, 'more than the object holds');
  assert.is(m.epollWait(mctx, ep, events, 0, 0), -m.EINVAL);
  assert.is(m.epollWait(mctx, ep, events, 1, -2), -m.EINVAL);
  assert.is(m.epollWait(mctx, s, events, 1, 0), -m.EBADF);
  assert.is(m.epollCreate(mctx, 0), -m.EINVAL);
  assert.throws(() => new m.EpollEvents(0), /max is 0/);
});

test('several instances each have their own sockets; closing one leaves the other', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const second = m.epollCreate(mctx);
  assert.is.not(second, ep);
  const [a, b] = [sockets.connected(), sockets.connected()];
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, a, { events: EPOLLIN });
  m.epollCtl(mctx, second, EPOLL_CTL_ADD, b, { events: EPOLLIN });
  sockets.arrive(a, 1);
  sockets.arrive(b, 1);
  assert.is(look(), 1);
  assert.is(events.socket[0], a);
  assert.is(m.epollWait(mctx, second, events, 8, 0), 1);
  assert.is(events.socket[0], b);
  assert.is(m.close(mctx, second), 0);
  assert.is(m.close(mctx, second), -m.EBADF);
  assert.is(m.epollWait(mctx, second, events, 8, 0), -m.EBADF);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, b, { events: EPOLLIN }), 0, 'its sockets are free for another');
  assert.is(look(), 2);
});

test('63 instances, then EMFILE', () => {
  const { mctx } = bench();
  for (let i = 1; i < 63; i++) assert.ok(m.epollCreate(mctx) >= 0);
  assert.is(m.epollCreate(mctx), -m.EMFILE);
});

test('DEL and close take a listed socket away, also when it moved to another instance', () => {
  const { sockets, mctx, ep, events, look } = bench();
  const other = m.epollCreate(mctx);
  const [a, b, c] = [sockets.connected(), sockets.connected(), sockets.connected()];
  for (const s of [a, b, c]) {
    m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN });
    sockets.arrive(s, 1);
  }
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_DEL, a), 0);
  m.epollCtl(mctx, other, EPOLL_CTL_ADD, a, { events: EPOLLIN });
  m.close(mctx, b);
  assert.is(look(), 1);
  assert.is(events.socket[0], c);
  assert.is(m.epollWait(mctx, other, events, 8, 0), 1);
  assert.is(events.socket[0], a);
});

test('with more ready sockets than room none starves', () => {
  const { sockets, mctx, ep, events } = bench(3);
  const all = Array.from({ length: 10 }, () => sockets.connected());
  for (const s of all) {
    m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN });
    sockets.arrive(s, 1);
  }
  const times = new Map<number, number>();
  for (let i = 0; i < 40; i++) {
    assert.is(m.epollWait(mctx, ep, events, 3, 0), 3);
    const now = new Set(events.socket.subarray(0, 3));
    assert.is(now.size, 3, 'one entry a socket');
    for (const s of now) times.set(s, (times.get(s) ?? 0) + 1);
  }
  assert.is(times.size, 10);
  for (const [s, n] of times) assert.ok(n >= 10 && n <= 14, `socket ${s}: ${n} of 40`);
});

test('columns grow with the socket ids', () => {
  const { sockets, mctx, ep, events, look } = bench();
  let s = 0;
  const low = sockets.connected(1);
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, low, { events: EPOLLOUT, data: 7 });
  while (s < 5000) s = sockets.connected(1);
  assert.is(m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLOUT, data: 8 }), 0);
  assert.is(look(), 2);
  assert.equal([...events.data.subarray(0, 2)], [7, 8]);
});

test.run();
