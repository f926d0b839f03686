/**
 * What the brokers of one port's queues share (layout `run-to-completion`), beside the redirect rings between their workers:
 *
 *   broker a ── home (frame ids) ──▶ broker b       frames that were received on, or lent from, b's queue
 *   broker q ── host (descriptors) ▶ broker 0       ARP that came on another queue than the host state's
 *
 * A `home` ring holds every frame of the queue it leads to, so going home never fails.
 *
 * Block (words): header · a line a queue: word 0 not 0 when its broker is short of frames and sleeps, whoever sends frames home
 * rings then · a line whose word 0 is the lock of those who leave (queue + 1) · the rings.
 */
import { type FrameTable, settleFrame } from './frameTable.ts';
import { D_FRAME, DESC_WORDS, KIND_RINGS, OWNER_BROKER, OWNER_RING, ringWords, writeHeader } from './layout.ts';
import { formatRing } from './spsc.ts';
import { drainRing, succeedConsumer, succeedProducer } from './succession.ts';

export const HOST_QUEUE_SLOTS = 64;
const LINE = 32;

/** Structured-cloneable: the block, and where the rings stand in it (word index). */
export interface QueueRings {
  block: SharedArrayBuffer;
  queues: number;
  /** By queue: the first of its frames and how many. */
  first: number[];
  count: number[];
  /** [from * queues + to]; -1 on the diagonal. */
  home: number[];
  /** By queue; -1 for queue 0. */
  host: number[];
}

/** Word that says a queue's broker is short of frames; word of the leavers' lock. */
export const hungryWord = (queue: number): number => LINE + queue * LINE;
export const leavingWord = (queues: number): number => LINE + queues * LINE;

/** Makes and formats the block for queues that start with `count[i]` frames from `first[i]` on. Main only. */
export function createQueueRings(first: readonly number[], count: readonly number[]): QueueRings {
  const queues = first.length;
  let at = leavingWord(queues) + LINE;
  const place = (slots: number, words: number): number => {
    const here = at;
    at += ringWords(slots, words);
    return here;
  };
  const slots = count.map((n) => 2 ** Math.ceil(Math.log2(Math.max(2, n))));
  const home: number[] = [];
  for (let from = 0; from < queues; from++) for (let to = 0; to < queues; to++) home.push(from === to ? -1 : place(slots[to]!, 1));
  const host = first.map((_, q) => (q === 0 ? -1 : place(HOST_QUEUE_SLOTS, DESC_WORDS)));
  const block = new SharedArrayBuffer(at * 4);
  writeHeader(block, KIND_RINGS);
  const words = new Int32Array(block);
  home.forEach((ring, i) => {
    if (ring >= 0) formatRing(words, ring, slots[i % queues]!, 1);
  });
  for (const ring of host) if (ring >= 0) formatRing(words, ring, HOST_QUEUE_SLOTS, DESC_WORDS);
  return { block, queues, first: [...first], count: [...count], home, host };
}

/**
 * Takes the place of the dead broker of `queue` on these rings: what it was handing over is the others', what it was taking is
 * its own, to be swept with the rest; if it died leaving, somebody else may leave. Before the sweep, from one thread, when the
 * dead one's has ended.
 */
export function succeedQueue(rings: QueueRings, queue: number, frames: FrameTable): void {
  const words = new Int32Array(rings.block);
  const mine = OWNER_BROKER | frames.hostBits;
  Atomics.compareExchange(words, leavingWord(rings.queues), queue + 1, 0);
  for (let other = 0; other < rings.queues; other++) {
    if (other === queue) continue;
    succeedProducer(words, rings.home[queue * rings.queues + other]!, (s) => settleFrame(frames, words[s]!, OWNER_RING, 0));
    succeedConsumer(words, rings.home[other * rings.queues + queue]!, (s) => settleFrame(frames, words[s]!, mine, OWNER_RING));
    if (queue === 0) succeedConsumer(words, rings.host[other]!, (s) => settleFrame(frames, words[s + D_FRAME]!, mine, OWNER_RING));
  }
  if (queue > 0) succeedProducer(words, rings.host[queue]!, (s) => settleFrame(frames, words[s + D_FRAME]!, OWNER_RING, 0));
}

/** At the very end, when no thread runs: the frames between dead `queue` and the others, each handed to `free`. */
export function drainQueue(rings: QueueRings, queue: number, free: (frameId: number) => void): void {
  const words = new Int32Array(rings.block);
  const drain = (at: number): void => drainRing(words, at, (s) => free(words[s + D_FRAME]!));
  for (let other = 0; other < rings.queues; other++) {
    if (other === queue) continue;
    drain(rings.home[queue * rings.queues + other]!);
    drain(rings.home[other * rings.queues + queue]!);
    if (queue === 0) drain(rings.host[other]!);
  }
  if (queue > 0) drain(rings.host[queue]!);
}
