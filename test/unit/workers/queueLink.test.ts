// One port, two queues, a broker each: frames of the other's flows cross, come home to their queue, ARP reaches the host, and
// whoever leaves last takes back what the first left.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachPort } from '../../../src/ports/attach.ts';
import type { Port } from '../../../src/ports/port.ts';
import { createSwitch } from '../../../src/ports/switch.ts';
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import {
  formatControl,
  LIFE_ALIVE,
  LIFE_DEAD,
  planControl,
  T_LIFE,
  T_STATE,
  T_UNSETTLED,
  ThreadRecord,
  TS_STOPPED,
} from '../../../src/rings/control.ts';
import { C_ARP_RX, C_DROP, C_HOST_DELIVERED, C_RX_DELIVERED, C_RX_PACKETS, Counters, dropsTotal } from '../../../src/rings/counters.ts';
import { DROP_CLOSING, DROP_RING_FULL_ARP } from '../../../src/rings/drops.ts';
import { FrameTable } from '../../../src/rings/frameTable.ts';
import * as L from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import { createQueueRings, HOST_QUEUE_SLOTS, hungryWord, leavingWord, succeedQueue } from '../../../src/rings/queueRings.ts';
import { RingConsumer } from '../../../src/rings/spsc.ts';
import { hashModulo, STEER_RETA, STEER_TCP, Steering } from '../../../src/rings/steering.ts';
import { LISTEN } from '../../../src/stack/tcp/states.ts';
import { rowOf, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { flowHash } from '../../../src/wire/flow.ts';
import { Estate } from '../../../src/workers/burial.ts';
import { BrokerHost } from '../../../src/workers/brokerHost.ts';
import { createDispatcher } from '../../../src/workers/dispatcher.ts';
import { FrameReturn } from '../../../src/workers/frameReturn.ts';
import type { RuntimePlan } from '../../../src/workers/plan.ts';
import { QueueLink } from '../../../src/workers/queueLink.ts';
import { EVERYBODY, Station } from '../ports/station.ts';

const QUEUES = 2;
const FRAMES = 256;
/** Of the station's frames (station.ts). */
const PORT = 80;
const QUEUE = hashModulo(flowHash(0xc0000201 | 0, 0xc0000202 | 0, 4000, PORT), QUEUES);

/** `served`: the worker whose listener the station's flow belongs to. `home`: frames go home by the brokers, not by the switch. */
function rig(served: number, sendsHome = false, redirect = 16) {
  const fabric = createSwitch({ ports: [{ name: 'net' }, { name: 'many', queues: QUEUES }], framesPerPort: FRAMES });
  const net = new Station(fabric.handle(0).attachment);
  const { queues } = fabric.handle(1);
  const cp = planControl(1 + 2 * QUEUES, QUEUES);
  const control = new SharedArrayBuffer(cp.bytes);
  formatControl(control, cp);
  Steering.format(control, cp.steeringAt, QUEUES, STEER_RETA);
  const steering = new Steering(control, cp.steeringAt);
  steering.serve(STEER_TCP, PORT, served, true);
  const sizes = { rx: 64, tx: 64, grant: 64, redirect };
  const pool = (QUEUES + 1) * FRAMES;
  const plan = planPortRings(QUEUES, pool, sizes);
  const rings = createPortRings(plan, pool, sizes);
  const shared = createQueueRings(
    queues.map((q) => q.frameFirst),
    queues.map((q) => q.frameCount),
  );
  const records = queues.map((_, w) => new ThreadRecord(control, 1 + w));
  const all = queues.map((a, w) => {
    const worker = new WorkerPort(rings, plan, w, new FrameTable(a.table, a.memory, a.host));
    const port = attachPort(a, null);
    const counters = new Counters(control, new ThreadRecord(control, 1 + QUEUES + w).countersAt);
    const queue = new QueueLink({
      queue: w,
      port,
      rings: shared,
      crossings: worker.redirectOut,
      controls: w === 0 ? [new RingConsumer(new Int32Array(rings), plan.control[1]!)] : [],
      bells: [null, null],
      records,
      sendsHome,
    });
    const dispatcher = createDispatcher({
      port,
      rings: queues.map((_, o) => (o === w ? new BrokerPort(rings, plan, w) : null)),
      bells: [null, null],
      steering,
      counters,
      clock: records[w]!.clock(),
      random: () => 4,
      host:
        w > 0
          ? null
          : {
              block: control,
              at: cp.hostAt,
              address: 0xc0000202 | 0,
              prefix: 24,
              gateway: 0,
              mtu: 1500,
              macHi: a.macHi,
              macLo: a.macLo,
              statics: [],
              counters,
              frames: port.frames,
              random: () => 4,
            },
      burst: 16,
      overflow: 8,
      queue,
    });
    return { worker, port, counters, dispatcher, queue, stack: new Counters(control, records[w]!.countersAt) };
  });
  const breathe = (): void => {
    for (let i = 0; i < 4; i++)
      for (const t of all) {
        t.dispatcher.pull();
        for (const ring of t.worker.redirectOut) ring?.flush();
        t.worker.flush();
        t.dispatcher.push();
      }
  };
  /** What worker `w` finds in a ring: how many frames, which it lets go. */
  const take = (w: number, ring: RingConsumer): number => {
    let n = 0;
    for (; ring.readyNow() > 0; n++) {
      all[w]!.worker.freeTrain(ring.words[ring.slot(0) + L.D_FRAME]!);
      ring.take(1);
    }
    ring.flush();
    all[w]!.worker.flush();
    return n;
  };
  const leave = (w: number): void => {
    const t = all[w]!;
    t.worker.returnCredit();
    t.dispatcher.reclaim(w);
    t.dispatcher.leave(
      t.stack,
      () => {
        const n = t.worker.discardRedirected();
        t.stack.v[C_RX_PACKETS]! += n;
        t.stack.v[C_DROP + DROP_CLOSING]! += n;
        t.worker.flush();
      },
      () => {
        t.port.flush();
        t.port.detach();
        records[w]!.set(T_STATE, TS_STOPPED);
      },
    );
  };
  const settled = (): void => {
    for (let n = 1; n > 0; ) n = net.receive().length;
    net.port.flush();
    net.port.detach();
    const audit = fabric.settle();
    assert.is(audit.free, audit.total, JSON.stringify({ ...audit, workers: [...audit.workers] }));
    for (const t of all) {
      const v = t.counters.v;
      assert.is(v[C_RX_PACKETS], v[C_RX_DELIVERED]! + dropsTotal(v), 'a broker received = delivered + drops');
    }
    const handed = all.reduce((n, t) => n + t.counters.v[C_RX_DELIVERED]! - t.counters.v[C_HOST_DELIVERED]!, 0);
    return assert.is(handed, all.reduce((n, t) => n + t.stack.v[C_RX_PACKETS]!, 0) + taken.n, 'handed over = taken');
  };
  const taken = { n: 0 };
  const runtime = {
    control,
    steeringAt: cp.steeringAt,
    hostAt: cp.hostAt,
    rings,
    ringsPlan: plan,
    queueRings: shared,
    arenas: queues.map(() => createArena(65536)),
    brokers: queues.map((port) => ({ port })),
    workerThreads: queues.map((_, w) => ({ index: 1 + w })),
  } as unknown as RuntimePlan;
  return { plan: runtime, fabric, net, queues, all, shared, records, steering, breathe, take, taken, leave, settled };
}

test('the sender picks the queue by the flow, whichever worker serves it', () => {
  const { net, queues, all, breathe, take, taken, leave, settled } = rig(QUEUE);
  for (let i = 0; i < 10; i++) assert.is(net.send(queues[0]!, i), 1);
  net.port.flush();
  breathe();
  assert.is(all[QUEUE]!.counters.v[C_RX_PACKETS], 10);
  assert.is(all[1 - QUEUE]!.counters.v[C_RX_PACKETS], 0);
  taken.n += take(QUEUE, all[QUEUE]!.worker.rx);
  assert.is(taken.n, 10);
  leave(0);
  leave(1);
  settled();
});

test('a flood is heard on one queue, where the host state is', () => {
  const { net, all, breathe, leave, settled, taken, take } = rig(QUEUE);
  assert.is(net.send(EVERYBODY, 1), 1);
  net.port.flush();
  breathe();
  assert.equal(
    all.map((t) => t.counters.v[C_RX_PACKETS]),
    [1, 0],
  );
  const at = QUEUE === 0 ? all[0]!.worker.rx : all[1]!.worker.redirectIn[0]!;
  taken.n += take(QUEUE, at);
  leave(0);
  leave(1);
  settled();
});

test("frames of another worker's flow cross to it in order, and go home to the queue they came on", () => {
  const other = 1 - QUEUE;
  // The station's frames are the switch's to take home; copies into the queue's own are what its broker lends.
  const { net, queues, all, breathe, take, taken, leave, settled } = rig(other);
  for (let i = 0; i < 12; i++) assert.is(net.send(queues[0]!, i), 1);
  net.port.flush();
  breathe();
  assert.is(all[QUEUE]!.counters.v[C_RX_DELIVERED], 12);
  const ring = all[other]!.worker.redirectIn[QUEUE]!;
  assert.is(ring.readyNow(), 12);
  const first = ring.words[ring.slot(0) + L.D_FRAME]!;
  assert.is(all[other]!.port.frames.owner[first], L.OWNER_RING, 'a ring that outlives either worker');
  const before = net.port.available();
  taken.n += take(other, ring);
  breathe();
  net.port.tick(0);
  assert.is(net.port.available(), before + 12, 'home');
  leave(QUEUE);
  leave(other);
  settled();
});

test('a full crossing overflows within its budget, then drops by class; nothing is lost from the books', () => {
  const other = 1 - QUEUE;
  const { net, queues, all, breathe, take, taken, leave, settled } = rig(other, false, 16);
  for (let i = 0; i < 60; i++) assert.is(net.send(queues[0]!, i), 1);
  net.port.flush();
  breathe();
  const v = all[QUEUE]!.counters.v;
  assert.is(v[C_RX_PACKETS], 60);
  assert.is(v[C_RX_DELIVERED], 16 + 8, 'ring and overflow');
  assert.is(dropsTotal(v), 36);
  taken.n += take(other, all[other]!.worker.redirectIn[QUEUE]!);
  breathe();
  taken.n += take(other, all[other]!.worker.redirectIn[QUEUE]!);
  assert.is(taken.n, 24);
  leave(other);
  leave(QUEUE);
  settled();
});

for (const [name, order] of [
  ['the receiver first', [1 - QUEUE, QUEUE]],
  ['the sender first', [QUEUE, 1 - QUEUE]],
] as const)
  test(`leaving with frames between the queues, ${name}: all come home, each dropped once`, () => {
    const other = 1 - QUEUE;
    const { net, queues, all, breathe, leave, settled } = rig(other);
    for (let i = 0; i < 12; i++) assert.is(net.send(queues[0]!, i), 1);
    net.port.flush();
    breathe();
    assert.is(all[other]!.worker.redirectIn[QUEUE]!.readyNow(), 12);
    if (order[0] === other) {
      leave(other);
      // More for the one that has left: nobody reads that ring.
      for (let i = 12; i < 14; i++) net.send(queues[0]!, i);
      net.port.flush();
      all[QUEUE]!.dispatcher.pull();
      for (const ring of all[QUEUE]!.worker.redirectOut) ring?.flush();
      leave(QUEUE);
    } else {
      leave(QUEUE);
      leave(other);
    }
    settled();
    const dropped = all.reduce((n, t) => n + t.counters.v[C_DROP + DROP_CLOSING]! + t.stack.v[C_DROP + DROP_CLOSING]!, 0);
    assert.is(dropped, order[0] === other ? 14 : 12);
  });

test('frames of a queue that another worker lets go come home by the brokers; a hungry queue says so', () => {
  const { all, shared, breathe, leave, settled } = rig(0, true);
  const [a, b] = all;
  const ids = new Int32Array(FRAMES);
  const n = a!.port.alloc(ids, 0, FRAMES);
  assert.ok(n > FRAMES / 2);
  // b's worker has them: as if they had crossed.
  for (let i = 0; i < n; i++) {
    a!.port.frames.owner[ids[i]!] = b!.worker.mine;
    b!.worker.freeFrame(ids[i]!);
  }
  b!.worker.flush();
  while (b!.dispatcher.push() > 0);
  const ring = new Int32Array(shared.block)[shared.home[1 * QUEUES]! + L.RING_TAIL];
  assert.is(ring, n, 'over the ring that leads to their queue');
  a!.dispatcher.pending();
  assert.is(new Int32Array(shared.block)[hungryWord(0)], 1, 'short of frames');
  const had = a!.port.available();
  breathe();
  assert.is(a!.port.available() >= had + n - 64, true, 'but for what was granted since');
  a!.dispatcher.pending();
  assert.is(new Int32Array(shared.block)[hungryWord(0)], 0);
  leave(0);
  leave(1);
  settled();
});

test('a frame that comes home leaves a trace: a broker that dies behind it has not taken it twice', () => {
  const { all, shared, leave, settled } = rig(0, true);
  const [a, b] = all;
  const ids = new Int32Array(1);
  a!.port.alloc(ids, 0, 1);
  a!.port.frames.owner[ids[0]!] = L.OWNER_BROKER | b!.port.frames.hostBits;
  b!.dispatcher.release(ids[0]!);
  b!.queue.flush();
  const at = shared.home[1 * QUEUES]!;
  const words = new Int32Array(shared.block);
  assert.is(words[at + L.RING_TAIL], 1);
  a!.dispatcher.push();
  assert.is(a!.port.frames.owner[ids[0]!], L.OWNER_FREE);
  assert.equal([words[at + L.RING_CLAIMING], words[at + L.RING_CLAIMED]], [1, 1]);
  // It died before it published that.
  words[at + L.RING_HEAD] = 0;
  succeedQueue(shared, 0, a!.port.frames);
  assert.is(words[at + L.RING_HEAD], 1);
  leave(0);
  leave(1);
  settled();
});

test('a broker that dies with crossings offered and not published: the receiver gets them, the books say so, all comes home', () => {
  const other = 1 - QUEUE;
  const { net, queues, all, plan, taken, take, breathe, leave, settled, records } = rig(other);
  for (let i = 0; i < 12; i++) assert.is(net.send(queues[0]!, i), 1);
  net.port.flush();
  breathe();
  for (let i = 12; i < 15; i++) assert.is(net.send(queues[0]!, i), 1);
  net.port.flush();
  const dead = all[QUEUE]!;
  dead.dispatcher.pull();
  const ring = all[other]!.worker.redirectIn[QUEUE]!;
  assert.is(ring.readyNow(), 12);
  const v = dead.counters.v;
  // Its last frame was on the ring and not yet counted.
  v[C_RX_DELIVERED]!--;
  const estate = new Estate(plan, QUEUE);
  const heir = attachPort(queues[QUEUE]!, null);
  estate.settle(dead.stack, dead.counters, null);
  assert.is(ring.readyNow(), 15);
  assert.equal([v[C_RX_PACKETS], v[C_RX_DELIVERED], dropsTotal(v)], [15, 15, 0]);
  taken.n += take(other, ring);
  heir.flush();
  heir.detach();
  records[QUEUE]!.set(T_STATE, TS_STOPPED);
  leave(other);
  settled();
});

test('a worker that dies again before its program has listened again keeps the ports it shares: survivors’ flows do not move', () => {
  const { plan, records, steering, settled, leave, all } = rig(1);
  const record = records[1]!;
  /** It dies, and the thread in its place buries it; `listens`: it had a listener. */
  const dies = (listens: boolean): boolean => {
    if (listens) {
      const tcb = new Tcb(new SharedArena(plan.arenas[1]!), 16);
      tcb.state[rowOf(1)] = LISTEN;
      tcb.ports[rowOf(1)] = PORT;
    }
    record.set(T_LIFE, LIFE_DEAD);
    new Estate(plan, 1).settle(all[1]!.stack, all[1]!.counters, null);
    assert.is(record.get(T_LIFE), LIFE_ALIVE);
    return steering.serves(STEER_TCP, PORT, 1);
  };
  assert.is(dies(true), true);
  assert.is(dies(false), true, 'its forerunner’s listeners stand');
  // Its program has had time to listen, and did not.
  record.set(T_UNSETTLED, 0);
  assert.is(dies(false), false);
  leave(0);
  leave(1);
  settled();
});

test('of a thread that died with the lock of the leavers it is taken', () => {
  const { all, shared, records, leave, settled } = rig(0);
  const words = new Int32Array(shared.block);
  words[leavingWord(QUEUES)] = 2;
  records[1]!.set(T_LIFE, LIFE_DEAD);
  leave(0);
  assert.is(words[leavingWord(QUEUES)], 0);
  assert.is(all.length, 2);
  records[1]!.set(T_LIFE, LIFE_ALIVE);
  leave(1);
  settled();
});

/** A broadcast ARP request that queue `port` has received, and its descriptor. */
function arpRequest(port: Port): Int32Array {
  const ids = new Int32Array(1);
  assert.is(port.alloc(ids, 0, 1), 1);
  const f = ids[0]!;
  const t = port.frames;
  const eth = t.offset[f]! + t.headroom;
  t.u8.fill(0, eth, eth + 60);
  t.u8.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 192, 0, 2, 1], eth);
  t.u8.set([192, 0, 2, 2], eth + 38);
  t.owner[f] = L.OWNER_BROKER | t.hostBits;
  t.next[f] = -1;
  return Int32Array.of(f, (t.headroom << 16) | 60, 60, (t.region << 16) | t.generation[f]!, 0, 0, 1, 0);
}

test('ARP on a queue that has no host state is heard by the one that has it; beyond the ring between them it is dropped and counted', () => {
  const { all, queues, breathe, leave, settled } = rig(0);
  const [a, b] = all;
  const { port, counters, queue } = b!;
  const home = new FrameReturn(port, counters, queue);
  const host = new BrokerHost({ port, home, link: null, queue, counters, heard: [], bells: [], host: null });
  for (let i = 0; i < HOST_QUEUE_SLOTS + 3; i++) {
    const desc = arpRequest(port);
    counters.v[C_RX_PACKETS]!++;
    host.receive(desc, 0, port.frames.offset[desc[L.D_FRAME]!]! + port.frames.headroom, 60);
  }
  assert.is(counters.v[C_HOST_DELIVERED], HOST_QUEUE_SLOTS);
  assert.is(counters.v[C_DROP + DROP_RING_FULL_ARP], 3);
  assert.is(b!.dispatcher.host, null);
  for (let i = 0; i < HOST_QUEUE_SLOTS; i++) breathe();
  assert.is(a!.counters.v[C_ARP_RX], HOST_QUEUE_SLOTS);
  assert.is(queues.length, 2);
  leave(1);
  leave(0);
  settled();
});

test.run();
