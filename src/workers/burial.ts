/**
 * What the broker does when a worker has died (its thread has ended; main says so in the worker's record and counts
 * T_DEATHS of the broker up): everything the dead held comes home, its peers are told, its books are closed. Then main may
 * start another thread in its place. docs/threads.md has the table of instants at which it may have died.
 */
import { LIFE_ALIVE, LIFE_BURIED, LIFE_DEAD, T_DEATHS, T_LIFE, T_LISTENERS, type ThreadRecord } from '../rings/control.ts';
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
import type { FrameTable } from '../rings/frameTable.ts';
import type { HostView } from '../rings/hostState.ts';
import { type PortRingsPlan, settledCounts, succeedRedirects } from '../rings/portRings.ts';
import { STEER_TCP, STEER_UDP, type Steering } from '../rings/steering.ts';
import { LEN_RESET_FRAME, Remains } from '../stack/tcp/remains.ts';
import type { Dispatcher } from './dispatcher.ts';

/** RSTs sent, and connections looked at, a breath. */
const RSTS = 64;
const LOOKS = 16384;
/** A port that takes nothing keeps a burial this long at most; peers that were not told learn it from the next worker. */
const RST_MS = 500;

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
 * neither delivered nor dropped before it died was dropped for that reason.
 */
export function closeBooks(v: Float64Array, received: number, redirected: number): void {
  v[C_RX_PACKETS]! += (received - (v[C_RX_PACKETS]! | 0)) | 0;
  v[C_REDIRECTED]! += (redirected - (v[C_REDIRECTED]! | 0)) | 0;
  v[C_TCP_CURR_ESTAB] = 0;
  balance(v);
}

/** The same for a broker inside a worker: `handed` is what it put on rings towards its workers since the start, an int32 that wraps. */
export function closeBrokerBooks(v: Float64Array, handed: number): void {
  // Behind the rings stood its overflow queues: what was in them is lost.
  v[C_RX_DELIVERED]! -= (((v[C_RX_DELIVERED]! - v[C_HOST_DELIVERED]!) | 0) - handed) | 0;
  balance(v);
}

function balance(v: Float64Array): void {
  let sum = v[C_RX_DELIVERED]!;
  for (let r = 1; r < DROP_REASONS; r++) if (!OUTGOING_DROPS.includes(r)) sum += v[C_DROP + r]!;
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
    if (!written) {
      dispatcher.release(f);
      continue;
    }
    if (!dispatcher.send(f, LEN_RESET_FRAME)) return -1;
    v[C_TCP_OUT_RSTS]!++;
    v[C_TCP_OUT_SEGS]!++;
  }
  return 1;
}

/**
 * Claims on local ports that ended with the worker: all but those of its listeners, and the UDP ports that its program named,
 * which its successor will hold again.
 */
export function withdrawClaims(steering: Steering, worker: number, remains: Remains | null): void {
  const listening = remains === null ? new Set<number>() : remains.listening();
  steering.servedBy(STEER_TCP, worker, (port) => {
    if (!listening.has(port)) steering.serve(STEER_TCP, port, worker, false);
  });
  steering.servedBy(STEER_UDP, worker, (port) => {
    if (steering.claimed(STEER_UDP, port)) steering.serve(STEER_UDP, port, worker, false);
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
      if (this.work() === 0 && this.worker < 0) return;
    }
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
    if (!e.dispatcher.bury(w)) return 0;
    this.worker = w;
    this.untilMs = (e.clock[1]! + RST_MS) | 0;
    this.remains = Remains.of(e.arenas[w]!);
    withdrawClaims(e.steering, w, this.remains);
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
    if (more !== 0 && ((e.clock[1]! - this.untilMs) | 0) < 0) return more < 0 ? 0 : 1;
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
