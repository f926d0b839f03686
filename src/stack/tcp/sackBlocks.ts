/**
 * SACK, the receiver's half (RFC 2018): which blocks of data stand beyond the hole, read off the out-of-order queue. The
 * first block is the one that holds the segment received last (section 4), the next the one that was reported before it; the
 * rest follow in sequence. Data once reported is never given up before it is delivered.
 */
import type { Machine } from './machine.ts';

export class SackBlocks {
  /** Left and right edges, in the order to be sent; valid until the next collect. */
  readonly edges = new Int32Array(8);
  private readonly head: Int32Array;
  private readonly last: Int32Array;
  private readonly older: Int32Array;
  private readonly next: Int32Array;
  private readonly seq: Int32Array;
  private readonly length: Int32Array;
  /** Right edge of the block that `block` walked last, and the chunk behind it. */
  private right = 0;
  private behind = -1;

  constructor(m: Machine) {
    this.head = m.tcb.oooHead;
    this.last = m.tcb.sackSeq;
    this.older = m.tcb.sackOlder;
    this.next = m.chunks.next;
    this.seq = m.chunks.seq;
    this.length = m.chunks.length;
  }

  // hot: per packet
  /** Fills `edges` with up to `most` (1..4) blocks; returns how many. */
  collect(c: number, most: number): number {
    let blocks = this.add(c, this.last[c], 0);
    if (blocks < most) blocks = this.add(c, this.older[c], blocks);
    for (let k = this.head[c]; k >= 0 && blocks < most; k = this.behind) {
      this.block(k);
      if (!this.listed(this.seq[k], blocks)) blocks = this.list(this.seq[k], blocks);
    }
    return blocks;
  }

  // hot: per packet
  /** Adds the block that holds sequence number `at`, if there is one and it is not listed yet. */
  private add(c: number, at: number, blocks: number): number {
    for (let k = this.head[c]; k >= 0; k = this.behind) {
      const left = this.seq[k];
      this.block(k);
      if (((at - left) | 0) >= 0 && ((at - this.right) | 0) < 0) return this.listed(left, blocks) ? blocks : this.list(left, blocks);
    }
    return blocks;
  }

  // hot: per packet
  /** Walks the chunks that follow `k` without a gap. */
  private block(k: number): void {
    let right = this.seq[k];
    while (k >= 0 && this.seq[k] === right) {
      right = (right + this.length[k]) | 0;
      k = this.next[k];
    }
    this.right = right;
    this.behind = k;
  }

  // hot: per packet
  private list(left: number, blocks: number): number {
    this.edges[blocks * 2] = left;
    this.edges[blocks * 2 + 1] = this.right;
    return blocks + 1;
  }

  // hot: per packet
  private listed(left: number, blocks: number): boolean {
    for (let i = 0; i < blocks; i++) if (this.edges[i * 2] === left) return true;
    return false;
  }
}
