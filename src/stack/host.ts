/**
 * The host: our address and the neighbour table, on the thread that owns RX queue 0. It answers and asks ARP (RFC 826,
 * RFC 1122 section 2.3.2, RFC 5227) and publishes what it knows; workers only read it and send resolve and confirm.
 * Pure: frames and the time are handed in. Reachability goes as in RFC 4861 section 7.3, for ARP:
 *
 *   resolve ─▶ INCOMPLETE ──reply──▶ REACHABLE ──30 s without confirm──▶ STALE ──resolve──▶ DELAY ──5 s──▶ PROBE
 *                │ 3 broadcasts,        ▲   ▲                              │ 10 min unused            │ 3 unicasts,
 *                │ 1 s each             │   └───── confirm ────────────────┼──────────────────────────┤ 1 s each
 *                ▼                      └────────────── reply ─────────────┼──────────────────────────┤
 *             FAILED ──3 s──▶ removed                                      ▼ removed                  └─▶ INCOMPLETE
 *
 * What an attacker on the link can do is bounded: an ARP packet creates an entry only when it asks for us and comes from
 * our subnet, such entries are STALE and evicted first, a reply that nobody asked for changes known entries only (to
 * STALE, so that it is checked, and at most once a second), and static entries never.
 */
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import type { FrameTable } from '../rings/frameTable.ts';
import * as hostStateNumbers from '../rings/hostState.ts';
import { HostPublisher } from '../rings/hostState.ts';
import * as arpNumbers from '../wire/arp.ts';
import { check, oper, setSender, setTarget, shaHi, shaLo, spa, tpa } from '../wire/arp.ts';
import * as ethernetNumbers from '../wire/ethernet.ts';
import { ethertype, setEthernet } from '../wire/ethernet.ts';
import { isBadSource } from '../wire/ipv4.ts';
import * as vlanNumbers from '../wire/vlan.ts';
import { vlanId } from '../wire/vlan.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_ARP_RX, C_ARP_TX } = counterIndex;
const { DROP_ARP, DROP_NONE, DROP_VLAN } = dropReasons;
const { MSG_CONFIRM, MSG_RESOLVE, NB_EMPTY, NB_FAILED, NB_INCOMPLETE, NB_REACHABLE, NB_STALE, NEIGHBOURS } = hostStateNumbers;
const { ARP_REPLY, ARP_REQUEST, LEN_ARP } = arpNumbers;
const { ETHERTYPE_ARP, ETHERTYPE_VLAN, LEN_ETHERNET } = ethernetNumbers;
const { LEN_VLAN } = vlanNumbers;

export const REACHABLE_MS = 30_000;
export const DELAY_MS = 5_000;
/** Between two requests for one address: RFC 1122 section 2.3.2.1 recommends at most one a second. */
export const RETRY_MS = 1_000;
export const REQUESTS = 3;
export const FAILED_MS = 3_000;
export const STALE_MS = 600_000;
/** A neighbour's MAC may change this often: two hosts that fight over an address do not make us flip with them. */
export const CHANGE_MS = 1_000;
/** RFC 5227 section 1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL, DEFEND_INTERVAL. */
export const ANNOUNCEMENTS = 2;
export const ANNOUNCE_MS = 2_000;
export const DEFEND_MS = 10_000;
/** Between two walks over the table. */
const SWEEP_MS = 50;
export const LEN_ARP_FRAME = LEN_ETHERNET + LEN_ARP;

// Phases of an entry, finer than what is published.
const P_NONE = 0;
const P_INCOMPLETE = 1;
const P_REACHABLE = 2;
const P_STALE = 3;
const P_DELAY = 4;
const P_PROBE = 5;
const P_FAILED = 6;
const P_STATIC = 7;
const PUBLISHED = [NB_EMPTY, NB_INCOMPLETE, NB_REACHABLE, NB_STALE, NB_STALE, NB_STALE, NB_FAILED, NB_REACHABLE] as const;

export interface HostOptions {
  /** The control block and the byte offset of the host state in it. */
  block: SharedArrayBuffer;
  at: number;
  /** Our IPv4 address, prefix length, gateway (0 none), int32; MTU in bytes; our MAC. */
  address: number;
  prefix: number;
  gateway: number;
  mtu: number;
  macHi: number;
  macLo: number;
  /** Neighbours that never age: ip, MAC first 4 bytes, last 2. */
  statics: readonly (readonly [number, number, number])[];
  counters: Counters;
  /** The frames `takeFrame` gives; a frame's Ethernet header is written at the table's headroom. */
  frames: FrameTable;
  random: () => number;
  /** An empty frame to send from, or -1: then nothing is sent and a timer tries again. */
  takeFrame: () => number;
  /** Sends `lengthBytes` from the frame's headroom on, and takes the frame. */
  send: (frameId: number, lengthBytes: number) => unknown;
}

export interface Host {
  /** Announces our address, at the next tick and once more ANNOUNCE_MS later (RFC 5227 section 2.3). */
  start(): void;
  /**
   * An ARP frame: byte offset of its Ethernet header and bytes of its first link. The frame stays the caller's. Returns
   * DROP_NONE, or the DROP_* reason for which it was not believed.
   */
  input(eth: number, linearBytes: number): number;
  /** A worker's MSG_RESOLVE or MSG_CONFIRM. */
  message(op: number, ip: number): void;
  /** Runs the timers. Until the first tick the host's clock stands at 0. */
  tick(nowMs: number): void;
  /** Milliseconds until tick has something to do, -1 when never. */
  nextDeadlineMs(nowMs: number): number;
  /** Moves when workers can see something new: whoever sleeps with frames that wait for a neighbour must be woken then. */
  epoch(): number;
  /** Packets seen that claim our address with another MAC (RFC 5227 section 2.4), and the last such MAC. */
  readonly conflicts: number;
  readonly conflictHi: number;
  readonly conflictLo: number;
}

class HostOfQueue implements Host {
  conflicts = 0;
  conflictHi = 0;
  conflictLo = 0;
  private readonly publisher: HostPublisher;
  private readonly o: HostOptions;
  private readonly view: DataView;
  private readonly mask: number;
  private nowMs = 0;
  private ticked = false;
  /** Columns by the entry's index in the published table. */
  private readonly phase = new Uint8Array(NEIGHBOURS);
  private readonly tries = new Uint8Array(NEIGHBOURS);
  private readonly deadlineMs = new Int32Array(NEIGHBOURS);
  private readonly usedMs = new Int32Array(NEIGHBOURS);
  private readonly changedMs = new Int32Array(NEIGHBOURS);
  /** Never later than the earliest deadline. */
  private dueMs = 0;
  private armed = false;
  private announceLeft = 0;
  private announceMs = 0;
  private defended = false;
  private defendedMs = 0;

  constructor(o: HostOptions) {
    this.o = o;
    this.view = o.frames.view;
    this.mask = o.prefix === 0 ? 0 : -1 << (32 - o.prefix);
    this.publisher = new HostPublisher(o.block, o.at);
    // A host that starts again knows nothing of what its predecessor asked; whom that had found it goes on using, and checks.
    const known = this.publisher.takeKnown();
    this.publisher.setHost({
      address: o.address,
      prefix: o.prefix,
      gateway: o.gateway,
      mtu: o.mtu,
      macHi: o.macHi,
      macLo: o.macLo,
      key: o.random() | 0,
    });
    for (const [ip, macHi, macLo] of known) if (this.onLink(ip)) this.enter(ip, P_STALE, macHi, macLo);
    for (const [ip, macHi, macLo] of o.statics) this.enter(ip, P_STATIC, macHi, macLo);
  }

  start(): void {
    if (this.o.address === 0) return;
    this.announceLeft = ANNOUNCEMENTS;
    this.announceMs = this.nowMs;
    this.arm(this.announceMs);
  }

  // hot: per packet
  input(eth: number, linearBytes: number): number {
    const v = this.view;
    this.o.counters.v[C_ARP_RX]!++;
    let arp = eth + LEN_ETHERNET;
    if (linearBytes < LEN_ARP_FRAME) return DROP_ARP;
    if (ethertype(v, eth) === ETHERTYPE_VLAN) {
      if (vlanId(v, arp) !== 0) return DROP_VLAN;
      arp += LEN_VLAN;
    }
    if (arp + LEN_ARP > eth + linearBytes || !check(v, arp)) return DROP_ARP;
    const hi = shaHi(v, arp);
    const lo = shaLo(v, arp);
    const from = spa(v, arp);
    const to = tpa(v, arp);
    const address = this.o.address;
    if (hi === this.o.macHi && lo === this.o.macLo) return DROP_ARP;
    if (from === address) {
      this.conflict(hi, lo);
      return DROP_ARP;
    }
    const reply = oper(v, arp) === ARP_REPLY;
    const asksUs = !reply && to === address && address !== 0;
    // A probe has no sender yet (RFC 5227 section 2.1.1): answered when it wants our address, never learned from.
    if (from === 0 && !asksUs) return DROP_ARP;
    if (from !== 0) this.learn(from, hi, lo, reply && to === address, asksUs);
    if (asksUs) this.send(ARP_REPLY, hi, lo, hi, lo, from);
    return DROP_NONE;
  }

  // hot: per packet
  /** RFC 826's merge: an entry that exists is updated; one is made only for who asks us. `toUs`: a reply addressed to us. */
  private learn(ip: number, hi: number, lo: number, toUs: boolean, asksUs: boolean): void {
    const p = this.publisher;
    const k = p.find(ip);
    if (k < 0) {
      if (asksUs && this.onLink(ip)) this.enter(ip, P_STALE, hi, lo);
      return;
    }
    const phase = this.phase[k]!;
    if (phase === P_STATIC) return;
    this.usedMs[k] = this.nowMs;
    const asked = toUs && (phase === P_INCOMPLETE || phase === P_PROBE);
    if (phase === P_INCOMPLETE || phase === P_FAILED) {
      this.enter(ip, asked ? P_REACHABLE : P_STALE, hi, lo);
      return;
    }
    if (p.macHiAt(k) === hi && p.macLoAt(k) === lo) {
      if (asked) this.enter(ip, P_REACHABLE, hi, lo);
      return;
    }
    if (((this.nowMs - this.changedMs[k]!) | 0) < CHANGE_MS) return;
    this.enter(ip, asked ? P_REACHABLE : P_STALE, hi, lo);
  }

  message(op: number, ip: number): void {
    if (!this.onLink(ip)) return;
    const k = this.publisher.find(ip);
    const phase = k < 0 ? P_NONE : this.phase[k]!;
    if (k >= 0) this.usedMs[k] = this.nowMs;
    if (op === MSG_RESOLVE) {
      if (phase === P_NONE) this.ask(ip);
      else if (phase === P_STALE) this.enter(ip, P_DELAY, this.publisher.macHiAt(k), this.publisher.macLoAt(k));
    } else if (op === MSG_CONFIRM) {
      if (phase >= P_REACHABLE && phase <= P_PROBE) this.enter(ip, P_REACHABLE, this.publisher.macHiAt(k), this.publisher.macLoAt(k));
    }
  }

  /** Unicast on our subnet, or the gateway: whom we may have for a neighbour. */
  private onLink(ip: number): boolean {
    const { address, gateway, prefix } = this.o;
    if (ip === address || isBadSource(ip)) return false;
    if (ip === gateway) return true;
    if (((ip ^ address) & this.mask) !== 0) return false;
    const host = ip & ~this.mask;
    return prefix >= 31 || prefix === 0 || (host !== 0 && host !== ~this.mask);
  }

  /** Begins to ask for an address: the first of REQUESTS broadcasts. */
  private ask(ip: number): void {
    const k = this.enter(ip, P_INCOMPLETE, 0, 0);
    if (k < 0) return;
    this.tries[k] = 1;
    this.send(ARP_REQUEST, -1, 0xffff, 0, 0, ip);
  }

  /** Puts an entry into a phase and arms its timer; publishes only what readers can see change. Returns its index, -1 when full. */
  private enter(ip: number, phase: number, hi: number, lo: number): number {
    const p = this.publisher;
    let k = p.find(ip);
    const before = k < 0 ? P_NONE : this.phase[k]!;
    const moved = k < 0 || p.macHiAt(k) !== hi || p.macLoAt(k) !== lo;
    if (moved || PUBLISHED[before] !== PUBLISHED[phase]) {
      k = p.put(ip, PUBLISHED[phase]!, hi, lo);
      if (k < 0) {
        if (!this.evict()) return -1;
        k = p.put(ip, PUBLISHED[phase]!, hi, lo);
      }
      if (moved) this.changedMs[k] = this.nowMs;
      if (before === P_NONE) this.usedMs[k] = this.nowMs;
    }
    this.phase[k] = phase;
    this.tries[k] = 0;
    if (phase === P_STATIC) return k;
    let ms = RETRY_MS;
    if (phase === P_REACHABLE) ms = REACHABLE_MS;
    else if (phase === P_STALE) ms = STALE_MS;
    else if (phase === P_DELAY) ms = DELAY_MS;
    else if (phase === P_FAILED) ms = FAILED_MS;
    this.deadlineMs[k] = (this.nowMs + ms) | 0;
    this.arm(this.deadlineMs[k]!);
    return k;
  }

  private forget(k: number): void {
    this.phase[k] = P_NONE;
    this.publisher.remove(this.publisher.ipAt(k));
  }

  /** Makes room: a failed entry, else the STALE one that was used longest ago. What is in use is never evicted. */
  private evict(): boolean {
    let victim = -1;
    for (let k = 0; k < NEIGHBOURS; k++) {
      const phase = this.phase[k]!;
      if (phase === P_FAILED) {
        victim = k;
        break;
      }
      if (phase === P_STALE && (victim < 0 || ((this.usedMs[k]! - this.usedMs[victim]!) | 0) < 0)) victim = k;
    }
    if (victim < 0) return false;
    this.forget(victim);
    return true;
  }

  private arm(atMs: number): void {
    if (this.armed && ((atMs - this.dueMs) | 0) >= 0) return;
    this.dueMs = atMs;
    this.armed = true;
  }

  // hot: per burst
  tick(nowMs: number): void {
    if (!this.ticked) this.firstTick(nowMs);
    this.nowMs = nowMs;
    if (this.armed && ((nowMs - this.dueMs) | 0) >= 0) this.sweep();
  }

  /** What was armed while the clock stood at 0 counts from now. */
  private firstTick(nowMs: number): void {
    this.ticked = true;
    this.dueMs = (this.dueMs + nowMs) | 0;
    this.announceMs = (this.announceMs + nowMs) | 0;
    this.defendedMs = (this.defendedMs + nowMs) | 0;
    for (let k = 0; k < NEIGHBOURS; k++) {
      this.deadlineMs[k] = this.deadlineMs[k]! + nowMs;
      this.usedMs[k] = this.usedMs[k]! + nowMs;
      this.changedMs[k] = this.changedMs[k]! + nowMs;
    }
  }

  private sweep(): void {
    const now = this.nowMs;
    this.armed = false;
    if (this.announceLeft > 0 && ((now - this.announceMs) | 0) >= 0) {
      this.announceLeft--;
      this.announceMs = (now + ANNOUNCE_MS) | 0;
      this.announce();
    }
    if (this.announceLeft > 0) this.arm(this.announceMs);
    for (let k = 0; k < NEIGHBOURS; k++) {
      const phase = this.phase[k]!;
      if (phase === P_NONE || phase === P_STATIC) continue;
      if (((now - this.deadlineMs[k]!) | 0) >= 0) this.expire(k, phase);
      else this.arm(this.deadlineMs[k]!);
    }
    // A table full of deadlines is walked at most every SWEEP_MS.
    if (this.armed && ((this.dueMs - now) | 0) < SWEEP_MS) this.dueMs = (now + SWEEP_MS) | 0;
  }

  private expire(k: number, phase: number): void {
    const p = this.publisher;
    const ip = p.ipAt(k);
    const hi = p.macHiAt(k);
    const lo = p.macLoAt(k);
    if (phase === P_REACHABLE) {
      this.enter(ip, P_STALE, hi, lo);
    } else if (phase === P_STALE || phase === P_FAILED) {
      this.forget(k);
    } else if (phase === P_INCOMPLETE) {
      if (this.tries[k]! >= REQUESTS) this.enter(ip, P_FAILED, 0, 0);
      else this.retry(k, ip, -1, 0xffff);
    } else if (phase === P_DELAY) {
      this.enter(ip, P_PROBE, hi, lo);
      this.retry(k, ip, hi, lo);
    } else if (this.tries[k]! >= REQUESTS) {
      // It may have moved to another MAC: ask everybody.
      this.ask(ip);
    } else {
      this.retry(k, ip, hi, lo);
    }
  }

  private retry(k: number, ip: number, toHi: number, toLo: number): void {
    this.tries[k]!++;
    this.deadlineMs[k] = (this.nowMs + RETRY_MS) | 0;
    this.arm(this.deadlineMs[k]!);
    this.send(ARP_REQUEST, toHi, toLo, 0, 0, ip);
  }

  nextDeadlineMs(nowMs: number): number {
    if (!this.armed) return -1;
    if (!this.ticked) return 0;
    const ms = (this.dueMs - nowMs) | 0;
    return ms < 0 ? 0 : ms;
  }

  epoch(): number {
    return this.publisher.epoch();
  }

  /** RFC 5227 section 2.4 (b): defend once, and not again before DEFEND_MS; the address is never given up by itself. */
  private conflict(hi: number, lo: number): void {
    this.conflicts++;
    this.conflictHi = hi;
    this.conflictLo = lo;
    if (this.defended && ((this.nowMs - this.defendedMs) | 0) < DEFEND_MS) return;
    this.defended = true;
    this.defendedMs = this.nowMs;
    this.announce();
  }

  /** Gratuitous ARP as a request: sender and target are our address (RFC 5227 section 3). */
  private announce(): void {
    this.send(ARP_REQUEST, -1, 0xffff, 0, 0, this.o.address);
  }

  // hot: per packet
  private send(op: number, toHi: number, toLo: number, targetHi: number, targetLo: number, targetIp: number): void {
    const o = this.o;
    const f = o.takeFrame();
    if (f < 0) return;
    const frames = o.frames;
    const eth = frames.offset[f]! + frames.headroom;
    const v = this.view;
    setEthernet(v, eth, toHi, toLo, o.macHi, o.macLo, ETHERTYPE_ARP);
    setSender(v, eth + LEN_ETHERNET, op, o.macHi, o.macLo, o.address);
    setTarget(v, eth + LEN_ETHERNET, targetHi, targetLo, targetIp);
    o.counters.v[C_ARP_TX]!++;
    o.send(f, LEN_ARP_FRAME);
  }
}

export function createHost(options: HostOptions): Host {
  return new HostOfQueue(options);
}
