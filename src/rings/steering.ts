/**
 * Which worker a flow belongs to: shared tables, read by the dispatcher for every frame and by `connect()` when it picks
 * a source port. A frame is placed by its local port's worker list if there is one, else by the indirection table (RETA)
 * or, with `steering: modulo`, by hash % workers, the hash read as unsigned.
 *
 * Block (words from its base): 0 workers · 1 mode · 2 epoch (bumped at every change) · 3 lock: who writes, worker + 1
 * · 32.. RETA (512)
 * · then per protocol (TCP, UDP) 65536 entries of 4 words: worker mask lo, hi, and the mask before the last change lo, hi
 * · then per protocol 65536 bits: the port is one worker's alone (`claim`).
 *
 * A mask names the workers that serve a local port. Its k-th set bit (k = hash % bits) is the owner, so that both
 * directions of a flow and every one of its frames agree. When a mask changes, flows that already live elsewhere miss at
 * the new worker, which redirects them to the owner under the previous mask.
 */
import * as layoutNumbers from './layout.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { MAX_WORKERS, RETA_SIZE } = layoutNumbers;

export const STEER_RETA = 0;
export const STEER_MODULO = 1;

const S_WORKERS = 0;
const S_MODE = 1;
const S_EPOCH = 2;
const S_LOCK = 3;
const S_RETA = 32;
const S_PORTS = S_RETA + RETA_SIZE;
const ENTRY = 4;

const S_CLAIMED = S_PORTS + 2 * 65536 * ENTRY;
const CLAIMED_WORDS = 65536 >> 5;

export const STEERING_BYTES = (S_CLAIMED + 2 * CLAIMED_WORDS) * 4;

export const STEER_TCP = 0;
export const STEER_UDP = 1;

/** 65536 % n by n: what the high half of a hash weighs in the modulo below. */
const HIGH_WEIGHT = Int32Array.from({ length: MAX_WORKERS + 1 }, (_, n) => (n === 0 ? 0 : 65536 % n));

// hot: per packet
/** hash % n of the hash as an unsigned 32-bit number, n 1..MAX_WORKERS, in small integers only (the products stay below 2^22). */
export function hashModulo(hash: number, n: number): number {
  return ((hash >>> 16) * HIGH_WEIGHT[n]! + (hash & 0xffff)) % n;
}

export class Steering {
  private readonly words: Int32Array;
  private readonly at: number;
  readonly workers: number;
  private readonly modulo: boolean;

  /** `at`: byte offset of the steering block in the control block. */
  constructor(block: SharedArrayBuffer, at: number) {
    this.words = new Int32Array(block, 0, block.byteLength >> 2);
    this.at = at >> 2;
    this.workers = this.words[this.at + S_WORKERS]!;
    this.modulo = this.words[this.at + S_MODE] === STEER_MODULO;
  }

  /** Main only: an even RETA over `workers`. */
  static format(block: SharedArrayBuffer, at: number, workers: number, mode: number): void {
    if (workers < 1 || workers > MAX_WORKERS) throw new RangeError(`workers ${workers} is not in 1..${MAX_WORKERS}`);
    const w = new Int32Array(block, at, STEERING_BYTES >> 2);
    w[S_WORKERS] = workers;
    w[S_MODE] = mode;
    for (let i = 0; i < RETA_SIZE; i++) w[S_RETA + i] = i % workers;
  }

  // hot: per packet
  /** Worker of a frame whose flow hash is `hash` and whose local port is `port` (0 when there is none). */
  owner(proto: number, hash: number, port: number): number {
    const words = this.words;
    const e = this.at + S_PORTS + ((proto << 16) + port) * ENTRY;
    const lo = words[e]!;
    const hi = words[e + 1]!;
    if ((lo | hi) !== 0) return pick(lo, hi, hash);
    return this.byHash(hash);
  }

  // hot: per packet
  byHash(hash: number): number {
    return this.modulo ? hashModulo(hash, this.workers) : this.words[this.at + S_RETA + (hash & (RETA_SIZE - 1))]!;
  }

  /** Owner under the mask before the last change of that port, or -1 when it never changed. */
  ownerBefore(proto: number, hash: number, port: number): number {
    const e = this.at + S_PORTS + ((proto << 16) + port) * ENTRY;
    const now = this.words[e]! | this.words[e + 1]!;
    const lo = this.words[e + 2]!;
    const hi = this.words[e + 3]!;
    if ((lo | hi) !== 0) return pick(lo, hi, hash);
    return now !== 0 ? this.byHash(hash) : -1;
  }

  /** Worker `worker` begins (`on`) or ends to serve a local port. That worker's thread; its heir when it is dead. */
  serve(proto: number, port: number, worker: number, on: boolean): void {
    this.lock(worker);
    this.change(proto, port, worker, on);
    if (!on) Atomics.and(this.words, this.claimWord(proto, port), ~(1 << (port & 31)));
    this.unlock(worker);
  }

  /** Makes a port that nobody serves this worker's alone, until it ends to serve it. False when somebody serves it. */
  claim(proto: number, port: number, worker: number): boolean {
    this.lock(worker);
    const free = !this.served(proto, port);
    if (free) {
      Atomics.or(this.words, this.claimWord(proto, port), 1 << (port & 31));
      this.change(proto, port, worker, true);
    }
    this.unlock(worker);
    return free;
  }

  /** `serve(…, true)`, unless the port is another worker's alone: then false. */
  share(proto: number, port: number, worker: number): boolean {
    this.lock(worker);
    // A claim may have outlived its worker: without a server it says nothing.
    if (!this.served(proto, port)) Atomics.and(this.words, this.claimWord(proto, port), ~(1 << (port & 31)));
    const mayServe = !this.claimed(proto, port) || this.serves(proto, port, worker);
    if (mayServe) this.change(proto, port, worker, true);
    this.unlock(worker);
    return mayServe;
  }

  /** Whether the port is one worker's alone. */
  claimed(proto: number, port: number): boolean {
    return this.served(proto, port) && (Atomics.load(this.words, this.claimWord(proto, port)) & (1 << (port & 31))) !== 0;
  }

  private claimWord(proto: number, port: number): number {
    return this.at + S_CLAIMED + proto * CLAIMED_WORDS + (port >> 5);
  }

  private lock(worker: number): void {
    while (Atomics.compareExchange(this.words, this.at + S_LOCK, 0, worker + 1) !== 0);
  }

  /** Gives the writers' lock back; also for a worker that died with it: whatever it was changing is whole, before or after. */
  unlock(worker: number): void {
    Atomics.compareExchange(this.words, this.at + S_LOCK, worker + 1, 0);
  }

  /** Under the lock. Saying again what stands already must not forget the mask before the last real change. */
  private change(proto: number, port: number, worker: number, on: boolean): void {
    const words = this.words;
    const e = this.at + S_PORTS + ((proto << 16) + port) * ENTRY;
    const bit = 1 << (worker & 31);
    const half = worker >> 5;
    if (((words[e + half]! & bit) !== 0) !== on) {
      Atomics.store(words, e + 2, words[e]!);
      Atomics.store(words, e + 3, words[e + 1]!);
      if (on) Atomics.or(words, e + half, bit);
      else Atomics.and(words, e + half, ~bit);
    }
    Atomics.add(words, this.at + S_EPOCH, 1);
  }

  /** Whether `worker` is among the workers that serve the port. */
  serves(proto: number, port: number, worker: number): boolean {
    const e = this.at + S_PORTS + ((proto << 16) + port) * ENTRY;
    return (Atomics.load(this.words, e + (worker >> 5)) & (1 << (worker & 31))) !== 0;
  }

  /** Calls `each` with every port that `worker` is a server of. Looks at all of them: not for the hot path. */
  servedBy(proto: number, worker: number, each: (port: number) => void): void {
    const first = this.at + S_PORTS + (proto << 16) * ENTRY + (worker >> 5);
    const bit = 1 << (worker & 31);
    for (let port = 0; port < 65536; port++) if ((this.words[first + port * ENTRY]! & bit) !== 0) each(port);
  }

  /** Whether any worker serves the port. */
  served(proto: number, port: number): boolean {
    const e = this.at + S_PORTS + ((proto << 16) + port) * ENTRY;
    return (Atomics.load(this.words, e) | Atomics.load(this.words, e + 1)) !== 0;
  }
}

// hot: per packet
function bits(x: number): number {
  x = x - ((x >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

// hot: per packet
/** The (hash % bits)-th set bit of a 64-bit mask that is not 0, the hash unsigned. */
function pick(lo: number, hi: number, hash: number): number {
  const low = bits(lo);
  let k = hashModulo(hash, low + bits(hi));
  let word = lo;
  let base = 31;
  if (k >= low) {
    k -= low;
    word = hi;
    base = 63;
  }
  for (; k > 0; k--) word &= word - 1;
  return base - Math.clz32(word & -word);
}
