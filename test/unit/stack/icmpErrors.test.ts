/** ICMP errors: sent for datagrams nobody wants, believed when they quote a flow of ours, and only then. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_ICMP_ERRORS_RX, C_ICMP_ERRORS_TX, C_ICMP_FRAG_NEEDED } from '../../../src/rings/counters.ts';
import {
  DROP_BAD_SOURCE,
  DROP_FRAGMENT,
  DROP_ICMP,
  DROP_NO_LISTENER,
  DROP_RATE_LIMIT,
  DROP_UNKNOWN_PROTOCOL,
} from '../../../src/rings/drops.ts';
import {
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  ENETUNREACH,
  ENOPROTOOPT,
  EPOLLERR,
  EPOLLIN,
  EPROTO,
  ETIMEDOUT,
  SO_ERROR,
  SOL_SOCKET,
} from '../../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED, SYN_SENT } from '../../../src/stack/tcp/states.ts';
import { setIpv4 } from '../../../src/wire/ipv4.ts';
import { datagram, framed, icmpAbout, sentDatagram, sentIcmp } from './datagrams.ts';
import { ACK, OURS, PEER, PEER_PORT, SYN, type Trace, trace } from './trace.ts';

const ROUTER = 0xc0000207 | 0;
const PORT_UNREACHABLE = [3, 3] as const;

/** A UDP socket connected to the peer's port 9, and the IPv4 datagram it sent. */
function connected(t: Trace): { s: number; quote: Buffer } {
  const s = t.sockets.openDatagram();
  assert.is(t.sockets.connect(s, PEER, 9), 0);
  assert.is(t.write(s, 'abcdefgh'), 8);
  t.breath();
  return { s, quote: sentDatagram(t).ip };
}

/** A TCP segment of ours as it is quoted: IPv4 header, ports, sequence number. */
function segment(t: Trace, seq: number, port = 80): Buffer {
  const b = Buffer.alloc(28);
  setIpv4(new DataView(b.buffer, b.byteOffset), 0, 40, 1, 6, OURS, PEER);
  b.writeUInt16BE(t.localPort, 20);
  b.writeUInt16BE(port, 22);
  b.writeInt32BE((seq + t.iss) | 0, 24);
  return b;
}

/** connect() to the peer's port 80, its SYN sent. */
function connecting(t: Trace): number {
  const s = t.sockets.open();
  t.sockets.connect(s, PEER, 80);
  t.breath();
  t.sends(SYN);
  return s;
}

test(
  'a closed port: port unreachable, the datagram quoted with its header',
  trace({}, (t) => {
    const asked = datagram({ to: 9, data: 'is anybody there?' });
    t.queueBytes(asked).breath();
    const e = sentIcmp(t);
    assert.equal([e.type, e.code, e.dst], [3, 3, PEER]);
    assert.equal(e.quote, asked.subarray(14));
    assert.is(t.drop(DROP_NO_LISTENER), 1);
    assert.is(t.counters.v[C_ICMP_ERRORS_TX], 1);
  }),
);

test(
  'a long datagram is quoted up to 576 bytes in all, padding behind it not at all',
  trace({}, (t) => {
    t.queueBytes(datagram({ to: 9, data: new Uint8Array(1400).fill(7) }));
    t.queueBytes(Buffer.concat([datagram({ to: 9, data: 'x' }), Buffer.alloc(17)]));
    t.breath();
    assert.is(sentIcmp(t).quote.length, 548);
    assert.is(sentIcmp(t).quote.length, 29);
  }),
);

test(
  'no error about a group address, or to a source that is no host',
  trace({}, (t) => {
    t.queueBytes(datagram({ to: 9, dst: 0xc00002ff | 0, group: true }));
    t.queueBytes(datagram({ to: 9, dst: 0xc00002ff | 0 }));
    t.queueBytes(datagram({ to: 9, src: 0xc00002ff | 0 }));
    t.queueBytes(datagram({ to: 9, src: 0xe0000001 | 0 }));
    t.queueBytes(datagram({ to: 9, checksum: 'bad' }));
    // IGMP to all hosts: a protocol we do not speak, to a group.
    t.queueBytes(framed(Buffer.alloc(8), 2, PEER, 0xe0000001 | 0, true));
    t.breath();
    assert.is(t.others.length, 0);
    assert.is(t.drop(DROP_BAD_SOURCE), 2);
  }),
);

test(
  'an unknown protocol: protocol unreachable',
  trace({}, (t) => {
    t.queueBytes(framed(Buffer.from('gre, or so'), 47, PEER, OURS)).breath();
    const e = sentIcmp(t);
    assert.equal([e.type, e.code, e.quote.subarray(20).toString()], [3, 2, 'gre, or so']);
    assert.is(t.drop(DROP_UNKNOWN_PROTOCOL), 1);
  }),
);

const MORE = 0x2000;

test(
  'the first fragment of a datagram: reassembly time exceeded, quoted as the others are; the later ones: silence',
  trace({}, (t) => {
    const first = datagram({ to: 9, data: new Uint8Array(1400).fill(7), fragment: MORE });
    t.queueBytes(first).queueBytes(datagram({ to: 9, fragment: MORE | 176 }));
    t.queueBytes(datagram({ to: 9, fragment: 352 })).breath();
    const e = sentIcmp(t);
    assert.equal([e.type, e.code, e.dst], [11, 1, PEER]);
    assert.equal(e.quote, first.subarray(14, 14 + 548));
    assert.equal([t.others.length, t.drop(DROP_FRAGMENT), t.counters.v[C_ICMP_ERRORS_TX]], [0, 3, 1]);
  }),
);

test(
  'first fragments of an echo request, of TCP, of what nobody speaks: the same; of an ICMP error, of a group or of no host: nothing',
  trace({}, (t) => {
    const icmp = (type: number, bytes = 16): Buffer => framed(Buffer.alloc(bytes, type), 1, PEER, OURS, false, MORE);
    t.queueBytes(icmp(8)).queueBytes(framed(Buffer.alloc(40), 6, PEER, OURS, false, MORE));
    t.queueBytes(framed(Buffer.alloc(8), 47, PEER, OURS, false, MORE)).breath();
    for (const protocol of [1, 6, 47]) {
      const e = sentIcmp(t);
      assert.equal([e.type, e.code, e.quote[9]], [11, 1, protocol]);
    }
    for (const type of [3, 4, 5, 11, 12]) t.queueBytes(icmp(type));
    // Too short to say which type it is.
    t.queueBytes(icmp(8, 4)).queueBytes(icmp(8, 0));
    t.queueBytes(datagram({ to: 9, dst: 0xc00002ff | 0, group: true, fragment: MORE }));
    t.queueBytes(datagram({ to: 9, group: true, fragment: MORE }));
    t.queueBytes(datagram({ to: 9, dst: 0xe0000001 | 0, group: true, fragment: MORE }));
    t.queueBytes(datagram({ to: 9, src: 0xc00002ff | 0, fragment: MORE }));
    t.queueBytes(datagram({ to: 9, src: 0xe0000001 | 0, fragment: MORE }));
    t.breath();
    assert.equal([t.others.length, t.drop(DROP_FRAGMENT)], [0, 15]);
  }),
);

test(
  'fragments share the rate of the other errors',
  trace({ frames: 1024, credit: 200 }, (t) => {
    for (let i = 0; i < 64; i++) {
      t.queueBytes(datagram({ to: 9, fragment: MORE }));
      if (i % 16 === 15) t.breath();
    }
    assert.equal([t.others.splice(0).length, t.drop(DROP_FRAGMENT), t.drop(DROP_RATE_LIMIT)], [50, 50, 14]);
    t.queueBytes(datagram({ to: 9 })).breath();
    assert.is(t.others.length, 0);
  }),
);

test(
  'errors are sent within a rate: 50 at once, then one a millisecond; the rest is counted',
  trace({ frames: 1024, credit: 200 }, (t) => {
    const flood = (n: number): number => {
      for (let i = 0; i < n; i++) {
        t.queueBytes(datagram({ to: 9 }));
        if (i % 16 === 15 || i === n - 1) t.breath();
      }
      return t.others.splice(0).length;
    };
    assert.is(flood(160), 50);
    assert.is(t.drop(DROP_RATE_LIMIT), 110);
    t.pass(10);
    assert.is(flood(160), 10);
  }),
);

test(
  'a connected UDP socket is refused: once, by receive, by send or by SO_ERROR',
  trace({}, (t) => {
    const { s, quote } = connected(t);
    const b = new Uint8Array(8);
    const refuse = (): unknown => t.queueBytes(icmpAbout(quote, ...PORT_UNREACHABLE, 28)).breath();
    refuse();
    assert.is(t.sockets.ready.levels(s) & (EPOLLERR | EPOLLIN), EPOLLERR | EPOLLIN);
    assert.is(t.sockets.receiveFrom(s, b, 0, 8, 0, null), -ECONNREFUSED);
    assert.is(t.sockets.receiveFrom(s, b, 0, 8, 0, null), -EAGAIN);
    refuse();
    assert.is(t.write(s, 'x'), -ECONNREFUSED);
    assert.is(t.write(s, 'x'), 1);
    refuse();
    assert.is(t.sockets.getOption(s, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    assert.is(t.sockets.takeError(s), 0);
    assert.is(t.counters.v[C_ICMP_ERRORS_RX], 3);
    assert.equal([t.drop(DROP_ICMP), t.sockets.ready.levels(s) & EPOLLERR], [0, 0]);
  }),
);

test(
  'which error it is: by type and code',
  trace({}, (t) => {
    const { s, quote } = connected(t);
    const cases: [type: number, code: number, errno: number][] = [
      [3, 0, ENETUNREACH],
      [3, 1, EHOSTUNREACH],
      [3, 2, ENOPROTOOPT],
      [3, 13, EHOSTUNREACH],
      [11, 0, EHOSTUNREACH],
      [11, 1, EHOSTUNREACH],
      [12, 0, EPROTO],
    ];
    for (const [type, code, errno] of cases) {
      t.queueBytes(icmpAbout(quote, type, code, quote.length, ROUTER)).breath();
      assert.is(t.sockets.takeError(s), errno, `type ${type} code ${code}`);
    }
    t.queueBytes(icmpAbout(quote, 3, 4)).breath();
    assert.equal([t.sockets.takeError(s), t.counters.v[C_ICMP_FRAG_NEEDED]], [0, 1], 'fragmentation needed is counted only');
    const before = t.drop(DROP_ICMP);
    for (const [type, code] of [
      [4, 0],
      [5, 1],
      [3, 16],
    ] as const)
      t.queueBytes(icmpAbout(quote, type, code)).breath();
    assert.equal([t.sockets.takeError(s), t.drop(DROP_ICMP) - before], [0, 3], 'source quench, redirect, unknown codes are not believed');
  }),
);

test(
  'a quote that is not ours, not whole, or of a socket that is not connected is not believed',
  trace({}, (t) => {
    const { s, quote } = connected(t);
    const changed = (at: number, ...bytes: number[]): Buffer => {
      const b = Buffer.from(quote);
      b.set(bytes, at);
      return b;
    };
    const cases: [string, Buffer][] = [
      ['another port of the peer', icmpAbout(changed(22, 0, 10), ...PORT_UNREACHABLE)],
      ['another port of ours', icmpAbout(changed(20, 1, 1), ...PORT_UNREACHABLE)],
      ['another peer', icmpAbout(changed(16, 192, 0, 2, 9), ...PORT_UNREACHABLE)],
      ['from another host', icmpAbout(changed(12, 192, 0, 2, 9), ...PORT_UNREACHABLE)],
      ['another protocol', icmpAbout(changed(9, 47), ...PORT_UNREACHABLE)],
      ['a later fragment', icmpAbout(changed(6, 0, 5), ...PORT_UNREACHABLE)],
      ['IPv6', icmpAbout(changed(0, 0x65), ...PORT_UNREACHABLE)],
      ['options beyond the quote', icmpAbout(changed(0, 0x4f), ...PORT_UNREACHABLE)],
      ['half a header', icmpAbout(quote, ...PORT_UNREACHABLE, 12)],
      ['no ports', icmpAbout(quote, ...PORT_UNREACHABLE, 27)],
      ['nothing', icmpAbout(quote, ...PORT_UNREACHABLE, 0)],
    ];
    for (const [what, bytes] of cases) {
      const before = t.drop(DROP_ICMP);
      t.queueBytes(bytes).breath();
      assert.equal([t.sockets.takeError(s), t.drop(DROP_ICMP)], [0, before + 1], what);
    }
    t.queueBytes(icmpAbout(quote, ...PORT_UNREACHABLE, 28, 0xe0000001 | 0)).breath();
    assert.is(t.drop(DROP_BAD_SOURCE), 1);
    assert.is(t.sockets.connect(s, 0, 0), 0);
    t.queueBytes(icmpAbout(quote, ...PORT_UNREACHABLE)).breath();
    assert.is(t.sockets.takeError(s), 0, 'who is not connected does not hear of it');
    assert.is(t.counters.v[C_ICMP_ERRORS_RX], 0);
  }),
);

test(
  'TCP connecting: a hard error aborts, with its reason; no error about an error is sent',
  trace({}, (t) => {
    const s = connecting(t);
    assert.is(t.sockets.state(s), SYN_SENT);
    t.queueBytes(icmpAbout(segment(t, 0), ...PORT_UNREACHABLE)).breath();
    assert.is(t.sockets.state(s), CLOSED);
    assert.is(t.sockets.ready.levels(s) & EPOLLERR, EPOLLERR);
    assert.is(t.sockets.getOption(s, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    assert.is(t.others.length, 0);
  }),
);

test(
  'TCP connecting: a soft error does not abort, and is the reason when it times out',
  trace({ config: { synRetries: 2 } }, (t) => {
    const s = connecting(t);
    t.queueBytes(icmpAbout(segment(t, 0), 3, 1)).breath();
    assert.is(t.sockets.state(s), SYN_SENT);
    t.pass(1000);
    t.sends(SYN);
    t.pass(60_000);
    assert.is(t.sockets.state(s), CLOSED);
    assert.equal([t.sockets.takeError(s), t.sockets.takeError(s)], [EHOSTUNREACH, 0]);
    t.out.length = 0;
  }),
);

test(
  'TCP connecting: a sequence number that is not in flight is not believed',
  trace({}, (t) => {
    const s = connecting(t);
    for (const seq of [-1, 1, 2, 100_000, 0x40000000]) t.queueBytes(icmpAbout(segment(t, seq), ...PORT_UNREACHABLE)).breath();
    t.queueBytes(icmpAbout(segment(t, 0, 81), ...PORT_UNREACHABLE)).breath();
    assert.is(t.sockets.state(s), SYN_SENT);
    assert.is(t.drop(DROP_ICMP), 6);
    t.sockets.close(s);
  }),
);

test(
  'TCP connected: no ICMP error ends it; one that was in flight is the reason of a time-out, unless something was acknowledged since',
  trace({ config: { retries: 2 } }, (t) => {
    const s = t.accepted();
    t.write(s, 'data');
    t.breath();
    t.sends(ACK);
    const quote = (seq: number): Buffer => segment(t, seq, PEER_PORT);
    t.queueBytes(icmpAbout(quote(1), ...PORT_UNREACHABLE)).breath();
    t.queueBytes(icmpAbout(quote(5), ...PORT_UNREACHABLE)).breath();
    t.queueBytes(icmpAbout(quote(0), ...PORT_UNREACHABLE)).breath();
    assert.is(t.sockets.state(s), ESTABLISHED);
    assert.equal([t.counters.v[C_ICMP_ERRORS_RX], t.drop(DROP_ICMP)], [1, 2], 'only what is in flight');
    t.recv(ACK, { seq: 1, ack: 5 });
    t.write(s, 'more');
    t.pass(60_000);
    assert.is(t.sockets.state(s), CLOSED);
    assert.equal([t.sockets.takeError(s), t.sockets.takeError(s)], [ETIMEDOUT, 0], 'one error, and not the old one behind it');
    t.out.length = 0;
  }),
);

test(
  'TCP connected: the soft error tells why it timed out',
  trace({ config: { retries: 2 } }, (t) => {
    const s = t.accepted();
    t.write(s, 'data');
    t.breath();
    t.queueBytes(icmpAbout(segment(t, 1, PEER_PORT), 3, 0)).breath();
    t.pass(60_000);
    assert.is(t.sockets.takeError(s), ENETUNREACH);
    t.out.length = 0;
  }),
);

test(
  'TCP connected: SO_ERROR tells a soft error once, reading does not',
  trace({}, (t) => {
    const s = t.accepted();
    t.write(s, 'data');
    t.breath();
    t.queueBytes(icmpAbout(segment(t, 1, PEER_PORT), 11, 0)).breath();
    assert.is(t.sockets.read(s, new Uint8Array(4), 0, 4, false), -EAGAIN);
    assert.is(t.sockets.ready.levels(s) & EPOLLERR, 0);
    const error = (): number => t.sockets.getOption(s, SOL_SOCKET, SO_ERROR);
    assert.equal([error(), error(), t.sockets.takeError(s)], [EHOSTUNREACH, 0, 0]);
    // Something acknowledged since: the way is open again.
    t.queueBytes(icmpAbout(segment(t, 1, PEER_PORT), 11, 0)).breath();
    t.recv(ACK, { seq: 1, ack: 5 });
    assert.is(error(), 0);
    t.out.length = 0;
  }),
);

test(
  'an error about a listener, or a half-open connection, by its state',
  trace({}, (t) => {
    t.listen();
    t.recv(SYN, { seq: 0 });
    t.sends(SYN | ACK);
    t.queueBytes(icmpAbout(segment(t, 0, PEER_PORT), 3, 1)).breath();
    assert.is(t.sockets.inUse(), 2, 'soft: still there');
    t.queueBytes(icmpAbout(segment(t, 0, PEER_PORT), 3, 2)).breath();
    assert.is(t.sockets.inUse(), 1, 'hard: gone');
  }),
);

test.run();
