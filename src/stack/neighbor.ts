/**
 * A worker's side of neighbour resolution. The table belongs to the owner of the host state (host.ts), which publishes it;
 * a worker reads it, asks over its control ring, and keeps its own frames while they wait. No worker answers for another.
 */
import * as counterIndex from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import type { HostView } from '../rings/hostState.ts';
import * as hostStateNumbers from '../rings/hostState.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { WorkerPort } from '../rings/portRings.ts';
import { isBroadcast } from './broadcast.ts';
import type { StackEnv } from './env.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP } = counterIndex;
const { DROP_NO_NEIGHBOUR } = dropReasons;
const { MSG_CONFIRM, MSG_RESOLVE, NB_FAILED, NB_INCOMPLETE, NB_REACHABLE, NB_STALE } = hostStateNumbers;
const { OWNER_LEASE_OF } = layoutNumbers;

/** Frames kept at most for one next hop (RFC 1122 section 2.3.2.2 asks for at least one), and for all of them. */
export const WAITING_PER_HOP = 3;
export const WAITING_MAX = 64;
/** A frame never waits longer, whatever became of the entry: three requests a second apart, and a second of grace. */
export const WAIT_MS = 4000;
/** At most one question a second and one confirmation in five for a hop. */
export const ASK_MS = 1000;
export const CONFIRM_MS = 5000;
/** How often waiting frames are looked at although the table did not move. */
const SWEEP_MS = 250;
/** Hops remembered for the two rate limits: direct-mapped, a collision only asks once more. */
const HOPS = 256;

export interface Neighbor {
  /** The hop's MAC, first 4 bytes and last 2: filled by `resolve` when it returns NB_REACHABLE, and during `poll` for each frame it emits. */
  macHi: number;
  macLo: number;
  /** NB_REACHABLE (usable; STALE is reported as reachable and a refresh is asked), NB_INCOMPLETE (asked, wait), NB_FAILED. */
  resolve(nextHop: number): number;
  /**
   * Keeps a finished frame (headers written, destination MAC missing) until nextHop resolves; owner LEASE, all links of a
   * train; the oldest is dropped beyond WAITING_PER_HOP or WAITING_MAX, and counted. The caller no longer owns it.
   */
  wait(nextHop: number, frameId: number, lengthBytes: number, flags: number): void;
  /**
   * Once a breath, cheap when the host epoch has not moved: releases waiting frames through `emit` in their order (the
   * destination MAC written at the frame's headroom, owner this worker again), drops failed ones (DROP_NO_NEIGHBOUR). One
   * that `emit` refuses for want of room waits on.
   */
  poll(emit: (frameId: number, lengthBytes: number, flags: number) => boolean): void;
  /** Forward progress through nextHop (an acknowledgment of new data); rate limited inside. */
  confirm(nextHop: number): void;
  /** Frames kept now. */
  waiting(): number;
  /** Gives the waiting frames back, DROP_NO_NEIGHBOUR: a reason of frames on their way out, which no sum of received ones may count. */
  clear(): void;
}

class NeighborOfWorker implements Neighbor {
  macHi = 0;
  macLo = 0;
  private readonly host: HostView;
  private readonly port: WorkerPort;
  private readonly clock: Int32Array;
  private readonly counted: Float64Array;
  private readonly mine: number;
  private readonly leased: number;
  /** Waiting frames in order of arrival, dense. */
  private readonly hop = new Int32Array(WAITING_MAX);
  private readonly frame = new Int32Array(WAITING_MAX);
  private readonly bytes = new Int32Array(WAITING_MAX);
  private readonly flags = new Int32Array(WAITING_MAX);
  private readonly sinceMs = new Int32Array(WAITING_MAX);
  private count = 0;
  private polling = false;
  private epochSeen: number;
  private sweptMs = 0;
  /** The last hop found reachable, valid while the epoch stands. */
  private lastHop = 0;
  private lastEpoch = 0;
  private readonly askedHop = new Int32Array(HOPS);
  private readonly askedMs = new Int32Array(HOPS);
  private readonly confirmedHop = new Int32Array(HOPS);
  private readonly confirmedMs = new Int32Array(HOPS);

  constructor(env: StackEnv) {
    this.host = env.host;
    this.port = env.port;
    this.clock = env.clock;
    this.counted = env.counters.v;
    this.mine = env.port.mine;
    this.leased = (OWNER_LEASE_OF + env.worker) | env.port.frames.hostBits;
    this.epochSeen = env.host.epoch();
  }

  // hot: per packet
  resolve(nextHop: number): number {
    const epoch = this.host.epoch();
    if (nextHop === this.lastHop && epoch === this.lastEpoch && nextHop !== 0) return NB_REACHABLE;
    return this.lookUp(nextHop, epoch);
  }

  // hot: per packet
  private lookUp(nextHop: number, epoch: number): number {
    this.lastHop = 0;
    const group = this.groupMac(nextHop);
    if (group !== 0) return group;
    const state = this.host.mac(nextHop);
    if (state === NB_REACHABLE || state === NB_STALE) {
      this.macHi = this.host.macHi;
      this.macLo = this.host.macLo;
      if (state === NB_STALE) {
        this.ask(nextHop);
      } else {
        this.lastHop = nextHop;
        this.lastEpoch = epoch;
      }
      return NB_REACHABLE;
    }
    if (state === NB_FAILED) return NB_FAILED;
    if (state !== NB_INCOMPLETE) this.ask(nextHop);
    return NB_INCOMPLETE;
  }

  /** Addresses that are never asked for: broadcast and multicast have fixed MACs (RFC 1112 section 6.4), 0 and our own have none. */
  private groupMac(nextHop: number): number {
    if (isBroadcast(this.host, nextHop)) {
      this.macHi = -1;
      this.macLo = 0xffff;
      return NB_REACHABLE;
    }
    if (nextHop >>> 28 === 14) {
      this.macHi = 0x01005e00 | ((nextHop >>> 16) & 0x7f);
      this.macLo = nextHop & 0xffff;
      return NB_REACHABLE;
    }
    return nextHop === 0 || nextHop === this.host.address() ? NB_FAILED : 0;
  }

  /** Asks the host, at most once in ASK_MS a hop; a full control ring is tried again at the next call. */
  private ask(nextHop: number): void {
    const k = slotOf(nextHop);
    const now = this.clock[1]!;
    if (this.askedHop[k] === nextHop && ((now - this.askedMs[k]!) | 0) < ASK_MS) return;
    if (!this.say(MSG_RESOLVE, nextHop)) return;
    this.askedHop[k] = nextHop;
    this.askedMs[k] = now;
  }

  confirm(nextHop: number): void {
    const k = slotOf(nextHop);
    const now = this.clock[1]!;
    if (this.confirmedHop[k] === nextHop && ((now - this.confirmedMs[k]!) | 0) < CONFIRM_MS) return;
    if (!this.say(MSG_CONFIRM, nextHop)) return;
    this.confirmedHop[k] = nextHop;
    this.confirmedMs[k] = now;
  }

  private say(op: number, ip: number): boolean {
    const ring = this.port.control;
    if (ring.room(1) < 1) return false;
    const s = ring.slot(0);
    ring.words[s] = op;
    ring.words[s + 1] = ip;
    ring.words[s + 2] = this.port.worker;
    ring.words[s + 3] = 0;
    ring.put(1);
    return true;
  }

  wait(nextHop: number, frameId: number, lengthBytes: number, flags: number): void {
    if (this.polling) {
      // The list is being walked: nothing may move below its end.
      if (this.count === WAITING_MAX) return this.dropFrame(frameId, DROP_NO_NEIGHBOUR);
    } else {
      let same = 0;
      let oldest = -1;
      for (let i = this.count - 1; i >= 0; i--) {
        if (this.hop[i] !== nextHop) continue;
        same++;
        oldest = i;
      }
      if (same >= WAITING_PER_HOP) this.dropAt(oldest);
      else if (this.count === WAITING_MAX) this.dropAt(0);
    }
    const i = this.count++;
    this.hop[i] = nextHop;
    this.frame[i] = frameId;
    this.bytes[i] = lengthBytes;
    this.flags[i] = flags;
    this.sinceMs[i] = this.clock[1]!;
    this.own(frameId, this.leased);
  }

  // hot: per burst
  poll(emit: (frameId: number, lengthBytes: number, flags: number) => boolean): void {
    if (this.count === 0) return;
    const epoch = this.host.epoch();
    const now = this.clock[1]!;
    if (epoch === this.epochSeen && ((now - this.sweptMs) | 0) < SWEEP_MS) return;
    this.epochSeen = epoch;
    this.sweptMs = now;
    this.sweep(now, emit);
  }

  private sweep(now: number, emit: (frameId: number, lengthBytes: number, flags: number) => boolean): void {
    const n = this.count;
    let kept = 0;
    this.polling = true;
    for (let i = 0; i < n; i++) {
      const f = this.frame[i]!;
      const state = this.resolve(this.hop[i]!);
      if (state === NB_REACHABLE) {
        this.own(f, this.mine);
        this.writeMac(f);
        if (emit(f, this.bytes[i]!, this.flags[i]!)) continue;
        // No room in the ring now: a later sweep tries again.
        this.own(f, this.leased);
        this.move(i, kept++);
      } else if (state === NB_FAILED || ((now - this.sinceMs[i]!) | 0) >= WAIT_MS) {
        this.dropFrame(f, DROP_NO_NEIGHBOUR);
      } else {
        this.move(i, kept++);
      }
    }
    this.polling = false;
    // What `emit` made wait again stands behind the walked part.
    for (let i = n; i < this.count; i++) this.move(i, kept++);
    this.count = kept;
  }

  private writeMac(f: number): void {
    const frames = this.port.frames;
    const eth = frames.offset[f]! + frames.headroom;
    frames.view.setInt32(eth, this.macHi);
    frames.view.setUint16(eth + 4, this.macLo);
  }

  waiting(): number {
    return this.count;
  }

  clear(): void {
    const n = this.count;
    this.count = 0;
    for (let i = 0; i < n; i++) this.dropFrame(this.frame[i]!, DROP_NO_NEIGHBOUR);
  }

  private dropAt(i: number): void {
    this.dropFrame(this.frame[i]!, DROP_NO_NEIGHBOUR);
    this.count--;
    for (; i < this.count; i++) this.move(i + 1, i);
  }

  private move(from: number, to: number): void {
    if (from === to) return;
    this.hop[to] = this.hop[from]!;
    this.frame[to] = this.frame[from]!;
    this.bytes[to] = this.bytes[from]!;
    this.flags[to] = this.flags[from]!;
    this.sinceMs[to] = this.sinceMs[from]!;
  }

  private dropFrame(f: number, reason: number): void {
    this.counted[C_DROP + reason]!++;
    this.own(f, this.mine);
    this.port.freeTrain(f);
  }

  private own(f: number, owner: number): void {
    const frames = this.port.frames;
    for (let g = f; g >= 0; g = frames.next[g]!) frames.owner[g] = owner;
  }
}

function slotOf(ip: number): number {
  return Math.imul(ip, 0x9e3779b1) >>> 24;
}

export function createNeighbor(env: StackEnv): Neighbor {
  return new NeighborOfWorker(env);
}
