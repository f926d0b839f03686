// Receiving and sending apart: a broker and its transmitter over one switch port, on this thread, step by step.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachPort, attachTxPort } from '../../../src/ports/attach.ts';
import { createSwitch } from '../../../src/ports/switch.ts';
import { formatControl, planControl, ThreadRecord } from '../../../src/rings/control.ts';
import { C_DROP, C_TX_PACKETS, Counters } from '../../../src/rings/counters.ts';
import { BELL_MODE, BELL_WORDS, Doorbell, SLEEP_WAIT } from '../../../src/rings/doorbell.ts';
import { DROP_BAD_DESCRIPTOR, DROP_SWITCH, DROP_TX_DEVICE } from '../../../src/rings/drops.ts';
import * as L from '../../../src/rings/layout.ts';
import { createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import { FrameTable } from '../../../src/rings/frameTable.ts';
import { RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import { createTransmitterRings } from '../../../src/rings/transmitterRings.ts';
import { FrameReturn } from '../../../src/workers/frameReturn.ts';
import { createTransmitter } from '../../../src/workers/transmitter.ts';
import { TransmitterLink } from '../../../src/workers/transmitterLink.ts';
import { EVERYBODY, Station } from '../ports/station.ts';

const FRAMES = 512;
const RESERVE = 64;

function rig(ringSlots = 1024) {
  const fabric = createSwitch({ ports: [{ name: 'a' }, { name: 'b' }, { name: 'c' }], framesPerPort: FRAMES, ringSlots });
  const { attachment } = fabric.handle(0);
  const stations = [new Station(fabric.handle(1).attachment), new Station(fabric.handle(2).attachment)];
  const port = attachPort(attachment, null, false);
  const txPort = attachTxPort(attachment, null);
  const cp = planControl(3, 1);
  const control = new SharedArrayBuffer(cp.bytes);
  formatControl(control, cp);
  const counters = new Counters(control, new ThreadRecord(control, 1).countersAt);
  const txCounters = new Counters(control, new ThreadRecord(control, 2).countersAt);
  const sizes = { rx: 64, tx: 64, grant: 64, redirect: 16 };
  const plan = planPortRings(1, port.frames.frames, sizes);
  const rings = createPortRings(plan, port.frames.frames, sizes);
  const worker = new WorkerPort(rings, plan, 0, new FrameTable(attachment.table, attachment.memory, attachment.host));
  const own = createTransmitterRings(port.frames.frames);
  const words = new Int32Array(own.block);
  const bells = new Int32Array(new SharedArrayBuffer(BELL_WORDS * 8));
  const home = new FrameReturn(port, counters);
  const link = new TransmitterLink(port, own, new Doorbell(bells, 0), true);
  const clock = new Int32Array(2);
  const transmitter = createTransmitter({
    port: txPort,
    rings: [new RingConsumer(new Int32Array(rings), plan.tx[0]!), new RingConsumer(words, own.host)],
    credit: new RingConsumer(words, own.credit),
    sent: new RingProducer(words, own.sent),
    broker: new Doorbell(bells, BELL_WORDS),
    counters: txCounters,
    clock,
    burst: 16,
  });
  const desc = new Int32Array(L.DESC_WORDS);
  /** One frame from the broker's list, a worker's on its way out, to `to`. */
  const queue = (to: { macHi: number; macLo: number }): number => {
    const id = new Int32Array(1);
    assert.is(port.alloc(id, 0, 1), 1);
    const f = id[0]!;
    const t = port.frames;
    const eth = t.offset[f]! + t.headroom;
    t.view.setInt32(eth, to.macHi);
    t.view.setUint16(eth + 4, to.macLo);
    t.next[f] = -1;
    t.length[f] = 60;
    desc.set([f, (t.headroom << 16) | 60, 60, (t.region << 16) | t.generation[f]!, 14 << 8, L.F_TX | L.F_CSUM_OK, 1, 0]);
    t.owner[f] = worker.inRings;
    assert.is(worker.tx.room(1), 1);
    worker.tx.words.set(desc, worker.tx.slot(0));
    worker.tx.put(1);
    worker.tx.flush();
    return f;
  };
  const turn = (): void => {
    transmitter.pull();
    transmitter.push();
    link.serve(home, RESERVE);
    port.tick(clock[0]!);
  };
  /** Everybody lets go, the transmitter first; every frame is free. */
  const end = (): void => {
    transmitter.close();
    link.reclaim(home);
    port.flush();
    port.detach();
    for (const s of stations) {
      for (let n = 1; n > 0; ) n = s.receive().length;
      s.port.flush();
      s.port.detach();
    }
    const audit = fabric.settle();
    assert.is(audit.free, audit.total, JSON.stringify(audit));
  };
  return { fabric, stations, port, txPort, worker, link, home, transmitter, txCounters, clock, bells, queue, desc, turn, end };
}

test("what a worker sends leaves by the transmitter, and comes home to the broker's list", () => {
  const r = rig();
  const before = r.port.available();
  for (let i = 0; i < 40; i++) r.queue(r.stations[0]!);
  for (let i = 0; i < 4; i++) r.turn();
  assert.is(r.transmitter.inFlight(), 0);
  assert.is(r.txCounters.v[C_TX_PACKETS], 40);
  const [b] = r.stations;
  const desc = new Int32Array(64 * L.DESC_WORDS);
  assert.is(b!.port.rxBurst(desc, 0, 64), 40);
  for (let i = 0; i < 40; i++) b!.port.free(desc[i * L.DESC_WORDS]!);
  b!.port.flush();
  r.turn();
  // Lent for floods, and nowhere else.
  const lent = r.port.frames.owner.reduce((n, o, f) => n + (f < FRAMES && o !== L.OWNER_FREE ? 1 : 0), 0);
  assert.is(r.port.available() + lent, before);
  r.end();
});

test('a frame that nobody shall have comes back over the ring of sent frames; the broker is rung', () => {
  const r = rig();
  r.bells[BELL_WORDS + BELL_MODE] = SLEEP_WAIT;
  const g = r.queue(r.fabric.handle(0).attachment);
  const generation = r.port.frames.generation[g]!;
  r.transmitter.push();
  assert.is(r.txCounters.v[C_DROP + DROP_SWITCH], 1, 'for our own address');
  assert.is(r.port.frames.owner[g], L.OWNER_RING, 'on its way home');
  assert.ok(r.bells[BELL_WORDS + 1]! > 0, 'the bell counted');
  r.link.serve(r.home, RESERVE);
  assert.is(r.port.frames.generation[g], generation + 1, 'home');
  r.end();
});

test('a flood is copied into frames the broker lent; without any it goes to one', () => {
  const r = rig();
  r.queue(EVERYBODY);
  r.transmitter.push();
  assert.is(r.txCounters.v[C_DROP + DROP_SWITCH], 1, 'no frame to copy into');
  r.turn();
  r.turn();
  r.queue(EVERYBODY);
  r.turn();
  assert.is(r.txCounters.v[C_DROP + DROP_SWITCH], 1, 'nobody missed the second');
  const desc = new Int32Array(16 * L.DESC_WORDS);
  const got = r.stations.map((s) => {
    const n = s.port.rxBurst(desc, 0, 16);
    for (let i = 0; i < n; i++) s.port.free(desc[i * L.DESC_WORDS]!);
    s.port.flush();
    return n;
  });
  assert.is(got[0]! + got[1]!, 3);
  r.end();
});

test('a full receiver keeps its frames in the worker ring, and no thread spinning', () => {
  const r = rig(16);
  for (let i = 0; i < 20; i++) r.queue(r.stations[0]!);
  r.turn();
  r.turn();
  assert.is(r.transmitter.inFlight(), 4, 'what the pair ring does not hold');
  assert.is(r.transmitter.pending(), false, 'no reason to run');
  assert.is(r.transmitter.nextDeadlineMs(), 1, 'but to look again');
  const desc = new Int32Array(16 * L.DESC_WORDS);
  const n = r.stations[0]!.port.rxBurst(desc, 0, 16);
  for (let i = 0; i < n; i++) r.stations[0]!.port.free(desc[i * L.DESC_WORDS]!);
  r.stations[0]!.port.flush();
  assert.is(r.transmitter.pending(), true, 'room has come back');
  r.turn();
  assert.is(r.transmitter.inFlight(), 0);
  r.end();
});

test("the broker's own frames go with the workers'; beyond the ring's room they are refused", () => {
  const r = rig();
  const id = new Int32Array(1);
  let taken = 0;
  for (;;) {
    r.port.alloc(id, 0, 1);
    const f = id[0]!;
    const t = r.port.frames;
    const eth = t.offset[f]! + t.headroom;
    t.view.setInt32(eth, r.stations[1]!.macHi);
    t.view.setUint16(eth + 4, r.stations[1]!.macLo);
    t.next[f] = -1;
    r.desc.set([f, (t.headroom << 16) | 60, 60, (t.region << 16) | t.generation[f]!, 14 << 8, L.F_TX | L.F_CSUM_OK, 1, 0]);
    if (!r.link.send(r.desc, f)) {
      r.home.free(f);
      break;
    }
    taken++;
  }
  assert.is(taken, 64);
  for (let i = 0; i < 5; i++) r.turn();
  assert.is(r.txCounters.v[C_TX_PACKETS], 64);
  r.end();
});

test('the end: what the device does not take is dropped by reason, credit and all comes home', () => {
  const r = rig(16);
  for (let i = 0; i < 30; i++) r.queue(r.stations[0]!);
  // A descriptor that lies is counted once and takes nobody's frame along.
  r.worker.tx.words.set([1 << 30, 0, 0, 0, 0, 0, 1, 0], r.worker.tx.slot(0));
  r.worker.tx.put(1);
  r.worker.tx.flush();
  r.turn();
  r.end();
  assert.is(r.txCounters.v[C_TX_PACKETS], 16);
  assert.is(r.txCounters.v[C_DROP + DROP_TX_DEVICE], 14);
  assert.is(r.txCounters.v[C_DROP + DROP_BAD_DESCRIPTOR], 1);
});

test.run();
