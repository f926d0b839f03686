/**
 * Single-producer single-consumer rings in shared memory. Wait-free, burst-only, never allocates.
 *
 *   producer: room(n) → write slots at slot(i) with plain stores → put(n) ... → flush()
 *   consumer: ready() → read slots at slot(i) → take(n) ... → flush()
 *
 * `put` and `take` move the private index; it reaches the other side with one `Atomics.store` at least every
 * PUBLISH_EVERY slots and at `flush()`, which a thread calls when its breath ends. Each side caches the other's
 * index and reloads it only when the cache says full or empty. No single-element push exists.
 *
 * Where one side may die alone and the frames of the ring live on, it also leaves a trace of each hand-over for its heir:
 * `offer` between writing the slot and changing the frame's owner, `claiming` and `claimed` around taking it (succession.ts).
 */
import * as layoutNumbers from './layout.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { PUBLISH_EVERY, RING_CAPACITY, RING_CLAIMED, RING_CLAIMING, RING_HEAD, RING_OFFERED, RING_SLOT_WORDS, RING_SLOTS, RING_TAIL } =
  layoutNumbers;

/** Formats a ring at word `at` of `words`. Main only, before it is shared. `capacity` must be a power of two. */
export function formatRing(words: Int32Array, at: number, capacity: number, slotWords: number): void {
  if (capacity < 2 || (capacity & (capacity - 1)) !== 0) throw new RangeError(`ring capacity ${capacity} is not a power of two`);
  words[at + RING_TAIL] = 0;
  words[at + RING_HEAD] = 0;
  words[at + RING_CAPACITY] = capacity;
  words[at + RING_SLOT_WORDS] = slotWords;
}

export class RingProducer {
  readonly words: Int32Array;
  readonly capacity: number;
  readonly slotWords: number;
  /** Word index of the ring in `words`. */
  readonly base: number;
  private readonly slotsAt: number;
  private readonly mask: number;
  private tail: number;
  private published: number;
  /** The index when `flush` was last called: what `put` has published since is news, too. */
  private flushed: number;
  private headCached: number;
  /** Index stores so far: at most one per PUBLISH_EVERY slots plus one a flush. */
  publishes = 0;
  /** Slots put, counted at each flush. */
  slots = 0;
  /** Most slots ever seen occupied when room was asked for. */
  highWater = 0;

  constructor(words: Int32Array, at: number) {
    this.words = words;
    this.base = at;
    this.capacity = words[at + RING_CAPACITY]!;
    this.slotWords = words[at + RING_SLOT_WORDS]!;
    this.slotsAt = at + RING_SLOTS;
    this.mask = this.capacity - 1;
    this.tail = Atomics.load(words, at + RING_TAIL);
    this.published = this.tail;
    this.flushed = this.tail;
    this.headCached = Atomics.load(words, at + RING_HEAD);
  }

  // hot: per burst
  /** Free slots, up to `want`; reloads the consumer's index only when the cached one does not give `want`. */
  room(want: number): number {
    let free = this.capacity - ((this.tail - this.headCached) | 0);
    if (free < want) {
      this.headCached = Atomics.load(this.words, this.base + RING_HEAD);
      free = this.capacity - ((this.tail - this.headCached) | 0);
      const used = this.capacity - free;
      if (used > this.highWater) this.highWater = used;
    }
    return free < want ? free : want;
  }

  // hot: per packet
  /** Word index of the i-th slot not yet put. */
  slot(i: number): number {
    return this.slotsAt + ((this.tail + i) & this.mask) * this.slotWords;
  }

  // hot: per packet
  /** Slot 0 is written; its frame is about to become the ring's. `put(1)` follows. */
  offer(): void {
    this.words[this.base + RING_OFFERED] = (this.tail + 1) | 0;
  }

  /** Index behind the last slot put. */
  get index(): number {
    return this.tail;
  }

  // hot: per packet
  /** The next `n` slots are written. */
  put(n: number): void {
    this.tail = (this.tail + n) | 0;
    if (((this.tail - this.published) | 0) >= PUBLISH_EVERY) this.publish();
  }

  // hot: per burst
  /** Publishes what `put` has held back. Returns whether anything became visible since the last call: then a bell is due. */
  flush(): boolean {
    if (this.tail === this.flushed) return false;
    this.slots += (this.tail - this.flushed) | 0;
    this.flushed = this.tail;
    if (this.tail !== this.published) this.publish();
    return true;
  }

  private publish(): void {
    const used = (this.tail - this.headCached) | 0;
    if (used > this.highWater) {
      // The cached head may be old: look again before recording a high water that never was.
      this.headCached = Atomics.load(this.words, this.base + RING_HEAD);
      const now = (this.tail - this.headCached) | 0;
      if (now > this.highWater) this.highWater = now;
    }
    this.published = this.tail;
    this.publishes++;
    Atomics.store(this.words, this.base + RING_TAIL, this.tail);
  }

  /** Slots occupied as this side knows it: exact only when the consumer is still. */
  used(): number {
    return (this.tail - Atomics.load(this.words, this.base + RING_HEAD)) | 0;
  }
}

export class RingConsumer {
  readonly words: Int32Array;
  readonly capacity: number;
  readonly slotWords: number;
  /** Word index of the ring in `words`. */
  readonly base: number;
  private readonly slotsAt: number;
  private readonly mask: number;
  private head: number;
  private published: number;
  private flushed: number;
  private tailCached: number;
  publishes = 0;
  /** Slots taken, counted at each flush. */
  slots = 0;

  constructor(words: Int32Array, at: number) {
    this.words = words;
    this.base = at;
    this.capacity = words[at + RING_CAPACITY]!;
    this.slotWords = words[at + RING_SLOT_WORDS]!;
    this.slotsAt = at + RING_SLOTS;
    this.mask = this.capacity - 1;
    this.head = Atomics.load(words, at + RING_HEAD);
    this.published = this.head;
    this.flushed = this.head;
    this.tailCached = Atomics.load(words, at + RING_TAIL);
  }

  // hot: per burst
  /** Slots ready to read, from the cached producer index; reloads it when the cache is empty. */
  ready(): number {
    let n = (this.tailCached - this.head) | 0;
    if (n === 0) {
      this.tailCached = Atomics.load(this.words, this.base + RING_TAIL);
      n = (this.tailCached - this.head) | 0;
    }
    return n;
  }

  // hot: per burst
  /** Slots ready after a forced reload: the last look before sleeping. */
  readyNow(): number {
    this.tailCached = Atomics.load(this.words, this.base + RING_TAIL);
    return (this.tailCached - this.head) | 0;
  }

  // hot: per packet
  /** Word index of the i-th slot not yet taken. */
  slot(i: number): number {
    return this.slotsAt + ((this.head + i) & this.mask) * this.slotWords;
  }

  // hot: per packet
  /** The frame of the i-th slot is about to become ours. */
  claiming(i: number): void {
    this.words[this.base + RING_CLAIMING] = (this.head + i + 1) | 0;
  }

  // hot: per packet
  /** It is, with all its links; or it was stale, and nobody's. */
  claimed(i: number): void {
    this.words[this.base + RING_CLAIMED] = (this.head + i + 1) | 0;
  }

  // hot: per packet
  /** The next `n` slots are read and may be overwritten. */
  take(n: number): void {
    this.head = (this.head + n) | 0;
    if (((this.head - this.published) | 0) >= PUBLISH_EVERY) {
      this.published = this.head;
      this.publishes++;
      Atomics.store(this.words, this.base + RING_HEAD, this.head);
    }
  }

  // hot: per burst
  flush(): void {
    this.slots += (this.head - this.flushed) | 0;
    this.flushed = this.head;
    if (this.head === this.published) return;
    this.published = this.head;
    this.publishes++;
    Atomics.store(this.words, this.base + RING_HEAD, this.head);
  }
}
