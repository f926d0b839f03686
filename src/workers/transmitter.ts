/**
 * The transmitter: a port's sending half on a thread of its own (layout `dispatcher-rx-tx`). The broker on the receiving thread
 * keeps the free list; what is sent goes home to it.
 *
 * A breath, in prose: *pull* takes the empty frames the broker lends for copies, and lets the port's timers run. *push* sends
 * a burst from each worker's tx ring and from the broker's own, hands the broker what is done with, publishes, rings.
 */
import type { TxPort } from '../ports/port.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as dropReasons from '../rings/drops.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { RingConsumer, RingProducer } from '../rings/spsc.ts';
import { Sender } from './sender.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_PUBLISHES, C_RING_SLOTS } = counterIndex;
const { DROP_REASONS, DROP_TX_DEVICE } = dropReasons;
const { D_FRAME, OWNER_BROKER, OWNER_RING } = layoutNumbers;

export interface TransmitterEnv {
  port: TxPort;
  /** Each worker's tx ring, by worker id, then the broker's own. */
  rings: readonly RingConsumer[];
  /** transmitterRings.ts: empty frames from the broker, and frames that go home to it. */
  credit: RingConsumer;
  sent: RingProducer;
  /** The broker's thread. */
  broker: Doorbell;
  counters: Counters;
  /** [nowUs, nowMs], refreshed by the driver. */
  clock: Int32Array;
  /** Frames sent of each ring a breath. */
  burst: number;
}

export interface Transmitter {
  pull(): number;
  /** Returns frames sent plus frames handed back. */
  push(): number;
  /** The last look before sleeping. */
  pending(): boolean;
  /** Milliseconds until something that was refused is tried again, -1 when nothing was. */
  nextDeadlineMs(): number;
  /** Frames in the tx rings. */
  inFlight(): number;
  /** Sends or drops what is left, lets the port go and hands every frame back. The workers must be gone. */
  close(): void;
}

/** A port that was full is tried again after this long at the latest. */
const RETRY_MS = 1;
/** Frames handed back in one piece. */
const IDS = 256;

export function createTransmitter(env: TransmitterEnv): Transmitter {
  const { port, rings, credit, sent, counters } = env;
  const { owner } = port.frames;
  const v = counters.v;
  const sender = new Sender(port, counters, env.burst, rings.length);
  const { refused } = sender;
  const ids = new Int32Array(IDS);
  let firstRing = 0;

  // hot: per burst
  function pull(): number {
    port.tick(env.clock[0]!);
    let n = port.wants();
    if (n === 0) return 0;
    const ready = credit.ready();
    if (n > ready) n = ready;
    for (let i = 0; i < n; i++) {
      const f = credit.words[credit.slot(i)]!;
      owner[f] = OWNER_BROKER;
      port.lend(f);
    }
    if (n > 0) credit.take(n);
    v[C_RING_SLOTS]! += n;
    return n;
  }

  // hot: per burst
  function handBack(): number {
    let moved = 0;
    for (let n = port.sent(ids, 0, IDS); n > 0; n = port.sent(ids, 0, IDS)) {
      for (let i = 0; i < n; i++) {
        owner[ids[i]!] = OWNER_RING;
        sent.words[sent.slot(i)] = ids[i]!;
      }
      sent.put(n);
      moved += n;
    }
    v[C_RING_SLOTS]! += moved;
    return moved;
  }

  // hot: per burst
  function push(): number {
    let moved = 0;
    const count = rings.length;
    firstRing = firstRing + 1 >= count ? 0 : firstRing + 1;
    for (let k = 0; k < count; k++) {
      const r = firstRing + k >= count ? firstRing + k - count : firstRing + k;
      const ring = rings[r]!;
      moved += sender.transmit(r, ring);
      ring.flush();
    }
    moved += handBack();
    publish();
    return moved;
  }

  // hot: per burst
  function publish(): void {
    port.flush();
    credit.flush();
    if (sent.flush()) env.broker.ring();
    let publishes = credit.publishes + sent.publishes;
    for (let r = 0; r < rings.length; r++) publishes += rings[r]!.publishes;
    v[C_PUBLISHES] = publishes;
    const drops = port.drops;
    for (let r = 1; r < DROP_REASONS; r++)
      if (drops[r] !== 0) {
        v[C_DROP + r]! += drops[r]!;
        drops[r] = 0;
      }
  }

  function pending(): boolean {
    // What the port does not take now is no reason to run: its receiver's bell, or the retry, says when there is room.
    for (let r = 0; r < rings.length; r++) if (refused[r] === 0 && rings[r]!.readyNow() > 0) return true;
    return port.pending();
  }

  function nextDeadlineMs(): number {
    for (let r = 0; r < rings.length; r++) if (refused[r] !== 0) return RETRY_MS;
    return -1;
  }

  function inFlight(): number {
    let n = 0;
    for (let r = 0; r < rings.length; r++) n += rings[r]!.readyNow();
    return n;
  }

  /** The device takes nothing any more: the frame goes home unsent. */
  function discard(ring: RingConsumer): void {
    const { next } = port.frames;
    for (let f = ring.words[ring.slot(0) + D_FRAME]!; f >= 0; ) {
      const after = next[f]!;
      owner[f] = OWNER_RING;
      sent.words[sent.slot(0)] = f;
      sent.put(1);
      f = after;
    }
    ring.take(1);
    v[C_DROP + DROP_TX_DEVICE]!++;
  }

  function close(): void {
    for (let r = 0; r < rings.length; r++) while (rings[r]!.readyNow() > 0) if (sender.transmit(r, rings[r]!) === 0) discard(rings[r]!);
    for (let r = 0; r < rings.length; r++) rings[r]!.flush();
    port.detach();
    handBack();
    publish();
  }

  return { pull, push, pending, nextDeadlineMs, inFlight, close };
}
