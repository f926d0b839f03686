/**
 * Taking over one side of a ring whose thread has ended, at whatever instant. The other side lives on and notices nothing.
 *
 * A thread can be ended between any two statements, but what it had written until then is there for whoever has seen it
 * end. A producer writes the slot, `offer`s it, changes the frame's owner, `put`s it; so every slot between the published
 * tail and `offered` is whole, and only its frame's owner may be half changed: the heir changes it again and publishes. A
 * consumer says `claiming`, changes the owner, says `claimed`; so the heir goes on behind `claimed`, and at most one slot
 * before it is half taken: when the two words differ.
 */
import { RingConsumer } from './spsc.ts';
import { RING_CAPACITY, RING_CLAIMED, RING_CLAIMING, RING_HEAD, RING_OFFERED, RING_SLOT_WORDS, RING_SLOTS, RING_TAIL } from './layout.ts';

/** Word index of the slot that free-running `index` names. */
export const slotWord = (words: Int32Array, at: number, index: number): number =>
  at + RING_SLOTS + (index & (words[at + RING_CAPACITY]! - 1)) * words[at + RING_SLOT_WORDS]!;

/**
 * The producer of the ring at word `at` has died: `finish` is called with the word of each slot it had offered and not
 * published, in order, and must make its frame the ring's; then they are published. Returns how many. The bell is the
 * caller's to ring. Only for rings whose producer says `offer`.
 */
export function succeedProducer(words: Int32Array, at: number, finish: (slot: number) => void): number {
  const tail = Atomics.load(words, at + RING_TAIL);
  const n = (words[at + RING_OFFERED]! - tail) | 0;
  if (n <= 0) return 0;
  for (let i = 0; i < n; i++) finish(slotWord(words, at, (tail + i) | 0));
  Atomics.store(words, at + RING_TAIL, (tail + n) | 0);
  return n;
}

/**
 * The consumer of the ring at word `at` has died: what it had claimed is taken, for good; `settle` is called with the word
 * of the one slot it was claiming when it died, if there is one. Only for rings whose consumer says `claiming`.
 */
export function succeedConsumer(words: Int32Array, at: number, settle: (slot: number) => void): void {
  const head = Atomics.load(words, at + RING_HEAD);
  const claiming = words[at + RING_CLAIMING]!;
  let taken = words[at + RING_CLAIMED]!;
  if (claiming !== taken && ((claiming - head) | 0) > 0) {
    settle(slotWord(words, at, (claiming - 1) | 0));
    taken = claiming;
    words[at + RING_CLAIMED] = claiming;
  }
  if (((taken - head) | 0) > 0) Atomics.store(words, at + RING_HEAD, taken);
}

/**
 * Nobody else reads the ring at word `at` any more: this side takes all that stands in it. `each` is called with the word of every
 * slot, in order. A producer that lives on must have flushed.
 */
export function drainRing(words: Int32Array, at: number, each: (slot: number) => void): void {
  const ring = new RingConsumer(words, at);
  for (let n = ring.readyNow(); n > 0; n--) {
    each(ring.slot(0));
    ring.take(1);
  }
  ring.flush();
}

/** The consumer has died and what the ring holds is found otherwise (by owner): it is empty from here on. */
export function emptyRing(words: Int32Array, at: number): void {
  Atomics.store(words, at + RING_HEAD, Atomics.load(words, at + RING_TAIL));
}
