/** Socket options and ioctl of flowring/mtcp over real stacks: every option there is, what it refuses, who inherits it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../src/api/context.ts';
import * as m from '../../src/api/mtcp.ts';
import { contextOf } from './contexts.ts';
import { SIM_STACK, Simulation } from './simulation.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

/** A listener, what it accepted, and the connection's other end. `prepare` is given the listener before it listens. */
function pair(prepare: (mctx: m.Mctx, listener: number) => void = () => {}) {
  const sim = new Simulation({ seed: SEED });
  const [serving, asking] = [contextOf(sim, sim.host(0)), contextOf(sim, sim.host(1))];
  injectContext(serving);
  const a = m.createContext();
  const listener = m.socket(a, m.AF_INET, m.SOCK_STREAM, 0);
  prepare(a, listener);
  m.bind(a, listener, { port: 9 });
  m.listen(a, listener);
  injectContext(asking);
  const b = m.createContext();
  const s = m.socket(b, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.connect(b, s, { address: '192.0.2.1', port: 9 }), -m.EINPROGRESS);
  sim.run(50);
  return { sim, a, b, listener, c: m.accept(a, listener), s };
}

type Option = [name: string, level: number, option: number, set: number, got: number, refused: number[]];
const STREAM: readonly Option[] = [
  ['SO_REUSEADDR', m.SOL_SOCKET, m.SO_REUSEADDR, 1, 1, []],
  ['SO_REUSEPORT', m.SOL_SOCKET, m.SO_REUSEPORT, 1, 1, []],
  ['SO_SNDBUF', m.SOL_SOCKET, m.SO_SNDBUF, 8192, 8192, []],
  ['SO_RCVBUF', m.SOL_SOCKET, m.SO_RCVBUF, 1 << 30, SIM_STACK.rcvbuf, []],
  ['SO_KEEPALIVE', m.SOL_SOCKET, m.SO_KEEPALIVE, 7, 1, []],
  ['SO_LINGER', m.SOL_SOCKET, m.SO_LINGER, 30, 30, [-2, 65536]],
  ['TCP_NODELAY', m.IPPROTO_TCP, m.TCP_NODELAY, 1, 1, []],
  ['TCP_KEEPIDLE', m.IPPROTO_TCP, m.TCP_KEEPIDLE, 60, 60, [0, 32768]],
  ['TCP_KEEPINTVL', m.IPPROTO_TCP, m.TCP_KEEPINTVL, 5, 5, [0, 32768]],
  ['TCP_KEEPCNT', m.IPPROTO_TCP, m.TCP_KEEPCNT, 3, 3, [0, 128]],
  ['TCP_USER_TIMEOUT', m.IPPROTO_TCP, m.TCP_USER_TIMEOUT, 9000, 9000, [-1]],
];

test('every option of a listener is set, read back, and had by what it accepts', () => {
  const { a, listener, c } = pair((mctx, l) => {
    for (const [name, level, option, set, , refused] of STREAM) {
      assert.is(m.setsockopt(mctx, l, level, option, set), 0, name);
      for (const wrong of [...refused, 1.5, 2 ** 31, Number.NaN, '1', null, undefined, {}])
        assert.is(m.setsockopt(mctx, l, level, option, wrong as number), -m.EINVAL, `${name} ${String(wrong)}`);
    }
  });
  for (const [name, level, option, , got] of STREAM) {
    assert.is(m.getsockopt(a, listener, level, option), got, `${name} of the listener`);
    assert.is(m.getsockopt(a, c, level, option), got, `${name} of the accepted`);
  }
  assert.is(m.getsockopt(a, listener, m.SOL_SOCKET, m.SO_ACCEPTCONN), 1);
  assert.is(m.getsockopt(a, c, m.SOL_SOCKET, m.SO_ACCEPTCONN), 0);
  for (const [level, option] of [
    [m.SOL_SOCKET, 9999],
    [m.IPPROTO_TCP, 9999],
    [0, 1],
    [m.SOL_SOCKET, m.SO_BROADCAST],
  ] as const) {
    assert.is(m.getsockopt(a, c, level, option), -m.ENOPROTOOPT);
    assert.is(m.setsockopt(a, c, level, option, 1), -m.ENOPROTOOPT);
  }
});

test('TCP_MAXSEG: before the connection, and afterwards only read', () => {
  const { a, b, c, s } = pair((mctx, l) => {
    assert.is(m.setsockopt(mctx, l, m.IPPROTO_TCP, m.TCP_MAXSEG, 600), 0);
    for (const wrong of [87, 32768]) assert.is(m.setsockopt(mctx, l, m.IPPROTO_TCP, m.TCP_MAXSEG, wrong), -m.EINVAL);
  });
  // RFC 9293 section 3.7.1 counts options out of the effective MSS
  for (const mss of [m.getsockopt(a, c, m.IPPROTO_TCP, m.TCP_MAXSEG), m.getsockopt(b, s, m.IPPROTO_TCP, m.TCP_MAXSEG)])
    assert.ok(mss <= 600 && mss >= 560, String(mss));
  assert.is(m.setsockopt(b, s, m.IPPROTO_TCP, m.TCP_MAXSEG, 500), -m.EISCONN);
});

test('SO_LINGER as struct linger, both ways', () => {
  const { b, s } = pair();
  const linger = { onoff: 9, linger: 9 };
  assert.is(m.getsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER), -1, 'off');
  assert.is(m.getsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, linger), 0);
  assert.equal(linger, { onoff: 0, linger: 0 });
  assert.is(m.setsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, { onoff: 1, linger: 20 }), 0);
  assert.is(m.getsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, linger), 0);
  assert.equal(linger, { onoff: 1, linger: 20 });
  assert.is(m.setsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, { onoff: 1, linger: -1 }), -m.EINVAL);
  assert.is(m.setsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, { onoff: 0, linger: 20 }), 0);
  assert.is(m.getsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER), -1);
});

test('a linger of 0 resets on close', () => {
  const { sim, a, b, c, s } = pair();
  m.write(b, s, new Uint8Array(100));
  assert.is(m.setsockopt(b, s, m.SOL_SOCKET, m.SO_LINGER, { onoff: 1, linger: 0 }), 0);
  m.close(b, s);
  sim.run(50);
  assert.is(m.getsockopt(a, c, m.SOL_SOCKET, m.SO_ERROR), m.ECONNRESET);
});

test('TCP_INFO fills the object it is given', () => {
  const { sim, a, b, c, s } = pair();
  m.write(b, s, new Uint8Array(5000));
  sim.run(200);
  const info = new m.TcpInfo();
  assert.is(m.getsockopt(b, s, m.IPPROTO_TCP, m.TCP_INFO, info), 0);
  assert.is(info.tcpi_state, 1);
  assert.is(info.tcpi_bytes_acked, 5000);
  assert.is(info.tcpi_unacked, 0);
  assert.ok(info.tcpi_rtt > 0 && info.tcpi_snd_cwnd > 0 && info.tcpi_segs_out >= 5);
  assert.is(m.getsockopt(a, c, m.IPPROTO_TCP, m.TCP_INFO, info), 0);
  assert.is(info.tcpi_bytes_received, 5000);
  assert.is(m.getsockopt(a, c, m.IPPROTO_TCP, m.TCP_INFO), -m.EINVAL);
  assert.is(m.getsockopt(a, c, m.IPPROTO_TCP, m.TCP_INFO, {} as never), -m.EINVAL);
  const u = m.socket(a, m.AF_INET, m.SOCK_DGRAM, 0);
  assert.is(m.getsockopt(a, u, m.IPPROTO_TCP, m.TCP_INFO, info), -m.ENOPROTOOPT);
  const ids = [0, 0];
  m.pipe(a, ids);
  assert.is(m.getsockopt(a, ids[0]!, m.IPPROTO_TCP, m.TCP_INFO, info), -m.ENOTSOCK);
});

test('FIONREAD and SIOCOUTQ count bytes, of datagrams the next one', () => {
  const { sim, a, b, c, s } = pair();
  sim.host(0).frozen = true;
  m.write(b, s, new Uint8Array(3000));
  sim.run(20);
  assert.is(m.socketIoctl(b, s, m.SIOCOUTQ), 3000, 'nobody has acknowledged them');
  sim.host(0).frozen = false;
  sim.run(1000);
  assert.is(m.socketIoctl(b, s, m.SIOCOUTQ), 0);
  assert.is(m.socketIoctl(a, c, m.FIONREAD), 3000);
  const [u, v] = [m.socket(a, m.AF_INET, m.SOCK_DGRAM, 0), m.socket(b, m.AF_INET, m.SOCK_DGRAM, 0)];
  m.bind(a, u, { port: 77 });
  for (const n of [70, 30]) assert.is(m.sendto(b, v, new Uint8Array(n), 0, n, { address: '192.0.2.1', port: 77 }), n);
  sim.run(20);
  assert.is(m.socketIoctl(a, u, m.FIONREAD), 70);
  assert.is(m.socketIoctl(b, v, m.SIOCOUTQ), 0);
  const ids = [0, 0];
  m.pipe(a, ids);
  assert.is(m.socketIoctl(a, ids[1]!, m.SIOCOUTQ), -m.EINVAL);
});

test('options of a UDP socket', () => {
  const sim = new Simulation({ seed: SEED });
  injectContext(contextOf(sim, sim.host(0)));
  const mctx = m.createContext();
  const u = m.socket(mctx, m.AF_INET, m.SOCK_DGRAM, 0);
  for (const [option, set, got] of [
    [m.SO_BROADCAST, 1, 1],
    [m.SO_REUSEADDR, 1, 1],
    [m.SO_REUSEPORT, 0, 0],
    [m.SO_RCVBUF, 4096, 4096],
    [m.SO_SNDBUF, 1 << 30, SIM_STACK.udpSndbuf],
  ] as const) {
    assert.is(m.setsockopt(mctx, u, m.SOL_SOCKET, option, set), 0);
    assert.is(m.getsockopt(mctx, u, m.SOL_SOCKET, option), got);
  }
  assert.is(m.getsockopt(mctx, u, m.SOL_SOCKET, m.SO_TYPE), m.SOCK_DGRAM);
  assert.is(m.getsockopt(mctx, u, m.SOL_SOCKET, m.SO_LINGER, { onoff: 0, linger: 0 }), -m.ENOPROTOOPT);
  assert.is(m.setsockopt(mctx, u, m.IPPROTO_TCP, m.TCP_NODELAY, 1), -m.ENOPROTOOPT);
});

test.run();
