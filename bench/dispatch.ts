/**
 * How many frames a second can one dispatcher place, and what does each step of it cost?
 *
 *   npm run bench -- dispatch
 *
 * One CPU has the dispatcher as layout `dispatcher` runs it; on the other a thread sends frames over the switch, and is four workers.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import { loadNative } from '../src/ports/native.ts';
import { D_DATA, D_FRAME, D_HASH, DESC_WORDS, OWNER_RING_OF } from '../src/rings/layout.ts';
import { Classified, classify } from '../src/wire/flow.ts';
import { FrameReturn } from '../src/workers/frameReturn.ts';
import { WaitingFrames } from '../src/workers/waitingFrames.ts';
import { breathe, BYTES, type DispatchRig, dispatchRig, droppedBy, Wire, WORKERS } from './dispatchRig.ts';
import { JOB_MESSAGES, JOB_ONE_WAY, JOB_REST, JOB_RETURN, S_HOME, S_JOB, S_WRONG } from './dispatchRig.ts';
import type { Plan, Question, Sheet } from './question.ts';
import { median, rounded, rowOf } from './statistics.ts';

/** Frames of the naive form under way at a time, and in one burst. */
const UNDER_WAY = 2048;
const BURST = 64;
const BREATHS = 256;

interface Station {
  rig: DispatchRig;
  ports: MessageChannel[];
  thread: Worker;
}

async function start(plan: Plan): Promise<Station> {
  const rig = dispatchRig();
  const ports = Array.from({ length: WORKERS }, () => new MessageChannel());
  const theirs = ports.map((p) => p.port2);
  const thread = new Worker(new URL('./dispatchThread.js', import.meta.url), {
    workerData: { memory: rig.memory, ports: theirs, cpu: plan.cores.client },
    transferList: theirs,
  });
  await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
  return { rig, ports, thread };
}

/** Millions of frames a second, over `seconds`, by what came out at the workers. */
function placed({ rig }: Station, job: number, seconds: number): number {
  const { state } = rig.memory;
  Atomics.store(state, S_JOB, job);
  Atomics.notify(state, S_JOB);
  const began = performance.now();
  const from = Atomics.load(state, S_HOME);
  let now = began;
  for (; now - began < seconds * 1000; now = performance.now()) for (let i = 0; i < BREATHS; i++) breathe(rig);
  const frames = (Atomics.load(state, S_HOME) - from) | 0;
  Atomics.store(state, S_JOB, JOB_REST);
  // What is under way comes home before the next round.
  for (const until = performance.now() + 50; performance.now() < until; ) breathe(rig);
  return frames / (now - began) / 1000;
}

/** The naive form: the same frames hashed, copied into a piece for each worker, and sent as messages. */
function messages({ rig, ports }: Station, seconds: number, frames: Uint8Array): number {
  const { state } = rig.memory;
  const view = new DataView(frames.buffer);
  const seen = new Classified();
  const pieces = ports.map(() => new Uint8Array(BURST * BYTES));
  const fill = new Int32Array(WORKERS);
  Atomics.store(state, S_JOB, JOB_MESSAGES);
  Atomics.notify(state, S_JOB);
  const from = Atomics.load(state, S_HOME);
  const began = performance.now();
  let [now, sent] = [began, 0];
  for (; now - began < seconds * 1000; now = performance.now()) {
    if (sent - ((Atomics.load(state, S_HOME) - from) | 0) > UNDER_WAY) continue;
    for (let i = 0; i < BURST; i++) {
      classify(view, i * BYTES, BYTES, seen);
      const w = rig.steering.owner(seen.steer, seen.hash, seen.localPort);
      pieces[w]!.set(frames.subarray(i * BYTES, (i + 1) * BYTES), fill[w]! * BYTES);
      fill[w]!++;
    }
    for (let w = 0; w < WORKERS; w++) {
      if (fill[w]! > 0) ports[w]!.port1.postMessage(pieces[w]!.slice(0, fill[w]! * BYTES));
      fill[w] = 0;
    }
    sent += BURST;
  }
  const rate = ((Atomics.load(state, S_HOME) - from) | 0) / (now - began) / 1000;
  while (((Atomics.load(state, S_HOME) - from) | 0) < sent);
  Atomics.store(state, S_JOB, JOB_REST);
  return rate;
}

/** 64 frames as the wire sends them, one after another. */
function sampleFrames(): Uint8Array {
  const rig = dispatchRig();
  const wire = new Wire(rig.memory);
  const desc = new Int32Array(BURST * DESC_WORDS);
  let n = 0;
  while (n < BURST) {
    wire.send();
    n += rig.port.rxBurst(desc, n * DESC_WORDS, BURST - n);
  }
  const { u8, offset } = rig.port.frames;
  const bytes = new Uint8Array(BURST * BYTES);
  for (let i = 0; i < BURST; i++) {
    const eth = offset[desc[i * DESC_WORDS + D_FRAME]!]! + (desc[i * DESC_WORDS + D_DATA]! >>> 16);
    bytes.set(u8.subarray(eth, eth + BYTES), i * BYTES);
  }
  return bytes;
}

async function acrossThreads(plan: Plan, sheet: Sheet): Promise<number> {
  const native = loadNative();
  const before = native?.getAffinity() ?? [];
  if (native !== null && plan.cores.server >= 0) native.setAffinity([plan.cores.server]);
  const station = await start(plan);
  const frames = sampleFrames();
  const [both, oneWay, peer]: [number[], number[], number[]] = [[], [], []];
  try {
    if (plan.warmSeconds > 0) for (const job of [JOB_RETURN, JOB_ONE_WAY]) placed(station, job, plan.warmSeconds);
    if (plan.warmSeconds > 0) messages(station, plan.warmSeconds, frames);
    for (let i = 0; i < plan.rounds; i++) {
      both.push(placed(station, JOB_RETURN, plan.seconds));
      oneWay.push(placed(station, JOB_ONE_WAY, plan.seconds));
      peer.push(messages(station, plan.seconds, frames));
      plan.say(`dispatch: round ${i + 1} of ${plan.rounds}: ${both[i]!.toFixed(2)}, one way ${oneWay[i]!.toFixed(2)} Mpps`);
    }
    const { state } = station.rig.memory;
    if (Atomics.load(state, S_WRONG) !== 0) throw new Error('a frame came to another worker than its hash says');
    if (droppedBy(station.rig) > 0) throw new Error(`${droppedBy(station.rig)} frames were dropped`);
    const row = (name: string, ours: number[]): void =>
      void sheet.rows.push(
        rowOf(
          { case: name, port: 'switch', unit: 'million frames/s', peerName: 'hashed and copied into messages' },
          { ours, peer, oursCpu: [], peerCpu: [] },
        ),
      );
    row('dispatch 4', both);
    row('dispatch 4, one way', oneWay);
  } finally {
    await stop(station);
    if (native !== null && before.length > 0) native.setAffinity(before);
  }
  return 1000 / median(both);
}

/** Every frame must be free in the end. */
async function stop({ rig, thread, ports }: Station): Promise<void> {
  const down = new Promise((resolve) => thread.once('message', resolve).once('exit', resolve));
  Atomics.store(rig.memory.state, S_JOB, -1);
  Atomics.notify(rig.memory.state, S_JOB);
  await down;
  for (const p of ports) p.port1.close();
  await thread.terminate();
  for (let w = 0; w < WORKERS; w++) rig.dispatcher.reclaim(w);
  while (rig.dispatcher.push() > 0);
  rig.port.detach();
  const audit = rig.fabric.settle();
  if (audit.free !== audit.total) throw new Error(`${audit.total - audit.free} of ${audit.total} frames did not come home`);
}

const STAGES = ['pull', 'hash', 'steer', 'push', 'recycle'] as const;
/** Frames that go through a stage together, in bursts of 16: their lines stay in the CPU's second cache. */
const TOGETHER = 512;
const BREATH = 16;

/** Nanoseconds a frame of each stage, all on this thread: no line comes from another CPU. */
function stageCosts(times: number): number[][] {
  const rig = dispatchRig();
  const wire = new Wire(rig.memory);
  const { port, counters, steering, clock } = rig;
  const { view, offset } = port.frames;
  const desc = new Int32Array(TOGETHER * DESC_WORDS);
  const owners = new Int32Array(TOGETHER);
  const seen = new Classified();
  const home = new FrameReturn(port, counters);
  const waiting = rig.rings.map(
    (r, w) => new WaitingFrames(r.rx, { overflow: 256, share: 1024, owner: OWNER_RING_OF + w, frames: port.frames, counters, clock }),
  );
  const stages = [
    (): void => {
      for (let n = 0; n < TOGETHER; ) n += port.rxBurst(desc, n * DESC_WORDS, BREATH);
      port.flush();
    },
    (): void => {
      for (let d = 0; d < TOGETHER * DESC_WORDS; d += DESC_WORDS) {
        classify(view, offset[desc[d + D_FRAME]!]! + (desc[d + D_DATA]! >>> 16), desc[d + D_DATA]! & 0xffff, seen);
        desc[d + D_HASH] = seen.hash;
      }
    },
    (): void => {
      for (let i = 0; i < TOGETHER; i++) owners[i] = steering.owner(0, desc[i * DESC_WORDS + D_HASH]!, 7000);
    },
    (): void => {
      for (let i = 0; i < TOGETHER; i++) waiting[owners[i]!]!.place(desc, i * DESC_WORDS, false, port.available());
      for (const r of rig.rings) r.flush();
    },
    (): void => {
      for (const r of rig.rings) {
        while (home.takeFrom(r.recycle) > 0);
        r.flush();
      }
      port.flush();
    },
  ];
  return Array.from({ length: times }, () => {
    for (let sent = 0; sent < TOGETHER; ) sent += wire.send();
    const row = stages.map((stage, i) => {
      // What came over, short of what the next round sends, goes home between the last two.
      if (i === STAGES.length - 1) for (let came = 0; came < TOGETHER; ) came += wire.take(true);
      const from = process.hrtime.bigint();
      stage();
      return Number(process.hrtime.bigint() - from) / TOGETHER;
    });
    wire.tick(0);
    return row;
  });
}

function stageTable(sheet: Sheet, rounds: number, across: number): void {
  stageCosts(2000);
  const rows = stageCosts(400 * rounds);
  const costs = STAGES.map((_, i) => median(rows.map((r) => r[i]!)));
  const whole = costs.reduce((a, b) => a + b, 0);
  const words = [
    'what the switch hands over is checked and owned',
    'the frame is classified, its flow hashed',
    'the worker is looked up by local port and hash',
    'the descriptor goes on the worker’s ring',
    'what the worker let go is taken and sent home',
  ];
  sheet.exhibits.push({
    title: 'Nanoseconds a frame by stage, on one thread',
    text: [
      'The wire, the dispatcher’s stages and the workers take turns on one thread, 512 frames at a time, so that no line comes from another CPU.',
    ],
    head: ['stage', 'ns a frame', 'what'],
    rows: [
      ...STAGES.map((s, i) => [s, String(rounded(costs[i]!)), words[i]!]),
      ['all', String(rounded(whole)), 'their sum'],
      ['across threads', String(rounded(across)), '`dispatch 4` above: with the lines that another CPU wrote'],
    ],
  });
}

export const dispatch: Question = {
  name: 'dispatch',
  asks: 'frames of 64 bytes a second that one dispatcher hashes and spreads over the rings of four workers',
  method:
    'A thread on the other CPU sends TCP frames of 256 flows over the switch, each with its ports written anew, and is all four workers: it compares the worker with the hash. `dispatch 4` counts a frame when it has come out at its worker, and every frame goes home through the dispatcher, over its worker’s `recycle` ring and the switch, as in layout `dispatcher`. In `dispatch 4, one way` the workers give frames back to the sender by themselves: receiving, hashing, steering and placing alone. The dispatcher spins on a CPU of its own, so its rate is what one core does. The peer hashes the same frames, copies them into a piece for each worker, and posts these as messages.',
  seconds: 1,
  rounds: 5,
  run: async (plan, sheet) => {
    if (!plan.ports.includes('switch')) return sheet.skip('dispatch', 'has the switch port only');
    stageTable(sheet, plan.rounds, await acrossThreads(plan, sheet));
  },
};
