/**
 * What does a descriptor cost over a ring: in one thread, and from one thread to another?
 *
 *   npm run bench -- rings
 *
 * Every word of every descriptor is written and read, and compared where it arrives.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { loadNative } from '../src/ports/native.ts';
import { DESC_WORDS, ringWords } from '../src/rings/layout.ts';
import { formatRing, RingConsumer, RingProducer } from '../src/rings/spsc.ts';
import { micro, type MicroCase } from './micro.ts';
import type { Plan, Question, Sheet } from './question.ts';

const CAPACITY = 1024;
const SLOTS = 16384;

function writeBurst(ring: RingProducer, from: number, n: number, each: boolean): void {
  for (let i = 0; i < n; i++) {
    const s = ring.slot(0);
    for (let w = 0; w < DESC_WORDS; w++) ring.words[s + w] = (from + i) ^ w;
    ring.put(1);
    if (each) ring.flush();
  }
  ring.flush();
}

/** Takes up to `n`. Returns how many; throws when one is not what was sent. */
function readBurst(ring: RingConsumer, from: number, n: number, each: boolean): number {
  const ready = Math.min(ring.ready(), n);
  let wrong = 0;
  for (let i = 0; i < ready; i++) {
    const s = ring.slot(0);
    for (let w = 0; w < DESC_WORDS; w++) wrong |= ring.words[s + w]! ^ (from + i) ^ w;
    ring.take(1);
    if (each) ring.flush();
  }
  ring.flush();
  if (wrong !== 0) throw new Error('a descriptor arrived that was not sent');
  return ready;
}

function oneThread(burst: number, each: boolean): () => void {
  const words = new Int32Array(new SharedArrayBuffer(ringWords(CAPACITY, DESC_WORDS) * 4));
  formatRing(words, 0, CAPACITY, DESC_WORDS);
  const [producer, consumer] = [new RingProducer(words, 0), new RingConsumer(words, 0)];
  return () => {
    for (let done = 0; done < SLOTS; done += burst) {
      if (producer.room(burst) !== burst) throw new Error('no room in an empty ring');
      writeBurst(producer, done, burst, each);
      if (readBurst(consumer, done, burst, each) !== burst) throw new Error('what was put is not there');
    }
  };
}

/** A thread that takes what comes; `taken` counts whole calls. */
interface Receiver {
  transfer(): void;
  close(): Promise<void>;
}

/** Spins before a side lets the other have the CPU: with a CPU each it never does. */
const SPINS = 10_000;
const nap = new Int32Array(new SharedArrayBuffer(4));

async function startThread(
  port: MessagePort | null,
  block: SharedArrayBuffer,
  done: Int32Array,
  cpu: number,
  each: boolean,
): Promise<Worker> {
  const t = new Worker(new URL('./ringsThread.js', import.meta.url), {
    workerData: { port, block, done, slots: SLOTS, cpu, each },
    transferList: port === null ? [] : [port],
  });
  await new Promise((resolve, reject) => t.once('message', resolve).once('error', reject));
  return t;
}

/** Waits until the other thread has counted `calls`. */
function awaitCalls(done: Int32Array, calls: number): void {
  for (let spins = 0; Atomics.load(done, 0) !== calls; spins++) {
    if (Atomics.load(done, 1) !== 0) throw new Error('a descriptor arrived that was not sent');
    if (spins > SPINS) Atomics.wait(nap, 0, 0, 0.05);
  }
}

async function ringReceiver(burst: number, each: boolean, cpu: number): Promise<Receiver> {
  const block = new SharedArrayBuffer(ringWords(CAPACITY, DESC_WORDS) * 4);
  const words = new Int32Array(block);
  formatRing(words, 0, CAPACITY, DESC_WORDS);
  const done = new Int32Array(new SharedArrayBuffer(8));
  const thread = await startThread(null, block, done, cpu, each);
  const ring = new RingProducer(words, 0);
  let calls = 0;
  return {
    transfer: () => {
      for (let sent = 0, spins = 0; sent < SLOTS; ) {
        const n = ring.room(Math.min(burst, SLOTS - sent));
        writeBurst(ring, sent, n, each);
        sent += n;
        spins = n > 0 ? 0 : spins + 1;
        if (spins > SPINS) Atomics.wait(nap, 0, 0, 0.05);
      }
      awaitCalls(done, ++calls);
    },
    close: async () => void (await thread.terminate()),
  };
}

/** The same descriptors, a message for each burst. */
async function messageReceiver(burst: number, cpu: number): Promise<Receiver> {
  const { port1, port2 } = new MessageChannel();
  const done = new Int32Array(new SharedArrayBuffer(8));
  const thread = await startThread(port2, new SharedArrayBuffer(4), done, cpu, false);
  const message = new Int32Array(burst * DESC_WORDS);
  let calls = 0;
  return {
    transfer: () => {
      for (let sent = 0; sent < SLOTS; sent += burst) {
        for (let i = 0; i < burst; i++) for (let w = 0; w < DESC_WORDS; w++) message[i * DESC_WORDS + w] = (sent + i) ^ w;
        port1.postMessage(message);
      }
      awaitCalls(done, ++calls);
    },
    close: async () => {
      port1.close();
      await thread.terminate();
    },
  };
}

async function acrossThreads(plan: Plan, sheet: Sheet): Promise<void> {
  const native = loadNative();
  const before = native?.getAffinity() ?? [];
  if (native !== null && plan.cores.server >= 0) native.setAffinity([plan.cores.server]);
  try {
    for (const [name, burst, makePeer, peerName] of [
      ['rings 16, threads', 16, () => ringReceiver(16, true, plan.cores.client), 'an index published for each descriptor'],
      ['rings 64, threads', 64, () => messageReceiver(64, plan.cores.client), 'postMessage of 64 descriptors'],
    ] as const) {
      const [ours, peer] = [await ringReceiver(burst, false, plan.cores.client), await makePeer()];
      const c = { name, unit: 'descriptors', perCall: SLOTS, ours: ours.transfer, peer: peer.transfer, peerName };
      await micro([c], plan, sheet);
      await Promise.all([ours.close(), peer.close()]);
    }
  } finally {
    if (native !== null && before.length > 0) native.setAffinity(before);
  }
}

const inOneThread = (burst: number): MicroCase => ({
  name: `rings ${burst}`,
  unit: 'descriptors',
  perCall: SLOTS,
  ours: oneThread(burst, false),
  peer: oneThread(burst, true),
  peerName: 'an index published for each descriptor',
});

export const rings: Question = {
  name: 'rings',
  asks: 'descriptors a second over an SPSC ring, in bursts of 16 and 64, in one thread and between two',
  method:
    'A ring of 1,024 descriptors of 32 bytes; every word is written, read and compared. The naive forms publish the index for each descriptor, or send the same descriptors in messages.',
  seconds: 0.4,
  rounds: 5,
  run: async (plan, sheet) => {
    await micro([inOneThread(16), inOneThread(64)], plan, sheet);
    await acrossThreads(plan, sheet);
  },
};
