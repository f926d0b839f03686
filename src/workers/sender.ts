/**
 * From workers' tx rings to a port: what the dispatcher does with them, or the transmitter where sending has a thread of its
 * own. A worker's descriptors are believed after one check.
 */
import type { Port } from '../ports/port.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import { frameValid } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { RingConsumer } from '../rings/spsc.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_RING_SLOTS, C_TX_BURSTS, C_TX_BYTES, C_TX_PACKETS } = counterIndex;
const { DROP_BAD_DESCRIPTOR } = dropReasons;
const { D_DATA, D_FRAME, D_REGION_GEN, D_TOTAL, DESC_WORDS } = layoutNumbers;

export class Sender {
  /** By ring: not 0 when the port took less than was ready when last asked. */
  readonly refused: Uint8Array;
  private readonly port: Pick<Port, 'frames' | 'txBurst'>;
  private readonly v: Float64Array;
  private readonly burst: number;
  private readonly desc: Int32Array;

  /** Sends from `rings` rings, at most `burst` frames of each at a time. */
  constructor(port: Pick<Port, 'frames' | 'txBurst'>, counters: Counters, burst: number, rings: number) {
    this.port = port;
    this.v = counters.v;
    this.burst = burst;
    this.desc = new Int32Array(burst * DESC_WORDS);
    this.refused = new Uint8Array(rings);
  }

  // hot: per burst
  /** One burst from ring number `who`. A bad descriptor is skipped and counted. Returns how many left the ring. */
  transmit(who: number, tx: RingConsumer): number {
    const port = this.port;
    const v = this.v;
    const desc = this.desc;
    const frames = port.frames;
    let ready = tx.ready();
    this.refused[who] = 0;
    if (ready === 0) return 0;
    if (ready > this.burst) ready = this.burst;
    let n = 0;
    let bytes = 0;
    const words = tx.words;
    for (let i = 0; i < ready; i++) {
      const s = tx.slot(i);
      if (
        !frameValid(frames, words[s + D_FRAME]!, words[s + D_REGION_GEN]!) ||
        (words[s + D_DATA]! >>> 16) + (words[s + D_DATA]! & 0xffff) > frames.frameBytes
      ) {
        // Those before it first; it is counted when its turn comes.
        if (n > 0) break;
        // Not sent and not freed: a descriptor that lies says nothing about who owns the frame.
        v[C_DROP + DROP_BAD_DESCRIPTOR]!++;
        tx.take(1);
        return 1;
      }
      const d = n * DESC_WORDS;
      for (let j = 0; j < DESC_WORDS; j++) desc[d + j] = words[s + j]!;
      n++;
    }
    const sent = port.txBurst(desc, 0, n);
    if (sent < n) this.refused[who] = 1;
    for (let i = 0; i < sent; i++) bytes += desc[i * DESC_WORDS + D_TOTAL]!;
    if (sent > 0) {
      tx.take(sent);
      v[C_TX_BURSTS]!++;
      v[C_TX_PACKETS]! += sent;
      v[C_TX_BYTES]! += bytes;
      v[C_RING_SLOTS]! += sent;
    }
    return sent;
  }
}
