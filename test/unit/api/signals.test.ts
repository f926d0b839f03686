import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../../src/api/context.ts';
import * as m from '../../../src/api/mtcp.ts';
import { formatControl, planControl, T_SIGNALS, ThreadRecord } from '../../../src/rings/control.ts';
import { WorkerSignals } from '../../../src/workers/signals.ts';
import { FakeWorker } from './fakeWorker.ts';

function bench() {
  const w = new FakeWorker();
  const mctx = m.createContext();
  const ep = m.epollCreate(mctx);
  const events = new m.EpollEvents(4);
  return { w, mctx, ep, wait: (ms: number) => m.epollWait(mctx, ep, events, 4, ms) };
}

test('a signal with a handler interrupts a wait once; with events ready it does not', () => {
  const { w, mctx, ep, wait } = bench();
  const seen: number[] = [];
  assert.is(
    m.registerSignal(m.SIGHUP, (n) => seen.push(n)),
    0,
  );
  w.script.push(
    () => {},
    () => {},
    () => w.signal(m.SIGHUP),
  );
  assert.is(wait(5000), -m.EINTR);
  assert.equal(seen, [m.SIGHUP]);
  w.script.push(
    () => {},
    () => w.signal(m.SIGUSR1),
  );
  assert.is(wait(150), 0, 'nobody asked for that one');
  w.signal(m.SIGHUP);
  assert.is(wait(20), 0, 'it was handled before the wait began');
  w.script.push(() => w.signal(m.SIGHUP));
  assert.is(wait(0), 0, 'what does not wait is not interrupted');
  const s = w.sockets.connected();
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
  w.script.push(() => {
    w.signal(m.SIGHUP);
    w.sockets.arrive(s, 1);
  });
  assert.is(wait(-1), 1);
  assert.is(seen.length, 4);
});

test('registerSignal: known signals, functions or null', () => {
  const { w } = bench();
  for (const wrong of [0, 9, 19, 64, -1, 2.5, 'SIGINT'])
    assert.is(
      m.registerSignal(wrong as number, () => {}),
      -m.EINVAL,
      String(wrong),
    );
  assert.is(m.registerSignal(m.SIGTERM, 'handler' as never), -m.EINVAL);
  assert.is(
    m.registerSignal(m.SIGTERM, () => {}),
    0,
  );
  assert.ok(w.handlers.has(m.SIGTERM));
  assert.is(m.registerSignal(m.SIGTERM, null), 0);
  assert.not.ok(w.handlers.has(m.SIGTERM));
  injectContext(null);
  assert.throws(
    () => m.registerSignal(m.SIGINT, () => {}),
    (e: m.FlowringError) => e.code === 'FLOWRING_NO_STACK',
  );
});

test("a worker's signals: bits in its record, each handler called once, main asked once a signal", () => {
  const plan = planControl(1, 1);
  const block = new SharedArrayBuffer(plan.bytes);
  formatControl(block, plan);
  const record = new ThreadRecord(block, 0);
  const asked: number[] = [];
  const seen: number[] = [];
  const signals = new WorkerSignals(record, (n) => asked.push(n));
  for (const n of [15, 1, 1]) signals.set(n, (k) => seen.push(k));
  assert.equal(asked, [15, 1]);
  signals.deliver();
  assert.equal(seen, []);
  record.set(T_SIGNALS, (1 << 15) | (1 << 1) | (1 << 2));
  assert.ok(signals.pending());
  signals.deliver();
  assert.equal(seen, [1, 15]);
  assert.not.ok(signals.pending());
  assert.ok(signals.take());
  assert.not.ok(signals.take());
  signals.set(1, null);
  record.set(T_SIGNALS, 1 << 1);
  signals.deliver();
  assert.equal(seen, [1, 15]);
  assert.not.ok(signals.take());
});

test.run();
