/**
 * Every errno that a docstring of flowring/mtcp names comes from the call it stands at: over real stacks, one case each. A
 * docstring that names another needs its case here.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../src/api/context.ts';
import * as m from '../../src/api/mtcp.ts';
import { FakeWorker } from '../unit/api/fakeWorker.ts';
import { contextOf, type SimContext } from './contexts.ts';
import { Simulation, type SimulationOptions } from './simulation.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

/** 192.0.2.2, beside a host at 192.0.2.1 that listens on TCP port 9 and on no other. */
class World {
  readonly sim: Simulation;
  readonly context: SimContext;
  readonly mctx: m.Mctx;
  readonly bytes = new Uint8Array(4096);
  private readonly far: m.Mctx;
  private readonly farListener: number;

  constructor(stack: SimulationOptions['stack'] = {}) {
    this.sim = new Simulation({ seed: SEED, stack });
    injectContext(contextOf(this.sim, this.sim.host(0)));
    this.far = m.createContext();
    this.farListener = m.socket(this.far, m.AF_INET, m.SOCK_STREAM, 0);
    m.bind(this.far, this.farListener, { port: 9 });
    m.listen(this.far, this.farListener);
    this.context = contextOf(this.sim, this.sim.host(1));
    injectContext(this.context);
    this.mctx = m.createContext();
    this.sim.run(10);
  }

  tcp = (): number => m.socket(this.mctx, m.AF_INET, m.SOCK_STREAM, 0);
  udp = (): number => m.socket(this.mctx, m.AF_INET, m.SOCK_DGRAM, 0);

  listener(port = 80): number {
    const s = this.tcp();
    m.bind(this.mctx, s, { port });
    m.listen(this.mctx, s);
    return s;
  }

  connected(): number {
    const s = this.tcp();
    m.connect(this.mctx, s, { address: '192.0.2.1', port: 9 });
    this.sim.run(50);
    return s;
  }

  connectedUdp(port: number): number {
    const s = this.udp();
    m.connect(this.mctx, s, { address: '192.0.2.1', port });
    return s;
  }

  pipe(): number {
    const ids = [0, 0];
    m.pipe(this.mctx, ids);
    return ids[0]!;
  }

  closed(): number {
    const s = this.tcp();
    m.close(this.mctx, s);
    return s;
  }

  /** Resets the connection from the far side. */
  reset(): void {
    m.abort(this.far, m.accept(this.far, this.farListener));
    this.sim.run(50);
  }
}

const FAR = { address: '192.0.2.1', port: 9 };
const NOWHERE = { address: '198.51.100.1', port: 9 };
const NOBODY = { address: '192.0.2.99', port: 9 };
const BROADCAST = { address: '192.0.2.255', port: 9 };
/** The first negative result of a call made again and again. */
const until = (call: () => number): number => {
  for (let i = 0; i < 100_000; i++) {
    const n = call();
    if (n < 0) return n;
  }
  return 0;
};
/** Calls with a socket, whatever else they are given. */
const BAD: Record<string, (w: World, s: number) => number> = {
  setsockNonblock: (w, s) => m.setsockNonblock(w.mctx, s),
  bind: (w, s) => m.bind(w.mctx, s, { port: 1 }),
  listen: (w, s) => m.listen(w.mctx, s),
  accept: (w, s) => m.accept(w.mctx, s),
  connect: (w, s) => m.connect(w.mctx, s, FAR),
  read: (w, s) => m.read(w.mctx, s, w.bytes),
  write: (w, s) => m.write(w.mctx, s, w.bytes),
  close: (w, s) => m.close(w.mctx, s),
  abort: (w, s) => m.abort(w.mctx, s),
  shutdown: (w, s) => m.shutdown(w.mctx, s, m.SHUT_WR),
  getsockname: (w, s) => m.getsockname(w.mctx, s, { port: 0 }),
  getpeername: (w, s) => m.getpeername(w.mctx, s, { port: 0 }),
  sendto: (w, s) => m.sendto(w.mctx, s, w.bytes, 0, 9, FAR),
  recvfrom: (w, s) => m.recvfrom(w.mctx, s, w.bytes),
  getsockopt: (w, s) => m.getsockopt(w.mctx, s, m.SOL_SOCKET, m.SO_ERROR),
  setsockopt: (w, s) => m.setsockopt(w.mctx, s, m.SOL_SOCKET, m.SO_LINGER, 1),
  socketIoctl: (w, s) => m.socketIoctl(w.mctx, s, m.FIONREAD),
  readv: (w, s) => m.readv(w.mctx, s, []),
  writev: (w, s) => m.writev(w.mctx, s, []),
  epollCtl: (w, s) => m.epollCtl(w.mctx, m.epollCreate(w.mctx), m.EPOLL_CTL_ADD, s, { events: 1 }),
  epollWait: (w, s) => m.epollWait(w.mctx, s, new m.EpollEvents(1), 1, 0),
  run: (w, s) => m.run(w.mctx, s, () => {}),
};

const CASES: Record<string, (w: World) => number> = {
  'socket EAFNOSUPPORT': (w) => m.socket(w.mctx, 10, m.SOCK_STREAM),
  'socket ESOCKTNOSUPPORT': (w) => m.socket(w.mctx, m.AF_INET, 3),
  'socket EPROTONOSUPPORT': (w) => m.socket(w.mctx, m.AF_INET, m.SOCK_STREAM, m.IPPROTO_UDP),
  'socket EMFILE': (w) => until(w.tcp),
  'bind EINVAL': (w) => m.bind(w.mctx, w.tcp(), { port: -1 }),
  'bind EADDRINUSE': (w) => m.bind(w.mctx, w.listener(80) * 0 + w.tcp(), { port: 80 }),
  'bind EADDRNOTAVAIL': (w) => m.bind(w.mctx, w.tcp(), NOBODY),
  'listen EINVAL': (w) => m.listen(w.mctx, w.connected()),
  'listen EADDRINUSE': (w) => {
    const two = [w.tcp(), w.tcp()];
    for (const s of two) {
      m.setsockopt(w.mctx, s, m.SOL_SOCKET, m.SO_REUSEADDR, 1);
      assert.is(m.bind(w.mctx, s, { port: 80 }), 0);
    }
    assert.is(m.listen(w.mctx, two[0]!), 0);
    return m.listen(w.mctx, two[1]!);
  },
  'listen EOPNOTSUPP': (w) => m.listen(w.mctx, w.udp()),
  'accept EAGAIN': (w) => m.accept(w.mctx, w.listener()),
  'accept EINVAL': (w) => m.accept(w.mctx, w.connected()),
  'accept EOPNOTSUPP': (w) => m.accept(w.mctx, w.udp()),
  'connect EINPROGRESS': (w) => m.connect(w.mctx, w.tcp(), FAR),
  'connect EALREADY': (w) => {
    const s = w.tcp();
    m.connect(w.mctx, s, FAR);
    return m.connect(w.mctx, s, FAR);
  },
  'connect EISCONN': (w) => m.connect(w.mctx, w.connected(), FAR),
  'connect EINVAL': (w) => m.connect(w.mctx, w.tcp(), { port: 9 }),
  'connect ENETUNREACH': (w) => m.connect(w.mctx, w.tcp(), NOWHERE),
  'connect EOPNOTSUPP': (w) => m.connect(w.mctx, w.listener(), FAR),
  'connect ENOTCONN': (w) => m.connect(w.mctx, w.udp(), { address: '192.0.2.1', port: 0 }),
  'connect EADDRNOTAVAIL': (w) => {
    const two = [w.tcp(), w.tcp()];
    for (const s of two) {
      m.setsockopt(w.mctx, s, m.SOL_SOCKET, m.SO_REUSEADDR, 1);
      assert.is(m.bind(w.mctx, s, { port: 5000 }), 0);
    }
    assert.is(m.connect(w.mctx, two[0]!, FAR), -m.EINPROGRESS);
    return m.connect(w.mctx, two[1]!, FAR);
  },
  'initRss EINVAL': (w) => m.initRss(w.mctx, m.INADDR_ANY, 0, '192.0.2.1', 9),
  'initRss EADDRNOTAVAIL': (w) => m.initRss(w.mctx, '192.0.2.9', 1, '192.0.2.1', 9),
  'initRss ENETUNREACH': (w) => m.initRss(w.mctx, m.INADDR_ANY, 1, '198.51.100.1', 9),
  'read EAGAIN': (w) => m.read(w.mctx, w.connected(), w.bytes),
  'read EINVAL': (w) => m.read(w.mctx, w.connected(), w.bytes, 0, 4097),
  'read ENOTCONN': (w) => m.read(w.mctx, w.tcp(), w.bytes),
  'read ECONNRESET': (w) => {
    const s = w.connected();
    w.reset();
    return m.read(w.mctx, s, w.bytes);
  },
  'read ETIMEDOUT': (w) => {
    const s = w.connected();
    m.setsockopt(w.mctx, s, m.IPPROTO_TCP, m.TCP_USER_TIMEOUT, 3000);
    m.write(w.mctx, s, w.bytes);
    w.sim.host(0).frozen = true;
    w.sim.run(60_000);
    return m.read(w.mctx, s, w.bytes);
  },
  'recv EOPNOTSUPP': (w) => m.recv(w.mctx, w.connected(), w.bytes, 0x100),
  'write EAGAIN': (w) => ((s) => until(() => m.write(w.mctx, s, w.bytes)))(w.connected()),
  'write EINVAL': (w) => m.write(w.mctx, w.connected(), w.bytes, 4096, 1),
  'write ENOTCONN': (w) => m.write(w.mctx, w.tcp(), w.bytes),
  'write EPIPE': (w) => ((s) => m.shutdown(w.mctx, s, m.SHUT_WR) || m.write(w.mctx, s, w.bytes))(w.connected()),
  'pipe EINVAL': (w) => m.pipe(w.mctx, new Int32Array(1)),
  'pipe EMFILE': (w) => until(() => m.pipe(w.mctx, [0, 0])),
  'shutdown EINVAL': (w) => m.shutdown(w.mctx, w.connected(), 3),
  'shutdown ENOTCONN': (w) => m.shutdown(w.mctx, w.tcp(), m.SHUT_WR),
  'getsockname ENOTSOCK': (w) => m.getsockname(w.mctx, w.pipe(), { port: 0 }),
  'getpeername ENOTSOCK': (w) => m.getpeername(w.mctx, w.pipe(), { port: 0 }),
  'getpeername ENOTCONN': (w) => m.getpeername(w.mctx, w.tcp(), { port: 0 }),
  'sendto EACCES': (w) => m.sendto(w.mctx, w.udp(), w.bytes, 0, 9, BROADCAST),
  'sendto EAGAIN': (w) => ((s) => until(() => m.sendto(w.mctx, s, w.bytes, 0, 1000, FAR)))(w.udp()),
  'sendto EDESTADDRREQ': (w) => m.sendto(w.mctx, w.udp(), w.bytes, 0, 9),
  'sendto EINVAL': (w) => m.sendto(w.mctx, w.udp(), w.bytes, 0, 9, { address: '192.0.2.1', port: 0 }),
  'sendto EMSGSIZE': (w) => m.sendto(w.mctx, w.udp(), w.bytes, 0, 1473, FAR),
  'sendto ENETUNREACH': (w) => m.sendto(w.mctx, w.udp(), w.bytes, 0, 9, NOWHERE),
  'sendto EPIPE': (w) => ((s) => m.shutdown(w.mctx, s, m.SHUT_WR) || m.sendto(w.mctx, s, w.bytes, 0, 9))(w.connectedUdp(9)),
  'sendto ECONNREFUSED': (w) => ((s) => refused(w, s, () => m.sendto(w.mctx, s, w.bytes, 0, 9)))(w.connectedUdp(7)),
  'sendto EHOSTUNREACH': (w) => {
    const s = w.udp();
    // Nobody answers for that address: known once resolving it has failed, and for a while
    return until(() => {
      w.sim.run(500);
      return m.sendto(w.mctx, s, w.bytes, 0, 9, NOBODY);
    });
  },
  'recvfrom EAGAIN': (w) => ((s) => m.bind(w.mctx, s, { port: 5 }) || m.recvfrom(w.mctx, s, w.bytes))(w.udp()),
  'recvfrom EINVAL': (w) => m.recvfrom(w.mctx, w.udp(), w.bytes, 1, 4096),
  'recvfrom EOPNOTSUPP': (w) => m.recvfrom(w.mctx, w.udp(), w.bytes, 0, 9, null, 0x100),
  'recvfrom ECONNREFUSED': (w) => ((s) => refused(w, s, () => m.recvfrom(w.mctx, s, w.bytes)))(w.connectedUdp(7)),
  'getsockopt EINVAL': (w) => m.getsockopt(w.mctx, w.tcp(), m.IPPROTO_TCP, m.TCP_INFO),
  'getsockopt ENOPROTOOPT': (w) => m.getsockopt(w.mctx, w.tcp(), m.SOL_SOCKET, 9999),
  'getsockopt ENOTSOCK': (w) => m.getsockopt(w.mctx, w.pipe(), m.SOL_SOCKET, m.SO_ERROR),
  'setsockopt EINVAL': (w) => m.setsockopt(w.mctx, w.tcp(), m.IPPROTO_TCP, m.TCP_KEEPCNT, 0),
  'setsockopt EISCONN': (w) => m.setsockopt(w.mctx, w.connected(), m.IPPROTO_TCP, m.TCP_MAXSEG, 500),
  'setsockopt ENOPROTOOPT': (w) => m.setsockopt(w.mctx, w.udp(), m.IPPROTO_TCP, m.TCP_NODELAY, 1),
  'setsockopt ENOTSOCK': (w) => m.setsockopt(w.mctx, w.pipe(), m.SOL_SOCKET, m.SO_KEEPALIVE, 1),
  'socketIoctl EINVAL': (w) => m.socketIoctl(w.mctx, w.tcp(), 1),
  'socketIoctl EOPNOTSUPP': (w) => m.socketIoctl(w.mctx, w.tcp(), m.FIONBIO, 0),
  'readv EAGAIN': (w) => m.readv(w.mctx, w.connected(), [{ buffer: w.bytes, offset: 0, length: 9 }]),
  'readv EINVAL': (w) => m.readv(w.mctx, w.connected(), [{ buffer: w.bytes, offset: 1, length: 4096 }]),
  'writev EAGAIN': (w) => ((s) => until(() => m.writev(w.mctx, s, [{ buffer: w.bytes, offset: 0, length: 4096 }])))(w.connected()),
  'writev EINVAL': (w) => m.writev(w.mctx, w.connected(), [], 1),
  'writev EMSGSIZE': (w) => m.writev(w.mctx, w.connectedUdp(9), [{ buffer: w.bytes, offset: 0, length: 4096 }]),
  'epollCreate EINVAL': (w) => m.epollCreate(w.mctx, 0),
  'epollCreate EMFILE': (w) => until(() => m.epollCreate(w.mctx)),
  'epollCtl EEXIST': (w) => inEpoll(w, (ep, s) => m.epollCtl(w.mctx, ep, m.EPOLL_CTL_ADD, s, { events: 1 })),
  'epollCtl EINVAL': (w) => inEpoll(w, (ep, s) => m.epollCtl(w.mctx, ep, 4, s, { events: 1 })),
  'epollCtl ENOENT': (w) => m.epollCtl(w.mctx, m.epollCreate(w.mctx), m.EPOLL_CTL_DEL, w.tcp()),
  'epollWait EINVAL': (w) => m.epollWait(w.mctx, m.epollCreate(w.mctx), new m.EpollEvents(1), 2, 0),
  'epollWait EINTR': (w) => {
    w.context.ended = true;
    return m.epollWait(w.mctx, m.epollCreate(w.mctx), new m.EpollEvents(1), 1, -1);
  },
  'run EINVAL': (w) => m.run(w.mctx, m.epollCreate(w.mctx), 5 as never),
  'coreAffinitize EINVAL': () => m.coreAffinitize(77),
  'registerSignal EINVAL': () => m.registerSignal(9, () => {}),
  'registerSignal EINTR': () => {
    const w = new FakeWorker();
    const mctx = m.createContext();
    m.registerSignal(m.SIGHUP, () => {});
    w.script.push(() => w.signal(m.SIGHUP));
    return m.epollWait(mctx, m.epollCreate(mctx), new m.EpollEvents(1), 1, 1000);
  },
};

function refused(w: World, s: number, call: () => number): number {
  assert.is(m.sendto(w.mctx, s, w.bytes, 0, 9), 9);
  w.sim.run(50);
  return call();
}

function inEpoll(w: World, call: (ep: number, s: number) => number): number {
  const [ep, s] = [m.epollCreate(w.mctx), w.tcp()];
  assert.is(m.epollCtl(w.mctx, ep, m.EPOLL_CTL_ADD, s, { events: 1 }), 0);
  return call(ep, s);
}

/** Below, with a stack of its own; and in unit/stack/icmpErrors, which sends the ICMP message of a router. */
const ELSEWHERE = new Set(['sendto EADDRNOTAVAIL', 'recvfrom EHOSTUNREACH']);

test('each case gives its errno', () => {
  for (const [name, run] of Object.entries(CASES)) {
    const w = new World();
    assert.is(m.errnoName(Math.min(run(w), 0)), name.split(' ')[1], name);
  }
});

test('ids of nothing are EBADF: closed, never given out, no number, beyond all', () => {
  const w = new World();
  for (const [name, call] of Object.entries(BAD)) {
    for (const s of [w.closed(), w.udp() + 5, -1, 0.5, Number.NaN, 2 ** 31, undefined as never])
      assert.is(call(w, s), -m.EBADF, `${name}(${s})`);
  }
});

test('no port left: sendto is EADDRNOTAVAIL', () => {
  const w = new World({ maxDatagrams: 28400 });
  let result = 0;
  for (let i = 0; i < 28300 && result !== -m.EADDRNOTAVAIL; i++) result = m.bind(w.mctx, w.udp(), { port: 0 }) || result;
  assert.is(m.sendto(w.mctx, w.udp(), w.bytes, 0, 1, FAR), -m.EADDRNOTAVAIL);
});

test('every errno of every docstring has a case', () => {
  const missing: string[] = [];
  let found = 0;
  for (const file of ['calls', 'datagrams', 'vectors', 'options', 'loop', 'signals', 'mctx', 'configuration']) {
    const text = readFileSync(new URL(`../../../src/api/${file}.ts`, import.meta.url), 'utf8');
    for (const [, doc, name] of text.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(?:\/\/ hot[^\n]*\n)?export function (\w+)/g)) {
      for (const [, errno] of doc!.matchAll(/-(E(?!POLL)[A-Z]+)/g)) {
        found++;
        const pair = `${name} ${errno}`;
        if (!(pair in CASES) && !ELSEWHERE.has(pair) && !(errno === 'EBADF' && name! in BAD)) missing.push(pair);
      }
    }
  }
  assert.equal(missing, []);
  assert.ok(found > 90, String(found));
});

test.run();
