// Echo requests through inspect, ICMP and the way out, compared with golden bytes; what must not be answered.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_ICMP_RX, C_ICMP_TX } from '../../../src/rings/counters.ts';
import { DROP_BAD_SOURCE, DROP_FRAGMENT, DROP_ICMP, DROP_NAME, DROP_NO_FRAME, DROP_NO_ROUTE, DROP_NONE } from '../../../src/rings/drops.ts';
import { DROP_NOT_FOR_US } from '../../../src/rings/drops.ts';
import { NB_FAILED, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import { D_FLAGS_GSO, D_HASH, F_BAD, F_FRAGMENT, F_ICMP } from '../../../src/rings/layout.ts';
import { createIcmp, type Icmp } from '../../../src/stack/icmp.ts';
import { createNeighbor, type Neighbor } from '../../../src/stack/neighbor.ts';
import { Transmit } from '../../../src/stack/transmit.ts';
import { fold, sum16 } from '../../../src/wire/checksum.ts';
import { bytesOf, exactView, GOLDEN, goldenBytes, seededRandom } from '../wire/golden.ts';
import { ip, mac, WorkerRig } from './workerRig.ts';

const PEER = ip('192.0.2.1');

class Bench extends WorkerRig {
  readonly neighbor: Neighbor = createNeighbor(this.env);
  readonly transmit: Transmit = new Transmit(this.env, this.neighbor);
  readonly icmp: Icmp = createIcmp(this.env, this.transmit, { tcp: () => false, udp: () => false });

  constructor() {
    super();
    this.publisher.put(PEER, NB_REACHABLE, ...mac('02:00:00:00:00:01'));
  }

  /** As the stack does: inspect, then ICMP. Returns the drop reason. */
  hear(bytes: Uint8Array, headroom?: number): number {
    const at = this.receive(bytes, undefined, headroom);
    const w = this.env.arena.i32;
    this.env.bursts.inspect(at, 1, 0);
    const flags = w[at + D_FLAGS_GSO]!;
    if ((flags & F_BAD) !== 0) return w[at + D_HASH]!;
    if ((flags & (F_ICMP | F_FRAGMENT)) === 0) return DROP_ICMP;
    const reason = this.icmp.input(at);
    this.transmit.flush();
    return reason;
  }
}

/** A frame whose IPv4 and ICMP checksums are made good after a change. */
function repaired(bytes: Uint8Array): Uint8Array {
  const v = exactView(bytes);
  const ihl = (v.getUint8(14) & 15) * 4;
  v.setUint16(24, 0);
  v.setUint16(24, ~fold(sum16(v, 14, ihl, 0)) & 0xffff);
  const len = v.getUint16(16) - ihl;
  v.setUint16(14 + ihl + 2, 0);
  v.setUint16(14 + ihl + 2, ~fold(sum16(v, 14 + ihl, len, 0)) & 0xffff);
  return new Uint8Array(v.buffer);
}

function changed(at: number, ...values: number[]): Uint8Array {
  const b = goldenBytes('echoRequest');
  b.set(values, at);
  return repaired(b);
}

/** An echo request with `n` bytes of data. */
function ping(n: number, random: () => number): Uint8Array {
  const b = new Uint8Array(42 + n);
  b.set(goldenBytes('echoRequest').slice(0, 42));
  for (let i = 0; i < n; i++) b[42 + i] = random();
  b[16] = (28 + n) >> 8;
  b[17] = (28 + n) & 255;
  return repaired(b);
}

test('the golden request is answered by the golden reply', () => {
  const b = new Bench();
  assert.is(b.hear(goldenBytes('echoRequest')), DROP_NONE);
  assert.equal(b.sent(), [GOLDEN.echoReply]);
  assert.equal([b.counters.v[C_ICMP_RX], b.counters.v[C_ICMP_TX]], [1, 1]);
});

test('padding behind the datagram is not echoed', () => {
  const b = new Bench();
  assert.is(b.hear(Uint8Array.of(...goldenBytes('echoRequest'), 1, 2, 3, 4, 5)), DROP_NONE);
  assert.equal(b.sent(), [GOLDEN.echoReply]);
});

test('every size from no data to a full frame, at any alignment: data intact, checksums good', () => {
  const random = seededRandom('icmp');
  const b = new Bench();
  for (let round = 0; round < 300; round++) {
    const n = round < 40 ? round : (random() >>> 1) % 1473;
    const request = ping(n, random);
    assert.is(b.hear(request, 128 + ((random() >>> 1) % 64)), DROP_NONE, `${n} bytes`);
    const [hex] = b.sent();
    const v = exactView(bytesOf(hex!));
    assert.is(fold(sum16(v, 14, 20, 0)), 0xffff);
    assert.is(fold(sum16(v, 34, 8 + n, 0)), 0xffff);
    assert.is(v.getUint8(34), 0);
    assert.is(hex!.slice(76), Buffer.from(request.slice(38)).toString('hex'));
    b.grantBack();
  }
});

test('IP options in the request are no hindrance, and not echoed', () => {
  const g = goldenBytes('echoRequest');
  const options = Uint8Array.of(...g.slice(0, 34), 0x94, 4, 0, 0, ...g.slice(34));
  options[14] = 0x46;
  options[17] = options[17]! + 4;
  const b = new Bench();
  assert.is(b.hear(repaired(options)), DROP_NONE);
  assert.equal(b.sent(), [GOLDEN.echoReply]);
});

test('an unresolved peer: the reply waits and goes with the answer', () => {
  const b = new Bench();
  b.publisher.remove(PEER);
  assert.is(b.hear(goldenBytes('echoRequest')), DROP_NONE);
  assert.equal(b.sent(), []);
  assert.is(b.neighbor.waiting(), 1);
  b.publisher.put(PEER, NB_REACHABLE, ...mac('02:00:00:00:00:01'));
  b.neighbor.poll(b.transmit.emitWaiting);
  b.transmit.flush();
  assert.equal(b.sent(), [GOLDEN.echoReply]);
});

test('what must not be answered is not, by name', () => {
  const cases: readonly (readonly [string, Uint8Array, number])[] = [
    ['to a group MAC', changed(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), DROP_NOT_FOR_US],
    ['to the subnet broadcast', changed(30, 192, 0, 2, 255), DROP_NOT_FOR_US],
    ['to a multicast address', changed(30, 224, 0, 0, 1), DROP_NOT_FOR_US],
    ['to another host', changed(30, 192, 0, 2, 7), DROP_NOT_FOR_US],
    ['from multicast', changed(26, 224, 0, 0, 1), DROP_BAD_SOURCE],
    ['from broadcast', changed(26, 255, 255, 255, 255), DROP_BAD_SOURCE],
    ['from the subnet broadcast', changed(26, 192, 0, 2, 255), DROP_BAD_SOURCE],
    ['from the subnet itself', changed(26, 192, 0, 2, 0), DROP_BAD_SOURCE],
    ['from loopback', changed(26, 127, 0, 0, 1), DROP_BAD_SOURCE],
    ['from nobody', changed(26, 0, 0, 0, 0), DROP_BAD_SOURCE],
    ['from ourselves', changed(26, 192, 0, 2, 2), DROP_BAD_SOURCE],
    ['an echo reply', goldenBytes('echoReply'), DROP_ICMP],
    ['a reply to us', changed(34, 0), DROP_ICMP],
    ['a redirect', changed(34, 5), DROP_ICMP],
    ['a timestamp request', changed(34, 13), DROP_ICMP],
    ['an unreachable', goldenBytes('unreachable'), DROP_ICMP],
    ['a first fragment', changed(20, 0x20, 0), DROP_FRAGMENT],
    ['a later fragment', changed(20, 0, 4), DROP_FRAGMENT],
  ];
  for (const [what, bytes, reason] of cases) {
    const b = new Bench();
    assert.is(DROP_NAME[b.hear(bytes)], DROP_NAME[reason], what);
    assert.equal(b.sent(), [], what);
    assert.is(b.counters.v[C_ICMP_TX], 0, what);
  }
});

test('no credit, and no neighbour, are reasons of their own', () => {
  const b = new Bench();
  while (b.port.takeFrame() >= 0);
  assert.is(b.hear(goldenBytes('echoRequest')), DROP_NO_FRAME);
  const c = new Bench();
  c.publisher.put(PEER, NB_FAILED, 0, 0);
  assert.is(c.hear(goldenBytes('echoRequest')), DROP_NO_ROUTE);
});

test('every truncation is dropped and unanswered', () => {
  const bytes = goldenBytes('echoRequest');
  const b = new Bench();
  for (let n = 0; n < bytes.length; n++) {
    assert.is.not(b.hear(bytes.slice(0, n)), DROP_NONE, `at ${n}`);
    assert.equal(b.sent(), []);
  }
});

test('every flipped bit is dropped, but those of the Ethernet header, which change only where the reply goes', () => {
  const bytes = goldenBytes('echoRequest');
  const golden = GOLDEN.echoReply.slice(0, 36) + GOLDEN.echoReply.slice(40, 48) + GOLDEN.echoReply.slice(52);
  const b = new Bench();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 128 >> (bit & 7);
    const reason = b.hear(damaged);
    const sent = b.sent();
    // Destination but for its group bit, and source: nothing here judges them. The reply goes to the neighbour's MAC.
    if (bit < 96 && bit !== 7) {
      // Identification and header checksum move on from reply to reply.
      assert.equal([reason, sent.length], [DROP_NONE, 1], `bit ${bit}`);
      assert.is(sent[0]!.slice(0, 36) + sent[0]!.slice(40, 48) + sent[0]!.slice(52), golden, `bit ${bit}`);
    } else assert.ok(reason !== DROP_NONE && sent.length === 0, `bit ${bit}: ${DROP_NAME[reason]}`);
    b.grantBack();
  }
});

test.run();
