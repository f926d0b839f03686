// The dispatcher between a switch port and two workers' rings, all on this thread: order, budgets, drops, what comes home.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachSwitchPort } from '../../../src/ports/switchPort.ts';
import { createSwitch } from '../../../src/ports/switch.ts';
import { formatControl, planControl, ThreadRecord } from '../../../src/rings/control.ts';
import {
  C_DROP,
  C_PUBLISHES,
  C_RING_SLOTS,
  C_RX_DELIVERED,
  C_RX_PACKETS,
  C_TX_PACKETS,
  Counters,
  dropsTotal,
} from '../../../src/rings/counters.ts';
import { DROP_BAD_DESCRIPTOR, DROP_CLOSING, DROP_RING_FULL_DATA, DROP_RING_FULL_SYN } from '../../../src/rings/drops.ts';
import { FrameTable } from '../../../src/rings/frameTable.ts';
import {
  D_DATA,
  D_FRAME,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  OWNER_HOST_SHIFT,
  OWNER_RING,
  OWNER_RING_OF,
} from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import { STEER_RETA, STEER_TCP, Steering } from '../../../src/rings/steering.ts';
import { createDispatcher } from '../../../src/workers/dispatcher.ts';
import { Station } from '../ports/station.ts';

const WORKERS = 2;
const SLOTS = 64;
const OVERFLOW = 32;
/** The dispatcher keeps this many more places for SYNs. */
const SYN_PLACES = 16;
const PORT = 80;
const FLAGS = 14 + 20 + 13;
const SEQUENCE = 14 + 20 + 4;

function rig(ringSlots = 1024) {
  const fabric = createSwitch({ ports: [{ name: 'a' }, { name: 'b' }], framesPerPort: 512, ringSlots });
  const net = new Station(fabric.handle(0).attachment);
  const { attachment } = fabric.handle(1);
  const cp = planControl(2 + WORKERS, WORKERS);
  const control = new SharedArrayBuffer(cp.bytes);
  formatControl(control, cp);
  Steering.format(control, cp.steeringAt, WORKERS, STEER_RETA);
  const steering = new Steering(control, cp.steeringAt);
  steering.serve(STEER_TCP, PORT, 0, true);
  const sizes = { rx: SLOTS, tx: SLOTS, grant: SLOTS, redirect: 16 };
  const port = attachSwitchPort(attachment);
  const plan = planPortRings(WORKERS, port.frames.frames, sizes);
  const rings = createPortRings(plan, port.frames.frames, sizes);
  const record = new ThreadRecord(control, 1);
  const counters = new Counters(control, record.countersAt);
  const random = (): number => 4;
  const dispatcher = createDispatcher({
    port,
    rings: Array.from({ length: WORKERS }, (_, w) => new BrokerPort(rings, plan, w)),
    bells: [null, null],
    steering,
    counters,
    clock: record.clock(),
    random,
    host: {
      block: control,
      at: cp.hostAt,
      address: 0xc0000202 | 0,
      prefix: 24,
      gateway: 0,
      mtu: 1500,
      macHi: attachment.macHi,
      macLo: attachment.macLo,
      statics: [],
      counters,
      frames: port.frames,
      random,
    },
    burst: 16,
    overflow: OVERFLOW,
  });
  const frames = new FrameTable(attachment.table, attachment.memory);
  const workers = Array.from({ length: WORKERS }, (_, w) => new WorkerPort(rings, plan, w, frames));
  /** One frame of the net's on its way to the dispatcher. */
  const send = (sequence: number, syn = false): void => {
    assert.ok(net.build(0, attachment.macHi, attachment.macLo, sequence, 64));
    const f = net.desc[D_FRAME]!;
    if (syn) frames.view.setUint8(frames.offset[f]! + frames.headroom + FLAGS, 0x02);
    assert.is(net.port.txBurst(net.desc, 0, 1), 1);
    net.port.flush();
  };
  /** Whole breaths until nothing moves. */
  const breathe = (): void => {
    for (let moved = 1; moved > 0; ) {
      moved = dispatcher.pull();
      moved += dispatcher.push();
    }
  };
  /** What worker `w` finds in its ring: the sequence numbers, in order. Its frames go home. */
  const take = (w: number): number[] => {
    const { rx } = workers[w]!;
    const found: number[] = [];
    for (let n = rx.ready(); n > 0; n = rx.ready()) {
      const s = rx.slot(0);
      const f = rx.words[s + D_FRAME]!;
      assert.is(frames.owner[f], (OWNER_RING_OF + w) | (attachment.host! << OWNER_HOST_SHIFT), 'owner of a frame in a ring');
      found.push(frames.view.getInt32(frames.offset[f]! + (rx.words[s + D_DATA]! >>> 16) + SEQUENCE));
      workers[w]!.freeTrain(f);
      rx.take(1);
    }
    workers[w]!.flush();
    return found;
  };
  const sum = (): void => {
    const v = counters.v;
    assert.is(v[C_RX_PACKETS], v[C_RX_DELIVERED]! + dropsTotal(v), 'received = delivered + drops');
  };
  /** Everybody lets go; every frame is free. */
  const end = (): void => {
    for (const w of workers) w.returnCredit();
    for (let w = 0; w < WORKERS; w++) dispatcher.reclaim(w);
    breathe();
    port.detach();
    net.port.detach();
    const audit = fabric.settle();
    assert.is(audit.free, audit.total, JSON.stringify({ ...audit, workers: [...audit.workers] }));
  };
  /** Worker `w` sends `n` frames to the net. */
  const transmit = (w: number, n: number): void => {
    const { macHi, macLo } = fabric.handle(0).attachment;
    const { tx } = workers[w]!;
    for (let i = 0; i < n; i++) {
      const f = workers[w]!.takeFrame();
      assert.ok(f >= 0, 'credit');
      const eth = frames.offset[f]! + frames.headroom;
      frames.view.setInt32(eth, macHi);
      frames.view.setUint16(eth + 4, macLo);
      frames.owner[f] = OWNER_RING;
      frames.next[f] = -1;
      const s = tx.slot(0);
      tx.words.fill(0, s, s + DESC_WORDS);
      tx.words[s + D_FRAME] = f;
      tx.words[s + D_DATA] = (frames.headroom << 16) | 64;
      tx.words[s + D_TOTAL] = 64;
      tx.words[s + D_REGION_GEN] = (frames.region << 16) | frames.generation[f]!;
      tx.words[s + D_SEGS_VLAN] = 1;
      tx.put(1);
    }
    workers[w]!.flush();
  };
  return { net, transmit, send, breathe, take, sum, end, workers, frames, steering, dispatcher, v: counters.v, attachment };
}

const upTo = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

test('frames arrive in order, at the worker that serves their port alone', () => {
  const r = rig();
  for (const i of upTo(40)) r.send(i);
  r.breathe();
  assert.equal(r.take(1), []);
  assert.equal(r.take(0), upTo(40));
  r.steering.serve(STEER_TCP, PORT, 1, true);
  r.steering.serve(STEER_TCP, PORT, 0, false);
  for (const i of upTo(20, 40)) r.send(i);
  r.breathe();
  assert.equal(r.take(0), []);
  assert.equal(r.take(1), upTo(20, 40));
  r.sum();
  r.end();
});

test('a full ring overflows into a queue, and everything still comes in order', () => {
  const r = rig();
  for (const i of upTo(SLOTS + OVERFLOW)) r.send(i);
  r.breathe();
  const first = r.take(0);
  assert.equal(first, upTo(SLOTS));
  for (const i of upTo(10, 200)) r.send(i);
  r.breathe();
  assert.equal([...first, ...r.take(0)], [...upTo(SLOTS + OVERFLOW), ...upTo(10, 200)]);
  assert.is(dropsTotal(r.v), 0);
  r.sum();
  r.end();
});

test('beyond the budget data is dropped and counted, a SYN still finds a place, until there is none', () => {
  const r = rig();
  for (const i of upTo(SLOTS + OVERFLOW + 5)) r.send(i);
  r.breathe();
  assert.is(r.v[C_DROP + DROP_RING_FULL_DATA], 5);
  for (const i of upTo(SYN_PLACES + 3, 500)) r.send(i, true);
  r.breathe();
  assert.is(r.v[C_DROP + DROP_RING_FULL_SYN], 3);
  r.sum();
  const found = r.take(0);
  for (let more = [-1]; more.length > 0; found.push(...more)) {
    r.breathe();
    more = r.take(0);
  }
  assert.equal(found, [...upTo(SLOTS + OVERFLOW), ...upTo(SYN_PLACES, 500)]);
  r.end();
});

test('one worker that does not read keeps nothing from the other', () => {
  const r = rig();
  for (const i of upTo(SLOTS + OVERFLOW + 20)) r.send(i);
  r.breathe();
  r.steering.serve(STEER_TCP, PORT, 1, true);
  r.steering.serve(STEER_TCP, PORT, 0, false);
  for (const i of upTo(30, 300)) r.send(i);
  r.breathe();
  assert.equal(r.take(1), upTo(30, 300));
  r.sum();
  r.end();
});

test('a port that is full, and a full ring, leave the dispatcher nothing to do until there is room', () => {
  const r = rig(16);
  r.breathe();
  r.transmit(0, 40);
  assert.is(r.dispatcher.pending(), true);
  r.breathe();
  assert.is(r.v[C_TX_PACKETS], 16);
  assert.is(r.dispatcher.pending(), false, 'the peer has taken nothing');
  const ms = r.dispatcher.nextDeadlineMs();
  assert.ok(ms >= 0 && ms <= 1, `${ms}`);
  r.transmit(1, 1);
  assert.is(r.dispatcher.pending(), true, 'another worker may have a frame for somebody else');
  r.breathe();
  assert.is(r.dispatcher.pending(), false);
  r.net.port.rxBurst(r.net.desc, 0, 1);
  r.net.port.freeTrain(r.net.desc[D_FRAME]!);
  r.net.port.flush();
  assert.is(r.dispatcher.pending(), true, 'there is room');
  r.breathe();
  assert.is(r.v[C_TX_PACKETS], 17);

  for (const i of upTo(SLOTS + 8)) {
    r.send(i);
    r.breathe();
  }
  assert.is(r.dispatcher.pending(), false, 'frames wait behind a full ring');
  assert.equal(r.take(0), upTo(SLOTS));
  assert.is(r.dispatcher.pending(), true);
  r.breathe();
  assert.equal(r.take(0), upTo(8, SLOTS));
  for (let got = 1; got > 0; r.net.port.flush(), r.breathe()) {
    got = r.net.port.rxBurst(r.net.desc, 0, 1);
    if (got > 0) r.net.port.freeTrain(r.net.desc[D_FRAME]!);
  }
  assert.is(r.v[C_TX_PACKETS], 41);
  r.end();
});

test('a worker that is gone is given nothing: its frames come home, and what comes for it is dropped and counted', () => {
  const r = rig();
  for (const i of upTo(SLOTS + 10)) r.send(i);
  r.breathe();
  r.workers[0]!.returnCredit();
  r.dispatcher.reclaim(0);
  assert.is(r.v[C_DROP + DROP_CLOSING], SLOTS + 10);
  for (const i of upTo(7, 100)) r.send(i);
  r.breathe();
  assert.is(r.v[C_DROP + DROP_CLOSING], SLOTS + 17);
  assert.is(r.v[C_RX_DELIVERED], 0);
  r.sum();
  r.end();
});

test('a descriptor that lies is not sent: stale generation, no such frame, data outside the frame', () => {
  const r = rig();
  r.breathe();
  const w = r.workers[0]!;
  const f = w.takeFrame();
  assert.ok(f >= 0, 'no credit');
  const lies: [frame: number, data: number, generation: number][] = [
    [f, 60, r.frames.generation[f]! + 1],
    [r.frames.frames, 60, 0],
    [-1, 60, 0],
    [f, (r.frames.headroom << 16) | r.frames.frameBytes, r.frames.generation[f]!],
  ];
  for (const [frame, data, generation] of lies) {
    const s = w.tx.slot(0);
    w.tx.words.fill(0, s, s + DESC_WORDS);
    w.tx.words[s + D_FRAME] = frame;
    w.tx.words[s + D_DATA] = data;
    w.tx.words[s + D_REGION_GEN] = (r.frames.region << 16) | (generation & 0xffff);
    w.tx.put(1);
  }
  w.flush();
  const sent = r.v[C_TX_PACKETS]!;
  r.breathe();
  assert.is(r.v[C_DROP + DROP_BAD_DESCRIPTOR], lies.length);
  assert.is(r.v[C_TX_PACKETS], sent, 'one was sent');
  assert.equal(r.net.receive(), []);
  w.freeFrame(f);
  w.flush();
  r.end();
});

test('what a breath moves is published at most once per 16 slots and ring', () => {
  const r = rig();
  r.breathe();
  const [publishes, slots] = [r.v[C_PUBLISHES]!, r.v[C_RING_SLOTS]!];
  for (const i of upTo(16)) r.send(i);
  r.dispatcher.pull();
  r.dispatcher.push();
  assert.is(r.v[C_RING_SLOTS]! - slots, 16);
  assert.is(r.v[C_PUBLISHES]! - publishes, 1);
  assert.equal(r.take(0), upTo(16));
  r.end();
});

test.run();
