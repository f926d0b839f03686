/** Socket options and what they do: keep-alive, idle timeout, linger, buffers, MSS, user timeout, reuse, TCP_INFO. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig, stackConfigOf } from '../../../src/main/config/load.ts';
import {
  EADDRINUSE,
  EBADF,
  EINVAL,
  EISCONN,
  ENOPROTOOPT,
  ETIMEDOUT,
  SO_ACCEPTCONN,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_TYPE,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from '../../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED, SYN_SENT } from '../../../src/stack/tcp/states.ts';
import { TcpInfo } from '../../../src/stack/tcp/tcpInfo.ts';
import { ACK, FIN, pattern, PEER, PEER_PORT, RST, SYN, Trace, trace } from './trace.ts';

const set = (t: Trace, s: number, level: number, option: number, value: number): void =>
  assert.is(t.sockets.setOption(s, level, option, value), 0, `option ${level}/${option}`);
const get = (t: Trace, s: number, level: number, option: number): number => t.sockets.getOption(s, level, option);

test(
  'every option reads back what was set, and refuses what is out of range',
  trace({}, (t) => {
    const s = t.sockets.open();
    const rows: readonly (readonly [number, number, number, number, readonly number[]])[] = [
      [SOL_SOCKET, SO_REUSEADDR, 0, 1, []],
      [SOL_SOCKET, SO_REUSEPORT, 0, 1, []],
      [SOL_SOCKET, SO_KEEPALIVE, 0, 1, []],
      [SOL_SOCKET, SO_LINGER, -1, 5, [-2, 65536]],
      [SOL_SOCKET, SO_SNDBUF, 65536, 8192, []],
      [SOL_SOCKET, SO_RCVBUF, 65536, 8192, []],
      [SOL_TCP, TCP_NODELAY, 1, 0, []],
      [SOL_TCP, TCP_MAXSEG, 536, 1000, [87, 32768]],
      [SOL_TCP, TCP_KEEPIDLE, 7200, 10, [0, 32768]],
      [SOL_TCP, TCP_KEEPINTVL, 75, 3, [0, 32768]],
      [SOL_TCP, TCP_KEEPCNT, 9, 4, [0, 128]],
      [SOL_TCP, TCP_USER_TIMEOUT, 0, 30_000, [-1]],
    ];
    for (const [level, option, before, value, wrong] of rows) {
      assert.is(get(t, s, level, option), before, `${level}/${option}`);
      set(t, s, level, option, value);
      assert.is(get(t, s, level, option), value, `${level}/${option}`);
      for (const w of wrong) assert.is(t.sockets.setOption(s, level, option, w), -EINVAL, `${level}/${option} ${w}`);
    }
    assert.is(get(t, s, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    assert.is(get(t, s, SOL_SOCKET, SO_ERROR), 0);
    assert.is(get(t, s, SOL_SOCKET, SO_ACCEPTCONN), 0);
    for (const [level, option] of [
      [SOL_SOCKET, 999],
      [SOL_TCP, 999],
      [17, 1],
    ] as const) {
      assert.is(get(t, s, level, option), -ENOPROTOOPT);
      assert.is(t.sockets.setOption(s, level, option, 1), -ENOPROTOOPT);
    }
    assert.is(t.sockets.setOption(s, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
    t.sockets.close(s);
    assert.is(get(t, s, SOL_TCP, TCP_NODELAY), -EBADF);
    assert.is(t.sockets.setOption(s, SOL_TCP, TCP_NODELAY, 1), -EBADF);
    assert.is(t.sockets.info(s, new TcpInfo()), -EBADF);
  }),
);

test(
  'an accepted connection has its listener’s options; the listener says that it accepts',
  trace({}, (t) => {
    t.listen();
    const all = [
      [SOL_SOCKET, SO_KEEPALIVE, 1],
      [SOL_SOCKET, SO_LINGER, 7],
      [SOL_SOCKET, SO_SNDBUF, 4096],
      [SOL_SOCKET, SO_RCVBUF, 5000],
      [SOL_TCP, TCP_NODELAY, 1],
      [SOL_TCP, TCP_KEEPIDLE, 11],
      [SOL_TCP, TCP_KEEPINTVL, 12],
      [SOL_TCP, TCP_KEEPCNT, 13],
      [SOL_TCP, TCP_USER_TIMEOUT, 1400],
    ] as const;
    for (const [level, option, value] of all) set(t, t.listener, level, option, value);
    set(t, t.listener, SOL_TCP, TCP_MAXSEG, 700);
    assert.is(get(t, t.listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    t.recv(SYN, {});
    const answer = t.sends(SYN | ACK, { mss: 700, win: 5000 });
    assert.is(answer.ack, 1);
    t.recv(ACK, { seq: 1, ack: 1 });
    const s = t.sockets.accept(t.listener);
    for (const [level, option, value] of all) assert.is(get(t, s, level, option), value, `${level}/${option}`);
    assert.is(get(t, s, SOL_TCP, TCP_MAXSEG), 700);
    assert.is(t.sockets.setOption(s, SOL_TCP, TCP_MAXSEG, 600), -EISCONN);
    assert.is(t.write(s, Buffer.alloc(5000)), 4096);
    t.breath();
    t.sends(ACK, { len: 700 });
    t.out.length = 0;
  }),
);

test(
  'SO_SNDBUF and SO_RCVBUF of a connection bound it, and stay inside the configuration',
  trace({}, (t) => {
    const s = t.accepted();
    set(t, s, SOL_SOCKET, SO_SNDBUF, 1);
    assert.is(get(t, s, SOL_SOCKET, SO_SNDBUF), 2048);
    assert.is(t.write(s, Buffer.alloc(9000)), 2048);
    t.breath();
    t.out.length = 0;
    set(t, s, SOL_SOCKET, SO_RCVBUF, 1 << 30);
    assert.is(get(t, s, SOL_SOCKET, SO_RCVBUF), 65536);
    set(t, s, SOL_SOCKET, SO_RCVBUF, 4096);
    // The right edge that the peer knows stays, and moves no further.
    t.recv(ACK, { seq: 1, ack: 2049, len: 1000 });
    t.pass(50);
    assert.is(t.out.at(-1)!.ack + t.out.at(-1)!.win, 1 + 65535);
    t.out.length = 0;
  }),
);

test(
  'keep-alive: silence for the idle time, then probes below SND.NXT at the interval, then ETIMEDOUT and RST',
  trace({}, (t) => {
    const s = t.accepted();
    set(t, s, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(t, s, SOL_TCP, TCP_KEEPIDLE, 10);
    set(t, s, SOL_TCP, TCP_KEEPINTVL, 2);
    set(t, s, SOL_TCP, TCP_KEEPCNT, 3);
    t.pass(9_999).silent();
    t.pass(1);
    t.sends(ACK, { seq: 0, len: 0, ack: 1 });
    t.pass(1_999).silent();
    t.pass(1);
    t.sends(ACK, { seq: 0, len: 0 });
    t.pass(2_000);
    t.sends(ACK, { seq: 0, len: 0 });
    assert.is(t.sockets.state(s), ESTABLISHED);
    t.pass(2_000);
    t.sends(RST | ACK, { seq: 1 });
    assert.is(t.sockets.takeError(s), ETIMEDOUT);
    assert.is(t.sockets.state(s), CLOSED);
  }),
);

test(
  'keep-alive: an answer begins it anew, data moves it, and without the option nobody asks',
  trace({}, (t) => {
    const s = t.accepted();
    t.pass(8_000_000).silent();
    set(t, s, SOL_TCP, TCP_KEEPIDLE, 10);
    set(t, s, SOL_TCP, TCP_KEEPINTVL, 2);
    set(t, s, SOL_TCP, TCP_KEEPCNT, 2);
    set(t, s, SOL_SOCKET, SO_KEEPALIVE, 1);
    t.pass(1);
    t.sends(ACK, { seq: 0 });
    for (let i = 0; i < 5; i++) {
      t.recv(ACK, { seq: 1, ack: 1 });
      t.pass(9_999).silent();
      t.pass(1);
      t.sends(ACK, { seq: 0 });
    }
    t.recv(ACK, { seq: 1, ack: 1 });
    t.pass(6_000);
    t.recv(ACK, { seq: 1, ack: 1, len: 5 });
    t.pass(9_999);
    assert.equal(
      t.out.splice(0).map((x) => [x.seq, x.ack]),
      [[1, 6]],
    );
    t.pass(1);
    t.sends(ACK, { seq: 0 });
    set(t, s, SOL_SOCKET, SO_KEEPALIVE, 0);
    t.pass(100_000).silent();
    assert.is(t.sockets.state(s), ESTABLISHED);
  }),
);

test('keep-alive stands back while the retransmission timer asks already', () => {
  const t = new Trace({ config: { retries: 15 } });
  const s = t.accepted();
  set(t, s, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(t, s, SOL_TCP, TCP_KEEPIDLE, 1);
  set(t, s, SOL_TCP, TCP_KEEPINTVL, 1);
  set(t, s, SOL_TCP, TCP_KEEPCNT, 1);
  t.write(s, 'abc');
  t.breath();
  t.pass(20_000);
  assert.ok(t.out.every((x) => x.seq === 1 && x.len === 3));
  assert.is(t.sockets.state(s), ESTABLISHED);
  t.end();
});

test('the idle timeout ends a connection on which nothing came and nothing was sent', () => {
  const t = new Trace({ config: { idleTimeoutMs: 5_000 } });
  const s = t.accepted();
  t.pass(4_000);
  t.recv(ACK, { seq: 1, ack: 1, len: 1 });
  t.pass(4_999);
  t.out.length = 0;
  assert.is(t.sockets.state(s), ESTABLISHED);
  t.write(s, 'x');
  t.breath();
  t.recv(ACK, { seq: 2, ack: 2 });
  t.out.length = 0;
  t.pass(4_999).silent();
  t.pass(1);
  t.sends(RST | ACK);
  assert.is(t.sockets.takeError(s), ETIMEDOUT);
  t.end();
});

test(
  'linger 0: close is RST',
  trace({}, (t) => {
    const s = t.accepted();
    set(t, s, SOL_SOCKET, SO_LINGER, 0);
    t.write(s, 'lost');
    assert.is(t.sockets.close(s), 0);
    t.breath();
    t.sends(RST | ACK, { seq: 1 });
    t.silent();
    assert.is(t.machine.inUse, 1);
  }),
);

test('linger of seconds: close returns, what is not acknowledged by then is reset', () => {
  const t = new Trace();
  const s = t.accepted();
  set(t, s, SOL_SOCKET, SO_LINGER, 3);
  t.write(s, 'late');
  t.sockets.close(s);
  t.breath();
  t.sends(ACK | FIN, { len: 4 });
  t.pass(2_999);
  assert.ok(t.out.every((x) => (x.flags & RST) === 0));
  t.out.length = 0;
  t.pass(1);
  t.sends(RST | ACK);
  t.silent();
  assert.is(t.machine.inUse, 1);
  t.end();
});

test('linger of seconds: what is acknowledged in time ends as ever', () => {
  const t = new Trace();
  const s = t.accepted();
  set(t, s, SOL_SOCKET, SO_LINGER, 3);
  t.write(s, 'in time');
  t.sockets.close(s);
  t.breath();
  t.out.length = 0;
  t.pass(100);
  t.recv(ACK, { seq: 1, ack: 9 });
  // FIN-WAIT-2 has its own time, five seconds here.
  t.pass(4_000).silent();
  t.recv(ACK | FIN, { seq: 1, ack: 9 });
  t.sends(ACK, { ack: 2 });
  t.pass(59_000).silent();
  t.pass(2_000);
  assert.is(t.machine.inUse, 1);
  t.end();
});

test('TCP_USER_TIMEOUT ends a connection whose data nobody acknowledges, to the millisecond', () => {
  const t = new Trace({ config: { retries: 15 } });
  const s = t.accepted();
  set(t, s, SOL_TCP, TCP_USER_TIMEOUT, 5_000);
  t.write(s, 'abc');
  t.breath();
  t.pass(4_999);
  assert.is(t.sockets.state(s), ESTABLISHED);
  t.pass(1);
  assert.is(t.sockets.state(s), CLOSED);
  assert.is(t.sockets.takeError(s), ETIMEDOUT);
  t.out.length = 0;
  t.end();
});

test('TCP_USER_TIMEOUT bounds an attempt to connect too', () => {
  const t = new Trace({ config: { synRetries: 10 } });
  const s = t.sockets.open();
  set(t, s, SOL_TCP, TCP_USER_TIMEOUT, 4_000);
  t.sockets.connect(s, PEER, PEER_PORT);
  t.breath();
  t.pass(3_999);
  assert.is(t.sockets.state(s), SYN_SENT);
  t.pass(1);
  assert.is(t.sockets.takeError(s), ETIMEDOUT);
  // at once, after 1 s and 3 s
  assert.is(t.out.splice(0).length, 3);
  t.end();
});

test('the defaults: a SYN is tried for three minutes, data for more than 100 seconds (RFC 9293 section 3.8.3)', () => {
  const { values } = loadConfig();
  const { synRetries, retries, rtoInitialMs, rtoMinMs, rtoMaxMs } = stackConfigOf(values);
  const t = new Trace({ config: { synRetries, retries, rtoInitialMs, rtoMinMs, rtoMaxMs } });
  const until = (s: number): number => {
    const begun = t.clock[1]!;
    while (t.sockets.state(s) !== CLOSED) t.pass(1000);
    t.out.length = 0;
    return (t.clock[1]! - begun) | 0;
  };
  const a = t.accepted();
  t.write(a, 'x');
  t.breath();
  const data = until(a);
  assert.ok(data >= 100_000, `${data} ms`);
  const s = t.sockets.open();
  t.sockets.connect(s, PEER, PEER_PORT);
  t.breath();
  const syn = until(s);
  assert.ok(syn >= 180_000 && syn < 400_000, `${syn} ms`);
  t.end();
});

test('TCP_MAXSEG of a connecting socket is what it announces, and bounds what it sends', () => {
  const t = new Trace();
  const s = t.sockets.open();
  set(t, s, SOL_TCP, TCP_MAXSEG, 500);
  t.sockets.connect(s, PEER, PEER_PORT);
  t.breath();
  t.sends(SYN, { mss: 500 });
  t.recv(SYN | ACK, { seq: 0, ack: 1 });
  t.sends(ACK);
  t.write(s, Buffer.alloc(1200));
  t.breath();
  assert.equal(
    t.out.splice(0).map((x) => x.len),
    [500, 500, 200],
  );
  t.end();
});

test('SO_REUSEADDR: a bound port is shared when all ask for it and nobody listens', () => {
  const t = new Trace();
  const [a, b, c] = [t.sockets.open(), t.sockets.open(), t.sockets.open()];
  assert.is(t.sockets.bind(a, 0, 5000), 0);
  assert.is(t.sockets.bind(b, 0, 5000), -EADDRINUSE);
  set(t, b, SOL_SOCKET, SO_REUSEADDR, 1);
  assert.is(t.sockets.bind(b, 0, 5000), -EADDRINUSE);
  set(t, a, SOL_SOCKET, SO_REUSEADDR, 1);
  assert.is(t.sockets.bind(b, 0, 5000), 0);
  assert.is(t.sockets.listen(b, 1), 0);
  set(t, c, SOL_SOCKET, SO_REUSEADDR, 1);
  assert.is(t.sockets.bind(c, 0, 5000), -EADDRINUSE);
  assert.is(t.sockets.listen(a, 1), -EADDRINUSE);
  for (const s of [a, b, c]) t.sockets.close(s);
  const d = t.sockets.open();
  assert.is(t.sockets.bind(d, 0, 5000), 0);
  t.sockets.close(d);
  t.end();
});

test('SO_REUSEADDR: a port whose connection waits in TIME-WAIT may be bound again', () => {
  const t = new Trace();
  const s = t.sockets.open();
  t.sockets.bind(s, 0, 5000);
  t.sockets.connect(s, PEER, PEER_PORT);
  t.breath();
  t.sends(SYN);
  t.recv(SYN | ACK, { seq: 0, ack: 1 });
  t.sockets.close(s);
  t.breath();
  t.out.length = 0;
  t.recv(ACK | FIN, { seq: 1, ack: 2 });
  t.out.length = 0;
  const again = t.sockets.open();
  assert.is(t.sockets.bind(again, 0, 5000), -EADDRINUSE);
  set(t, again, SOL_SOCKET, SO_REUSEADDR, 1);
  assert.is(t.sockets.bind(again, 0, 5000), 0);
  t.sockets.close(again);
  t.end();
});

test('TCP_INFO: state, options, times, windows, and counts of bytes and segments', () => {
  const t = new Trace({ config: { timestamps: true, windowScale: 3 } });
  const info = new TcpInfo();
  t.listen();
  assert.is(t.sockets.info(t.listener, info), 0);
  assert.is(info.tcpi_state, 10);
  const s = t.accepted({ sackOk: true, ws: 2, ts: [1, 0] }, 1000);
  t.write(s, pattern(0, 14480));
  t.breath();
  // 4,000 bytes of window: two segments.
  t.out.length = 0;
  t.pass(40);
  t.recv(ACK, { seq: 1, ack: 1 + 1448, win: 5000, len: 100, ts: [2, 0] });
  assert.is(t.sockets.info(s, info), 0);
  const { tcpi_state, tcpi_options, tcpi_snd_mss, tcpi_snd_wscale, tcpi_rcv_wscale, tcpi_snd_wnd, tcpi_rto } = info;
  assert.equal([tcpi_state, tcpi_options, tcpi_snd_wscale, tcpi_rcv_wscale, tcpi_snd_wnd], [1, 7, 2, 3, 20000]);
  assert.equal([tcpi_snd_mss, tcpi_rto], [1448, 200_000]);
  assert.equal([info.tcpi_bytes_acked, info.tcpi_bytes_received], [1448, 100]);
  assert.is(info.tcpi_rtt, 5_000);
  // SYN, its ACK, and the data
  assert.is(info.tcpi_segs_in, 2);
  assert.is(info.tcpi_segs_out, 1 + 2 + t.out.filter((x) => x.len > 0).length);
  assert.is(info.tcpi_unacked, 1 + t.out.filter((x) => x.len > 0).length);
  assert.equal([info.tcpi_total_retrans, info.tcpi_retransmits, info.tcpi_ca_state], [0, 0, 0]);
  const una = 1 + 1448;
  t.out.length = 0;
  t.recv(ACK, { seq: 101, ack: una, win: 5000, ts: [3, 0], sack: [[una + 1448, una + 5 * 1448]] });
  t.sockets.info(s, info);
  assert.equal([info.tcpi_sacked, info.tcpi_lost, info.tcpi_retrans, info.tcpi_total_retrans, info.tcpi_ca_state], [4, 1, 1, 1, 3]);
  t.pass(500);
  t.sockets.info(s, info);
  assert.ok(info.tcpi_retransmits > 0 && info.tcpi_ca_state === 4);
  assert.is(info.tcpi_snd_cwnd, 1);
  t.out.length = 0;
  t.end();
});

test('TCP_INFO: bytes acknowledged go on beyond 2^32', () => {
  const t = new Trace();
  const s = t.accepted();
  const c = t.machine.tcb;
  const r = t.row(s);
  const info = new TcpInfo();
  // As if 2^32 - 1000 bytes had gone both ways.
  c.iss[r] = (c.iss[r]! + 1000) | 0;
  c.irs[r] = (c.irs[r]! + 1000) | 0;
  t.sockets.info(s, info);
  assert.equal([info.tcpi_bytes_acked, info.tcpi_bytes_received], [2 ** 32 - 1000, 2 ** 32 - 1000]);
  t.write(s, Buffer.alloc(1460));
  t.breath();
  t.recv(ACK, { seq: 1, ack: 1461, len: 1460 });
  t.sockets.info(s, info);
  assert.equal([info.tcpi_bytes_acked, info.tcpi_bytes_received], [2 ** 32 + 460, 2 ** 32 + 460]);
  t.out.length = 0;
  t.end();
});

test('scarce chunks: what a receiver is told follows what is left, and grows again', () => {
  const t = new Trace({ config: { chunks: 64, rcvbuf: 65535, sndbuf: 1 << 20 } });
  const s = t.accepted();
  t.recv(ACK, { seq: 1, ack: 1, len: 1000 });
  t.pass(50);
  const wide = t.sends(ACK).win;
  assert.ok(wide > 60_000, `${wide}`);
  // Another connection's unsent data takes the pool.
  t.recv(SYN, { port: 40001, win: 0 });
  t.sends(SYN | ACK);
  t.recv(ACK, { seq: 1, ack: 1, port: 40001, win: 0 });
  const other = t.sockets.accept(t.listener);
  while (t.write(other, Buffer.alloc(65536)) > 0);
  t.recv(SYN, { port: 40002 });
  t.sends(SYN | ACK);
  t.recv(ACK, { seq: 1, ack: 1, port: 40002 });
  const third = t.sockets.accept(t.listener);
  const edge = (): number => {
    t.pass(50);
    const last = t.out.filter((x) => x.port === 40002).at(-1)!;
    return last.ack + last.win;
  };
  t.app = () => {
    if (t.sockets.readable(third) > 0) t.read(third);
  };
  for (let i = 0; i < 4; i++) t.recv(ACK, { seq: 1 + i * 1460, ack: 1, len: 1460, port: 40002 });
  // All is read, but the edge of the handshake stays and moves on by nothing.
  assert.is(edge(), 1 + 65535);
  t.sockets.abort(other);
  t.recv(ACK, { seq: 1 + 4 * 1460, ack: 1, len: 1460, port: 40002 });
  assert.is(edge(), 1 + 5 * 1460 + 65535);
  t.read(s);
  t.out.length = 0;
  t.end();
});

test.run();
