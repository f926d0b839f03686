/**
 * Timer wheel: 3 levels of 256 slots, one tick a millisecond, so 4.6 hours ahead; intrusive doubly linked lists in the
 * columns, O(1), no allocation. One entry a connection, for the earliest of its deadlines; deadlines are lazy: moving one
 * later leaves the entry where it is, it fires early, its owner looks at the deadlines and arms again.
 *
 *   level 0: 256 slots of 1 ms      level 1: 256 slots of 256 ms      level 2: 256 slots of 65.5 s
 *
 * When a level's index wraps, the next slot of the level above is emptied and its entries sink. After a standstill of hours
 * `advance` takes some hundred steps.
 */
import type { Arena } from '../env.ts';
import type { Tcb } from './tcb.ts';

const SLOTS = 256;
export const WHEEL_WORDS = SLOTS * 3;
const SPAN = (1 << 24) - 512;

export class Wheel {
  /** Heads, id + 1. */
  private readonly heads: Int32Array;
  /** slot + 1 while listed, else 0. */
  private readonly slot: Int32Array;
  private readonly at: Int32Array;
  private readonly next: Int32Array;
  private readonly prev: Int32Array;
  private now: number;
  /** Entries of each level. */
  private readonly inLevel = new Int32Array(3);
  count = 0;
  /** Slots looked at so far: what catching up cost. */
  steps = 0;

  constructor(arena: Arena, tcb: Tcb, nowMs: number) {
    this.heads = new Int32Array(arena.memory, arena.take(WHEEL_WORDS) * 4, WHEEL_WORDS).fill(0);
    this.slot = tcb.wheelSlot;
    this.at = tcb.wheelAt;
    this.next = tcb.wheelNext;
    this.prev = tcb.wheelPrev;
    this.now = nowMs;
  }

  // hot: per packet
  /** Makes sure `c` fires no later than `deadline` (ms). An entry that is earlier already stays. */
  arm(c: number, deadline: number): void {
    if (this.slot[c] !== 0) {
      if (((deadline - this.at[c]) | 0) >= 0) return;
      this.disarm(c);
    }
    this.insert(c, deadline);
  }

  private insert(c: number, deadline: number): void {
    let ahead = (deadline - this.now) | 0;
    if (ahead < 1) ahead = 1;
    else if (ahead > SPAN) ahead = SPAN;
    const due = (this.now + ahead) | 0;
    let s = due & 255;
    if (ahead >= 65536) s = 512 + ((due >>> 16) & 255);
    else if (ahead >= 256) s = 256 + ((due >>> 8) & 255);
    const head = this.heads[s];
    this.at[c] = due;
    this.slot[c] = s + 1;
    this.prev[c] = 0;
    this.next[c] = head;
    if (head !== 0) this.prev[head - 1] = c + 1;
    this.heads[s] = c + 1;
    this.count++;
    this.inLevel[s >> 8]++;
  }

  // hot: per packet
  disarm(c: number): void {
    const s = this.slot[c];
    if (s === 0) return;
    const n = this.next[c];
    const p = this.prev[c];
    if (p !== 0) this.next[p - 1] = n;
    else this.heads[s - 1] = n;
    if (n !== 0) this.prev[n - 1] = p;
    this.slot[c] = 0;
    this.count--;
    this.inLevel[(s - 1) >> 8]--;
  }

  // hot: per burst
  /** Fires everything due up to `nowMs`; `fire` may arm and disarm anything. Returns how many fired. */
  advance(nowMs: number, fire: (c: number) => void): number {
    let fired = 0;
    while (((nowMs - this.now) | 0) > 0) {
      // A level without entries is passed over, so that catching up after a standstill costs slots, not milliseconds.
      if (this.inLevel[0] === 0) {
        const last = this.count === 0 ? nowMs : this.now | (this.inLevel[1] === 0 ? 0xffff : 0xff);
        if (((nowMs - last) | 0) <= 0) {
          this.now = nowMs;
          break;
        }
        this.now = last;
      }
      const t = (this.now + 1) | 0;
      this.now = t;
      this.steps++;
      if ((t & 255) === 0) {
        if ((t & 0xffff) === 0) this.sink(512 + ((t >>> 16) & 255));
        this.sink(256 + ((t >>> 8) & 255));
      }
      // Each entry is unlinked before its callback: whatever the callback arms is at least one tick ahead.
      for (let e = this.heads[t & 255]; e !== 0; e = this.heads[t & 255]) {
        this.disarm(e - 1);
        fire(e - 1);
        fired++;
      }
    }
    return fired;
  }

  private sink(s: number): void {
    for (let e = this.heads[s]; e !== 0; e = this.heads[s]) {
      const c = e - 1;
      const due = this.at[c];
      this.disarm(c);
      // Due this very tick: into the slot that is about to be walked.
      if (((due - this.now) | 0) <= 0) this.insertNow(c);
      else this.insert(c, due);
    }
  }

  private insertNow(c: number): void {
    const s = this.now & 255;
    const head = this.heads[s];
    this.at[c] = this.now;
    this.slot[c] = s + 1;
    this.prev[c] = 0;
    this.next[c] = head;
    if (head !== 0) this.prev[head - 1] = c + 1;
    this.heads[s] = c + 1;
    this.count++;
    this.inLevel[0]++;
  }

  /** Milliseconds from `nowMs` to the first entry, 0 when due, -1 when there is none. Upper levels answer their slot's start. */
  nextMs(nowMs: number): number {
    if (this.count === 0) return -1;
    let best = 0x7fffffff;
    for (let level = 0; level < 3; level++) {
      const shift = level * 8;
      for (let i = 1; i <= SLOTS; i++) {
        if (this.heads[level * SLOTS + (((this.now >>> shift) + i) & 255)] === 0) continue;
        const wait = ((((this.now >> shift) + i) << shift) - nowMs) | 0;
        if (wait < best) best = wait;
        break;
      }
    }
    return best < 0 ? 0 : best;
  }
}
