/**
 * A broker or a worker that behaves at random. Every frame that changes hands carries a stamp in its packet memory; who
 * holds a frame finds the stamp it left, or two threads thought the frame theirs.
 */
import { FrameTable, frameValid } from '../../../src/rings/frameTable.ts';
import {
  D_FRAME,
  D_HASH,
  D_REGION_GEN,
  D_TOTAL,
  DESC_WORDS,
  OWNER_BROKER,
  OWNER_DEVICE,
  OWNER_FREE,
  OWNER_LEASE,
  OWNER_RING,
  OWNER_RING_OF,
  OWNER_WORKER,
} from '../../../src/rings/layout.ts';
import { BrokerPort, type PortRingsPlan, WorkerPort } from '../../../src/rings/portRings.ts';
import type { RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import { answer, bits31, given, yieldThread } from './threads.ts';

export interface PortRingsJob {
  rings: SharedArrayBuffer;
  plan: PortRingsPlan;
  table: SharedArrayBuffer;
  memory: SharedArrayBuffer;
  /** Word 0: 0 run, 1 workers finish, then word 1 counts the workers that have. */
  flags: SharedArrayBuffer;
  /** -1: the broker. */
  worker: number;
  steps: number;
  seed: number;
}

export interface PortRingsResult {
  errors: string[];
  received: number;
  sent: number;
  redirected: number;
  publishes: number;
}

const job = given<PortRingsJob>();
const frames = new FrameTable(job.table, job.memory);
const flags = new Int32Array(job.flags);
const random = bits31(job.seed + job.worker * 7919);
const r: PortRingsResult = { errors: [], received: 0, sent: 0, redirected: 0, publishes: 0 };

function expect(good: boolean, what: string): void {
  if (!good && r.errors.length < 10) r.errors.push(`${job.worker < 0 ? 'broker' : `worker ${job.worker}`}: ${what}`);
}

const stampAt = (f: number): number => (frames.offset[f]! + 64) >> 2;
const stamp = (f: number, value: number): void => {
  for (let i = 0; i < 8; i++) frames.i32[stampAt(f) + i] = value + i;
};
const stamped = (f: number, value: number): boolean => {
  for (let i = 0; i < 8; i++) if (frames.i32[stampAt(f) + i] !== ((value + i) | 0)) return false;
  return true;
};

/** Puts frame `f` with its stamp on a descriptor ring. */
function put(ring: RingProducer, f: number, value: number): void {
  const s = ring.slot(0);
  for (let i = 0; i < DESC_WORDS; i++) ring.words[s + i] = 0;
  ring.words[s + D_FRAME] = f;
  ring.words[s + D_TOTAL] = 100;
  ring.words[s + D_REGION_GEN] = frames.generation[f]! & 0xffff;
  ring.words[s + D_HASH] = value;
  stamp(f, value);
  frames.owner[f] = OWNER_RING;
  ring.put(1);
}

/** Takes one frame from a descriptor ring; checks owner, generation and stamp. */
function get(ring: RingConsumer, owner: number): number {
  const s = ring.slot(0);
  const f = ring.words[s + D_FRAME]!;
  expect(frameValid(frames, f, ring.words[s + D_REGION_GEN]!), `frame ${f}: stale generation`);
  expect(frames.owner[f] === OWNER_RING || frames.owner[f]! >= OWNER_RING_OF, `frame ${f}: on a ring but owned by ${frames.owner[f]}`);
  expect(stamped(f, ring.words[s + D_HASH]!), `frame ${f}: somebody wrote into it on its way`);
  frames.owner[f] = owner;
  ring.take(1);
  return f;
}

function broker(): void {
  const ports = Array.from({ length: job.plan.workers }, (_, w) => new BrokerPort(job.rings, job.plan, w));
  const free: number[] = [];
  const device: number[] = [];
  for (let f = 0; f < frames.frames; f++) free.push(f);
  const comeHome = (f: number): void => {
    expect(frames.owner[f] !== OWNER_FREE, `frame ${f} came home twice`);
    frames.owner[f] = OWNER_FREE;
    frames.generation[f] = (frames.generation[f]! + 1) & 0xffff;
    free.push(f);
  };
  const turn = (p: BrokerPort, give: boolean): void => {
    for (let n = random() % 20; give && n > 0 && free.length > 32 && p.rx.room(1) > 0; n--) {
      const f = free.pop()!;
      frames.owner[f] = OWNER_BROKER;
      put(p.rx, f, random());
      r.received++;
    }
    for (let n = random() % 20; give && n > 0 && free.length > 16 && p.grant.room(1) > 0; n--) {
      const f = free.pop()!;
      frames.owner[f] = OWNER_RING;
      p.grant.words[p.grant.slot(0)] = f;
      p.grant.put(1);
    }
    for (let n = p.tx.ready(); n > 0; n--) {
      device.push(get(p.tx, OWNER_DEVICE));
      r.sent++;
    }
    for (let n = p.recycle.ready(); n > 0; n--) {
      comeHome(p.recycle.words[p.recycle.slot(0)]!);
      p.recycle.take(1);
    }
    while (device.length > (give ? random() % 30 : 0)) comeHome(device.shift()!);
    p.flush();
  };
  for (let step = 0; step < job.steps; step++) {
    for (const p of ports) turn(p, true);
    if (step % 8 === 0) yieldThread();
  }
  Atomics.store(flags, 0, 1);
  while (Atomics.load(flags, 1) < ports.length) {
    for (const p of ports) turn(p, false);
    yieldThread();
  }
  for (const p of ports) turn(p, false);
  for (const p of ports) r.publishes += p.publishes();
  expect(free.length === frames.frames, `${free.length} of ${frames.frames} frames came home`);
  expect(new Set(free).size === frames.frames, 'a frame is on the free list twice');
}

function workerTurn(port: WorkerPort, mine: number, held: { f: number; value: number }[], finishing: boolean): void {
  const outs = port.redirectOut.filter((o) => o !== null);
  for (let n = Math.min(port.rx.ready(), 1 + (random() % 16)); n > 0; n--) {
    const f = get(port.rx, mine);
    r.received++;
    hold(f);
  }
  for (const ring of port.redirectIn) {
    for (let n = ring === null ? 0 : ring.ready(); n > 0; n--) hold(get(ring!, mine));
    ring?.flush();
  }
  function hold(f: number): void {
    const value = random();
    stamp(f, value);
    if (random() % 3 === 0) frames.owner[f] = OWNER_LEASE;
    held.push({ f, value });
  }
  while (held.length > (finishing ? 0 : random() % 12)) {
    const [{ f, value }] = held.splice(random() % held.length, 1) as [{ f: number; value: number }];
    expect(frames.owner[f] === mine || frames.owner[f] === OWNER_LEASE, `frame ${f}: held, but owned by ${frames.owner[f]}`);
    expect(stamped(f, value), `frame ${f}: somebody wrote into it while it was held`);
    frames.owner[f] = mine;
    const out = outs[random() % Math.max(1, outs.length)];
    if (!finishing && random() % 4 === 0 && out !== undefined && out.room(1) > 0) {
      put(out, f, random());
      out.flush();
      r.redirected++;
    } else if (!finishing && random() % 2 === 0 && port.tx.room(1) > 0) {
      put(port.tx, f, random());
      r.sent++;
    } else {
      port.freeFrame(f);
    }
  }
  for (let n = finishing ? 0 : random() % 8; n > 0 && port.tx.room(1) > 0; n--) {
    const f = port.takeFrame();
    if (f < 0) break;
    expect(frames.owner[f] === mine, `frame ${f}: credit owned by ${frames.owner[f]}`);
    frames.next[f] = -1;
    put(port.tx, f, random());
    r.sent++;
  }
  port.flush();
}

function worker(): void {
  const port = new WorkerPort(job.rings, job.plan, job.worker, frames);
  const mine = OWNER_WORKER + job.worker;
  const held: { f: number; value: number }[] = [];
  for (let step = 0; Atomics.load(flags, 0) === 0; step++) {
    workerTurn(port, mine, held, false);
    if (step % 4 === 0) yieldThread();
  }
  // Nobody redirects any more once all have said so; then what is left is taken and sent home.
  Atomics.add(flags, 2, 1);
  while (Atomics.load(flags, 2) < job.plan.workers) {
    workerTurn(port, mine, held, true);
    yieldThread();
  }
  for (let quiet = 0; quiet < 20; quiet++) {
    if (port.rx.readyNow() > 0) quiet = 0;
    workerTurn(port, mine, held, true);
    yieldThread();
  }
  port.returnCredit();
  r.publishes = port.publishes();
  Atomics.add(flags, 1, 1);
}

if (job.worker < 0) broker();
else worker();
answer(r);
