/**
 * What waits for one worker: its rx ring, and behind it, when that is full, an overflow queue of the dispatcher's, in order.
 *
 * Both are bounded in descriptors, and what a worker that is *stalled* may keep is bounded in frames, too: a descriptor may
 * be a train of dozens of frames, and the frames that wait for a worker in a long handler are missing for all others. Stalled
 * is who has taken nothing for STALL_US while something waited. It may keep its share, half of the port's frames by the number
 * of workers, and never more than are still free: so even when all workers stall, frames are left to receive with.
 *
 * Beyond a bound frames are dropped by class: data first (TCP segments, UDP, ICMP: their senders repeat them, or meant to lose
 * some), SYNs only when their reserve is full as well. ARP never waits here: the dispatcher's own host state takes it at once.
 */
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import type { FrameTable } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { RingProducer } from '../rings/spsc.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_RING_SLOTS } = counterIndex;
const { D_SEGS_VLAN, DESC_WORDS } = layoutNumbers;

/** Places, in the queue and among the frames, that only a SYN may take: new connections outlive a data flood. */
export const SYN_RESERVE = 16;
/** A worker that has taken nothing for so long is stalled, in microseconds. */
export const STALL_US = 1000;

export interface WaitingOptions {
  /** Descriptors that may wait behind the full ring. */
  overflow: number;
  /** Frames that may wait for the worker while it is stalled. */
  share: number;
  /** Owner of frames in the worker's rings. */
  owner: number;
  frames: FrameTable;
  counters: Counters;
  /** [nowUs, nowMs] of the dispatcher. */
  clock: Int32Array;
}

export class WaitingFrames {
  private readonly rx: RingProducer;
  private readonly queue: Int32Array;
  private readonly slots: number;
  private readonly share: number;
  private readonly owner: number;
  private readonly owners: Int32Array;
  private readonly next: Int32Array;
  private readonly v: Float64Array;
  private readonly clock: Int32Array;
  private head = 0;
  private queued = 0;
  /** Frames behind each ring slot, by the ring's own index; those before `settled` were taken, `put` is behind the last of ours. */
  private readonly linksAt: Int32Array;
  private put = 0;
  private settled = 0;
  /** Frames in ring and queue, those among them that were taken since `settle` last looked. */
  private held = 0;
  private movedUs = 0;

  constructor(rx: RingProducer, o: WaitingOptions) {
    this.rx = rx;
    this.slots = o.overflow + SYN_RESERVE;
    this.queue = new Int32Array(this.slots * DESC_WORDS);
    this.share = o.share;
    this.owner = o.owner;
    this.owners = o.frames.owner;
    this.next = o.frames.next;
    this.v = o.counters.v;
    this.clock = o.clock;
    this.linksAt = new Int32Array(rx.capacity);
    this.movedUs = o.clock[0]!;
    // What a dispatcher before this one has left there, by its least.
    this.held = rx.used();
    this.put = rx.index;
    this.settled = (this.put - this.held) | 0;
    this.linksAt.fill(1);
  }

  // hot: per packet
  /** Finds a place for the descriptor at word `at`; `free`: frames the port has left. False: the caller drops it. */
  place(desc: Int32Array, at: number, syn: boolean, free: number): boolean {
    const links = desc[at + D_SEGS_VLAN]! & 0xffff;
    if (this.held === 0) this.movedUs = this.clock[0]!;
    else if (this.held + links > this.share || this.held + links > free) {
      if (!this.mayKeep(links, syn, free)) return false;
    }
    if (this.queued === 0 && this.rx.room(1) === 1) {
      this.held += links;
      this.enter(desc, at, links);
      return true;
    }
    if (this.queued >= (syn ? this.slots : this.slots - SYN_RESERVE)) return false;
    this.held += links;
    const q = this.queue;
    const s = ((this.head + this.queued) % this.slots) * DESC_WORDS;
    for (let i = 0; i < DESC_WORDS; i++) q[s + i] = desc[at + i]!;
    this.queued++;
    return true;
  }

  // hot: per packet
  /** Over the share: a worker that takes its frames may have them nevertheless, one that is stalled may not. */
  private mayKeep(links: number, syn: boolean, free: number): boolean {
    this.settle();
    if (((this.clock[0]! - this.movedUs) | 0) < STALL_US) return true;
    const most = (this.share < free ? this.share : free) + (syn ? SYN_RESERVE : 0);
    return this.held + links <= most;
  }

  // hot: per packet
  /** Into the ring, which has room. */
  private enter(desc: Int32Array, at: number, links: number): void {
    const f = desc[at]!;
    const next = this.next;
    const owners = this.owners;
    const linksAt = this.linksAt;
    const s = this.rx.slot(0);
    const words = this.rx.words;
    for (let i = 0; i < DESC_WORDS; i++) words[s + i] = desc[at + i]!;
    this.rx.offer();
    owners[f] = this.owner;
    for (let g = next[f]!, left = links - 1; left > 0 && g >= 0; left--, g = next[g]!) owners[g] = this.owner;
    const mask = linksAt.length - 1;
    const index = this.rx.index;
    if (((index - this.settled) | 0) >= linksAt.length) {
      this.settle();
      if (this.settled === this.put) this.settled = this.put = index;
    }
    // What somebody else on this thread has put since holds none of ours.
    for (; this.put !== index; this.put = (this.put + 1) | 0) linksAt[this.put & mask] = 0;
    linksAt[index & mask] = links;
    this.put = (index + 1) | 0;
    this.rx.put(1);
    this.v[C_RING_SLOTS]!++;
  }

  // hot: per burst
  /** Forgets the frames that the worker has taken. */
  private settle(): void {
    let taken = (this.rx.index - this.rx.used()) | 0;
    if (((taken - this.put) | 0) > 0) taken = this.put;
    const mask = this.linksAt.length - 1;
    if (taken !== this.settled) this.movedUs = this.clock[0]!;
    for (let i = this.settled; i !== taken; i = (i + 1) | 0) this.held -= this.linksAt[i & mask]!;
    this.settled = taken;
  }

  // hot: per burst
  /** From the queue into the ring, as far as there is room. */
  drain(): void {
    const q = this.queue;
    while (this.queued > 0 && this.rx.room(1) === 1) {
      const from = this.head * DESC_WORDS;
      this.enter(q, from, q[from + D_SEGS_VLAN]! & 0xffff);
      this.head = this.head + 1 >= this.slots ? 0 : this.head + 1;
      this.queued--;
    }
  }

  /** Takes the oldest descriptor off the queue: its first frame, or -1. The worker will not come for it. */
  shift(): number {
    if (this.queued === 0) return -1;
    const from = this.head * DESC_WORDS;
    this.held -= this.queue[from + D_SEGS_VLAN]! & 0xffff;
    this.head = this.head + 1 >= this.slots ? 0 : this.head + 1;
    this.queued--;
    return this.queue[from]!;
  }

  /** Descriptors in the overflow queue. */
  get overflowing(): number {
    return this.queued;
  }

  /** Frames that wait, counted afresh. */
  frames(): number {
    this.settle();
    return this.held;
  }
}
