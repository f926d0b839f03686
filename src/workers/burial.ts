/**
 * What the broker does when a worker has died (its thread has ended; main says so in the worker's record and counts
 * T_DEATHS of the broker up): everything the dead held comes home, its peers are told, its books are closed. Then main may
 * start another thread in its place. docs/threads.md has the table of instants at which it may have died.
 */
import type { Port } from '../ports/port.ts';
import { reformatArena } from '../rings/arena.ts';
import { LIFE_ALIVE, LIFE_BURIED, LIFE_DEAD, T_DEATHS, T_LIFE, T_LISTENERS, T_UNSETTLED, type ThreadRecord } from '../rings/control.ts';
import {
  C_DROP,
  C_HOST_DELIVERED,
  C_REDIRECTED,
  C_RX_DELIVERED,
  C_RX_PACKETS,
  C_TCP_CURR_ESTAB,
  C_TCP_OUT_RSTS,
  C_TCP_OUT_SEGS,
  Counters,
} from '../rings/counters.ts';
import { DROP_REASONS, DROP_WORKER_DIED, OUTGOING_DROPS } from '../rings/drops.ts';
import { FrameTable } from '../rings/frameTable.ts';
import { HostView } from '../rings/hostState.ts';
import { D_FRAME, RING_TAIL } from '../rings/layout.ts';
import { type PortRingsPlan, settledCounts, succeedRedirects } from '../rings/portRings.ts';
import { drainQueue, succeedQueue } from '../rings/queueRings.ts';
import { STEER_TCP, STEER_UDP, Steering } from '../rings/steering.ts';
import { drainRing, emptyRing } from '../rings/succession.ts';
import { LEN_RESET_FRAME, Remains } from '../stack/tcp/remains.ts';
import type { Dispatcher } from './dispatcher.ts';
import { type RuntimePlan, systemRandom, type Thread, threadRecord } from './plan.ts';

/** RSTs sent, and connections looked at, a breath. */
const RSTS = 64;
const LOOKS = 16384;
/** A port that takes nothing keeps a burial this long at most; peers that were not told learn it from the next worker. */
const RST_MS = 2000;

export interface BurialEnv {
  control: SharedArrayBuffer;
  /** The record in which main counts deaths for this broker. */
  broker: ThreadRecord;
  /** By worker. */
  records: readonly ThreadRecord[];
  arenas: readonly SharedArrayBuffer[];
  rings: SharedArrayBuffer;
  ringsPlan: PortRingsPlan;
  frames: FrameTable;
  steering: Steering;
  host: HostView;
  dispatcher: Pick<Dispatcher, 'bury' | 'revive' | 'takeFrame' | 'release' | 'send'>;
  /** [nowUs, nowMs]. */
  clock: Int32Array;
  random: () => number;
  /** Everybody's bells are rung: what the dead was handing over when it died is news to somebody. */
  ringAll: () => void;
  /** Worker `worker` may be replaced now. */
  buried: (worker: number) => void;
}

export interface Undertaker {
  /** Once a breath: a load when nobody died. Returns what it did, in RSTs and burials. */
  poll(): number;
  /** The last look before sleeping. */
  pending(): boolean;
  /** Ends what is under way, without waiting for ports that take nothing. */
  finish(): void;
}

/**
 * Makes the counters of a dead thread add up again: what its rings say it received and redirected counts, and what it
 * neither delivered nor dropped before it died was dropped for that reason. What it had done with frames that its rings say it
 * never took, so that its successor has them again (keepUntaken), is undone.
 */
export function closeBooks(v: Float64Array, received: number, redirected: number): void {
  v[C_RX_PACKETS]! += (received - (v[C_RX_PACKETS]! | 0)) | 0;
  v[C_REDIRECTED]! += (redirected - (v[C_REDIRECTED]! | 0)) | 0;
  v[C_TCP_CURR_ESTAB] = 0;
  const more = accounted(v) - v[C_RX_PACKETS]!;
  if (more > 0) v[C_RX_DELIVERED]! -= more;
  balance(v);
}

/** The same for a broker inside a worker: `handed` is what it put on rings towards workers since the start, an int32 that wraps. */
export function closeBrokerBooks(v: Float64Array, handed: number): void {
  // Behind the rings stood its overflow queues: what was in them is lost.
  v[C_RX_DELIVERED]! -= (((v[C_RX_DELIVERED]! - v[C_HOST_DELIVERED]!) | 0) - handed) | 0;
  balance(v);
}

/** Frames received that were delivered or dropped. */
function accounted(v: Float64Array): number {
  let sum = v[C_RX_DELIVERED]!;
  for (let r = 1; r < DROP_REASONS; r++) if (!OUTGOING_DROPS.includes(r)) sum += v[C_DROP + r]!;
  return sum;
}

function balance(v: Float64Array): void {
  const sum = accounted(v);
  if (sum > v[C_RX_PACKETS]!) v[C_RX_PACKETS] = sum;
  else v[C_DROP + DROP_WORKER_DIED]! += v[C_RX_PACKETS]! - sum;
}

/** Sends RSTs for what a dead worker left, up to `most`. 1: there are more, 0: all sent, -1: no frame or no room now. */
export function sendResets(
  e: Pick<BurialEnv, 'frames' | 'host' | 'dispatcher' | 'random'>,
  r: Remains,
  most: number,
  v: Float64Array,
): number {
  const { frames, dispatcher } = e;
  for (let i = 0; i < most; i++) {
    const found = r.next(LOOKS);
    if (found <= 0) return found < 0 ? 0 : 1;
    const f = dispatcher.takeFrame();
    if (f < 0) return -1;
    const written = r.write(frames.view, frames.offset[f]! + frames.headroom, e.host, e.random());
    if (!written) dispatcher.release(f);
    else if (!dispatcher.send(f, LEN_RESET_FRAME)) return -1;
    r.told();
    if (!written) continue;
    v[C_TCP_OUT_RSTS]!++;
    v[C_TCP_OUT_SEGS]!++;
  }
  return 1;
}

/**
 * Claims on local ports that ended with the worker: all but those of its listeners, and the UDP ports that its program named,
 * which its successor will hold again. `unsettled`: it had not had time to listen again after the death before this one, so what
 * it shares stands for its forerunner's listeners.
 */
export function withdrawClaims(steering: Steering, worker: number, remains: Remains | null, unsettled: boolean): void {
  const listening = remains === null ? new Set<number>() : remains.listening();
  steering.servedBy(STEER_TCP, worker, (port) => {
    if (!listening.has(port) && (!unsettled || steering.claimed(STEER_TCP, port))) steering.serve(STEER_TCP, port, worker, false);
  });
  steering.servedBy(STEER_UDP, worker, (port) => {
    if (steering.claimed(STEER_UDP, port)) steering.serve(STEER_UDP, port, worker, false);
  });
}

/** The claims of a dead worker, whoever buries it: from here on those that stay are unsettled, until a successor has listened. */
function settleClaims(steering: Steering, worker: number, remains: Remains | null, record: ThreadRecord): void {
  withdrawClaims(steering, worker, remains, record.get(T_UNSETTLED) !== 0);
  record.set(T_UNSETTLED, 1);
}

/** What was sent on to a worker that will not come for it goes home: received by it, and dropped. `v`: its counters. */
function discardRing(words: Int32Array, at: number, v: Float64Array, frames: FrameTable, free: (f: number) => void): void {
  drainRing(words, at, (s) => {
    v[C_RX_PACKETS]!++;
    v[C_DROP + DROP_WORKER_DIED]!++;
    for (let f = words[s + D_FRAME]!; f >= 0; ) {
      const next = frames.next[f]!;
      free(f);
      f = next;
    }
  });
}

class UndertakerOfBroker implements Undertaker {
  private readonly e: BurialEnv;
  private readonly words: Int32Array;
  private readonly deathsAt: number;
  private seen: number;
  /** Whom this broker has buried and not yet seen alive again. */
  private readonly gone: Uint8Array;
  private worker = -1;
  private remains: Remains | null = null;
  private counters: Counters | null = null;
  private untilMs = 0;

  constructor(e: BurialEnv) {
    this.e = e;
    this.words = e.broker.words;
    this.deathsAt = e.broker.at + T_DEATHS;
    this.seen = 0;
    this.gone = new Uint8Array(e.records.length);
  }

  // hot: per burst
  poll(): number {
    return this.worker < 0 && this.words[this.deathsAt] === this.seen ? 0 : this.work();
  }

  pending(): boolean {
    return this.worker >= 0 || Atomics.load(this.words, this.deathsAt) !== this.seen;
  }

  finish(): void {
    while (this.pending()) {
      if (this.worker >= 0) this.untilMs = this.e.clock[1]!;
      if (this.work() === 0 && this.worker < 0) break;
    }
    for (let w = 0; w < this.gone.length; w++) if (this.gone[w] !== 0) this.discard(w);
  }

  /** Nobody has come in the place of `w`, and nobody sends frames on any more: those that were sent on to it go home. */
  private discard(w: number): void {
    const { ringsPlan, frames, dispatcher, control, records } = this.e;
    const words = new Int32Array(this.e.rings);
    const counters = new Counters(control, records[w]!.countersAt);
    const { v } = counters;
    for (let other = 0; other < ringsPlan.workers; other++)
      if (other !== w) discardRing(words, ringsPlan.redirect[other * ringsPlan.workers + w]!, v, frames, (f) => dispatcher.release(f));
    counters.commit();
  }

  private work(): number {
    if (this.worker >= 0) return this.tell();
    const news = Atomics.load(this.words, this.deathsAt);
    for (let w = 0; w < this.gone.length; w++) {
      const life = this.e.records[w]!.get(T_LIFE);
      if (life === LIFE_DEAD) return this.begin(w);
      if (life === LIFE_ALIVE && this.gone[w] !== 0) {
        this.gone[w] = 0;
        this.e.dispatcher.revive(w);
      }
    }
    this.seen = news;
    return 1;
  }

  private begin(w: number): number {
    const { e } = this;
    this.gone[w] = 1;
    e.steering.unlock(w);
    succeedRedirects(e.rings, e.ringsPlan, w, e.frames);
    if (!e.dispatcher.bury(w)) {
      // The dead may have published without ringing: who sends for it may sleep.
      e.ringAll();
      return 0;
    }
    this.worker = w;
    this.untilMs = (e.clock[1]! + RST_MS) | 0;
    this.remains = Remains.of(e.arenas[w]!);
    settleClaims(e.steering, w, this.remains, e.records[w]!);
    this.counters = new Counters(e.control, e.records[w]!.countersAt);
    const { received, redirected } = settledCounts(e.rings, e.ringsPlan, w);
    closeBooks(this.counters.v, received, redirected);
    this.counters.commit();
    e.records[w]!.set(T_LISTENERS, 0);
    e.ringAll();
    return 1;
  }

  /** RSTs, a bounded number a breath; then the grave is closed. */
  private tell(): number {
    const { e, worker, remains } = this;
    const more = remains === null ? 0 : sendResets(e, remains, RSTS, this.counters!.v);
    if (more > 0) {
      this.untilMs = (e.clock[1]! + RST_MS) | 0;
      return 1;
    }
    if (more < 0 && ((e.clock[1]! - this.untilMs) | 0) < 0) return 0;
    this.counters!.commit();
    this.worker = -1;
    this.remains = null;
    e.records[worker]!.set(T_LIFE, LIFE_BURIED);
    e.buried(worker);
    return 1;
  }
}

export function createUndertaker(e: BurialEnv): Undertaker {
  return new UndertakerOfBroker(e);
}

/** What the undertaker of a broker on a thread of its own needs, from the plan. */
export function undertakerOf(thread: Thread, dispatcher: Dispatcher, frames: FrameTable, buried: (worker: number) => void): Undertaker {
  const { plan } = thread;
  const bells = [...plan.workerBells, ...(plan.transmitter === null ? [] : [plan.transmitter.bell])].map((b) => thread.bell(b));
  return createUndertaker({
    control: plan.control,
    broker: thread.record,
    records: plan.workerThreads.map((_, w) => threadRecord(plan, w)),
    arenas: plan.arenas,
    rings: plan.rings,
    ringsPlan: plan.ringsPlan,
    frames,
    steering: new Steering(plan.control, plan.steeringAt),
    host: new HostView(plan.control, plan.hostAt),
    dispatcher,
    clock: thread.record.clock(),
    random: systemRandom(),
    ringAll: () => {
      for (const b of bells) b.ring();
    },
    buried,
  });
}

/**
 * The estate of a worker that died and was its own broker, of the port or of one of its queues: whoever comes after buries it.
 * Made before the port is attached again, which brings the frames home; `settle` does the rest. Whoever dies over it leaves it
 * to the next.
 */
export class Estate {
  private readonly plan: RuntimePlan;
  private readonly worker: number;
  constructor(plan: RuntimePlan, worker: number) {
    this.plan = plan;
    this.worker = worker;
    const { ringsPlan, rings, queueRings } = plan;
    new Steering(plan.control, plan.steeringAt).unlock(worker);
    const { port } = plan.brokers[worker]!;
    const frames = new FrameTable(port.table, port.memory, port.host);
    succeedRedirects(rings, ringsPlan, worker, frames);
    if (queueRings !== null) succeedQueue(queueRings, worker, frames);
    const words = new Int32Array(rings);
    for (const at of [ringsPlan.rx, ringsPlan.grant, ringsPlan.tx, ringsPlan.recycle]) emptyRing(words, at[worker]!);
    // What the others' workers say to the host is heard on the thread of queue 0, whoever of them has died.
    if (worker === 0) emptyRing(words, ringsPlan.control[0]!);
  }

  /** Books, claims and, with somebody to send them, RSTs. The arena is free afterwards. */
  settle(counters: Counters, broker: Counters, sender: { dispatcher: Dispatcher; frames: FrameTable } | null): void {
    const { plan, worker } = this;
    const remains = Remains.of(plan.arenas[worker]!);
    const { received, redirected } = settledCounts(plan.rings, plan.ringsPlan, worker);
    const handed = new Int32Array(plan.rings)[plan.ringsPlan.rx[worker]! + RING_TAIL]!;
    if (plan.queueRings === null) {
      closeBooks(counters.v, received, redirected);
      closeBrokerBooks(broker.v, handed);
    } else {
      // The broker's crossings and the worker's redirections use the same rings: what is not the one's is the other's.
      const own = counters.v[C_REDIRECTED]! | 0;
      closeBooks(counters.v, received, own);
      closeBrokerBooks(broker.v, (handed + redirected - own) | 0);
    }
    const record = threadRecord(plan, worker);
    settleClaims(new Steering(plan.control, plan.steeringAt), worker, remains, record);
    record.set(T_LISTENERS, 0);
    if (remains !== null && sender !== null) {
      const random = systemRandom();
      const host = new HostView(plan.control, plan.hostAt);
      const by = performance.now() + RST_MS;
      for (;;) {
        const more = sendResets({ ...sender, host, random }, remains, RSTS, counters.v);
        if (more === 0) break;
        if (more > 0) continue;
        // No frame or no room now: those that were sent come home, the peers make room.
        if (performance.now() >= by) break;
        sender.dispatcher.push();
        sender.dispatcher.pull();
        Atomics.wait(PAUSE, 0, 0, 1);
      }
    }
    counters.commit();
    broker.commit();
    reformatArena(plan.arenas[worker]!);
    record.set(T_LIFE, LIFE_ALIVE);
  }

  /**
   * At the very end, when no thread runs: nobody comes in its place, so what stands between it and the other queues goes home
   * by `port`, which is the dead one's.
   */
  clear(port: Port): void {
    const { plan, worker } = this;
    const { ringsPlan, queueRings } = plan;
    if (queueRings === null) return;
    const { frames } = port;
    const words = new Int32Array(plan.rings);
    const free = (f: number): void => port.free(f);
    for (let other = 0; other < ringsPlan.workers; other++) {
      if (other === worker) continue;
      for (const [from, to] of [
        [worker, other],
        [other, worker],
      ] as const) {
        const counters = new Counters(plan.control, threadRecord(plan, to).countersAt);
        discardRing(words, ringsPlan.redirect[from * ringsPlan.workers + to]!, counters.v, frames, free);
        counters.commit();
      }
    }
    drainQueue(queueRings, worker, free);
  }
}

/** A word that nobody notifies. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
