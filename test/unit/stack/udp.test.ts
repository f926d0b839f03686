/** UDP sockets on scripted datagrams: lookup, queue, sending, errors, options. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  C_RX_BYTES_COPIED,
  C_TX_BYTES_COPIED,
  C_UDP_IN_DATAGRAMS,
  C_UDP_NO_PORTS,
  C_UDP_OUT_DATAGRAMS,
} from '../../../src/rings/counters.ts';
import {
  DROP_BAD_SOURCE,
  DROP_CLOSING,
  DROP_FRAGMENT,
  DROP_L4_CHECKSUM,
  DROP_NO_LISTENER,
  DROP_NO_MEMORY,
  DROP_NO_NEIGHBOUR,
  DROP_NOT_FOR_US,
  DROP_RECEIVE_BUFFER,
  DROP_UDP_HEADER,
} from '../../../src/rings/drops.ts';
import { NB_FAILED, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_TRAIN,
  HEADROOM,
  OWNER_RING,
} from '../../../src/rings/layout.ts';
import { STEER_UDP } from '../../../src/rings/steering.ts';
import {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EDESTADDRREQ,
  EHOSTUNREACH,
  EINVAL,
  EMFILE,
  EMSGSIZE,
  ENETUNREACH,
  ENOPROTOOPT,
  ENOTCONN,
  EOPNOTSUPP,
  EPIPE,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  MSG_PEEK,
  MSG_TRUNC,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SO_BROADCAST,
  SO_ERROR,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
} from '../../../src/stack/sockets.ts';
import { datagram, sentDatagram } from './datagrams.ts';
import { OURS, PEER, PEER_PORT, pattern, type Trace, trace } from './trace.ts';

const OTHER = 0xc0000205 | 0;

/** A socket bound to `port`. */
function bound(t: Trace, port = 7, ip = 0): number {
  const s = t.sockets.openDatagram();
  assert.ok(s >= t.config.maxConnections, `socket ${s}`);
  assert.is(t.sockets.bind(s, ip, port), 0);
  return s;
}

function send(t: Trace, s: number, data: string | Uint8Array, ip = PEER, port = PEER_PORT): number {
  const b = typeof data === 'string' ? Buffer.from(data) : data;
  return t.sockets.sendTo(s, b, 0, b.length, ip, port);
}

/** The next datagram, or the errno. */
function receive(t: Trace, s: number, most = 2048, flags = 0): string | number {
  const b = Buffer.alloc(most);
  const from = { address: 0, port: 0 };
  const n = t.sockets.receiveFrom(s, b, 0, most, flags, from);
  return n < 0
    ? n
    : `${from.address === PEER ? 'peer' : from.address >>> 0}:${from.port} ${b.subarray(0, Math.min(n, most)).toString('latin1')}`;
}

test(
  'a datagram is received with its sender and answered from the port it came to',
  trace({}, (t) => {
    const s = bound(t);
    assert.is(receive(t, s), -EAGAIN);
    t.app = () => {
      if ((t.sockets.ready.levels(s) & EPOLLIN) === 0) return;
      assert.is(t.sockets.readable(s), 5);
      assert.is(receive(t, s), `peer:${PEER_PORT} hello`);
      assert.is(send(t, s, 'world!'), 6);
    };
    t.queueBytes(datagram({ data: 'hello' })).breath();
    const d = sentDatagram(t);
    assert.equal([d.src, d.dst, d.from, d.to, d.data, d.mac], [OURS, PEER, 7, PEER_PORT, 'world!', '020000000001']);
    assert.equal([t.counters.v[C_UDP_IN_DATAGRAMS], t.counters.v[C_UDP_OUT_DATAGRAMS]], [1, 1]);
    assert.is(t.counters.v[C_RX_BYTES_COPIED], 5, 'read in the breath it came in: copied once');
    assert.is(t.counters.v[C_TX_BYTES_COPIED], 6, 'sent: copied once');
  }),
);

test(
  'what is not read in its breath waits in order, whatever the sizes, and holds no frame and no chunk afterwards',
  trace({ config: { chunkBytes: 512 } }, (t) => {
    const s = bound(t);
    const sizes = [0, 1, 15, 16, 17, 480, 496, 497, 512, 1000, 0, 1472, 3];
    const data = sizes.map((n, i) => pattern(i, n));
    for (const d of data.slice(0, 8)) t.queueBytes(datagram({ data: d }));
    t.breath();
    for (const d of data.slice(8)) t.queueBytes(datagram({ data: d }));
    t.breath();
    for (const d of data) {
      assert.is(t.sockets.readable(s), d.length);
      assert.is(receive(t, s, 2048, MSG_PEEK), `peer:${PEER_PORT} ${d.toString('latin1')}`, `${d.length} bytes, looked at`);
      assert.is(receive(t, s), `peer:${PEER_PORT} ${d.toString('latin1')}`, `${d.length} bytes`);
    }
    assert.is(receive(t, s), -EAGAIN);
    assert.is(t.machine.chunks.free, t.machine.chunks.chunks);
  }),
);

/** A datagram of `data` over frames of `first` payload bytes in link 0 and `more` in each further one, as jumbo frames arrive. */
function queueTrain(t: Trace, data: Buffer, first: number, more: number): void {
  const whole = datagram({ data });
  const { frames } = t;
  const lengths = [42 + first];
  for (let left = data.length - first; left > 0; left -= more) lengths.push(Math.min(more, left));
  const links = lengths.map(() => t.takeFrame());
  let at = 0;
  links.forEach((f, i) => {
    const into = frames.offset[f]! + HEADROOM + (i === 0 ? 0 : 42);
    frames.u8.set(whole.subarray(at, at + lengths[i]!), into);
    frames.length[f] = lengths[i]!;
    frames.next[f] = links[i + 1] ?? -1;
    frames.owner[f] = OWNER_RING;
    at += lengths[i]!;
  });
  const d = new Int32Array(DESC_WORDS);
  d[D_FRAME] = links[0]!;
  d[D_DATA] = (HEADROOM << 16) | lengths[0]!;
  d[D_TOTAL] = whole.length;
  d[D_REGION_GEN] = frames.generation[links[0]!]! & 0xffff;
  d[D_FLAGS_GSO] = (more << 16) | F_TRAIN;
  d[D_SEGS_VLAN] = links.length;
  t.put(d);
}

test(
  'a datagram over several frames is one: read in its breath, or from chunks later, and cut where the buffer ends',
  trace({ config: { chunkBytes: 512 } }, (t) => {
    const s = bound(t);
    const data = pattern(3, 4000);
    const got: (string | number)[] = [];
    t.app = () => {
      got.push(receive(t, s, 8192));
    };
    queueTrain(t, data, 1400, 1400);
    t.breath();
    assert.equal(got, [`peer:${PEER_PORT} ${data.toString('latin1')}`]);
    t.app = () => {};
    queueTrain(t, data, 1, 1300);
    queueTrain(t, data, 1000, 1000);
    t.breath();
    t.breath();
    assert.is(receive(t, s, 8192), `peer:${PEER_PORT} ${data.toString('latin1')}`);
    assert.is(receive(t, s, 1500), `peer:${PEER_PORT} ${data.subarray(0, 1500).toString('latin1')}`);
    queueTrain(t, data, 1400, 1400);
    t.app = () => {
      got.push(receive(t, s, 1500));
    };
    t.breath();
    assert.is(got[1], `peer:${PEER_PORT} ${data.subarray(0, 1500).toString('latin1')}`);
    assert.is(t.machine.chunks.free, t.machine.chunks.chunks);
  }),
);

test(
  'coalescing leaves datagrams alone: those of one flow in one burst stay as many',
  trace({ config: { coalesce: true } }, (t) => {
    const s = bound(t);
    for (let i = 0; i < 8; i++) t.queueBytes(datagram({ data: pattern(i, 1000) }));
    t.breath();
    assert.is(t.counters.v[C_UDP_IN_DATAGRAMS], 8);
    for (let i = 0; i < 8; i++) assert.is(receive(t, s), `peer:${PEER_PORT} ${pattern(i, 1000).toString('latin1')}`);
  }),
);

test(
  'some in chunks, some in frames: first in, first out',
  trace({}, (t) => {
    const s = bound(t);
    const got: (string | number)[] = [];
    t.queueBytes(datagram({ data: 'a' }))
      .queueBytes(datagram({ data: 'b' }))
      .breath();
    t.app = () => {
      for (let i = 0; i < 3; i++) got.push(receive(t, s));
    };
    t.queueBytes(datagram({ data: 'c' }))
      .queueBytes(datagram({ data: 'd' }))
      .breath();
    t.app = () => {};
    got.push(receive(t, s), receive(t, s));
    assert.equal(got, [...['a', 'b', 'c', 'd'].map((x) => `peer:${PEER_PORT} ${x}`), -EAGAIN]);
  }),
);

test(
  'a buffer too small loses the rest; MSG_TRUNC says how much there was',
  trace({}, (t) => {
    const s = bound(t);
    for (let i = 0; i < 3; i++) t.queueBytes(datagram({ data: 'abcdefgh' }));
    t.breath();
    const b = Buffer.from('........');
    assert.is(t.sockets.receiveFrom(s, b, 2, 3, 0, null), 3);
    assert.is(b.toString(), '..abc...');
    assert.is(t.sockets.receiveFrom(s, b, 0, 4, MSG_TRUNC | MSG_PEEK, null), 8);
    assert.is(t.sockets.receiveFrom(s, b, 0, 4, MSG_TRUNC, null), 8);
    assert.is(t.sockets.receiveFrom(s, b, 0, 0, 0, null), 0, 'room for nothing: the datagram is gone all the same');
    assert.is(t.sockets.receiveFrom(s, b, 0, 8, 0, null), -EAGAIN);
    assert.is(t.sockets.receiveFrom(s, b, 0, 8, 0x40, null), -EOPNOTSUPP);
  }),
);

test(
  'lookup: connected before bound before any; the others do not see it',
  trace({}, (t) => {
    const [any, own, joined] = [t.sockets.openDatagram(), t.sockets.openDatagram(), t.sockets.openDatagram()];
    for (const s of [any, own, joined]) assert.is(t.sockets.setOption(s, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    assert.is(t.sockets.bind(any, 0, 7), 0);
    assert.is(t.sockets.bind(own, OURS, 7), 0);
    assert.is(t.sockets.bind(joined, 0, 7), 0);
    assert.is(t.sockets.connect(joined, PEER, PEER_PORT), 0);
    t.queueBytes(datagram({ data: 'joined' })).queueBytes(datagram({ data: 'own', from: PEER_PORT + 1 }));
    t.queueBytes(datagram({ data: 'any', dst: 0xc00002ff | 0, group: true }));
    t.breath();
    assert.is(receive(t, joined), `peer:${PEER_PORT} joined`);
    assert.is(receive(t, own), `peer:${PEER_PORT + 1} own`);
    assert.is(receive(t, any), `peer:${PEER_PORT} any`);
    for (const s of [any, own, joined]) assert.is(receive(t, s), -EAGAIN);
    t.sockets.close(own);
    t.queueBytes(datagram({ data: 'again', from: PEER_PORT + 1 })).breath();
    assert.is(receive(t, any), `peer:${PEER_PORT + 1} again`);
  }),
);

test(
  'equal sockets on a port share its flows, and a flow stays with one of them',
  trace({}, (t) => {
    const s = [0, 1, 2].map(() => {
      const x = t.sockets.openDatagram();
      t.sockets.setOption(x, SOL_SOCKET, SO_REUSEPORT, 1);
      assert.is(t.sockets.bind(x, 0, 7), 0);
      return x;
    });
    const owner = new Map<number, number>();
    for (let round = 0; round < 2; round++)
      for (let p = 0; p < 60; p++) {
        // The dispatcher's hash stands in the descriptor; this trace has none, so it is written as the dispatcher would.
        t.queueBytes(datagram({ from: 1000 + p, data: 'x' }), 0);
        const at = t.broker.rx.slot(-1);
        t.broker.rx.words[at + 7] = Math.imul(p, 0x10001);
        t.breath();
        const got = s.filter((x) => receive(t, x) !== -EAGAIN);
        assert.is(got.length, 1);
        assert.is(owner.get(p) ?? got[0]!, got[0]);
        owner.set(p, got[0]!);
      }
    assert.is(new Set(owner.values()).size, 3);
  }),
);

test(
  'bind: taken ports, foreign addresses, twice',
  trace({}, (t) => {
    const s = bound(t);
    assert.is(t.sockets.bind(s, 0, 8), -EINVAL);
    const x = t.sockets.openDatagram();
    assert.is(t.sockets.bind(x, 0, 7), -EADDRINUSE);
    assert.is(t.sockets.bind(x, OURS, 7), -EADDRINUSE, 'overlaps');
    assert.is(t.sockets.bind(x, PEER, 9), -EADDRNOTAVAIL);
    assert.is(t.sockets.bind(x, 0, 70000), -EINVAL);
    assert.is(t.sockets.bind(x, OURS, 9), 0);
    assert.equal([t.sockets.localAddress(x), t.sockets.localPort(x)], [OURS, 9]);
    assert.is(t.sockets.close(s), 0);
    bound(t);
  }),
);

test(
  "without bind the first sendto takes a port that is this worker's alone, and gives it back",
  trace({ workers: 3 }, (t) => {
    const s = t.sockets.openDatagram();
    assert.is(t.sockets.localPort(s), 0);
    assert.is(send(t, s, 'x'), 1);
    const port = t.sockets.localPort(s);
    assert.ok(port >= 32768 && port < 61000, `${port}`);
    assert.ok(t.steering.serves(STEER_UDP, port, 0));
    assert.not(t.steering.share(STEER_UDP, port, 1), 'no other worker may bind it');
    assert.not(t.steering.claim(STEER_UDP, port, 2), 'nor be given it');
    for (let hash = 0; hash < 100; hash++) assert.is(t.steering.owner(STEER_UDP, hash, port), 0, 'every reply comes home');
    t.breath();
    assert.is(sentDatagram(t).from, port);
    t.queueBytes(datagram({ to: port, data: 'reply' })).breath();
    assert.is(receive(t, s), `peer:${PEER_PORT} reply`);
    t.sockets.close(s);
    assert.not(t.steering.served(STEER_UDP, port));
    assert.ok(t.steering.share(STEER_UDP, port, 1));
  }),
);

test(
  "connect: only the peer is heard, write and read work, the port's hash is ours; connect again, and disconnect",
  trace({ workers: 4 }, (t) => {
    const s = t.sockets.openDatagram();
    assert.is(t.sockets.write(s, Buffer.from('x'), 0, 1), -EDESTADDRREQ);
    assert.is(t.sockets.connect(s, PEER, 9), 0);
    const port = t.sockets.localPort(s);
    assert.equal([t.sockets.localAddress(s), t.sockets.remoteAddress(s), t.sockets.remotePort(s)], [OURS, PEER, 9]);
    assert.is(t.write(s, 'abc'), 3);
    t.breath();
    assert.equal(
      [sentDatagram(t)].map((d) => [d.from, d.to, d.data]),
      [[port, 9, 'abc']],
    );
    t.queueBytes(datagram({ from: 9, to: port, data: 'yes' }))
      .queueBytes(datagram({ from: 10, to: port, data: 'no' }))
      .breath();
    assert.is(t.read(s).toString(), 'yes');
    assert.is(receive(t, s), -EAGAIN);
    assert.is(t.drop(DROP_NO_LISTENER), 1);
    t.others.length = 0;
    assert.is(t.sockets.connect(s, PEER, 11), 0);
    assert.is(t.sockets.localPort(s), port);
    assert.is(t.sockets.remotePort(s), 11);
    assert.is(t.sockets.connect(s, 0, 0), 0);
    assert.equal([t.sockets.localAddress(s), t.sockets.remotePort(s)], [0, 0]);
    assert.is(t.sockets.connect(s, 0, 0), -ENOTCONN);
    assert.is(t.write(s, 'x'), -EDESTADDRREQ);
  }),
);

test(
  'connecting a shared port: only to peers whose datagrams come here, and not twice to one',
  trace({ workers: 4 }, (t) => {
    for (let w = 1; w < 4; w++) assert.ok(t.steering.share(STEER_UDP, 7, w));
    const results = new Set<number>();
    for (let p = 1000; p < 1040; p++) {
      const s = t.sockets.openDatagram();
      if (s < 0) break;
      t.sockets.setOption(s, SOL_SOCKET, SO_REUSEADDR, 1);
      assert.is(t.sockets.bind(s, 0, 7), 0);
      const r = t.sockets.connect(s, PEER, p);
      results.add(r);
      if (r === 0) assert.is(t.steering.owner(STEER_UDP, t.machine.env.flowHash(PEER, OURS, p, 7), 7), 0);
      if (r === 0) {
        const twin = t.sockets.openDatagram();
        t.sockets.setOption(twin, SOL_SOCKET, SO_REUSEADDR, 1);
        assert.is(t.sockets.bind(twin, 0, 7), 0);
        assert.is(t.sockets.connect(twin, PEER, p), -EADDRNOTAVAIL);
        t.sockets.close(twin);
      }
      t.sockets.close(s);
    }
    assert.equal([...results].sort(), [-EADDRNOTAVAIL, 0].sort());
  }),
);

test(
  'sizes: the MTU is the most, nothing is a datagram too',
  trace({}, (t) => {
    const s = bound(t);
    assert.is(send(t, s, new Uint8Array(1473)), -EMSGSIZE);
    assert.is(t.sockets.writable(s), 1472);
    assert.is(send(t, s, pattern(0, 1472)), 1472);
    assert.is(send(t, s, ''), 0);
    assert.is(t.sockets.sendTo(s, Buffer.alloc(4), 2, 3, PEER, 9), -EINVAL, 'a datagram is whole or not at all');
    t.breath();
    assert.is(sentDatagram(t).data, pattern(0, 1472).toString('latin1'));
    assert.is(sentDatagram(t).data, '');
    const fresh = t.sockets.openDatagram();
    assert.is(send(t, fresh, new Uint8Array(1473)), -EMSGSIZE);
    assert.is(t.sockets.localPort(fresh), 0);
  }),
);

test(
  'a checksum that comes out as 0 is sent as 0xffff',
  trace({}, (t) => {
    const s = bound(t);
    // Every 16-bit payload: one of them makes the sum 0xffff.
    const b = Buffer.alloc(2);
    for (let x = 0; x < 65536; x += 1) {
      b.writeUInt16BE(x);
      const sum = [0xc000, 0x0201, 0xc000, 0x0202, 17, 10, 7, PEER_PORT, 10, x].reduce((a, y) => a + y, 0);
      if (((sum & 0xffff) + (sum >>> 16)) % 0xffff !== 0) continue;
      assert.is(send(t, s, b), 2);
      t.breath();
      assert.is(t.others[0]!.readUInt16BE(40), 0xffff);
      sentDatagram(t);
      return;
    }
    throw new Error('no such payload');
  }),
);

test(
  'where nothing may go: errno by reason',
  trace({}, (t) => {
    const s = bound(t);
    assert.is(send(t, s, 'x', 0x08080808), -ENETUNREACH, 'no gateway');
    assert.is(send(t, s, 'x', 0xe0000001 | 0), -ENETUNREACH, 'a group');
    assert.is(send(t, s, 'x', OURS), -ENETUNREACH, 'ourselves');
    assert.is(send(t, s, 'x', 0), -ENETUNREACH);
    assert.is(send(t, s, 'x', -1), -EACCES);
    assert.is(send(t, s, 'x', 0xc00002ff | 0), -EACCES);
    assert.is(t.sockets.connect(s, 0xc00002ff | 0, 9), -EACCES);
    assert.is(send(t, s, 'x', PEER, 70000), -EINVAL);
    t.host.put(OTHER, NB_FAILED, 0, 0);
    assert.is(send(t, s, 'x', OTHER), -EHOSTUNREACH);
    assert.is(t.sockets.setOption(s, SOL_SOCKET, SO_BROADCAST, 1), 0);
    assert.is(send(t, s, 'all', -1), 3);
    assert.is(send(t, s, 'net', 0xc00002ff | 0), 3);
    t.breath();
    assert.equal(
      [sentDatagram(t), sentDatagram(t)].map((d) => [d.dst, d.mac, d.data]),
      [
        [-1, 'ffffffffffff', 'all'],
        [0xc00002ff | 0, 'ffffffffffff', 'net'],
      ],
    );
  }),
);

test(
  'an unknown neighbour: three datagrams wait, the oldest of more is dropped and counted, and they go in order',
  trace({ neighbour: false }, (t) => {
    const s = bound(t);
    for (const x of ['a', 'b', 'c', 'd']) assert.is(send(t, s, x), 1);
    t.breath();
    assert.is(t.others.length, 0);
    assert.is(t.drop(DROP_NO_NEIGHBOUR), 1);
    t.host.put(PEER, NB_REACHABLE, 0x02000000, 1);
    t.breath();
    assert.equal(
      [sentDatagram(t), sentDatagram(t), sentDatagram(t)].map((d) => d.data),
      ['b', 'c', 'd'],
    );
    t.counters.v[96 + DROP_NO_NEIGHBOUR] = 0;
  }),
);

test(
  'no credit: EAGAIN, and EPOLLOUT when there is some, once, without priming',
  trace({ credit: 4 }, (t) => {
    const s = bound(t);
    const consumer = t.sockets.ready.openConsumer();
    assert.is(t.sockets.ready.levels(s), EPOLLOUT);
    t.sockets.ready.route(s, consumer);
    assert.is(t.sockets.ready.first(consumer), s);
    t.sockets.ready.unlink(consumer, s, -1);
    t.sockets.ready.takeEdges(s);
    for (let i = 0; i < 4; i++) assert.is(send(t, s, `${i}`), 1);
    assert.is(send(t, s, '4'), -EAGAIN);
    assert.is(t.sockets.writable(s), 0);
    assert.is(t.sockets.ready.levels(s), 0);
    assert.not(t.stack.pending());
    t.breath();
    assert.is(t.others.length, 4);
    t.breath();
    assert.is(t.sockets.ready.first(consumer), s);
    assert.is(t.sockets.ready.takeEdges(s), EPOLLOUT);
    assert.is(t.sockets.ready.levels(s), EPOLLOUT);
    assert.is(send(t, s, '4'), 1);
    t.breath();
    assert.is(t.sockets.ready.takeEdges(s), 0);
  }),
);

test(
  'udp.sndbuf bounds what a socket sends in a breath, and the next breath gives it back',
  trace({ config: { udpSndbuf: 3000 } }, (t) => {
    const [s, other] = [bound(t), bound(t, 8)];
    assert.is(send(t, s, new Uint8Array(1400)), 1400);
    assert.is(send(t, s, new Uint8Array(1400)), 1400);
    assert.is(send(t, s, new Uint8Array(1400)), -EAGAIN);
    assert.is(send(t, other, new Uint8Array(1400)), 1400, 'one socket, not all');
    assert.ok(t.stack.pending());
    t.breath().breath();
    assert.is(t.sockets.ready.takeEdges(s), EPOLLOUT);
    assert.is(send(t, s, new Uint8Array(1400)), 1400);
    assert.is(t.sockets.setOption(s, SOL_SOCKET, SO_SNDBUF, 1 << 20), 0);
    assert.is(t.sockets.getOption(s, SOL_SOCKET, SO_SNDBUF), 3000, 'the configuration is the most');
    assert.is(t.sockets.setOption(s, SOL_SOCKET, SO_SNDBUF, 1500), 0);
    t.breath();
    assert.is(send(t, s, new Uint8Array(1400)), 1400);
    assert.is(send(t, s, new Uint8Array(1400)), -EAGAIN);
  }),
);

test(
  'udp.rcvbuf bounds what waits: the rest is dropped by name, an empty datagram counts too, one always fits',
  trace({ config: { udpRcvbuf: 4096 } }, (t) => {
    const s = bound(t);
    for (let i = 0; i < 10; i++) t.queueBytes(datagram({ data: pattern(i, 1000) })).breath();
    assert.is(t.drop(DROP_RECEIVE_BUFFER), 6);
    for (let i = 0; i < 4; i++) assert.is(receive(t, s), `peer:${PEER_PORT} ${pattern(i, 1000).toString('latin1')}`);
    for (let i = 0; i < 300; i++) t.queueBytes(datagram()).breath();
    assert.is(t.drop(DROP_RECEIVE_BUFFER), 6 + 300 - 256);
    for (let i = 0; i < 256; i++) assert.is(receive(t, s), `peer:${PEER_PORT} `);
    t.sockets.setOption(s, SOL_SOCKET, SO_RCVBUF, 1);
    assert.is(t.sockets.getOption(s, SOL_SOCKET, SO_RCVBUF), 256);
    t.queueBytes(datagram({ data: pattern(0, 1400) }))
      .queueBytes(datagram({ data: 'x' }))
      .breath();
    assert.is(receive(t, s), `peer:${PEER_PORT} ${pattern(0, 1400).toString('latin1')}`);
    assert.is(receive(t, s), -EAGAIN);
  }),
);

test(
  'datagrams leave TCP its share of the pool',
  trace({ config: { chunks: 64, chunkBytes: 512, udpRcvbuf: 1 << 20 } }, (t) => {
    const s = bound(t);
    for (let i = 0; i < 100; i++) t.queueBytes(datagram({ data: pattern(i, 400) })).breath();
    assert.ok(t.drop(DROP_NO_MEMORY) > 0);
    assert.ok(t.machine.chunks.free >= 8, `${t.machine.chunks.free} chunks free`);
    assert.not(t.stack.busy(), 'unread datagrams hold up no drain');
    t.sockets.close(s);
    assert.is(t.machine.chunks.free, 64);
  }),
);

test(
  'what is no datagram for us is dropped by name',
  trace({}, (t) => {
    const s = bound(t);
    const cases: [string, Buffer, number][] = [
      ['a wrong checksum', datagram({ data: 'x', checksum: 'bad' }), DROP_L4_CHECKSUM],
      ['a length below 8', datagram({ data: 'x', lengthError: -2 }), DROP_UDP_HEADER],
      ['a length beyond IP', datagram({ data: 'x', lengthError: 1 }), DROP_UDP_HEADER],
      ['another host', datagram({ data: 'x', dst: OTHER }), DROP_NOT_FOR_US],
      ['a multicast group', datagram({ data: 'x', dst: 0xe0000005 | 0, group: true }), DROP_NOT_FOR_US],
      ['unicast in a broadcast frame', datagram({ data: 'x', group: true }), DROP_NOT_FOR_US],
      ['from a broadcast address', datagram({ data: 'x', src: 0xc00002ff | 0 }), DROP_BAD_SOURCE],
      ['from ourselves', datagram({ data: 'x', src: OURS }), DROP_BAD_SOURCE],
      ['from loopback', datagram({ data: 'x', src: 0x7f000001 }), DROP_BAD_SOURCE],
      ['a later fragment', datagram({ data: 'x', fragment: 0x2001 }), DROP_FRAGMENT],
    ];
    for (const [what, bytes, reason] of cases) {
      const before = t.drop(reason);
      t.queueBytes(bytes).breath();
      assert.is(t.drop(reason), before + 1, what);
      assert.is(receive(t, s), -EAGAIN, what);
      assert.is(t.others.length, 0, what);
    }
  }),
);

test(
  'a checksum of 0 is none; bytes behind the UDP length are no data; port 0 may send',
  trace({}, (t) => {
    const s = bound(t);
    t.queueBytes(datagram({ data: 'none', checksum: 'none' }));
    t.queueBytes(datagram({ data: 'tail', tail: 9 }));
    t.queueBytes(datagram({ data: 'zero', from: 0 }));
    t.breath();
    assert.is(receive(t, s), `peer:${PEER_PORT} none`);
    assert.is(receive(t, s), `peer:${PEER_PORT} tail`);
    assert.is(receive(t, s), 'peer:0 zero');
  }),
);

test(
  'events: level holds while datagrams wait, edge is raised by each arrival, a closed socket has none',
  trace({}, (t) => {
    const s = bound(t);
    const { ready } = t.sockets;
    const consumer = ready.openConsumer();
    ready.route(s, consumer);
    ready.takeEdges(s);
    t.queueBytes(datagram({ data: 'a' }))
      .queueBytes(datagram({ data: 'b' }))
      .breath();
    assert.is(ready.takeEdges(s), EPOLLIN);
    receive(t, s);
    assert.is(ready.levels(s), EPOLLIN | EPOLLOUT, 'one still waits');
    assert.is(ready.takeEdges(s), 0);
    t.queueBytes(datagram({ data: 'c' })).breath();
    assert.is(ready.takeEdges(s), EPOLLIN);
    assert.is(t.sockets.close(s), 0);
    assert.equal([ready.levels(s), ready.takeEdges(s)], [0, 0]);
    const next = t.sockets.openDatagram();
    assert.is.not(next, s, 'an id that stands on a list is not given out');
    ready.unlink(consumer, s, -1);
    assert.is(t.sockets.close(next), 0);
    const two = [t.sockets.openDatagram(), t.sockets.openDatagram()];
    assert.ok(two.includes(s), 'and comes back when it leaves the list');
  }),
);

test(
  'shutdown',
  trace({}, (t) => {
    const s = bound(t);
    assert.is(t.sockets.shutdown(s, SHUT_RD), -ENOTCONN);
    assert.is(t.sockets.connect(s, PEER, PEER_PORT), 0);
    assert.is(t.sockets.shutdown(s, 3), -EINVAL);
    assert.is(t.sockets.shutdown(s, SHUT_WR), 0);
    assert.is(t.write(s, 'x'), -EPIPE);
    assert.is(t.sockets.writable(s), 0);
    t.queueBytes(datagram({ data: 'still' })).breath();
    assert.is(t.sockets.shutdown(s, SHUT_RDWR), 0);
    assert.is(t.sockets.ready.levels(s) & (EPOLLIN | EPOLLRDHUP | EPOLLHUP), EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    assert.is(t.read(s).toString(), 'still');
    assert.is(t.read(s).length, 0);
    t.queueBytes(datagram({ data: 'late' })).breath();
    assert.is(t.drop(DROP_CLOSING), 1);
  }),
);

test(
  'calls that make no sense, ids that are none, options',
  trace({}, (t) => {
    const k = t.sockets;
    const s = bound(t);
    assert.is(k.listen(s, 5), -EOPNOTSUPP);
    assert.is(k.accept(s), -EOPNOTSUPP);
    assert.is(k.getOption(s, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    assert.is(k.getOption(s, SOL_SOCKET, SO_ERROR), 0);
    assert.is(k.setOption(s, SOL_TCP, TCP_NODELAY, 1), -ENOPROTOOPT);
    assert.is(k.getOption(s, SOL_TCP, TCP_NODELAY), -ENOPROTOOPT);
    assert.is(k.setOption(s, SOL_SOCKET, 99, 1), -ENOPROTOOPT);
    assert.is(k.getOption(s, SOL_SOCKET, 99), -ENOPROTOOPT);
    assert.is(k.getOption(s, SOL_SOCKET, SO_BROADCAST), 0);
    assert.is(k.setOption(s, SOL_SOCKET, SO_REUSEPORT, 1), 0);
    assert.is(k.getOption(s, SOL_SOCKET, SO_REUSEADDR), 1);
    assert.is(k.setOption(s, SOL_SOCKET, SO_REUSEADDR, 0), 0);
    assert.is(k.getOption(s, SOL_SOCKET, SO_REUSEPORT), 0);
    const stream = k.open();
    assert.is(k.getOption(stream, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    assert.is(k.close(stream), 0);
    const b = new Uint8Array(4);
    for (const none of [-1, s + 1, t.config.maxConnections + t.config.maxDatagrams, 1 << 22]) {
      assert.not(k.isOpen(none));
      for (const result of [
        k.bind(none, 0, 9),
        k.listen(none, 1),
        k.accept(none),
        k.connect(none, PEER, 9),
        k.read(none, b, 0, 4, false),
        k.write(none, b, 0, 4),
        k.sendTo(none, b, 0, 4, PEER, 9),
        k.receiveFrom(none, b, 0, 4, 0, null),
        k.close(none),
        k.abort(none),
        k.shutdown(none, SHUT_RD),
        k.setOption(none, SOL_SOCKET, SO_BROADCAST, 1),
        k.getOption(none, SOL_SOCKET, SO_BROADCAST),
      ])
        assert.is(result, -EBADF);
      assert.equal([k.readable(none), k.writable(none), k.takeError(none), k.localPort(none), k.remotePort(none)], [0, 0, 0, 0, 0]);
    }
    const all: number[] = [];
    for (let x = k.openDatagram(); x >= 0; x = k.openDatagram()) all.push(x);
    assert.is(all.length, t.config.maxDatagrams - 1);
    assert.is(k.openDatagram(), -EMFILE);
    assert.is(k.inUse(), t.config.maxDatagrams);
  }),
);

test(
  'no socket: noListener, counted; a worker that drains says nothing any more',
  trace({}, (t) => {
    const s = bound(t);
    t.queueBytes(datagram({ to: 8 })).breath();
    assert.equal([t.drop(DROP_NO_LISTENER), t.counters.v[C_UDP_NO_PORTS]], [1, 1]);
    t.others.length = 0;
    t.stack.drain();
    assert.not(t.steering.served(STEER_UDP, 7));
    t.queueBytes(datagram({ to: 8 }))
      .queueBytes(datagram({ data: 'last' }))
      .breath();
    assert.is(t.drop(DROP_CLOSING), 1);
    assert.is(t.others.length, 0);
    assert.is(receive(t, s), `peer:${PEER_PORT} last`);
    assert.ok(t.stack.drained());
    assert.is(t.sockets.ready.levels(s) & EPOLLERR, 0);
  }),
);

test.run();
