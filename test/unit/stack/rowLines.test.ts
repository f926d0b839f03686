// What a packet costs where nothing of its connection is in a cache: the lines of 64 bytes of its row that it reads or writes.
// Counted, not timed: while the stack is made, the columns of the Tcb are wrapped so that every index used is seen.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCB_ROW } from '../../../src/stack/tcp/tcb.ts';
import { ACK, CONFIG, PSH, Trace } from './trace.ts';

const LINE_WORDS = 16;
const CONNECTIONS = 61;
/** No other array of the stack is as long as a column. */
const COLUMN = (CONNECTIONS - 1) * TCB_ROW + 1;

/** Words of rows used since the last `lines`, by row. */
class Watch {
  private readonly used = new Set<number>();
  private first = -1;

  /** Runs `make` with columns that tell. */
  around<T>(make: () => T): T {
    const Real = globalThis.Int32Array;
    const told = (a: Int32Array): Int32Array => {
      if (a.length !== COLUMN) return a;
      if (this.first < 0) this.first = a.byteOffset;
      const word = (a.byteOffset - this.first) >> 2;
      return new Proxy(a, {
        get: (o, k) => {
          this.used.add(Number(k) + word);
          return Reflect.get(o, k) as unknown;
        },
        set: (o, k, v) => {
          this.used.add(Number(k) + word);
          return Reflect.set(o, k, v);
        },
      });
    };
    globalThis.Int32Array = new Proxy(Real, { construct: (_, args) => told(Reflect.construct(Real, args) as Int32Array) });
    try {
      return make();
    } finally {
      globalThis.Int32Array = Real;
    }
  }

  /** Lines of the row at `c` that `work` uses, and of other rows. */
  lines(c: number, work: () => void): [number, number] {
    this.used.clear();
    work();
    const [own, others] = [new Set<number>(), new Set<number>()];
    for (const w of this.used) if (w >= 0) (w >= c && w < c + TCB_ROW ? own : others).add(Math.floor(w / LINE_WORDS));
    return [own.size, others.size];
  }
}

interface Rig {
  t: Trace;
  watch: Watch;
  s: number;
  /** A request of 64 bytes comes and is read; with `answer` as much goes back. */
  echo(answer: boolean): void;
  ack(): void;
}

function rig(): Rig {
  const watch = new Watch();
  const t = watch.around(
    () => new Trace({ config: { ...CONFIG, maxConnections: CONNECTIONS, timestamps: true, windowScale: 7, nagle: true } }),
  );
  // A socket beside it, so that the first row is not the one that is looked at.
  t.sockets.open();
  const s = t.accepted({ ts: [1000, 0], sackOk: true, ws: 7 });
  const buffer = Buffer.alloc(2048);
  let [seq, ack, stamp] = [1, 1, 1001];
  const half = (n: number, between: () => void): void => {
    t.queue(n > 0 ? ACK | PSH : ACK, { seq, ack, len: n, ts: [stamp++, 0] });
    seq += n;
    t.stack.begin();
    between();
    t.stack.end();
    t.port.flush();
  };
  const echo = (answer: boolean): void =>
    half(64, () => {
      assert.is(t.sockets.read(s, buffer, 0, buffer.length, false), 64);
      if (!answer) return;
      assert.is(t.sockets.write(s, buffer, 0, 64), 64);
      ack += 64;
    });
  for (let i = 0; i < 4; i++) {
    echo(true);
    t.breath();
    t.out.length = 0;
  }
  return { t, watch, s, echo, ack: () => half(0, () => {}) };
}

const settle = (r: Rig): void => {
  r.t.breath();
  r.t.out.length = 0;
};

test('a request and its answer, taken, read, written and sent: five lines', () => {
  const r = rig();
  const [own] = r.watch.lines(r.t.row(r.s), () => r.echo(true));
  assert.ok(own > 0 && own <= 5, `${own} lines`);
  settle(r);
  r.t.sockets.abort(r.s);
  settle(r);
  r.t.end();
});

test('an acknowledgment and nothing else: three lines', () => {
  const r = rig();
  r.echo(true);
  settle(r);
  const [own, others] = r.watch.lines(r.t.row(r.s), () => r.ack());
  assert.ok(own > 0 && own <= 3, `${own} lines`);
  assert.is(others, 0, 'nobody else is looked at');
  r.t.sockets.abort(r.s);
  settle(r);
  r.t.end();
});

test('a connection of which nothing comes is not looked at', () => {
  const r = rig();
  const [own] = r.watch.lines(r.t.row(r.s), () => {
    r.t.stack.begin();
    r.t.stack.end();
  });
  assert.is(own, 0);
  r.t.sockets.abort(r.s);
  settle(r);
  r.t.end();
});

test.run();
