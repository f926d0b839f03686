/**
 * Single-producer single-consumer rings in shared memory. Wait-free, burst-only, never allocates.
 *
 *   producer: room(n) → write slots at slot(i) with plain stores → put(n) ... → flush()
 *   consumer: ready() → read slots at slot(i) → take(n) ... → flush()
 *
 * `put` and `take` move the private index; it reaches the other side with one `Atomics.store` at least every
 * PUBLISH_EVERY slots and at `flush()`, which a thread calls when its breath ends. A consumer that nobody waits for may
 * `ease()` instead: then an index that tells of room, not of news, waits for a breath in which nothing was taken. Each
 * side caches the other's index and reloads it only when the cache says full or empty. No single-element push exists.
 *
 * An atomic store waits until all earlier stores have reached memory, so it costs what the lines cost that another CPU had
 * (some 100 ns each), where a plain one does not wait: fewer of them is most of what a ring between threads can save. A ring
 * whose two ends stand on one thread (`local`) has none.
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
  private readonly local: boolean;
  /** Index stores so far: at most one per PUBLISH_EVERY slots plus one a flush. */
  publishes = 0;
  /** Slots put, counted at each flush. */
  slots = 0;
  /** Most slots ever seen occupied when room was asked for. */
  highWater = 0;

  /** `local`: the consumer is on this thread, too. */
  constructor(words: Int32Array, at: number, local = false) {
    this.local = local;
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
    if (this.local) this.words[this.base + RING_TAIL] = this.tail;
    else Atomics.store(this.words, this.base + RING_TAIL, this.tail);
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
  /** The published index when `ease` last told of it. */
  private told: number;
  private readonly local: boolean;
  publishes = 0;
  /** Slots taken, counted at each flush. */
  slots = 0;

  /** `local`: the producer is on this thread, too. */
  constructor(words: Int32Array, at: number, local = false) {
    this.local = local;
    this.words = words;
    this.base = at;
    this.capacity = words[at + RING_CAPACITY]!;
    this.slotWords = words[at + RING_SLOT_WORDS]!;
    this.slotsAt = at + RING_SLOTS;
    this.mask = this.capacity - 1;
    this.head = Atomics.load(words, at + RING_HEAD);
    this.published = this.head;
    this.flushed = this.head;
    this.told = this.head;
    this.tailCached = Atomics.load(words, at + RING_TAIL);
  }

  // hot: per burst
  /** Slots ready to read, from the cached producer index; reloads it when the cache is empty. */
  ready(): number {
    let n = (this.tailCached - this.head) | 0;
    // A plain look first: only an index that has moved is worth the call that orders what is read behind it.
    if (n === 0 && this.words[this.base + RING_TAIL] !== this.tailCached) {
      this.tailCached = this.local ? this.words[this.base + RING_TAIL]! : Atomics.load(this.words, this.base + RING_TAIL);
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
    if (((this.head - this.published) | 0) >= PUBLISH_EVERY) this.publish();
  }

  // hot: per burst
  flush(): void {
    this.slots += (this.head - this.flushed) | 0;
    this.flushed = this.head;
    if (this.head !== this.published) this.publish();
  }

  // hot: per burst
  /**
   * As `flush`, but fewer than a PUBLISH_EVERY taken since the index was last published (or a quarter of the ring) wait until
   * nothing more is taken. A thread has such a breath before it sleeps. Returns whether room became visible since the last call.
   */
  ease(): boolean {
    if (this.head === this.flushed || ((this.head - this.published) | 0) >= this.capacity >> 2) this.flush();
    else {
      this.slots += (this.head - this.flushed) | 0;
      this.flushed = this.head;
    }
    if (this.published === this.told) return false;
    this.told = this.published;
    return true;
  }

  private publish(): void {
    this.published = this.head;
    this.publishes++;
    if (this.local) this.words[this.base + RING_HEAD] = this.head;
    else Atomics.store(this.words, this.base + RING_HEAD, this.head);
  }
}
