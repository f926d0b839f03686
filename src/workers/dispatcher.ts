/**
 * The dispatcher: a port's broker. Runs on a thread of its own (layout `dispatcher`) or inside the worker (`inline`).
 *
 * A breath, in prose: *pull* a burst from the port, look at one cache line of each frame, give ARP to the host and every
 * other frame to the worker its flow belongs to; read the workers' messages; let the host's and the port's timers run.
 * Then *push*: send what the workers have to send, take their used frames home, give them credit, publish, ring.
 *
 * A full worker ring never stalls the port: frames wait behind it (waitingFrames.ts), in order, within a budget;
 * beyond it data is dropped first, SYNs next. `received = delivered + Σ drops(reason)`.
 */
import type { Port } from '../ports/port.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { sweepWorker } from '../rings/frameTable.ts';
import { type BrokerPort, keepAgain, keepUntaken } from '../rings/portRings.ts';
import { drainRing, emptyRing } from '../rings/succession.ts';
import type { Steering } from '../rings/steering.ts';
import type { Host, HostOptions } from '../stack/host.ts';
import * as flowNumbers from '../wire/flow.ts';
import { Classified, classify } from '../wire/flow.ts';
import { BrokerHost } from './brokerHost.ts';
import { FrameReturn } from './frameReturn.ts';
import type { QueueLink } from './queueLink.ts';
import { Sender } from './sender.ts';
import type { TransmitterLink } from './transmitterLink.ts';
import { WaitingFrames } from './waitingFrames.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_PUBLISHES, C_RING_HIGH_WATER, C_RING_SLOTS, C_RX_BURSTS, C_RX_BYTES, C_RX_DELIVERED, C_RX_PACKETS } = counterIndex;
const { DROP_CLOSING, DROP_REASONS, DROP_RING_FULL_DATA, DROP_RING_FULL_SYN, DROP_SWITCH, DROP_TX_DEVICE } = dropReasons;
const { D_DATA, D_FRAME, D_HASH, D_TOTAL, DESC_WORDS, OWNER_RING, OWNER_RING_OF } = layoutNumbers;
const { KIND_ARP, KIND_DROP } = flowNumbers;

export interface DispatcherEnv {
  port: Port;
  /**
   * The broker's ends of the rings, by worker id (null for a worker that has a broker of its own), and each worker's bell (null
   * when the worker is this very thread).
   */
  rings: readonly (BrokerPort | null)[];
  bells: readonly (Doorbell | null)[];
  steering: Steering;
  counters: Counters;
  /** [nowUs, nowMs], refreshed by the driver. */
  clock: Int32Array;
  random: () => number;
  /** Where the published host state stands, and what it starts with; null for a queue that is not RX queue 0. */
  host: Omit<HostOptions, 'takeFrame' | 'send'> | null;
  /** Frames taken from the port, and from each worker, a breath. */
  burst: number;
  /** Descriptors a worker's overflow queue holds. */
  overflow: number;
  /** Whoever sends for this broker on a thread of its own; without one it sends itself. */
  transmitter?: TransmitterLink | null;
  /** The port's other queues, each with a broker of its own; without them this one has the whole port. */
  queue?: QueueLink | null;
}

export interface Dispatcher {
  /** First half: receive, place, timers. Returns frames received plus messages read. */
  pull(): number;
  /** Second half: send, take home, grant, publish, ring. Returns frames sent plus frames come home. */
  push(): number;
  /** The last look before sleeping. */
  pending(): boolean;
  /** Milliseconds until the host or the port has something to do, -1 when never. */
  nextDeadlineMs(): number;
  /** A dead or stopped worker's rings: every frame in them comes home. The worker must not touch them any more. */
  reclaim(worker: number): void;
  /**
   * A worker's thread has died: what it had published is sent, heard and taken home, what it had not taken stays for the one
   * that takes its place, and every other frame it held, wherever, comes home; its redirect rings must be settled before (succeedRedirects). From here on frames for it wait in its ring.
   * False while the transmitter still sends for it: again next breath.
   */
  bury(worker: number): boolean;
  /** A new thread has taken its place: it is given credit again. */
  revive(worker: number): void;
  /** An empty frame for a datagram of this thread's own, or -1; and one given back unsent. */
  takeFrame(): number;
  release(frameId: number): void;
  /** Sends `lengthBytes` from the frame's headroom on, checksums complete, and takes the frame. False: there was no room. */
  send(frameId: number, lengthBytes: number): boolean;
  /** Takes back what a transmitter that has ended left in its rings. */
  reclaimTransmitter(): void;
  /** Frames in rings and overflow queues between port and workers, or the transmitter, but for that one's credit. */
  inFlight(): number;
  /**
   * The worker beside this broker leaves: `last` empties its rings, `left` lets the port go and says so. Where a port has several
   * brokers one leaves at a time, and takes back what those before it would have taken. `worker`: its counters.
   */
  leave(worker: Counters, last: () => void, left: () => void): void;
  readonly host: Host | null;
}

/** A port that was full is tried again after this long at the latest. */
const RETRY_MS = 1;
/** Frames granted to a worker at a time. */
const GRANT_MAX = 64;

export function createDispatcher(env: DispatcherEnv): Dispatcher {
  const { port, rings, bells, steering, counters, clock, burst } = env;
  const link = env.transmitter ?? null;
  const queue = env.queue ?? null;
  const home = new FrameReturn(port, counters, queue);
  const { frames } = port;
  const { view, offset, owner } = frames;
  const v = counters.v;
  const workers = rings.length;
  const inRings = OWNER_RING_OF | frames.hostBits;
  /** Workers this broker serves: it gives them credit, sends for them, takes their frames home. */
  const served = rings.filter((r) => r !== null);
  /** By worker: the ring that frames for it go on. */
  const into = rings.map((r, w) => r?.rx ?? queue!.crossings[w]!);
  /** Control rings whose messages are for the host on this thread. */
  const heard = env.host === null ? [] : [...served.map((r) => r.control), ...(queue?.controls ?? [])];
  const desc = new Int32Array(burst * DESC_WORDS);
  // Half of the frames may wait for workers that take none: the rest is for those that do.
  const share = Math.max(64, Math.floor(port.available() / (2 * workers)));
  // A ring to a worker with a broker of its own outlives this one, and its frames are no worker's.
  const waiting = into.map(
    (r, w) =>
      new WaitingFrames(r, {
        overflow: env.overflow,
        share,
        owner: rings[w] === null ? OWNER_RING : inRings + w,
        frames,
        counters,
        clock,
      }),
  );
  const ids = new Int32Array(GRANT_MAX);
  const seen = new Classified();
  // Credit is granted only beyond this many free frames: the rest is for receiving.
  const reserve = Math.max(64, Math.min(1024, port.available() >> 2));
  /** Workers that are gone: nobody reads their rings any more. */
  const stopped = new Uint8Array(workers);
  /** Workers whose thread died: what comes for them waits in their rings for the one that takes their place. */
  const dead = new Uint8Array(workers);
  // What may stand in one worker's grant ring: with few frames an idle worker would hoard them all, and another starve. A
  // worker holds up to GRANT_MAX beside its ring.
  const creditShare = served.length === 1 ? 1 << 30 : Math.max(16, Math.floor((port.available() - reserve) / served.length) - GRANT_MAX);
  const sender = new Sender(port, counters, burst, workers);
  const { refused } = sender;
  let firstWorker = 0;

  const hosting = new BrokerHost({ port, home, link, queue, counters, heard, bells, host: env.host });
  const host = hosting.host;

  // hot: per packet
  function dispatch(at: number): void {
    const f = desc[at + D_FRAME]!;
    const eth = offset[f]! + (desc[at + D_DATA]! >>> 16);
    const linear = desc[at + D_DATA]! & 0xffff;
    v[C_RX_PACKETS]!++;
    v[C_RX_BYTES]! += desc[at + D_TOTAL]!;
    classify(view, eth, linear, seen);
    if (seen.kind === KIND_ARP) {
      hosting.receive(desc, at, eth, linear);
      return;
    }
    if (seen.kind === KIND_DROP) {
      v[C_DROP + seen.reason]!++;
      home.freeTrain(f);
      return;
    }
    desc[at + D_HASH] = seen.hash;
    const w = steering.owner(seen.steer, seen.hash, seen.localPort);
    if (stopped[w] !== 0 || (queue !== null && queue.left[w] !== 0)) {
      v[C_DROP + DROP_CLOSING]!++;
      home.freeTrain(f);
    } else if (waiting[w]!.place(desc, at, seen.isSyn, port.available())) {
      v[C_RX_DELIVERED]!++;
    } else {
      v[C_DROP + (seen.isSyn ? DROP_RING_FULL_SYN : DROP_RING_FULL_DATA)]!++;
      home.freeTrain(f);
    }
  }

  // hot: per burst
  function pull(): number {
    for (let w = 0; w < workers; w++) if (waiting[w]!.overflowing > 0) waiting[w]!.drain();
    const n = port.rxBurst(desc, 0, burst);
    if (n > 0) {
      v[C_RX_BURSTS]!++;
      for (let i = 0; i < n; i++) dispatch(i * DESC_WORDS);
      // The worker on this very thread comes next in this breath: it need not wait for the other half.
      for (let w = 0; w < workers; w++) if (bells[w] === null) rings[w]?.rx.flush();
    }
    const messages = hosting.pull(clock[1]!);
    port.tick(clock[0]!);
    return n + messages;
  }

  // hot: per burst
  function grant(b: BrokerPort): void {
    const g = b.grant;
    let want = port.available() - reserve;
    const spare = creditShare - g.used();
    if (spare < want) {
      // A quarter of the share at least, or nothing: granting by ones costs a publish each.
      if (spare < creditShare >> 2) return;
      want = spare;
    }
    if (want <= 0) return;
    if (want > GRANT_MAX) want = GRANT_MAX;
    // The same for the ring's room.
    const room = g.room(want);
    if (room < want && room < g.capacity >> 2) return;
    const n = port.alloc(ids, 0, room);
    for (let i = 0; i < n; i++) {
      owner[ids[i]!] = inRings + b.worker;
      g.words[g.slot(i)] = ids[i]!;
    }
    if (n > 0) {
      g.put(n);
      v[C_RING_SLOTS]! += n;
    }
  }

  // hot: per burst
  function push(): number {
    let moved = 0;
    let publishes = 0;
    let high = v[C_RING_HIGH_WATER]!;
    firstWorker = firstWorker + 1 >= workers ? 0 : firstWorker + 1;
    for (let k = 0; k < workers; k++) {
      const w = firstWorker + k >= workers ? firstWorker + k - workers : firstWorker + k;
      const b = rings[w];
      if (b === null || b === undefined) continue;
      if (link === null) moved += sender.transmit(w, b.tx);
      moved += home.takeFrom(b.recycle);
      if ((stopped[w]! | dead[w]!) === 0) grant(b);
      if (b.flush()) {
        const bell = bells[w];
        if (bell !== null && bell !== undefined) bell.ring();
      }
      publishes += b.publishes();
      if (b.rx.highWater > high) high = b.rx.highWater;
    }
    if (link !== null) moved += link.serve(home, reserve);
    if (queue !== null) {
      moved += queue.takeHome(home);
      queue.flush();
    }
    hosting.spread();
    v[C_RING_HIGH_WATER] = high;
    if (link !== null) publishes += link.publishes();
    v[C_PUBLISHES] = publishes;
    port.flush();
    const drops = port.drops;
    for (let r = 1; r < DROP_REASONS; r++)
      if (drops[r] !== 0) {
        v[C_DROP + r]! += drops[r]!;
        // What the port received and dropped itself was received, too (port.ts, `drops`).
        if (r !== DROP_TX_DEVICE && r !== DROP_SWITCH) v[C_RX_PACKETS]! += drops[r]!;
        drops[r] = 0;
      }
    return moved;
  }

  function pending(): boolean {
    for (let w = 0; w < workers; w++) {
      if (waiting[w]!.overflowing > 0 && into[w]!.room(1) === 1) return true;
      const b = rings[w];
      if (b === null || b === undefined) continue;
      if (b.recycle.readyNow() > 0) return true;
      // What the port, or a full ring, does not take now is no reason to run: others need the CPU to make room. The port's
      // or the worker's bell says when there is some; for a device that has none, nextDeadlineMs.
      if (link === null && refused[w] === 0 && b.tx.readyNow() > 0) return true;
    }
    if (hosting.pending() || queue?.pending() === true) return true;
    return (link?.pending() ?? false) || port.pending();
  }

  function nextDeadlineMs(): number {
    let ms = hosting.nextDeadlineMs(clock[1]!);
    if (port.hasDeadline()) {
      const us = (port.deadlineUs() - clock[0]!) | 0;
      const p = us <= 0 ? 0 : Math.ceil(us / 1000);
      if (ms < 0 || p < ms) ms = p;
    }
    if (ms < 0 || ms > RETRY_MS) for (let w = 0; w < workers; w++) if (refused[w] !== 0) return RETRY_MS;
    return ms;
  }

  function dropOverflow(w: number, reason: number): void {
    for (let f = waiting[w]!.shift(); f >= 0; f = waiting[w]!.shift()) {
      home.freeTrain(f);
      v[C_RX_DELIVERED]!--;
      v[C_DROP + reason]!++;
    }
  }

  /** What a dead worker had published is served as ever; all else that it held is found by owner. */
  function bury(w: number): boolean {
    const b = rings[w]!;
    dead[w] = 1;
    if (link === null) {
      while (b.tx.readyNow() > 0 && sender.transmit(w, b.tx) > 0);
      b.tx.take(b.tx.readyNow());
      refused[w] = 0;
    } else if (b.unsent() > 0) {
      // The transmitter has them in hand.
      return false;
    }
    hosting.hear(b.control);
    while (home.takeFrom(b.recycle) > 0);
    b.flush();
    emptyRing(b.grant.words, b.grant.base);
    // What it had not taken, in the ring and behind it, is its successor's: a SYN among it would else be missed for a second.
    keepUntaken(b.rx.words, b.rx.base, frames, inRings + w);
    sweepWorker(frames, w, (f) => home.free(f));
    keepAgain(b.rx.words, b.rx.base, frames, inRings + w);
    port.flush();
    return true;
  }

  function revive(w: number): void {
    dead[w] = 0;
  }

  function release(f: number): void {
    home.free(f);
  }

  function reclaim(w: number): void {
    stopped[w] = 1;
    const b = rings[w]!;
    // A transmitter has emptied its tx ring before.
    while (link === null && b.tx.readyNow() > 0)
      if (sender.transmit(w, b.tx) === 0) {
        // The device takes nothing: what the dead wanted to send is dropped.
        home.freeTrain(b.tx.words[b.tx.slot(0) + D_FRAME]!);
        v[C_DROP + DROP_TX_DEVICE]!++;
        b.tx.take(1);
      }
    while (home.takeFrom(b.recycle) > 0);
    dropOverflow(w, DROP_CLOSING);
    // Nobody reads the rings towards the worker any more: this side takes its place as consumer.
    b.flush();
    drainRing(b.rx.words, b.rx.base, (s) => {
      home.freeTrain(b.rx.words[s + D_FRAME]!);
      v[C_RX_DELIVERED]!--;
      v[C_DROP + DROP_CLOSING]!++;
    });
    home.drain(b.grant);
    port.flush();
  }

  function reclaimTransmitter(): void {
    link?.reclaim(home);
  }

  function inFlight(): number {
    let n = link === null ? 0 : link.inFlight();
    for (let i = 0; i < served.length; i++) n += served[i]!.rx.used() + served[i]!.unsent() + served[i]!.recycle.readyNow();
    for (let w = 0; w < workers; w++) n += waiting[w]!.overflowing;
    return n;
  }

  function leave(worker: Counters, last: () => void, left: () => void): void {
    if (queue === null) {
      left();
      return;
    }
    queue.enter();
    last();
    for (let w = 0; w < workers; w++) dropOverflow(w, DROP_CLOSING);
    for (const b of served) while (home.takeFrom(b.recycle) > 0);
    queue.takeBack(home, counters, worker);
    // What port and rings dropped since the last breath.
    push();
    left();
    queue.leave();
  }

  return {
    pull,
    push,
    pending,
    nextDeadlineMs,
    reclaim,
    bury,
    revive,
    takeFrame: () => hosting.takeFrame(),
    release,
    send: (frameId, lengthBytes) => hosting.send(frameId, lengthBytes),
    reclaimTransmitter,
    inFlight,
    leave,
    host,
  };
}
