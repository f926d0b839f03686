/** How frames come back to a broker's free list: one by one, as trains, or by rings of ids. */
import type { Port } from '../ports/port.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import type { RingConsumer, RingProducer } from '../rings/spsc.ts';
import { drainRing } from '../rings/succession.ts';
import type { QueueLink } from './queueLink.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_RING_SLOTS } = counterIndex;
const { DROP_BAD_DESCRIPTOR } = dropReasons;

/** Ids taken from a ring at a time. */
const IDS_MAX = 256;

export class FrameReturn {
  private readonly port: Port;
  private readonly v: Float64Array;
  private readonly queue: QueueLink | null;

  /** `queue`: the port's other queues, whose frames go home to them. */
  constructor(port: Port, counters: Counters, queue: QueueLink | null = null) {
    this.port = port;
    this.queue = queue;
    this.v = counters.v;
  }

  // hot: per packet
  free(f: number): void {
    const queue = this.queue;
    if (queue === null || queue.takes(f)) this.port.free(f);
    else queue.sendHome(f);
  }

  // hot: per packet
  freeTrain(f: number): void {
    const next = this.port.frames.next;
    for (let g = f; g >= 0; ) {
      const n = next[g]!;
      this.free(g);
      g = n;
    }
  }

  // hot: per burst
  /** A piece of what stands in `ring`. Returns how many ids that were. */
  takeFrom(ring: RingConsumer): number {
    let n = ring.ready();
    if (n > IDS_MAX) n = IDS_MAX;
    for (let i = 0; i < n; i++) this.settle(ring.words[ring.slot(i)]!);
    if (n > 0) this.taken(ring, n);
    return n;
  }

  // hot: per packet
  /** One id of a ring that leads home. */
  settle(f: number): void {
    if (f >= 0 && f < this.port.frames.frames) this.free(f);
    else this.v[C_DROP + DROP_BAD_DESCRIPTOR]!++;
  }

  // hot: per burst
  /** `n` slots of a ring are done with. */
  taken(ring: RingConsumer, n: number): void {
    ring.take(n);
    this.v[C_RING_SLOTS]! += n;
  }

  /** Takes back the frames, one a slot, in a ring that nobody reads any more: this side is its consumer from now on. */
  drain(ring: RingProducer): void {
    ring.flush();
    drainRing(ring.words, ring.base, (s) => this.free(ring.words[s]!));
  }
}
