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
import { DESC_WORDS, KIND_RINGS, ringWords, writeHeader } from './layout.ts';
import { formatRing } from './spsc.ts';

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
