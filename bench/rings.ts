/**
 * What does a descriptor cost from one thread to another over a ring, by burst?
 *
 *   npm run bench -- rings
 *
 * Two threads, a ring of 1,024 descriptors, every word written and read; main's clock over all of it, several runs.
 *
 * Recorded 2026-11, Node 20.20, a shared virtual machine whose 2 CPUs had other work, so by the fastest of 7 runs and as an upper
 * bound only; ns a descriptor: 411 in bursts of 1, 241 of 16, 100 of 64. To be measured again on CPUs of one's own.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { DESC_WORDS, ringWords } from '../src/rings/layout.ts';
import { formatRing, RingConsumer, RingProducer } from '../src/rings/spsc.ts';
import { environment, row } from './environment.ts';

const CAPACITY = 1024;
const RUNS = Number(process.env.BENCH_RUNS ?? 7);
const SLOTS = Number(process.env.BENCH_SLOTS ?? 2_000_000);

interface Job {
  block: SharedArrayBuffer;
  side: 'producer' | 'consumer';
  burst: number;
}

/** Spins before it lets the other thread have the CPU: with a CPU each nobody ever does. */
const SPINS = 10_000;
const nap = new Int32Array(new SharedArrayBuffer(4));

function produce(ring: RingProducer, burst: number): number {
  let sent = 0;
  let empty = 0;
  while (sent < SLOTS) {
    const n = ring.room(Math.min(burst, SLOTS - sent));
    for (let i = 0; i < n; i++) {
      const s = ring.slot(0);
      for (let w = 0; w < DESC_WORDS; w++) ring.words[s + w] = (sent + i) ^ w;
      ring.put(1);
    }
    ring.flush();
    sent += n;
    empty = n === 0 ? empty + 1 : 0;
    if (empty >= SPINS) Atomics.wait(nap, 0, 0, 0.05);
  }
  return sent;
}

function consume(ring: RingConsumer, burst: number): number {
  let got = 0;
  let empty = 0;
  let wrong = 0;
  while (got < SLOTS) {
    const n = Math.min(ring.ready(), burst);
    for (let i = 0; i < n; i++) {
      const s = ring.slot(0);
      for (let w = 0; w < DESC_WORDS; w++) wrong |= ring.words[s + w]! ^ (got + i) ^ w;
      ring.take(1);
    }
    ring.flush();
    got += n;
    empty = n === 0 ? empty + 1 : 0;
    if (empty >= SPINS) Atomics.wait(nap, 0, 0, 0.05);
  }
  if (wrong !== 0) throw new Error('a descriptor arrived that was not sent');
  return got;
}

function thread({ block, side, burst }: Job): void {
  const words = new Int32Array(block);
  const ring = side === 'producer' ? new RingProducer(words, 0) : new RingConsumer(words, 0);
  parentPort!.postMessage('up');
  parentPort!.once('message', () => {
    const begin = performance.timeOrigin + performance.now();
    if (ring instanceof RingProducer) produce(ring, burst);
    else consume(ring, burst);
    parentPort!.postMessage({ begin, end: performance.timeOrigin + performance.now() });
  });
}

/** Nanoseconds a descriptor of one run: from the earlier begin to the later end. */
async function once(burst: number): Promise<number> {
  const block = new SharedArrayBuffer(ringWords(CAPACITY, DESC_WORDS) * 4);
  formatRing(new Int32Array(block), 0, CAPACITY, DESC_WORDS);
  const sides = (['consumer', 'producer'] as const).map(
    (side) => new Worker(new URL(import.meta.url), { workerData: { block, side, burst } }),
  );
  const next = (t: Worker): Promise<unknown> => new Promise((done, fail) => t.once('message', done).once('error', fail));
  await Promise.all(sides.map(next));
  const results = sides.map(next) as Promise<{ begin: number; end: number }>[];
  for (const t of sides) t.postMessage('go');
  const times = await Promise.all(results);
  await Promise.all(sides.map((t) => t.terminate()));
  return ((Math.max(...times.map((t) => t.end)) - Math.min(...times.map((t) => t.begin))) * 1e6) / SLOTS;
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

async function main(): Promise<void> {
  process.stdout.write(`${environment(`ns a descriptor between two threads, ring of ${CAPACITY}, ${RUNS} runs of ${SLOTS}`)}\n`);
  process.stdout.write(`${row(['', 'median', 'spread (MAD)', 'fastest'])}\n`);
  for (const burst of [1, 16, 64]) {
    const all: number[] = [];
    for (let i = 0; i < RUNS; i++) all.push(await once(burst));
    const m = median(all);
    const mad = median(all.map((x) => Math.abs(x - m)));
    process.stdout.write(`${row([`bursts of ${burst}`, m.toFixed(1), mad.toFixed(1), Math.min(...all).toFixed(1)])}\n`);
  }
}

if (isMainThread) await main();
else thread(workerData as Job);
