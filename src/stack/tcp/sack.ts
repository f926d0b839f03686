/**
 * SACK, the receiver's half (RFC 2018): which blocks of data stand beyond the hole, read off the out-of-order queue. The
 * first block is the one that holds the segment received last (section 4), the next the one that was reported before it; the
 * rest follow in sequence. Data once reported is never given up before it is delivered.
 */
import type { Machine } from './machine.ts';

export class SackBlocks {
  /** Left and right edges, in the order to be sent; valid until the next collect. */
  readonly edges = new Int32Array(8);
  private readonly m: Machine;

  constructor(m: Machine) {
    this.m = m;
  }

  // hot: per packet
  /** Fills `edges` with up to `most` (1..4) blocks; returns how many. */
  collect(c: number, most: number): number {
    const t = this.m.tcb;
    const edges = this.edges;
    let blocks = 0;
    blocks = this.add(c, t.sackSeq[c], blocks);
    if (blocks < most) blocks = this.add(c, t.sackOlder[c], blocks);
    const { next, seq, length } = this.m.chunks;
    let k = t.oooHead[c];
    while (k >= 0 && blocks < most) {
      const left = seq[k];
      let right = left;
      for (; k >= 0 && seq[k] === right; k = next[k]) right = (right + length[k]) | 0;
      if (!this.listed(left, blocks)) {
        edges[blocks * 2] = left;
        edges[blocks * 2 + 1] = right;
        blocks++;
      }
    }
    return blocks;
  }

  // hot: per packet
  /** Adds the block that holds sequence number `at`, if there is one and it is not listed yet. */
  private add(c: number, at: number, blocks: number): number {
    const { next, seq, length } = this.m.chunks;
    let k = this.m.tcb.oooHead[c];
    while (k >= 0) {
      const left = seq[k];
      let right = left;
      for (; k >= 0 && seq[k] === right; k = next[k]) right = (right + length[k]) | 0;
      if (((at - left) | 0) >= 0 && ((at - right) | 0) < 0) {
        if (this.listed(left, blocks)) return blocks;
        this.edges[blocks * 2] = left;
        this.edges[blocks * 2 + 1] = right;
        return blocks + 1;
      }
    }
    return blocks;
  }

  // hot: per packet
  private listed(left: number, blocks: number): boolean {
    for (let i = 0; i < blocks; i++) if (this.edges[i * 2] === left) return true;
    return false;
  }
}
