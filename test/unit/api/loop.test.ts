import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as m from '../../../src/api/mtcp.ts';
import { FakeWorker } from './fakeWorker.ts';

function bench() {
  const w = new FakeWorker();
  const mctx = m.createContext();
  const ep = m.epollCreate(mctx);
  const events = new m.EpollEvents(8);
  const s = w.sockets.connected();
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
  return { w, mctx, ep, events, s, wait: (ms: number) => m.epollWait(mctx, ep, events, 8, ms) };
}

test('a wait of 0 is one breath without rest, also when events are waiting', () => {
  const { w, s, wait } = bench();
  assert.is(wait(0), 0);
  w.sockets.arrive(s, 1);
  assert.is(wait(0), 1);
  assert.equal(w.turns, [0, 0]);
});

test('what arrives during the breath is returned by that wait', () => {
  const { w, s, wait } = bench();
  w.script.push(() => w.sockets.arrive(s, 1));
  assert.is(wait(0), 1);
});

test('a wait rests at most 100 ms at a time and returns 0 when its time is over', () => {
  const { w, wait } = bench();
  w.clock[1] = 0x7fffffff - 40;
  assert.is(wait(250), 0);
  assert.equal(w.turns, [0, 100, 100, 50], 'across the wrap of the clock');
  assert.is(w.clock[1], (0x7fffffff - 40 + 250) | 0);
});

test('waiting for ever ends with an event', () => {
  const { w, s, wait } = bench();
  for (let i = 0; i < 5; i++) w.script.push(() => {});
  w.script.push(() => w.sockets.arrive(s, 1));
  assert.is(wait(-1), 1);
  assert.equal(w.turns, [0, 100, 100, 100, 100, 100]);
});

test('an interrupt ends any wait with EINTR, and later ones at once', () => {
  const { w, wait } = bench();
  w.script.push(
    () => {},
    () => {
      w.asked = true;
    },
  );
  assert.is(wait(-1), -m.EINTR);
  assert.is(w.turns.length, 2);
  assert.is(wait(-1), -m.EINTR);
  assert.is(wait(0), -m.EINTR);
  assert.is(w.turns.length, 2);
});

test('events found in the breath of the interrupt are still delivered', () => {
  const { w, s, wait } = bench();
  w.script.push(() => {
    w.asked = true;
    w.sockets.arrive(s, 1);
  });
  assert.is(wait(-1), 1);
  assert.is(wait(-1), -m.EINTR);
});

test('run calls the handler only for breaths with events, and says when it has more', () => {
  const { w, mctx, ep, s } = bench();
  const got: number[] = [];
  assert.is(
    m.run(mctx, ep, (events, n) => {
      assert.is(events.count, n);
      got.push(n);
      m.read(mctx, events.socket[0]!, new Uint8Array(1));
    }),
    0,
  );
  const breath = w.handler!;
  assert.is(breath(), false);
  assert.equal(got, []);
  w.sockets.arrive(s, 1, 2);
  assert.is(breath(), true, 'one of two bytes was read: still listed');
  assert.is(breath(), true);
  assert.is(breath(), false);
  assert.equal(got, [1, 1]);
});

test('run leaves what exceeds maxEvents for the next breath, which follows at once', () => {
  const { w, mctx, ep } = bench();
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    const s = w.sockets.connected();
    m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN | m.EPOLLET });
    w.sockets.arrive(s, 1);
  }
  m.run(mctx, ep, (events, n) => seen.push(...events.socket.subarray(0, n)), 2);
  while (w.handler!() === true);
  assert.is(seen.length, 5);
  assert.is(new Set(seen).size, 5);
});

test('inside a handler epollWait only looks', () => {
  const { w, mctx, ep, s } = bench();
  const second = m.epollCreate(mctx);
  const other = w.sockets.connected(5);
  m.epollCtl(mctx, second, m.EPOLL_CTL_ADD, other, { events: m.EPOLLOUT });
  let found = -1;
  m.run(mctx, ep, () => {
    found = m.epollWait(mctx, second, new m.EpollEvents(4), 4, -1);
  });
  w.sockets.arrive(s, 1);
  w.handler!();
  assert.is(found, 1);
  assert.equal(w.turns, []);
});

test('calls from timers end the rest of the driver, calls from its handler do not', () => {
  const { w, mctx, ep, s } = bench();
  m.run(mctx, ep, () => m.write(mctx, s, new Uint8Array(1)));
  const before = w.woken;
  w.sockets.arrive(s, 1);
  w.handler!();
  assert.is(w.woken, before);
  m.write(mctx, s, new Uint8Array(1));
  assert.is(w.woken, before + 1);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_MOD, s, { events: m.EPOLLIN });
  assert.is(w.woken, before + 2);
});

test('a throwing handler reaches the driver, and the loop is not stuck in the handler', () => {
  const { w, mctx, ep, s } = bench();
  m.run(mctx, ep, () => {
    throw new Error('application');
  });
  w.sockets.arrive(s, 1);
  assert.throws(() => w.handler!(), /application/);
  assert.is(mctx.inHandler, false);
});

test('run and stop: checks and what they tell the driver', () => {
  const { w, mctx, ep } = bench();
  assert.is(
    m.run(mctx, 5, () => {}),
    -m.EBADF,
  );
  assert.is(m.run(mctx, ep, 'x' as never), -m.EINVAL);
  assert.is(
    m.run(mctx, ep, () => {}, 0),
    -m.EINVAL,
  );
  assert.is(w.handler, null);
  m.run(mctx, ep, () => {});
  assert.is.not(w.handler, null);
  m.stop(mctx);
  assert.is(w.handler, null);
  assert.is(w.stopped, 1);
});

test("the breath's clocks", () => {
  const { w, mctx } = bench();
  w.clock.set([-5, 77]);
  assert.is(m.nowUs(mctx), -5);
  assert.is(m.nowMs(mctx), 77);
});

test('closing the instance of run ends its calls, also when the id is given out again', () => {
  const w = new FakeWorker();
  const mctx = m.createContext();
  const ep = m.epollCreate(mctx);
  const s = w.sockets.connected(10);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLOUT });
  let calls = 0;
  m.run(mctx, ep, () => calls++);
  w.handler!();
  assert.is(calls, 1);
  assert.is(m.close(mctx, ep), 0);
  assert.is(m.epollCreate(mctx), ep);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLOUT });
  w.handler!();
  assert.is(calls, 1);
  assert.is(w.handler, null);
});

test.run();
