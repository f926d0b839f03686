/**
 * A look ahead at a burst's connections. With very many of them a segment's row is in no cache, and a segment's worth of
 * instructions is more than the processor looks ahead: each of its lines would be waited for by itself. So before the burst is
 * taken its table slots are read one behind the other, then the fronts of the rows they name: the memory answers them side by side.
 *
 * Nothing is decided here. A slot that names another connection costs a few lines of that one's row.
 */
import * as layoutNumbers from '../../rings/layout.ts';
import type { FlowTable } from '../flowTable.ts';
import type { Ready } from '../readyList.ts';
import type { Machine } from './machine.ts';
import { idOf, type Tcb } from './tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, DESC_WORDS, F_BAD, F_FRAGMENT, F_TCP } = layoutNumbers;

/** From so many connections on: five lines of each are more than a core's second-level cache holds. */
const TOUCH_FROM = 2048;

export class Touch {
  private readonly flows: FlowTable;
  private readonly ready: Ready;
  private readonly tcb: Tcb;
  /** Of this burst, -1 none. */
  private readonly rows: Int32Array;
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly frameAt: Int32Array;
  /** What was read, so that it must be. */
  seen = 0;

  constructor(m: Machine) {
    this.flows = m.flows;
    this.ready = m.ready;
    this.tcb = m.tcb;
    this.rows = new Int32Array(m.config.burst);
    this.words = m.env.arena.i32;
    this.view = m.env.port.frames.view;
    this.frameAt = m.env.port.frames.offset;
  }

  // hot: per burst
  /** Reads ahead for the `n` descriptors at word `at` of the arena. */
  burst(at: number, n: number): void {
    const flows = this.flows;
    if (n < 2 || flows.used < TOUCH_FROM) return;
    const rows = this.rows;
    const words = this.words;
    const view = this.view;
    for (let i = 0; i < n; i++, at += DESC_WORDS) {
      rows[i] = -1;
      if ((words[at + D_FLAGS_GSO] & (F_TCP | F_FRAGMENT | F_BAD)) !== F_TCP) continue;
      const eth = this.frameAt[words[at + D_FRAME]] + (words[at + D_DATA] >>> 16);
      const offsets = words[at + D_OFFSETS];
      const ip = eth + ((offsets >> 8) & 0xff);
      rows[i] = flows.first(flows.hash(view.getInt32(ip + 12), view.getInt32(ip + 16), view.getInt32(eth + (offsets >>> 16))));
    }
    const t = this.tcb;
    let seen = 0;
    for (let i = 0; i < n; i++) {
      const c = rows[i];
      if (c < 0) continue;
      // A word of each line of the row that a packet uses.
      seen ^= t.state[c] ^ t.sndUna[c] ^ t.rtoAt[c] ^ t.flowHash[c] ^ t.pfHead[c] ^ this.ready.consumerOf(idOf(c));
    }
    this.seen = seen;
  }
}
