/**
 * A bad link, seeded: loss, delay with jitter, reordering, duplication, corruption, rate. It stands in the receiving half
 * of a switch port. Each kind of accident has a generator of its own, drawn once for every frame that gets that far: the same
 * frames at the same times meet the same fate for the same seed. A train counts as one frame.
 *
 *   frame → rate (queue bound) → loss → duplicate → corrupt → delay queue → reorder → out
 *
 * The delay queue keeps order: jitter stretches it, only `reorder` makes a frame arrive after later ones.
 */
import * as dropReasons from '../rings/drops.ts';
import type { FrameTable } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { copyFrame, payloadOffset } from './frameCopy.ts';
import type { FrameSource } from './frameCopy.ts';
import { completeChecksum } from './partialChecksum.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DROP_IMPAIRMENT } = dropReasons;
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_HASH, D_OFFSETS, D_TOTAL, DESC_WORDS, F_CSUM_PARTIAL, F_MULTICAST, F_TRAIN, F_VLAN } =
  layoutNumbers;

export interface Impairment {
  /** Any integer; the port's index is mixed in, so that two directions do not lose in step. Default 1. */
  seed?: number;
  /** Probabilities 0..1, default 0. */
  loss?: number;
  duplicate?: number;
  /** One random bit of the frame is flipped; nobody vouches for its checksums any more. */
  corrupt?: number;
  /** A frame is held until 1..reorderGap later ones have gone past, or reorderHoldUs have passed. */
  reorder?: number;
  /** Default 3. */
  reorderGap?: number;
  /** Microseconds, default 5000. */
  reorderHoldUs?: number;
  /** Microseconds each frame is on its way, plus or minus up to jitterUs. */
  delayUs?: number;
  jitterUs?: number;
  /** Bits per second of frames from the Ethernet header on; 0 (default) no limit. */
  rateBps?: number;
  /** Bytes that may wait for the rate; more are dropped. Default 262144. */
  queueBytes?: number;
  /** Bytes that pass at once after a pause (token bucket). Default 3028. */
  burstBytes?: number;
}

const CHANCES = ['loss', 'duplicate', 'corrupt', 'reorder'] as const;
const AMOUNTS = ['reorderGap', 'reorderHoldUs', 'delayUs', 'jitterUs', 'rateBps', 'queueBytes', 'burstBytes'] as const;

/** Throws RangeError naming the value that cannot be. */
export function checkImpairment(c: Impairment): void {
  for (const k of CHANCES) {
    const p = c[k];
    if (p !== undefined && !(p >= 0 && p <= 1)) throw new RangeError(`impairment: ${k} is ${p}, a probability is 0..1`);
  }
  for (const k of AMOUNTS) {
    const v = c[k];
    if (v !== undefined && !(v >= 0 && v <= 2 ** 40)) throw new RangeError(`impairment: ${k} is ${v}, must not be negative`);
  }
}

/** Whether anything is configured at all. */
export function impairs(c: Impairment): boolean {
  return [...CHANCES, 'delayUs' as const, 'jitterUs' as const, 'rateBps' as const].some((k) => (c[k] ?? 0) > 0);
}

/** A small seeded generator (32-bit state through a Weyl sequence and a finalizer of xorshifts and multiplications). */
export class SeededRandom {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  // hot: per packet
  /** 32 random bits as int32. */
  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return x ^ (x >>> 15);
  }

  // hot: per packet
  /** 0 ≤ result < n, n up to 2^31 - 1. */
  below(n: number): number {
    return Math.floor(((this.next() >>> 1) / 0x80000000) * n);
  }
}

/** One kind of accident: its own generator, and the limit below which a draw means "yes". */
class Chance {
  readonly random: SeededRandom;
  private readonly limit: number;
  hits = 0;

  constructor(seed: number, probability: number) {
    this.random = new SeededRandom(seed);
    this.limit = Math.round(probability * 2 ** 32) - 2 ** 31;
  }

  // hot: per packet
  happens(): boolean {
    if (this.random.next() >= this.limit) return false;
    this.hits++;
    return true;
  }
}

/** What a link needs of its port. */
export interface LinkOwner extends FrameSource {
  freeTrain(frameId: number): void;
  readonly drops: Int32Array;
}

const HOLDS = 64;
const NOW = 0;
const NEXT_FREE = 1;

export class Link {
  readonly loss: Chance;
  readonly duplicate: Chance;
  readonly corrupt: Chance;
  readonly reorder: Chance;
  /** Frames dropped because the rate's queue was full. */
  overflows = 0;
  /** Duplicates made: fewer than `duplicate.hits` when frames were short. */
  copies = 0;
  private readonly frames: FrameTable;
  private readonly owner: LinkOwner;
  private readonly jitter: SeededRandom;
  private readonly delayUs: number;
  private readonly jitterUs: number;
  private readonly gap: number;
  private readonly holdUs: number;
  private readonly usPerByte: number;
  private readonly queueUs: number;
  private readonly burstUs: number;
  /** Unwrapped microseconds as doubles: now, and when the rate is free again. */
  private readonly clock = new Float64Array(2);
  private readonly queue: Int32Array;
  private readonly dueAt: Float64Array;
  private readonly mask: number;
  private head = 0;
  private count = 0;
  private readonly held_ = new Int32Array(HOLDS * DESC_WORDS);
  private readonly heldFor = new Int32Array(HOLDS);
  private readonly heldUntil = new Float64Array(HOLDS);
  private holds = 0;

  constructor(frames: FrameTable, c: Impairment, port: number, owner: LinkOwner) {
    this.frames = frames;
    this.owner = owner;
    const seeds = new SeededRandom(Math.imul((c.seed ?? 1) ^ 0x5bd1e995, 0x2545f491) + Math.imul(port + 1, 0x632be5ab));
    this.loss = new Chance(seeds.next(), c.loss ?? 0);
    this.duplicate = new Chance(seeds.next(), c.duplicate ?? 0);
    this.corrupt = new Chance(seeds.next(), c.corrupt ?? 0);
    this.reorder = new Chance(seeds.next(), c.reorder ?? 0);
    this.jitter = new SeededRandom(seeds.next());
    this.delayUs = c.delayUs ?? 0;
    this.jitterUs = c.jitterUs ?? 0;
    this.gap = Math.max(1, c.reorderGap ?? 3);
    this.holdUs = c.reorderHoldUs ?? 5000;
    const rate = c.rateBps ?? 0;
    this.usPerByte = rate > 0 ? 8e6 / rate : 0;
    this.queueUs = (c.queueBytes ?? 262144) * this.usPerByte;
    this.burstUs = (c.burstBytes ?? 3028) * this.usPerByte;
    this.clock[NEXT_FREE] = Number.NEGATIVE_INFINITY;
    // Every frame of the region may wait here: the queue cannot overflow.
    const slots = 2 ** Math.ceil(Math.log2(frames.frames + 1));
    this.queue = new Int32Array(slots * DESC_WORDS);
    this.dueAt = new Float64Array(slots);
    this.mask = slots - 1;
  }

  // hot: per burst
  advance(elapsedUs: number): void {
    this.clock[NOW]! += elapsedUs;
  }

  // hot: per packet
  /** A received frame enters: the descriptor at `d` of `words` (validated, owned, free to be changed). */
  accept(words: Int32Array, d: number): void {
    if (this.usPerByte > 0 && !this.pace(words[d + D_TOTAL]!)) {
      this.overflows++;
      this.owner.drops[DROP_IMPAIRMENT]!++;
      this.owner.freeTrain(words[d + D_FRAME]!);
      return;
    }
    if (this.loss.happens()) {
      this.owner.drops[DROP_IMPAIRMENT]!++;
      this.owner.freeTrain(words[d + D_FRAME]!);
      return;
    }
    const twice = this.duplicate.happens();
    const at = this.enqueue(words, d);
    if (twice && copyFrame(this.frames, words, d, this.queue, ((this.head + this.count) & this.mask) * DESC_WORDS, this.owner)) {
      this.copies++;
      this.enqueued();
    }
    if (this.corrupt.happens()) this.flip(this.queue, at);
  }

  /** Takes the rate's next turn for a frame; false when too many bytes wait already. */
  private pace(bytes: number): boolean {
    const clock = this.clock;
    const now = clock[NOW]!;
    if (clock[NEXT_FREE]! - now > this.queueUs) return false;
    clock[NEXT_FREE] = Math.max(clock[NEXT_FREE]!, now - this.burstUs) + bytes * this.usPerByte;
    return true;
  }

  // hot: per packet
  private enqueue(words: Int32Array, d: number): number {
    const at = ((this.head + this.count) & this.mask) * DESC_WORDS;
    for (let w = 0; w < DESC_WORDS; w++) this.queue[at + w] = words[d + w]!;
    this.enqueued();
    return at;
  }

  // hot: per packet
  private enqueued(): void {
    const clock = this.clock;
    let due = clock[NOW]! + this.delayUs;
    if (this.usPerByte > 0 && clock[NEXT_FREE]! > clock[NOW]!) due += clock[NEXT_FREE]! - clock[NOW]!;
    if (this.jitterUs > 0) due += this.jitter.below(2 * this.jitterUs + 1) - this.jitterUs;
    // One that is due before the frame in front of it waits for that one: the queue is first in, first out.
    this.dueAt[(this.head + this.count) & this.mask] = due;
    this.count++;
  }

  // hot: per burst
  /** Writes descriptors that are due, up to `max`, at word `at` of `desc`. */
  release(desc: Int32Array, at: number, max: number): number {
    let n = 0;
    while (n < max) {
      if (this.holds > 0 && this.releaseHeld(desc, at + n * DESC_WORDS)) {
        n++;
        continue;
      }
      if (this.count === 0 || this.dueAt[this.head]! > this.clock[NOW]!) break;
      const from = this.head * DESC_WORDS;
      this.head = (this.head + 1) & this.mask;
      this.count--;
      if (this.reorder.happens() && this.holds < HOLDS) {
        this.hold(from);
        continue;
      }
      for (let w = 0; w < DESC_WORDS; w++) desc[at + n * DESC_WORDS + w] = this.queue[from + w]!;
      for (let h = 0; h < this.holds; h++) this.heldFor[h]!--;
      n++;
    }
    return n;
  }

  private hold(from: number): void {
    const h = this.holds++;
    for (let w = 0; w < DESC_WORDS; w++) this.held_[h * DESC_WORDS + w] = this.queue[from + w]!;
    this.heldFor[h] = 1 + this.reorder.random.below(this.gap);
    this.heldUntil[h] = this.clock[NOW]! + this.holdUs;
  }

  /** Writes the first held frame whose time has come. */
  private releaseHeld(desc: Int32Array, at: number): boolean {
    for (let h = 0; h < this.holds; h++) {
      if (this.heldFor[h]! > 0 && this.heldUntil[h]! > this.clock[NOW]!) continue;
      for (let w = 0; w < DESC_WORDS; w++) desc[at + w] = this.held_[h * DESC_WORDS + w]!;
      this.held_.copyWithin(h * DESC_WORDS, (h + 1) * DESC_WORDS, this.holds * DESC_WORDS);
      this.heldFor.copyWithin(h, h + 1, this.holds);
      this.heldUntil.copyWithin(h, h + 1, this.holds);
      this.holds--;
      return true;
    }
    return false;
  }

  /** Flips one bit anywhere in the frame; a checksum left to others is completed first, so that the flip can be seen. */
  private flip(words: Int32Array, d: number): void {
    const t = this.frames;
    if ((words[d + D_FLAGS_GSO]! & F_CSUM_PARTIAL) !== 0) completeChecksum(t, words, d);
    const data = words[d + D_DATA]!;
    const bit = this.corrupt.random.below(words[d + D_TOTAL]! * 8);
    let byte = bit >> 3;
    let f = words[d + D_FRAME]!;
    let start = data >>> 16;
    let bytes = data & 0xffff;
    while (byte >= bytes && t.next[f]! >= 0 && (words[d + D_FLAGS_GSO]! & F_TRAIN) !== 0) {
      byte -= bytes;
      f = t.next[f]!;
      start = payloadOffset(words, d);
      bytes = t.length[f]!;
    }
    t.u8[t.offset[f]! + start + byte]! ^= 1 << (bit & 7);
    words[d + D_FLAGS_GSO] = words[d + D_FLAGS_GSO]! & (0xffff0000 | F_TRAIN | F_VLAN | F_MULTICAST);
    words[d + D_OFFSETS] = 0;
    words[d + D_HASH] = 0;
  }

  /** Frames inside. */
  held(): number {
    return this.count + this.holds;
  }

  // hot: per burst
  /** Microseconds from now until something is due (0: now), or -1 when nothing waits. */
  dueInUs(): number {
    if (this.count === 0 && this.holds === 0) return -1;
    let due = this.count > 0 ? this.dueAt[this.head]! : Number.POSITIVE_INFINITY;
    for (let h = 0; h < this.holds; h++) {
      if (this.heldFor[h]! <= 0) return 0;
      if (this.heldUntil[h]! < due) due = this.heldUntil[h]!;
    }
    return Math.max(0, Math.ceil(due - this.clock[NOW]!));
  }

  /** Gives every frame inside back. */
  drain(): void {
    for (; this.count > 0; this.count--) {
      this.owner.freeTrain(this.queue[this.head * DESC_WORDS + D_FRAME]!);
      this.head = (this.head + 1) & this.mask;
    }
    for (; this.holds > 0; this.holds--) this.owner.freeTrain(this.held_[(this.holds - 1) * DESC_WORDS + D_FRAME]!);
  }
}
