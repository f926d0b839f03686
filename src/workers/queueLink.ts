/**
 * One of a port's queues among the others (layout `run-to-completion`): where frames of another worker's flows go, how frames of
 * another queue come home, and who hears ARP. Every worker is the broker of its queue; the host state is queue 0's.
 */
import type { Port } from '../ports/port.ts';
import * as controlNumbers from '../rings/control.ts';
import type { ThreadRecord } from '../rings/control.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as dropReasons from '../rings/drops.ts';
import { markFree } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { hungryWord, leavingWord, type QueueRings } from '../rings/queueRings.ts';
import { RingConsumer, RingProducer } from '../rings/spsc.ts';
import { drainRing } from '../rings/succession.ts';
import type { FrameReturn } from './frameReturn.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { LIFE_DEAD, T_LIFE, T_STATE, TS_STOPPED } = controlNumbers;
const { C_DROP, C_HOST_DELIVERED, C_REDIRECTED, C_RX_DELIVERED } = counterIndex;
const { DROP_CLOSING } = dropReasons;
const { D_FLAGS_GSO, D_FRAME, DESC_WORDS, F_REDIRECTED, OWNER_RING } = layoutNumbers;

export interface QueueLinkEnv {
  queue: number;
  port: Port;
  rings: QueueRings;
  /** The worker's own ends of its redirect rings: this thread is their one producer. */
  crossings: readonly (RingProducer | null)[];
  /** The other workers' control rings, on queue 0: messages for the host; empty elsewhere. */
  controls: readonly RingConsumer[];
  bells: readonly (Doorbell | null)[];
  /** By worker: who has left. */
  records: readonly ThreadRecord[];
  /** A switch's ports send frames home by themselves. */
  sendsHome: boolean;
}

/** How long one that leaves waits for another that leaves, in looks. */
const LOCK_TRIES = 20_000_000;

export class QueueLink {
  readonly queue: number;
  readonly crossings: readonly (RingProducer | null)[];
  readonly controls: readonly RingConsumer[];
  /** By worker: its thread has left, as far as this one knows. */
  readonly left: Uint8Array;
  private readonly e: QueueLinkEnv;
  private readonly words: Int32Array;
  private readonly first: number;
  private readonly count: number;
  private readonly homeOut: readonly (RingProducer | null)[];
  private readonly homeIn: readonly (RingConsumer | null)[];
  private readonly hostOut: RingProducer | null;
  /** From the other queues' brokers: frames for the host; only on queue 0. */
  readonly hostIn: readonly RingConsumer[];
  private readonly queueOf: Uint8Array;
  private hungry = false;

  constructor(e: QueueLinkEnv) {
    const { rings, queue } = e;
    const words = new Int32Array(rings.block);
    const each = <T>(make: (other: number) => T): (T | null)[] =>
      Array.from({ length: rings.queues }, (_, o) => (o === queue ? null : make(o)));
    this.e = e;
    this.words = words;
    this.queue = queue;
    this.crossings = e.crossings;
    this.controls = e.controls;
    this.left = new Uint8Array(rings.queues);
    this.first = rings.first[queue]!;
    this.count = rings.count[queue]!;
    this.homeOut = each((o) => new RingProducer(words, rings.home[queue * rings.queues + o]!));
    this.homeIn = each((o) => new RingConsumer(words, rings.home[o * rings.queues + queue]!));
    this.hostOut = queue === 0 ? null : new RingProducer(words, rings.host[queue]!);
    this.hostIn = queue === 0 ? rings.host.filter((at) => at >= 0).map((at) => new RingConsumer(words, at)) : [];
    this.queueOf = new Uint8Array(e.port.frames.frames);
    for (let q = 0; q < rings.queues; q++) this.queueOf.fill(q, rings.first[q]!, rings.first[q]! + rings.count[q]!);
  }

  // hot: per packet
  /** Whether this queue's port takes the frame home itself. */
  takes(f: number): boolean {
    return !this.e.sendsHome || (f >= this.first && f < this.first + this.count);
  }

  // hot: per packet
  /** A frame of another queue goes home. */
  sendHome(f: number): void {
    const ring = this.homeOut[this.queueOf[f]!]!;
    ring.words[ring.slot(0)] = f;
    ring.offer();
    this.e.port.frames.owner[f] = OWNER_RING;
    ring.put(1);
  }

  // hot: per packet
  /** ARP for the host's thread. False: there is no room. */
  tellHost(desc: Int32Array, at: number): boolean {
    const ring = this.hostOut!;
    if (ring.room(1) === 0) return false;
    const s = ring.slot(0);
    for (let i = 0; i < DESC_WORDS; i++) ring.words[s + i] = desc[at + i]!;
    ring.offer();
    this.e.port.frames.owner[desc[at + D_FRAME]!] = OWNER_RING;
    ring.put(1);
    return true;
  }

  // hot: per burst
  /** Frames of this queue that come home; who has left is noted. Returns how many came. */
  takeHome(home: FrameReturn): number {
    let moved = 0;
    for (let q = 0; q < this.homeIn.length; q++) {
      const ring = this.homeIn[q];
      if (ring === null || ring === undefined) continue;
      for (let n = this.takeHomeFrom(ring, home); n > 0; n = this.takeHomeFrom(ring, home)) moved += n;
      ring.flush();
      const record = this.e.records[q]!;
      if (record.words[record.at + T_STATE] === TS_STOPPED) this.left[q] = 1;
    }
    return moved;
  }

  // hot: per burst
  /** With a trace of each frame taken: the ring outlives this thread, and so does the frame. */
  private takeHomeFrom(ring: RingConsumer, home: FrameReturn): number {
    const n = ring.ready();
    for (let i = 0; i < n; i++) {
      ring.claiming(i);
      home.settle(ring.words[ring.slot(i)]!);
      ring.claimed(i);
    }
    if (n > 0) home.taken(ring, n);
    return n;
  }

  /**
   * In the place of a broker that died: what it held of other queues' frames came to this queue's list with the rest when the
   * port was attached, and goes to theirs.
   */
  sendStrangersHome(): void {
    const { port, sendsHome } = this.e;
    if (!sendsHome) return;
    const ids = new Int32Array(port.available());
    for (let n = port.alloc(ids, 0, ids.length); n > 0; n--) {
      const f = ids[n - 1]!;
      if (this.takes(f)) port.free(f);
      else this.sendHome(f);
    }
    this.flush();
  }

  // hot: per burst
  /** Publishes, and rings a broker for frames it is short of, and the host's for what it shall hear. */
  flush(): void {
    for (let q = 0; q < this.homeOut.length; q++) {
      const ring = this.homeOut[q];
      if (ring === null || ring === undefined) continue;
      if (ring.flush() && Atomics.load(this.words, hungryWord(q)) !== 0) this.ring(q);
    }
    if (this.hostOut?.flush() === true) this.ring(0);
    for (let i = 0; i < this.hostIn.length; i++) this.hostIn[i]!.flush();
    for (let i = 0; i < this.controls.length; i++) this.controls[i]!.flush();
  }

  private ring(queue: number): void {
    const bell = this.e.bells[queue];
    if (bell !== null && bell !== undefined) bell.ring();
  }

  /** The last look before sleeping. Below half of its frames the queue asks to be woken when some come home. */
  pending(): boolean {
    const hungry = this.e.port.available() < this.count >> 1;
    if (hungry !== this.hungry) {
      this.hungry = hungry;
      Atomics.store(this.words, hungryWord(this.queue), hungry ? 1 : 0);
    }
    for (let q = 0; q < this.homeIn.length; q++) if ((this.homeIn[q]?.readyNow() ?? 0) > 0) return true;
    for (let i = 0; i < this.hostIn.length; i++) if (this.hostIn[i]!.readyNow() > 0) return true;
    return false;
  }

  /**
   * Leaving, one at a time: between `enter` and `leave` nobody else leaves, so that of any two threads the later one finds all
   * that the other left. Of a thread that died with the lock it is taken; what that one left is main's to bring home.
   */
  enter(): void {
    const at = leavingWord(this.e.rings.queues);
    for (let tries = 0; tries < LOCK_TRIES; tries++) {
      const holder = Atomics.compareExchange(this.words, at, 0, this.queue + 1);
      if (holder === 0) return;
      if (this.e.records[holder - 1]!.get(T_LIFE) !== LIFE_DEAD) continue;
      if (Atomics.compareExchange(this.words, at, holder, this.queue + 1) === holder) return;
    }
  }

  leave(): void {
    Atomics.compareExchange(this.words, leavingWord(this.e.rings.queues), this.queue + 1, 0);
  }

  /**
   * The last thing: what stands in the rings towards those who have left is taken back, for they never will. A frame that this
   * broker handed over is a drop of its own then; one that its worker sent on, the worker's.
   */
  takeBack(home: FrameReturn, broker: Counters, worker: Counters): void {
    const { records, port, rings } = this.e;
    this.takeHome(home);
    for (let q = 0; q < this.left.length; q++) {
      if (q === this.queue || records[q]!.get(T_STATE) !== TS_STOPPED) continue;
      this.left[q] = 1;
      this.takeCrossings(this.crossings[q]!, home, broker, worker);
    }
    if (this.hostOut !== null && this.left[0] !== 0) this.takeHostFrames(this.hostOut, home, broker);
    this.flush();
    for (let q = 0; q < this.left.length; q++) {
      if (this.left[q] === 0) continue;
      // Free, on a list that nobody has any more.
      drainRing(this.words, rings.home[this.queue * rings.queues + q]!, (s) => markFree(port.frames, this.words[s]!));
    }
  }

  private takeCrossings(ring: RingProducer, home: FrameReturn, broker: Counters, worker: Counters): void {
    ring.flush();
    const { words } = ring;
    drainRing(words, ring.base, (s) => {
      const redirected = (words[s + D_FLAGS_GSO]! & F_REDIRECTED) !== 0;
      const v = redirected ? worker.v : broker.v;
      if (redirected) v[C_REDIRECTED]!--;
      v[C_RX_DELIVERED]!--;
      v[C_DROP + DROP_CLOSING]!++;
      home.freeTrain(words[s + D_FRAME]!);
    });
  }

  private takeHostFrames(ring: RingProducer, home: FrameReturn, broker: Counters): void {
    ring.flush();
    const v = broker.v;
    drainRing(ring.words, ring.base, (s) => {
      v[C_RX_DELIVERED]!--;
      v[C_HOST_DELIVERED]!--;
      v[C_DROP + DROP_CLOSING]!++;
      home.free(ring.words[s + D_FRAME]!);
    });
  }
}
