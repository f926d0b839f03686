/** Pipes and vectors over real stacks: Linux's semantics, also through epoll. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../src/api/context.ts';
import * as m from '../../src/api/mtcp.ts';
import { SeededRandom } from '../../src/ports/impairment.ts';
import { contextOf } from './contexts.ts';
import { Simulation } from './simulation.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

const { EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLET, EPOLL_CTL_ADD } = m;
const BYTES = 10240;
const bytes = (n: number, from = 0): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (from + i * 7) & 255);

function bench() {
  const sim = new Simulation({ seed: SEED });
  injectContext(contextOf(sim, sim.host(0)));
  const mctx = m.createContext();
  const ids = new Int32Array(2);
  assert.is(m.pipe(mctx, ids), 0);
  const ep = m.epollCreate(mctx);
  const events = new m.EpollEvents(8);
  const look = (): string => {
    m.epollWait(mctx, ep, events, 8, 0);
    return Array.from(
      { length: events.count },
      (_, i) => `${events.socket[i] === ids[0] ? 'r' : 'w'}:${events.events[i]!.toString(16)}`,
    ).join(' ');
  };
  return { sim, mctx, r: ids[0]!, w: ids[1]!, ep, look };
}

test('bytes come out as they went in, across the wrap, peeked or read', () => {
  const { mctx, r, w } = bench();
  const random = new SeededRandom(SEED);
  const sent: number[] = [];
  const got: number[] = [];
  const buffer = new Uint8Array(BYTES + 5);
  for (let i = 0; i < 400; i++) {
    const n = random.below(6000);
    const out = bytes(n + 3, i);
    const k = m.write(mctx, w, out, 3, n);
    if (k >= 0) sent.push(...out.subarray(3, 3 + k));
    else assert.is(k, -m.EAGAIN);
    const want = random.below(6000);
    const peeked = m.recv(mctx, r, buffer, m.MSG_PEEK, 5, want);
    const copy = Array.from(buffer.subarray(5, 5 + Math.max(peeked, 0)));
    const l = m.read(mctx, r, buffer, 5, want);
    assert.is(peeked, l);
    if (l > 0) {
      assert.equal(Array.from(buffer.subarray(5, 5 + l)), copy);
      got.push(...copy);
    }
    assert.is(m.socketIoctl(mctx, r, m.FIONREAD), sent.length - got.length);
    assert.is(m.socketIoctl(mctx, w, m.FIONREAD), sent.length - got.length);
  }
  assert.ok(got.length > 100_000);
  assert.equal(got, sent.slice(0, got.length));
});

test('up to PIPE_BUF bytes go whole or not at all, more in part', () => {
  const { mctx, r, w } = bench();
  assert.is(m.write(mctx, w, bytes(8000)), 8000);
  assert.is(m.write(mctx, w, bytes(4096)), -m.EAGAIN);
  assert.is(
    m.writev(
      mctx,
      w,
      [2000, 2000].map((length) => ({ buffer: bytes(length), offset: 0, length })),
    ),
    -m.EAGAIN,
  );
  assert.is(m.write(mctx, w, bytes(4097)), BYTES - 8000);
  assert.is(m.write(mctx, w, bytes(1)), -m.EAGAIN);
  assert.is(m.write(mctx, w, bytes(9000)), -m.EAGAIN);
  assert.is(m.write(mctx, w, bytes(0)), 0);
  assert.is(m.read(mctx, r, new Uint8Array(4096)), 4096);
  assert.is(
    m.writev(
      mctx,
      w,
      [2000, 2000].map((length) => ({ buffer: bytes(length), offset: 0, length })),
    ),
    4000,
  );
});

test('the far end closed: EPIPE and EPOLLERR to the writer, the rest, 0 and EPOLLHUP to the reader', () => {
  const a = bench();
  for (const s of [a.r, a.w]) m.epollCtl(a.mctx, a.ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLOUT });
  assert.is(a.look(), `w:${EPOLLOUT}`);
  m.write(a.mctx, a.w, bytes(3));
  assert.is(m.close(a.mctx, a.w), 0);
  assert.is(a.look(), `r:${(EPOLLIN | EPOLLHUP).toString(16)}`);
  assert.is(m.read(a.mctx, a.r, new Uint8Array(9)), 3);
  assert.is(a.look(), `r:${EPOLLHUP.toString(16)}`);
  assert.is(m.read(a.mctx, a.r, new Uint8Array(9)), 0);
  assert.is(m.close(a.mctx, a.r), 0);
  assert.is(a.look(), '');

  const b = bench();
  m.epollCtl(b.mctx, b.ep, EPOLL_CTL_ADD, b.w, { events: 0 });
  m.close(b.mctx, b.r);
  assert.is(b.look(), `w:${EPOLLERR}`);
  assert.is(m.write(b.mctx, b.w, bytes(3)), -m.EPIPE);
  assert.is(m.write(b.mctx, b.w, bytes(0)), 0);
});

test('each end does only its own: EBADF the other way, EAGAIN when empty, ENOTSOCK for what sockets do', () => {
  const { mctx, r, w } = bench();
  assert.is(m.read(mctx, r, new Uint8Array(1)), -m.EAGAIN);
  assert.is(m.read(mctx, r, new Uint8Array(0)), 0);
  assert.is(m.read(mctx, w, new Uint8Array(1)), -m.EBADF);
  assert.is(m.write(mctx, r, new Uint8Array(1)), -m.EBADF);
  const into = { port: 0 };
  for (const s of [r, w]) {
    assert.is(m.bind(mctx, s, { port: 1 }), -m.ENOTSOCK);
    assert.is(m.listen(mctx, s), -m.ENOTSOCK);
    assert.is(m.accept(mctx, s), -m.ENOTSOCK);
    assert.is(m.connect(mctx, s, { address: '192.0.2.9', port: 1 }), -m.ENOTSOCK);
    assert.is(m.abort(mctx, s), -m.ENOTSOCK);
    assert.is(m.shutdown(mctx, s, m.SHUT_WR), -m.ENOTSOCK);
    assert.is(m.getsockname(mctx, s, into), -m.ENOTSOCK);
    assert.is(m.getpeername(mctx, s, into), -m.ENOTSOCK);
    assert.is(m.getsockopt(mctx, s, m.SOL_SOCKET, m.SO_ERROR), -m.ENOTSOCK);
    assert.is(m.setsockopt(mctx, s, m.IPPROTO_TCP, m.TCP_NODELAY, 1), -m.ENOTSOCK);
  }
  m.close(mctx, r);
  assert.is(m.read(mctx, r, new Uint8Array(1)), -m.EBADF);
  assert.is(m.close(mctx, r), -m.EBADF);
});

test('edges: every write raises IN; OUT comes back when PIPE_BUF bytes fit again', () => {
  const { mctx, r, w, ep, look } = bench();
  for (const s of [r, w]) m.epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLIN | EPOLLOUT | EPOLLET });
  assert.is(look(), `w:${EPOLLOUT}`);
  assert.is(look(), '');
  m.write(mctx, w, bytes(10));
  assert.is(look(), `r:${EPOLLIN}`);
  assert.is(look(), '', 'unread bytes are no new edge');
  m.write(mctx, w, bytes(10));
  assert.is(look(), `r:${EPOLLIN}`);
  assert.is(m.write(mctx, w, bytes(20000)), BYTES - 20);
  assert.is(look(), `r:${EPOLLIN}`);
  m.read(mctx, r, new Uint8Array(4095));
  assert.is(look(), '', '4095 bytes of room are not enough');
  m.read(mctx, r, new Uint8Array(1));
  assert.is(look(), `w:${EPOLLOUT}`);
  m.read(mctx, r, new Uint8Array(100));
  assert.is(look(), '', 'only the crossing is an edge');
});

test('ids come back, but not while one stands on a ready list; then EMFILE', () => {
  const { mctx, r, w, ep, look } = bench();
  m.epollCtl(mctx, ep, EPOLL_CTL_ADD, r, { events: EPOLLIN });
  m.write(mctx, w, bytes(1));
  m.close(mctx, r);
  m.close(mctx, w);
  const more: number[][] = [];
  for (let k = 0; k < 3; k++) {
    const ids = [0, 0];
    assert.is(m.pipe(mctx, ids), 0);
    assert.ok(ids[0] !== r);
    more.push(ids);
  }
  assert.is(m.pipe(mctx, [0, 0]), -m.EMFILE, 'the fourth is closed, but listed still');
  assert.is(look(), '');
  const again = [0, 0];
  assert.is(m.pipe(mctx, again), 0);
  assert.equal(again, [r, w]);
  assert.is(m.socketIoctl(mctx, r, m.FIONREAD), 0, 'and empty');
  assert.is(m.pipe(mctx, new Int32Array(1)), -m.EINVAL);
  assert.is(m.pipe(mctx, 5 as never), -m.EINVAL);
  assert.is(more.length, 3);
});

/** Two contexts with one connection between them. */
function pair() {
  const sim = new Simulation({ seed: SEED, stack: { sndbuf: 8192 } });
  const [serving, asking] = [contextOf(sim, sim.host(0)), contextOf(sim, sim.host(1))];
  injectContext(serving);
  const a = m.createContext();
  const listener = m.socket(a, m.AF_INET, m.SOCK_STREAM, 0);
  m.bind(a, listener, { port: 9 });
  m.listen(a, listener);
  injectContext(asking);
  const b = m.createContext();
  const s = m.socket(b, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.connect(b, s, { address: '192.0.2.1', port: 9 }), -m.EINPROGRESS);
  sim.run(50);
  const peer = { address: 0, port: 0 };
  const c = m.accept(a, listener, peer);
  assert.ok(c >= 0);
  return { sim, a, b, c, s, peer };
}

const piece = (buffer: Uint8Array, offset = 0, length = buffer.length - offset): m.IoVector => ({ buffer, offset, length });

test('accept says who it is, getsockname of what it gave is our side', () => {
  const { a, b, c, s, peer } = pair();
  const [mine, theirs] = [
    { address: '', port: 0 },
    { address: '', port: 0 },
  ];
  m.getsockname(b, s, theirs);
  assert.equal({ address: m.formatAddress(peer.address), port: peer.port }, theirs);
  assert.is(theirs.address, '192.0.2.2');
  m.getsockname(a, c, mine);
  assert.equal(mine, { address: '192.0.2.1', port: 9 });
  m.getpeername(a, c, mine);
  assert.equal(mine, theirs);
});

test('writev and readv: any cut on either side is the same stream; a part ends where the room does', () => {
  const { sim, a, b, c, s } = pair();
  const all = bytes(5000);
  assert.is(m.writev(b, s, [piece(all, 0, 1), piece(all, 1, 0), piece(all, 1, 2999), piece(all, 3000), piece(all)], 4), 5000);
  sim.run(50);
  const [x, y] = [new Uint8Array(700), new Uint8Array(6000)];
  const parts = [piece(x, 100, 600), piece(y, 0, 0), piece(y, 5, 5000)];
  assert.is(m.readv(a, c, parts), 5000);
  assert.equal([...x.subarray(100), ...y.subarray(5, 4405)], [...all]);
  assert.is(m.readv(a, c, parts), -m.EAGAIN);
  assert.is(m.writev(b, s, [piece(bytes(8000)), piece(bytes(8000))]), 8192, 'the send buffer holds 8192');
  assert.is(m.writev(b, s, [piece(bytes(1))]), -m.EAGAIN);
});

test('readv leaves the end and an error behind the bytes for the next call', () => {
  const p = pair();
  const parts = [piece(new Uint8Array(3)), piece(new Uint8Array(3))];
  m.write(p.b, p.s, bytes(3));
  m.shutdown(p.b, p.s, m.SHUT_WR);
  p.sim.run(50);
  assert.is(m.readv(p.a, p.c, parts), 3);
  assert.is(m.readv(p.a, p.c, parts), 0);

  const q = pair();
  m.write(q.b, q.s, bytes(3));
  q.sim.run(50);
  m.abort(q.b, q.s);
  q.sim.run(50);
  assert.is(m.readv(q.a, q.c, parts), 3);
  assert.is(m.readv(q.a, q.c, parts), -m.ECONNRESET);
  assert.is(m.readv(q.a, q.c, parts), 0);
});

/** Two UDP sockets, each connected to the other. */
function datagrams() {
  const sim = new Simulation({ seed: SEED });
  const ends = [0, 1].map((h) => {
    injectContext(contextOf(sim, sim.host(h)));
    const mctx = m.createContext();
    const s = m.socket(mctx, m.AF_INET, m.SOCK_DGRAM, 0);
    assert.is(m.bind(mctx, s, { port: 5000 }), 0);
    assert.is(m.connect(mctx, s, { address: `192.0.2.${2 - h}`, port: 5000 }), 0);
    return { mctx, s };
  });
  sim.run(10);
  return { sim, a: ends[0]!, b: ends[1]! };
}

test('vectors on a datagram socket: writev is one datagram, readv takes one and loses what does not fit', () => {
  const { sim, a, b } = datagrams();
  const all = bytes(1200);
  assert.is(m.writev(a.mctx, a.s, [piece(all, 0, 500), piece(all, 0, 0), piece(all, 500)]), 1200);
  assert.is(m.writev(a.mctx, a.s, [piece(all, 0, 7)]), 7);
  assert.is(m.writev(a.mctx, a.s, []), 0, 'an empty one');
  assert.is(m.writev(a.mctx, a.s, [piece(new Uint8Array(40000)), piece(new Uint8Array(30000))]), -m.EMSGSIZE);
  sim.run(20);
  const [x, y] = [new Uint8Array(600), new Uint8Array(500)];
  const parts = [piece(x, 100, 500), piece(y, 0, 400)];
  assert.is(m.readv(b.mctx, b.s, parts), 900);
  assert.equal([...x.subarray(100), ...y.subarray(0, 400)], [...all.subarray(0, 900)]);
  assert.is(m.readv(b.mctx, b.s, parts), 7);
  assert.equal([...x.subarray(100, 107)], [...all.subarray(0, 7)]);
  assert.is(m.readv(b.mctx, b.s, parts), 0);
  assert.is(m.readv(b.mctx, b.s, parts), -m.EAGAIN);
});

test('epoll on datagrams: level while they wait, an edge a datagram, ONESHOT once, and room without priming', () => {
  const { sim, a, b } = datagrams();
  const ep = m.epollCreate(b.mctx);
  const events = new m.EpollEvents(4);
  const look = (): number => (m.epollWait(b.mctx, ep, events, 4, 0) === 1 ? events.events[0]! : 0);
  const send = (): void => {
    assert.is(m.write(a.mctx, a.s, bytes(3)), 3);
    sim.run(5);
  };
  const one = new Uint8Array(9);
  m.epollCtl(b.mctx, ep, EPOLL_CTL_ADD, b.s, { events: EPOLLIN | EPOLLOUT });
  assert.is(look(), EPOLLOUT);
  m.epollCtl(b.mctx, ep, m.EPOLL_CTL_MOD, b.s, { events: EPOLLIN });
  send();
  send();
  assert.is(look(), EPOLLIN);
  assert.is(m.read(b.mctx, b.s, one), 3);
  assert.is(look(), EPOLLIN, 'the second still waits');
  assert.is(m.read(b.mctx, b.s, one), 3);
  assert.is(look(), 0);
  m.epollCtl(b.mctx, ep, m.EPOLL_CTL_MOD, b.s, { events: EPOLLIN | EPOLLET });
  send();
  assert.is(look(), EPOLLIN);
  assert.is(look(), 0);
  send();
  assert.is(look(), EPOLLIN);
  m.epollCtl(b.mctx, ep, m.EPOLL_CTL_MOD, b.s, { events: EPOLLIN | m.EPOLLONESHOT });
  assert.is(look(), EPOLLIN);
  send();
  assert.is(look(), 0);
  m.epollCtl(b.mctx, ep, m.EPOLL_CTL_MOD, b.s, { events: EPOLLIN | m.EPOLLONESHOT });
  assert.is(look(), EPOLLIN);
});

test('vectors that are none: EINVAL, and nothing moves', () => {
  const { a, c, b, s } = pair();
  const good = piece(bytes(4));
  const huge = { length: 1 << 30, offset: 0, buffer: Object.create(Uint8Array.prototype, { length: { value: 1 << 30 } }) };
  const wrong: [unknown, number?][] = [
    [good],
    [[good], 2],
    [[good], -1],
    [[good], 0.5],
    [[good, piece(bytes(4), 2, 3)]],
    [[good, null]],
    [[good, {}]],
    [[good, piece(bytes(4), -1, 1)]],
    [Array.from({ length: m.IOV_MAX + 1 }, () => good)],
    [[huge, huge]],
  ];
  for (const [vector, count] of wrong) {
    assert.is(m.readv(a, c, vector as never, count), -m.EINVAL);
    assert.is(m.writev(b, s, vector as never, count), -m.EINVAL);
  }
  assert.is(m.writev(b, s, [good], 0), 0);
  assert.is(m.readv(a, c, []), 0);
  assert.is(m.writev(b, s, [piece(bytes(0))]), 0);
  assert.is(m.readv(a, -1, [good]), -m.EBADF);
  assert.is(m.writev(b, 5000, [good]), -m.EBADF);
});

test.run();
