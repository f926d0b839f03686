/** The broker's side of its transmitter: the thread that sends for it in layout `dispatcher-rx-tx` (transmitter.ts). */
import type { Port } from '../ports/port.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { RingConsumer, RingProducer } from '../rings/spsc.ts';
import type { TransmitterRings } from '../rings/transmitterRings.ts';
import type { FrameReturn } from './frameReturn.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DESC_WORDS, OWNER_RING } = layoutNumbers;

/** Empty frames lent at a time. */
const LEND_MAX = 64;

export class TransmitterLink {
  private readonly port: Port;
  private readonly bell: Doorbell;
  private readonly host: RingProducer;
  private readonly sent: RingConsumer;
  private readonly credit: RingProducer;
  private readonly copies: boolean;
  private readonly ids = new Int32Array(LEND_MAX);

  /** `copies`: the port's sending half copies frames, and needs empty ones for that. `bell`: the transmitter's. */
  constructor(port: Port, rings: TransmitterRings, bell: Doorbell, copies: boolean) {
    const words = new Int32Array(rings.block);
    this.port = port;
    this.bell = bell;
    this.copies = copies;
    this.host = new RingProducer(words, rings.host);
    this.sent = new RingConsumer(words, rings.sent);
    this.credit = new RingProducer(words, rings.credit);
  }

  // hot: per packet
  /** The broker's own frame, sent and counted over there. False, and the frame stays the caller's, when there is no room. */
  send(desc: Int32Array, f: number): boolean {
    const ring = this.host;
    if (ring.room(1) === 0) return false;
    this.port.frames.owner[f] = OWNER_RING;
    const s = ring.slot(0);
    for (let i = 0; i < DESC_WORDS; i++) ring.words[s + i] = desc[i]!;
    ring.put(1);
    return true;
  }

  // hot: per burst
  /** What was sent comes home; the transmitter gets empty frames while more than `reserve` are left. Returns frames come home. */
  serve(home: FrameReturn, reserve: number): number {
    let moved = 0;
    for (let n = home.takeFrom(this.sent); n > 0; n = home.takeFrom(this.sent)) moved += n;
    this.sent.flush();
    if (this.copies) this.lend((this.port.available() - reserve) >> 1);
    if (this.host.flush()) this.bell.ring();
    return moved;
  }

  // hot: per burst
  private lend(most: number): void {
    if (most <= 0) return;
    const port = this.port;
    const credit = this.credit;
    const ids = this.ids;
    const n = port.alloc(ids, 0, credit.room(most > LEND_MAX ? LEND_MAX : most));
    for (let i = 0; i < n; i++) {
      port.frames.owner[ids[i]!] = OWNER_RING;
      credit.words[credit.slot(i)] = ids[i]!;
    }
    credit.put(n);
    // Credit alone is nothing to wake for.
    credit.flush();
  }

  pending(): boolean {
    return this.sent.readyNow() > 0;
  }

  /** Frames on their way to or from the transmitter, but for its credit. */
  inFlight(): number {
    return this.host.used() + this.sent.readyNow();
  }

  publishes(): number {
    return this.host.publishes + this.credit.publishes + this.sent.publishes;
  }

  /** The transmitter has ended: what it handed back last, credit it did not take, frames it did not see. */
  reclaim(home: FrameReturn): void {
    while (home.takeFrom(this.sent) > 0);
    this.sent.flush();
    home.drain(this.credit);
    home.drain(this.host);
  }
}
