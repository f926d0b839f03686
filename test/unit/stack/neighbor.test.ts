// The worker's side: what it asks, what it keeps waiting and for how long, and that no frame is ever lost.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_DROP } from '../../../src/rings/counters.ts';
import { DROP_NO_NEIGHBOUR, OUTGOING_DROPS } from '../../../src/rings/drops.ts';
import { MSG_CONFIRM, MSG_RESOLVE, NB_EMPTY, NB_FAILED, NB_INCOMPLETE, NB_REACHABLE, NB_STALE } from '../../../src/rings/hostState.ts';
import { OWNER_LEASE_OF, OWNER_WORKER } from '../../../src/rings/layout.ts';
import { CONTROL_SLOTS } from '../../../src/rings/portRings.ts';
import { createNeighbor, type Neighbor, WAIT_MS, WAITING_MAX, WAITING_PER_HOP } from '../../../src/stack/neighbor.ts';
import { formatMac } from '../../../src/wire/ethernet.ts';
import { seededRandom } from '../wire/golden.ts';
import { CREDIT, ip, mac, OURS, WorkerRig } from './workerRig.ts';

const PEER = ip('192.0.2.1');
const PEER_MAC = mac('02:00:00:00:00:01');
const NEW_MAC = mac('02:00:00:00:00:77');
const STARTS = [0, 0x7fffffff - 2000, -1000];

interface Emitted {
  frame: number;
  bytes: number;
  flags: number;
  mac: string;
}

class Bench extends WorkerRig {
  readonly neighbor: Neighbor = createNeighbor(this.env);
  readonly emitted: Emitted[] = [];
  readonly emit = (frame: number, bytes: number, flags: number): boolean => {
    assert.is(this.frames.owner[frame], OWNER_WORKER, 'an emitted frame is the worker’s');
    const eth = this.frames.offset[frame]! + this.frames.headroom;
    const written = formatMac(this.frames.view.getInt32(eth), this.frames.view.getUint16(eth + 4));
    assert.is(written, formatMac(this.neighbor.macHi, this.neighbor.macLo));
    this.emitted.push({ frame, bytes, flags, mac: written });
    this.port.freeFrame(frame);
    return true;
  };

  /** A frame of credit made to wait. */
  park(hop: number, bytes = 60, flags = 0): number {
    const f = this.port.takeFrame();
    assert.ok(f >= 0);
    this.frames.next[f] = -1;
    this.neighbor.wait(hop, f, bytes, flags);
    return f;
  }

  pass(ms: number): void {
    this.clock[1] = this.clock[1]! + ms;
    this.neighbor.poll(this.emit);
  }

  get dropped(): number {
    return this.counters.v[C_DROP + DROP_NO_NEIGHBOUR]!;
  }
}

test('unknown: asked once, INCOMPLETE, and asked again only after a second', () => {
  for (const start of STARTS) {
    const b = new Bench(start);
    for (let i = 0; i < 5; i++) assert.is(b.neighbor.resolve(PEER), NB_INCOMPLETE);
    assert.equal(b.messages(), [[MSG_RESOLVE, PEER]]);
    b.pass(999);
    b.neighbor.resolve(PEER);
    assert.equal(b.messages(), []);
    b.pass(1);
    b.neighbor.resolve(PEER);
    assert.equal(b.messages(), [[MSG_RESOLVE, PEER]]);
  }
});

test('INCOMPLETE and FAILED are said as they are, and nobody is asked', () => {
  const b = new Bench();
  b.publisher.put(PEER, NB_INCOMPLETE, 0, 0);
  assert.is(b.neighbor.resolve(PEER), NB_INCOMPLETE);
  b.publisher.put(PEER, NB_FAILED, 0, 0);
  assert.is(b.neighbor.resolve(PEER), NB_FAILED);
  assert.equal(b.messages(), []);
});

test('REACHABLE fills the MAC without a question, also after it changed', () => {
  const b = new Bench();
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  for (let i = 0; i < 3; i++) {
    assert.is(b.neighbor.resolve(PEER), NB_REACHABLE);
    assert.equal([b.neighbor.macHi, b.neighbor.macLo], [...PEER_MAC]);
  }
  b.publisher.put(PEER, NB_REACHABLE, ...NEW_MAC);
  assert.is(b.neighbor.resolve(PEER), NB_REACHABLE);
  assert.equal([b.neighbor.macHi, b.neighbor.macLo], [...NEW_MAC]);
  b.publisher.remove(PEER);
  assert.equal(b.messages(), []);
  assert.is(b.neighbor.resolve(PEER), NB_INCOMPLETE);
});

test('two hops in turn never get each other’s MAC', () => {
  const b = new Bench();
  const other = ip('192.0.2.9');
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  b.publisher.put(other, NB_STALE, ...NEW_MAC);
  for (let i = 0; i < 4; i++) {
    assert.is(b.neighbor.resolve(PEER), NB_REACHABLE);
    assert.equal([b.neighbor.macHi, b.neighbor.macLo], [...PEER_MAC]);
    assert.is(b.neighbor.resolve(other), NB_REACHABLE);
    assert.equal([b.neighbor.macHi, b.neighbor.macLo], [...NEW_MAC]);
  }
});

test('STALE is usable and asks for a refresh, once a second', () => {
  const b = new Bench();
  b.publisher.put(PEER, NB_STALE, ...PEER_MAC);
  for (let i = 0; i < 5; i++) assert.is(b.neighbor.resolve(PEER), NB_REACHABLE);
  assert.equal(b.messages(), [[MSG_RESOLVE, PEER]]);
  b.pass(1000);
  b.neighbor.resolve(PEER);
  assert.equal(b.messages(), [[MSG_RESOLVE, PEER]]);
});

test('broadcast and multicast have their MACs; no route and ourselves have none', () => {
  const b = new Bench();
  const at = (text: string): string => {
    assert.is(b.neighbor.resolve(ip(text)), NB_REACHABLE, text);
    return formatMac(b.neighbor.macHi, b.neighbor.macLo);
  };
  assert.is(at('255.255.255.255'), 'ff:ff:ff:ff:ff:ff');
  assert.is(at('192.0.2.255'), 'ff:ff:ff:ff:ff:ff');
  assert.is(at('224.0.0.251'), '01:00:5e:00:00:fb');
  assert.is(at('239.255.1.2'), '01:00:5e:7f:01:02');
  assert.is(b.neighbor.resolve(0), NB_FAILED);
  assert.is(b.neighbor.resolve(ip(OURS)), NB_FAILED);
  assert.is(b.neighbor.resolve(ip('192.0.3.255')), NB_INCOMPLETE, 'somebody else’s broadcast is an address like any other');
  b.messages();
});

test('waiting frames are leased, and go in order with the MAC written when the answer comes', () => {
  const b = new Bench();
  b.neighbor.resolve(PEER);
  const frames = [b.park(PEER, 60, 1), b.park(PEER, 61, 2), b.park(PEER, 62, 3)];
  for (const f of frames) assert.is(b.frames.owner[f], OWNER_LEASE_OF);
  assert.is(b.neighbor.waiting(), 3);
  b.pass(10);
  assert.equal(b.emitted, []);
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  b.pass(0);
  assert.equal(
    b.emitted,
    frames.map((frame, i) => ({ frame, bytes: 60 + i, flags: 1 + i, mac: '02:00:00:00:00:01' })),
  );
  assert.is(b.neighbor.waiting(), 0);
  assert.is(b.dropped, 0);
});

test('beyond three a hop the oldest goes, beyond 64 in all the oldest of all; each is counted and comes home', () => {
  const b = new Bench();
  const first = b.park(PEER);
  for (let i = 0; i < WAITING_PER_HOP; i++) b.park(PEER);
  assert.equal([b.neighbor.waiting(), b.dropped], [WAITING_PER_HOP, 1]);
  assert.equal(b.home(), [first]);
  for (let i = WAITING_PER_HOP; i < WAITING_MAX; i++) b.park(ip('192.0.2.10') + i);
  assert.equal([b.neighbor.waiting(), b.dropped], [WAITING_MAX, 1]);
  b.park(ip('192.0.2.200'));
  assert.equal([b.neighbor.waiting(), b.dropped], [WAITING_MAX, 2]);
  assert.equal(b.home().length, 1);
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  b.pass(0);
  assert.is(b.emitted.length, WAITING_PER_HOP - 1, 'the oldest of all was one of PEER’s');
});

test('FAILED drops what waits for it, at once, and nothing else', () => {
  const b = new Bench();
  const other = ip('192.0.2.9');
  const lost = [b.park(PEER), b.park(PEER)];
  b.park(other);
  b.publisher.put(PEER, NB_FAILED, 0, 0);
  b.pass(0);
  assert.equal(b.home(), lost);
  assert.equal([b.neighbor.waiting(), b.dropped], [1, 2]);
  b.publisher.put(other, NB_REACHABLE, ...NEW_MAC);
  b.pass(0);
  assert.is(b.emitted.length, 1);
});

test('a frame waits WAIT_MS at most, whatever the host says, and asks again meanwhile', () => {
  for (const start of STARTS) {
    const b = new Bench(start);
    b.park(PEER);
    for (let ms = 0; ms < WAIT_MS - 100; ms += 100) b.pass(100);
    assert.is(b.neighbor.waiting(), 1);
    assert.ok(b.messages().length >= 3, 'an entry that vanished is asked for again');
    b.pass(400);
    assert.equal([b.neighbor.waiting(), b.dropped], [0, 1]);
  }
});

test('a full control ring: the question is put at a later breath', () => {
  const b = new Bench();
  for (let i = 0; i < CONTROL_SLOTS; i++) b.neighbor.confirm(ip('10.0.0.1') + i);
  b.park(PEER);
  assert.is(b.neighbor.resolve(PEER), NB_INCOMPLETE);
  const full = b.messages();
  assert.is(full.length, CONTROL_SLOTS);
  assert.ok(full.every(([op]) => op === MSG_CONFIRM));
  b.pass(250);
  assert.equal(b.messages(), [[MSG_RESOLVE, PEER]]);
});

test('confirm is said once in five seconds a hop', () => {
  const b = new Bench();
  for (let i = 0; i < 100; i++) {
    b.neighbor.confirm(PEER);
    b.pass(100);
  }
  assert.equal(b.messages(), [
    [MSG_CONFIRM, PEER],
    [MSG_CONFIRM, PEER],
  ]);
});

test('a train waits and goes home as a whole', () => {
  const b = new Bench();
  const [f, g] = [b.port.takeFrame(), b.port.takeFrame()];
  b.frames.next[f] = g;
  b.frames.next[g] = -1;
  b.neighbor.wait(PEER, f, 3000, 0);
  assert.equal([b.frames.owner[f], b.frames.owner[g]], [OWNER_LEASE_OF, OWNER_LEASE_OF]);
  b.neighbor.clear();
  assert.equal(b.home(), [f, g]);
  assert.is(b.neighbor.waiting(), 0);
  // Counted once, and as a frame on its way out: for what was received, received = delivered + drops.
  const reasons = [...b.counters.v.subarray(C_DROP)].flatMap((n, reason) => (n > 0 ? [[reason, n]] : []));
  assert.equal(reasons, [[DROP_NO_NEIGHBOUR, 1]]);
  assert.ok(OUTGOING_DROPS.includes(DROP_NO_NEIGHBOUR));
});

test('what emit makes wait again stays, in its place', () => {
  const b = new Bench();
  const other = ip('192.0.2.9');
  const kept = b.park(other);
  const f = b.park(PEER, 60, 5);
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  b.neighbor.poll((frame, bytes, flags) => {
    b.neighbor.wait(other, frame, bytes, flags);
    return true;
  });
  assert.is(b.neighbor.waiting(), 2);
  b.publisher.put(other, NB_REACHABLE, ...NEW_MAC);
  b.pass(0);
  assert.equal(
    b.emitted.map((e) => e.frame),
    [kept, f],
  );
});

test('what emit has no room for waits on, in order, the worker’s lease', () => {
  const b = new Bench();
  const frames = [b.park(PEER), b.park(PEER), b.park(PEER)];
  b.publisher.put(PEER, NB_REACHABLE, ...PEER_MAC);
  let room = 1;
  b.neighbor.poll((frame, bytes, flags) => room-- > 0 && b.emit(frame, bytes, flags));
  assert.is(b.neighbor.waiting(), 2);
  assert.is(b.audit().lease, 2);
  b.pass(1000);
  assert.equal(
    b.emitted.map((e) => e.frame),
    frames,
  );
  assert.is(b.dropped, 0);
});

test('an idle poll looks at nothing but the epoch', () => {
  const b = new Bench();
  b.park(PEER);
  b.pass(0);
  let looked = 0;
  const host = b.env.host;
  const before = host.mac.bind(host);
  host.mac = (a) => {
    looked++;
    return before(a);
  };
  for (let i = 0; i < 100; i++) b.neighbor.poll(b.emit);
  assert.is(looked, 0);
  b.publisher.put(ip('192.0.2.99'), NB_REACHABLE, ...NEW_MAC);
  b.neighbor.poll(b.emit);
  assert.is(looked, 1);
});

test('whatever happens: frames are conserved, waiting stays bounded, order holds for each hop', () => {
  const random = seededRandom('neighbor');
  const pick = (n: number): number => (random() >>> 1) % n;
  const b = new Bench(random());
  const states = [NB_INCOMPLETE, NB_REACHABLE, NB_STALE, NB_FAILED];
  let serial = 0;
  let parked = 0;
  const hops = Array.from({ length: 30 }, (_, i) => ip('192.0.2.10') + i);
  const lastOut = new Map<number, number>();
  const hopOf = new Map<number, number>();
  for (let step = 0; step < 30_000; step++) {
    const hop = hops[pick(hops.length)]!;
    const act = pick(10);
    if (act < 4) {
      if (b.port.credit(1) > 0 && b.neighbor.resolve(hop) === NB_INCOMPLETE) {
        hopOf.set(++serial, hop);
        b.park(hop, serial & 0xffff, serial);
        parked++;
      }
    } else if (act < 7) {
      const state = states[pick(4)]!;
      const known = state === NB_REACHABLE || state === NB_STALE;
      b.publisher.put(hop, state, known ? PEER_MAC[0] : 0, known ? hop & 0xff : 0);
    } else if (act === 7) {
      b.publisher.remove(hop);
    } else {
      b.pass(pick(300));
    }
    for (const e of b.emitted.splice(0)) {
      const to = hopOf.get(e.flags)!;
      assert.ok(e.flags > (lastOut.get(to) ?? 0));
      lastOut.set(to, e.flags);
      assert.is(Number.parseInt(e.mac.slice(-2), 16), to & 0xff);
      parked--;
    }
    assert.ok(b.neighbor.waiting() <= WAITING_MAX);
    for (const f of b.home()) b.grant(f);
    b.messages();
    assert.is(parked - b.dropped, b.neighbor.waiting());
    assert.is(b.audit().lease, b.neighbor.waiting());
  }
  b.neighbor.clear();
  b.port.returnCredit();
  b.home();
  assert.equal([b.audit().lease, b.audit().free, b.audit().unknown], [0, 160, 0]);
  assert.ok(lastOut.size > 20, 'the run saw frames released');
  assert.is(b.publisher.find(NB_EMPTY), -1);
  assert.ok(CREDIT > 0);
});

test.run();
