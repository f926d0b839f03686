/**
 * What the peer holds beyond SND.UNA: the SACK scoreboard of RFC 6675 section 3 and the questions of its section 4.
 *
 *   SND.UNA ─ hole ─ [left, right) ─ hole ─ [left, right) ─ tail ─ SND.MAX
 *
 * Ranges are nodes of one pool a worker, sorted, without overlap and without touching. A range more than a connection may
 * have, or the pool holds, is forgotten: all of it is advice (RFC 2018 section 8), and nothing leaves the send buffer for it.
 *
 * `score` walks the ranges once after every change and leaves in columns what sending asks for:
 *
 * | column      | section 4       | meaning                                                                    |
 * |-------------|-----------------|----------------------------------------------------------------------------|
 * | `sackBytes` | –               | octets in ranges                                                           |
 * | `lostEdge`  | IsLost          | below it, what is in no range is lost                                      |
 * | `lostBytes` | SetPipe (a)     | how much that is                                                           |
 * | `highRxt`   | HighRxt         | below it, what is in no range was sent again in this recovery              |
 * | `rxtBytes`  | SetPipe (b)     | how much that is                                                           |
 */
import type { TcpOptions } from '../../../wire/tcpOptions.ts';
import type { Arena } from '../../env.ts';
import type { Tcb } from '../tcb.ts';

/** Ranges a connection has at most: what an ACK makes us walk. */
export const RANGES_MAX = 256;
const DUP_THRESH = 3;
/** Ranges of a worker: as many as it has chunks, since no send buffer has more holes than a few a chunk; at least one connection's. */
export const rangesOf = (chunks: number): number => (chunks > RANGES_MAX ? chunks : RANGES_MAX);
export const scoreboardWords = (chunks: number): number => 3 * ((rangesOf(chunks) + 31) & ~31);

export class Scoreboard {
  /** The hole that `hole` or `lastHole` found. */
  holeAt = 0;
  holeEnd = 0;
  /** Ranges that are free. */
  free: number;
  private readonly next: Int32Array;
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private freeHead = 0;
  private readonly head: Int32Array;
  private readonly count: Int32Array;
  private readonly bytes: Int32Array;
  private readonly lostEdge: Int32Array;
  private readonly lostBytes: Int32Array;
  private readonly highRxt: Int32Array;
  private readonly rxtBytes: Int32Array;
  private readonly sndUna: Int32Array;
  private readonly sndMax: Int32Array;
  private readonly mss: Int32Array;

  constructor(arena: Arena, t: Tcb, ranges: number) {
    this.next = new Int32Array(arena.memory, arena.take(ranges) * 4, ranges);
    this.left = new Int32Array(arena.memory, arena.take(ranges) * 4, ranges);
    this.right = new Int32Array(arena.memory, arena.take(ranges) * 4, ranges);
    for (let k = 0; k < ranges; k++) this.next[k] = k + 1 < ranges ? k + 1 : -1;
    this.free = ranges;
    this.head = t.sackHead;
    this.count = t.sackCount;
    this.bytes = t.sackBytes;
    this.lostEdge = t.lostEdge;
    this.lostBytes = t.lostBytes;
    this.highRxt = t.highRxt;
    this.rxtBytes = t.rxtBytes;
    this.sndUna = t.sndUna;
    this.sndMax = t.sndMax;
    this.mss = t.mss;
  }

  // hot: per packet
  /**
   * Update(): takes the blocks of an ACK whose number is SND.UNA already. A block that is reversed, empty, below or at SND.UNA
   * (a D-SACK, RFC 2883, or an old one) or beyond SND.MAX is no block. Returns the octets nobody had reported before.
   */
  update(c: number, o: TcpOptions): number {
    let fresh = 0;
    for (let i = 0; i < o.sackCount; i++) {
      const left = o.sack[i * 2];
      const right = o.sack[i * 2 + 1];
      if (((left - this.sndUna[c]) | 0) <= 0 || ((right - left) | 0) <= 0 || ((right - this.sndMax[c]) | 0) > 0) continue;
      if (((left - this.sndMax[c]) | 0) >= 0) continue;
      fresh += this.insert(c, left, right);
    }
    if (fresh > 0) {
      this.bytes[c] += fresh;
      this.score(c);
    }
    return fresh;
  }

  // hot: per packet
  /** Returns how many octets of [left, right) are new. */
  private insert(c: number, left: number, right: number): number {
    let prev = -1;
    let k = this.head[c];
    while (k >= 0 && ((this.right[k] - left) | 0) < 0) {
      prev = k;
      k = this.next[k];
    }
    if (k < 0 || ((right - this.left[k]) | 0) < 0) return this.add(c, prev, k, left, right);
    let fresh = 0;
    if (((left - this.left[k]) | 0) < 0) {
      fresh = (this.left[k] - left) | 0;
      this.left[k] = left;
    }
    let edge = this.right[k];
    if (((right - edge) | 0) <= 0) return fresh;
    let n = this.next[k];
    while (n >= 0 && ((right - this.left[n]) | 0) >= 0) {
      fresh += (this.left[n] - edge) | 0;
      edge = this.right[n];
      n = this.drop(c, n);
    }
    this.next[k] = n;
    if (((right - edge) | 0) > 0) {
      fresh += (right - edge) | 0;
      edge = right;
    }
    this.right[k] = edge;
    return fresh;
  }

  // hot: per packet
  /** A range of its own between `prev` and `k`, each -1 for none. */
  private add(c: number, prev: number, k: number, left: number, right: number): number {
    const r = this.freeHead;
    if (r < 0 || this.count[c] >= RANGES_MAX) return 0;
    this.freeHead = this.next[r];
    this.free--;
    this.count[c]++;
    this.left[r] = left;
    this.right[r] = right;
    this.next[r] = k;
    if (prev < 0) this.head[c] = r;
    else this.next[prev] = r;
    return (right - left) | 0;
  }

  // hot: per packet
  /** Gives range `k` back; returns the one behind it. */
  private drop(c: number, k: number): number {
    const n = this.next[k];
    this.next[k] = this.freeHead;
    this.freeHead = k;
    this.free++;
    this.count[c]--;
    return n;
  }

  // hot: per packet
  /**
   * SND.UNA moved. Ranges below it are done; one that it reached but did not pass was given up by the peer, which it may
   * (RFC 2018 section 8): it counts as never reported.
   */
  advance(c: number): void {
    const una = this.sndUna[c];
    let k = this.head[c];
    if (k < 0) {
      this.quiet(c, una);
      return;
    }
    while (k >= 0 && ((this.left[k] - una) | 0) <= 0) {
      this.bytes[c] -= (this.right[k] - this.left[k]) | 0;
      k = this.drop(c, k);
    }
    this.head[c] = k;
    this.score(c);
  }

  // hot: per packet
  /** What `score` leaves where nothing is reported: the case of nearly every ACK. */
  private quiet(c: number, una: number): void {
    const again = (this.highRxt[c] - una) | 0;
    if (again < 0) this.highRxt[c] = una;
    this.lostEdge[c] = una;
    this.lostBytes[c] = 0;
    this.rxtBytes[c] = again > 0 ? again : 0;
  }

  // hot: per packet
  /** IsLost() and SetPipe() for every octet at once: the further down, the more has been reported above it. */
  private score(c: number): void {
    const una = this.sndUna[c];
    if (((this.highRxt[c] - una) | 0) < 0) this.highRxt[c] = una;
    const again = this.highRxt[c];
    const total = this.bytes[c];
    const enough = (DUP_THRESH - 1) * this.mss[c];
    let edge = una;
    let lost = 0;
    let below = 0;
    let heldAgain = 0;
    let above = this.count[c];
    for (let k = this.head[c]; k >= 0; k = this.next[k]) {
      const left = this.left[k];
      const right = this.right[k];
      if (above >= DUP_THRESH || total - below > enough) {
        edge = left;
        lost = ((left - una) | 0) - below;
      }
      if (((left - again) | 0) < 0) heldAgain += ((right - again) | 0) < 0 ? (right - left) | 0 : (again - left) | 0;
      below += (right - left) | 0;
      above--;
    }
    this.lostEdge[c] = edge;
    this.lostBytes[c] = lost;
    this.rxtBytes[c] = ((again - una) | 0) - heldAgain;
  }

  // hot: per packet
  /** Octets believed to be in the network. */
  pipe(c: number): number {
    return ((this.sndMax[c] - this.sndUna[c]) | 0) - this.bytes[c] - this.lostBytes[c] + this.rxtBytes[c];
  }

  // hot: per packet
  /** After a timeout, for what was sent again below `nxt`: what the peer has is out of the network, nothing else is known. */
  flight(c: number, nxt: number): number {
    let held = 0;
    for (let k = this.head[c]; k >= 0 && ((this.left[k] - nxt) | 0) < 0; k = this.next[k]) {
      held += ((this.right[k] - nxt) | 0) < 0 ? (this.right[k] - this.left[k]) | 0 : (nxt - this.left[k]) | 0;
    }
    return ((nxt - this.sndUna[c]) | 0) - held;
  }

  // hot: per packet
  /** Finds the first octet at or above `from` that the peer has not reported, and where that hole ends: SND.MAX for the tail. */
  hole(c: number, from: number): void {
    let k = this.head[c];
    while (k >= 0 && ((this.left[k] - from) | 0) <= 0) {
      if (((this.right[k] - from) | 0) > 0) from = this.right[k];
      k = this.next[k];
    }
    this.holeAt = from;
    this.holeEnd = k >= 0 ? this.left[k] : this.sndMax[c];
  }

  /** Finds the highest hole, tail included. */
  lastHole(c: number): void {
    let from = this.sndUna[c];
    for (let k = this.head[c]; k >= 0; k = this.next[k]) {
      this.holeAt = from;
      this.holeEnd = this.left[k];
      from = this.right[k];
    }
    if (from === this.sndMax[c]) return;
    this.holeAt = from;
    this.holeEnd = this.sndMax[c];
  }

  // hot: per packet
  /** Up to `end` the hole that `hole(highRxt)` found was sent again. */
  resent(c: number, seq: number, end: number): void {
    this.rxtBytes[c] += (end - seq) | 0;
    this.highRxt[c] = end;
  }

  /** A recovery begins: nothing was sent again in it. */
  begin(c: number): void {
    this.highRxt[c] = this.sndUna[c];
    this.rxtBytes[c] = 0;
  }

  /** Forgets everything: the connection is over, or a timeout says that the reports may not be trusted. */
  clear(c: number): void {
    for (let k = this.head[c]; k >= 0; ) k = this.drop(c, k);
    this.head[c] = -1;
    this.count[c] = 0;
    this.bytes[c] = 0;
    this.lostEdge[c] = this.sndUna[c];
    this.lostBytes[c] = 0;
    this.highRxt[c] = this.sndUna[c];
    this.rxtBytes[c] = 0;
  }
}
