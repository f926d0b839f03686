/** One side of a ring: the producer numbers its slots, the consumer checks every word of every one. */
import { RingConsumer, RingProducer } from '../../../src/rings/spsc.ts';
import { answer, bits31, given, pinThread, yieldThread } from './threads.ts';

export interface SpscJob {
  block: SharedArrayBuffer;
  at: number;
  side: 'producer' | 'consumer';
  slots: number;
  seed: number;
  cpu: number;
  /** Slots a burst has at most. */
  burst: number;
}

export interface SpscResult {
  pinned: boolean;
  slots: number;
  publishes: number;
  flushes: number;
  highWater: number;
  /** Index of the first wrong slot, -1 when all were right. */
  wrongAt: number;
  checksum: number;
}

/** Word `w` of slot number `i`. */
const word = (i: number, w: number): number => Math.imul(i ^ (w * 0x9e3779b1), 0x85ebca6b) ^ (i << w);

function produce(job: SpscJob, r: SpscResult): void {
  const ring = new RingProducer(new Int32Array(job.block), job.at);
  const random = bits31(job.seed);
  while (r.slots < job.slots) {
    const n = ring.room(Math.min(1 + (random() % job.burst), job.slots - r.slots));
    if (n === 0) {
      if (ring.flush()) r.flushes++;
      yieldThread();
      continue;
    }
    for (let i = 0; i < n; i++) {
      const s = ring.slot(0);
      for (let w = 0; w < ring.slotWords; w++) {
        const value = word(r.slots, w);
        ring.words[s + w] = value;
        r.checksum = (Math.imul(r.checksum, 31) + value) | 0;
      }
      ring.put(1);
      r.slots++;
    }
    if (random() % 4 === 0 && ring.flush()) r.flushes++;
  }
  if (ring.flush()) r.flushes++;
  r.publishes = ring.publishes;
  r.highWater = ring.highWater;
}

function consume(job: SpscJob, r: SpscResult): void {
  const ring = new RingConsumer(new Int32Array(job.block), job.at);
  const random = bits31(job.seed + 1);
  while (r.slots < job.slots) {
    let n = ring.ready();
    if (n === 0) {
      ring.flush();
      r.flushes++;
      yieldThread();
      continue;
    }
    n = Math.min(n, 1 + (random() % job.burst));
    for (let i = 0; i < n; i++) {
      const s = ring.slot(i);
      for (let w = 0; w < ring.slotWords; w++) {
        const value = ring.words[s + w]!;
        if (value !== word(r.slots + i, w) && r.wrongAt < 0) r.wrongAt = r.slots + i;
        r.checksum = (Math.imul(r.checksum, 31) + value) | 0;
      }
    }
    ring.take(n);
    r.slots += n;
    if (random() % 4 === 0) {
      ring.flush();
      r.flushes++;
    }
  }
  ring.flush();
  r.flushes++;
  r.publishes = ring.publishes;
}

const job = given<SpscJob>();
const result: SpscResult = { pinned: pinThread(job.cpu), slots: 0, publishes: 0, flushes: 0, highWater: 0, wrongAt: -1, checksum: 0 };
if (job.side === 'producer') produce(job, result);
else consume(job, result);
answer(result);
