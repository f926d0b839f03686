/**
 * The rings between a port's broker and one worker, both ends.
 *
 *   broker (dispatcher thread)            worker
 *     rx       ── descriptors ──▶           frames for this worker
 *     grant    ── frame ids ────▶           credit: empty frames to send from
 *     tx       ◀── descriptors ──           frames to send
 *     recycle  ◀── frame ids ────           frames going home
 *     control  ◀── 4-word messages ─        resolve and confirm for the host state
 *
 * and, between every two workers, one `redirect` ring of descriptors each way.
 * `recycle` holds every frame of the region, so going home never fails; an empty `grant` is EAGAIN, never a wait.
 */
import { type FrameTable, frameValid, settleFrame, settleTrain } from './frameTable.ts';
import * as layoutNumbers from './layout.ts';
import { ringWords, writeHeader } from './layout.ts';
import { formatRing, RingConsumer, RingProducer } from './spsc.ts';
import { slotWord, succeedConsumer, succeedProducer } from './succession.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const {
  D_FLAGS_GSO,
  D_FRAME,
  D_SEGS_VLAN,
  DESC_WORDS,
  F_TRAIN,
  KIND_RINGS,
  D_REGION_GEN,
  OWNER_RING,
  OWNER_RING_OF,
  OWNER_WORKER,
  RING_CLAIMING,
  RING_HEAD,
  RING_TAIL,
  HEADER_BYTES,
} = layoutNumbers;

export const CONTROL_WORDS = 4;
export const CONTROL_SLOTS = 256;

export interface PortRingsPlan {
  workers: number;
  /** Word offsets in the rings block, per worker. */
  rx: number[];
  tx: number[];
  recycle: number[];
  grant: number[];
  control: number[];
  /** redirect[from * workers + to]; -1 on the diagonal. */
  redirect: number[];
  bytes: number;
  rxSlots: number;
  txSlots: number;
  grantSlots: number;
}

const pow2AtLeast = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, n)));

export interface RingSizes {
  /** Descriptors a worker's rx and tx ring hold; powers of two. */
  rx: number;
  tx: number;
  /** Credit a worker may hold in its grant ring; power of two. */
  grant: number;
  redirect: number;
}

/** Lays out one port's rings for `workers` workers over a region of `frames` frames. */
export function planPortRings(workers: number, frames: number, sizes: RingSizes): PortRingsPlan {
  let at = 32 + (HEADER_BYTES >> 2);
  at = (at + 31) & ~31;
  const place = (slots: number, words: number): number => {
    const here = at;
    at += ringWords(slots, words);
    return here;
  };
  const p: PortRingsPlan = {
    workers,
    rx: [],
    tx: [],
    recycle: [],
    grant: [],
    control: [],
    redirect: [],
    bytes: 0,
    rxSlots: sizes.rx,
    txSlots: sizes.tx,
    grantSlots: sizes.grant,
  };
  for (let w = 0; w < workers; w++) {
    p.rx.push(place(sizes.rx, DESC_WORDS));
    p.tx.push(place(sizes.tx, DESC_WORDS));
    p.recycle.push(place(pow2AtLeast(frames), 1));
    p.grant.push(place(sizes.grant, 1));
    p.control.push(place(CONTROL_SLOTS, CONTROL_WORDS));
  }
  for (let from = 0; from < workers; from++)
    for (let to = 0; to < workers; to++) p.redirect.push(from === to ? -1 : place(sizes.redirect, DESC_WORDS));
  p.bytes = at * 4;
  return p;
}

/** Makes and formats the block. Main only. */
export function createPortRings(p: PortRingsPlan, frames: number, sizes: RingSizes): SharedArrayBuffer {
  const block = new SharedArrayBuffer(p.bytes);
  writeHeader(block, KIND_RINGS);
  const words = new Int32Array(block);
  for (let w = 0; w < p.workers; w++) {
    formatRing(words, p.rx[w]!, sizes.rx, DESC_WORDS);
    formatRing(words, p.tx[w]!, sizes.tx, DESC_WORDS);
    formatRing(words, p.recycle[w]!, pow2AtLeast(frames), 1);
    formatRing(words, p.grant[w]!, sizes.grant, 1);
    formatRing(words, p.control[w]!, CONTROL_SLOTS, CONTROL_WORDS);
  }
  for (const at of p.redirect) if (at >= 0) formatRing(words, at, sizes.redirect, DESC_WORDS);
  return block;
}

/** A worker's end of its port: descriptor rings, credit, the way home. */
export class WorkerPort {
  readonly worker: number;
  readonly frames: FrameTable;
  readonly rx: RingConsumer;
  readonly tx: RingProducer;
  readonly control: RingProducer;
  /** From and to the other workers; the entry of this worker itself is null. */
  readonly redirectIn: readonly (RingConsumer | null)[];
  readonly redirectOut: readonly (RingProducer | null)[];
  private readonly recycle: RingProducer;
  private readonly grant: RingConsumer;
  private readonly stack: Int32Array;
  private top = 0;
  /** What this worker writes into the owner column: of a frame in its hands, and of one in its rings. */
  readonly mine: number;
  readonly inRings: number;

  /** `local`: its broker is on this thread, too. */
  constructor(block: SharedArrayBuffer, p: PortRingsPlan, worker: number, frames: FrameTable, local = false) {
    const words = new Int32Array(block);
    this.worker = worker;
    this.frames = frames;
    this.rx = new RingConsumer(words, p.rx[worker]!, local);
    this.tx = new RingProducer(words, p.tx[worker]!, local);
    this.control = new RingProducer(words, p.control[worker]!);
    this.recycle = new RingProducer(words, p.recycle[worker]!, local);
    this.grant = new RingConsumer(words, p.grant[worker]!, local);
    const others = (make: (other: number) => number): number[] =>
      Array.from({ length: p.workers }, (_, o) => (o === worker ? -1 : make(o)));
    this.redirectIn = others((o) => p.redirect[o * p.workers + worker]!).map((at) => (at < 0 ? null : new RingConsumer(words, at)));
    this.redirectOut = others((o) => p.redirect[worker * p.workers + o]!).map((at) => (at < 0 ? null : new RingProducer(words, at)));
    this.stack = new Int32Array(p.grantSlots);
    this.mine = (OWNER_WORKER + worker) | frames.hostBits;
    this.inRings = (OWNER_RING_OF + worker) | frames.hostBits;
  }

  // hot: per packet
  /** An empty frame to send from, or -1 without credit. */
  takeFrame(): number {
    if (this.top === 0) {
      this.pullGrant();
      if (this.top === 0) return -1;
    }
    return this.stack[--this.top]!;
  }

  // hot: per burst
  /** Frames that can be taken now, up to `want` looked for. */
  credit(want: number): number {
    if (this.top < want) this.pullGrant();
    return this.top;
  }

  private pullGrant(): void {
    let n = this.grant.ready();
    const room = this.stack.length - this.top;
    if (n > room) n = room;
    if (n > 64) n = 64;
    const owner = this.frames.owner;
    for (let i = 0; i < n; i++) {
      const f = this.grant.words[this.grant.slot(i)]!;
      owner[f] = this.mine;
      this.stack[this.top++] = f;
    }
    if (n > 0) this.grant.take(n);
  }

  // hot: per packet
  /** One frame goes home. The caller owned it. */
  freeFrame(f: number): void {
    this.frames.owner[f] = this.inRings;
    this.recycle.words[this.recycle.slot(0)] = f;
    this.recycle.put(1);
  }

  // hot: per packet
  /** Every link of a train goes home. */
  freeTrain(f: number): void {
    const next = this.frames.next;
    for (let g = f; g >= 0; ) {
      const n = next[g]!;
      this.freeFrame(g);
      g = n;
    }
  }

  // hot: per burst
  /** Publishes all indices this side moved. Returns whether the broker has something new to see. */
  flush(): boolean {
    let news = this.tx.flush();
    if (this.recycle.flush()) news = true;
    if (this.control.flush()) news = true;
    this.rx.ease();
    // At once: a broker with little to give goes by what a worker has taken.
    this.grant.flush();
    return news;
  }

  /** Whether another worker has sent frames on to this one. */
  redirected(): boolean {
    return this.redirectIn.some((ring) => ring !== null && ring.readyNow() > 0);
  }

  /** Sends home what other workers still redirect to this one when its stack is gone. Returns how many frames that were. */
  discardRedirected(): number {
    let frames = 0;
    for (const ring of this.redirectIn) {
      if (ring === null) continue;
      for (let n = ring.readyNow(); n > 0; n--) {
        const f = ring.words[ring.slot(0) + D_FRAME]!;
        ring.claiming(0);
        settleTrain(this.frames, f, this.mine, 0);
        ring.claimed(0);
        this.freeTrain(f);
        ring.take(1);
        frames++;
      }
      ring.flush();
    }
    return frames;
  }

  /** Gives all credit back, at the end of a worker's life. */
  returnCredit(): void {
    for (;;) {
      this.pullGrant();
      if (this.top === 0) break;
      while (this.top > 0) this.freeFrame(this.stack[--this.top]!);
    }
    this.rx.flush();
    this.grant.flush();
    this.flush();
  }

  publishes(): number {
    return this.tx.publishes + this.recycle.publishes + this.rx.publishes + this.grant.publishes + this.control.publishes;
  }

  /** Slots put and taken so far, as of the last flush. */
  slots(): number {
    return this.tx.slots + this.recycle.slots + this.rx.slots + this.grant.slots + this.control.slots;
  }
}

/**
 * Takes the place of dead worker `worker` on its redirect rings: what it was sending on is the other workers', what it was
 * taking from them is its own, to be swept with the rest. Before the sweep, from one thread, when the worker's has ended.
 */
export function succeedRedirects(block: SharedArrayBuffer, p: PortRingsPlan, worker: number, frames: FrameTable): void {
  const words = new Int32Array(block);
  const mine = (OWNER_WORKER + worker) | frames.hostBits;
  for (let other = 0; other < p.workers; other++) {
    const out = p.redirect[worker * p.workers + other]!;
    const from = p.redirect[other * p.workers + worker]!;
    if (out >= 0) succeedProducer(words, out, (s) => settleTrain(frames, words[s + D_FRAME]!, OWNER_RING, 0));
    if (from >= 0)
      succeedConsumer(words, from, (s) => {
        if (frameValid(frames, words[s + D_FRAME]!, words[s + D_REGION_GEN]!)) settleTrain(frames, words[s + D_FRAME]!, mine, OWNER_RING);
      });
  }
}

/** Whether the descriptor at word `s` names a frame, or a train, that stands in a ring of `owner`'s, every link of it. */
function standsWhole(t: FrameTable, words: Int32Array, s: number, owner: number): boolean {
  let f = words[s + D_FRAME]!;
  if (!frameValid(t, f, words[s + D_REGION_GEN]!) || t.owner[f] !== owner) return false;
  if ((words[s + D_FLAGS_GSO]! & F_TRAIN) === 0) return true;
  for (let links = words[s + D_SEGS_VLAN]! & 0xffff; links > 0; links--) {
    if (f < 0 || f >= t.frames || t.owner[f] !== owner) return false;
    f = t.next[f]!;
  }
  return f < 0;
}

/**
 * The consumer of an rx ring has died; its recycle ring is empty. What it had not claimed stays for its successor, behind the
 * ring's head; what does not stand there whole does not.
 *
 * What stays is marked with a lasting ring's owner, so that a sweep passes it over, until `keepAgain`.
 */
export function keepUntaken(words: Int32Array, at: number, t: FrameTable, owner: number): void {
  let head = Atomics.load(words, at + RING_HEAD);
  // What it was taking, or had taken and perhaps counted.
  const claiming = words[at + RING_CLAIMING]!;
  if (((claiming - head) | 0) > 0) head = claiming;
  let first = Atomics.load(words, at + RING_TAIL);
  for (; first !== head; first = (first - 1) | 0) {
    const s = slotWord(words, at, (first - 1) | 0);
    if (!standsWhole(t, words, s, owner)) break;
    settleTrainOf(words, s, t, OWNER_RING);
  }
  Atomics.store(words, at + RING_HEAD, first);
}

/** What `keepUntaken` has left in the ring is `owner`'s again. Returns how many descriptors that are. */
export function keepAgain(words: Int32Array, at: number, t: FrameTable, owner: number): number {
  const tail = Atomics.load(words, at + RING_TAIL);
  const first = Atomics.load(words, at + RING_HEAD);
  for (let i = first; i !== tail; i = (i + 1) | 0) settleTrainOf(words, slotWord(words, at, i), t, owner);
  return (tail - first) | 0;
}

function settleTrainOf(words: Int32Array, s: number, t: FrameTable, owner: number): void {
  const f = words[s + D_FRAME]!;
  if ((words[s + D_FLAGS_GSO]! & F_TRAIN) === 0) settleFrame(t, f, owner, 0);
  else settleTrain(t, f, owner, 0);
}

/**
 * Frames that worker `worker` was given over its rx and redirect rings, and those it redirected, since the start: int32 that
 * wrap. Exact once its rings are settled, and then what its counters must say.
 */
export function settledCounts(block: SharedArrayBuffer, p: PortRingsPlan, worker: number): { received: number; redirected: number } {
  const words = new Int32Array(block);
  let received = words[p.rx[worker]! + RING_HEAD]!;
  let redirected = 0;
  for (let other = 0; other < p.workers; other++) {
    if (other === worker) continue;
    received = (received + words[p.redirect[other * p.workers + worker]! + RING_HEAD]!) | 0;
    redirected = (redirected + words[p.redirect[worker * p.workers + other]! + RING_TAIL]!) | 0;
  }
  return { received, redirected };
}

/** The broker's end of the same rings. */
export class BrokerPort {
  readonly worker: number;
  readonly rx: RingProducer;
  readonly tx: RingConsumer;
  readonly recycle: RingConsumer;
  readonly grant: RingProducer;
  readonly control: RingConsumer;

  /** `local`: its worker is on this thread, too. */
  constructor(block: SharedArrayBuffer, p: PortRingsPlan, worker: number, local = false) {
    const words = new Int32Array(block);
    this.worker = worker;
    this.rx = new RingProducer(words, p.rx[worker]!, local);
    this.tx = new RingConsumer(words, p.tx[worker]!, local);
    this.recycle = new RingConsumer(words, p.recycle[worker]!, local);
    this.grant = new RingProducer(words, p.grant[worker]!, local);
    this.control = new RingConsumer(words, p.control[worker]!);
  }

  /** Descriptors in the tx ring, whoever sends them: this side, or a transmitter that moves the index in its place. */
  unsent(): number {
    const { words, base } = this.tx;
    return (Atomics.load(words, base + RING_TAIL) - Atomics.load(words, base + RING_HEAD)) | 0;
  }

  // hot: per burst
  /** Returns whether the worker has something new to see. */
  flush(): boolean {
    let news = this.rx.flush();
    if (this.grant.flush()) news = true;
    this.tx.ease();
    this.recycle.ease();
    this.control.ease();
    return news;
  }

  publishes(): number {
    return this.rx.publishes + this.grant.publishes + this.tx.publishes + this.recycle.publishes + this.control.publishes;
  }
}
