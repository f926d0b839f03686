/**
 * The sending half of a switch port (see switch.ts for the whole): looks the destination up and hands frames over on the
 * sender's thread. Time is what `tick(nowUs)` says. Where the port's broker runs on another thread, `SwitchTxPort` is this half
 * with a list of its own: empty frames lent for floods, and frames that go back to the broker.
 */
import type { RingEventfd } from '../rings/doorbell.ts';
import * as dropReasons from '../rings/drops.ts';
import { FrameTable, frameValid } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { checkHeader } from '../rings/layout.ts';
import { RingConsumer } from '../rings/spsc.ts';
import { hashModulo } from '../rings/steering.ts';
import { Classified, classify } from '../wire/flow.ts';
import { copyFrame, countLinks, type FrameSource } from './frameCopy.ts';
import { completeChecksum } from './partialChecksum.ts';
import type { PortAttachment, TxPort } from './port.ts';
import * as switchNumbers from './switch.ts';
import { statusWord } from './switch.ts';
import type { SwitchOwn } from './switch.ts';
import { type Peer, peersOf, rxFlags } from './switchPeer.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DROP_REASONS, DROP_SWITCH, DROP_TX_DEVICE } = dropReasons;
const {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_HASH,
  D_OFFSETS,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_CSUM_PARTIAL,
  F_MULTICAST,
  F_TRAIN,
  KIND_RINGS,
  OWNER_BROKER,
  OWNER_RING,
  TRAIN_LINKS_MAX,
} = layoutNumbers;
const { PEER_DEAD_US, SW_CLOSED, SW_SENDER_BELL, SW_STATE } = switchNumbers;

/** Where the sending half's empty frames come from, and where those go that it is done with. */
export interface SenderFrames extends FrameSource {
  freeTrain(f: number): void;
}

export class SwitchSender {
  private readonly frames: FrameTable;
  private readonly words: Int32Array;
  private readonly peers: readonly Peer[];
  private readonly pool: SenderFrames;
  private readonly drops: Int32Array;
  private readonly vouch: boolean;
  private readonly flood: boolean;
  private readonly macHi: number;
  private readonly macLo: number;
  /** Unwrapped microseconds: now, then since when each peer's ring is full. */
  private readonly time: Float64Array;
  private readonly scratch = new Int32Array(DESC_WORDS);
  private readonly seen = new Classified();

  constructor(a: PortAttachment, frames: FrameTable, words: Int32Array, peers: readonly Peer[], pool: SenderFrames, drops: Int32Array) {
    const own = a.own as SwitchOwn;
    this.frames = frames;
    this.words = words;
    this.peers = peers;
    this.pool = pool;
    this.drops = drops;
    this.vouch = own.vouch;
    this.flood = own.flood;
    this.macHi = a.macHi;
    this.macLo = a.macLo;
    this.time = new Float64Array(1 + peers.length);
  }

  // hot: per burst
  /** Stops at the first frame whose receiver's ring is full (head of line: later frames for others wait, too). */
  txBurst(desc: Int32Array, at: number, n: number): number {
    const t = this.frames;
    for (let i = 0; i < n; i++) {
      const d = at + i * DESC_WORDS;
      const f = desc[d + D_FRAME]!;
      if (!frameValid(t, f, desc[d + D_REGION_GEN]!) || countLinks(t, desc, d) < 0) {
        this.drops[DROP_TX_DEVICE]!++;
        continue;
      }
      const eth = t.offset[f]! + (desc[d + D_DATA]! >>> 16);
      const hi = t.view.getInt32(eth);
      let to = (hi & 0x01000000) !== 0 ? -1 : this.lookup(hi, t.view.getUint16(eth + 4));
      if (to >= 0 && this.peers[to]!.queues > 1) to += this.queueOf(eth, desc[d + D_DATA]! & 0xffff, this.peers[to]!.queues);
      if (to >= 0) {
        if (!this.unicast(to, desc, d)) return i;
      } else if (to === -1) {
        this.toAll(desc, d, (hi & 0x01000000) !== 0);
      } else {
        this.drops[DROP_SWITCH]!++;
        this.pool.freeTrain(f);
      }
    }
    return n;
  }

  // hot: per packet
  /** Index of the first peer with that MAC address; -1: flood; -2: nobody shall have it. */
  private lookup(hi: number, lo: number): number {
    if (hi === this.macHi && lo === this.macLo) return -2;
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) if (peers[p]!.macLo === lo && peers[p]!.macHi === hi) return p;
    return this.flood ? -1 : -2;
  }

  // hot: per packet
  /** The queue, of `queues`, that a frame's flow belongs to: as a listener in every worker would be chosen. */
  private queueOf(eth: number, linear: number, queues: number): number {
    classify(this.frames.view, eth, linear, this.seen);
    return hashModulo(this.seen.hash, queues);
  }

  // hot: per packet
  /** False: the receiver's ring is full, try later. A frame for a dead receiver is dropped, which counts as sent. */
  private unicast(p: number, desc: Int32Array, d: number): boolean {
    const peer = this.peers[p]!;
    if (!peer.closed && peer.out.room(1) === 1) {
      peer.blocked = false;
      this.handOver(peer, desc, d, 0);
      return true;
    }
    if (!peer.closed && !this.isDead(p, peer)) return false;
    this.drops[DROP_SWITCH]!++;
    this.pool.freeTrain(desc[d + D_FRAME]!);
    return true;
  }

  private isDead(p: number, peer: Peer): boolean {
    if (!peer.blocked) {
      peer.blocked = true;
      this.time[1 + p] = this.time[0]!;
      Atomics.store(this.words, peer.weWantRoom, 1);
    }
    return this.time[0]! - this.time[1 + p]! >= PEER_DEAD_US;
  }

  // hot: per packet
  /** Puts a descriptor, as the receiver shall see it, on the pair ring, which has room. */
  private handOver(peer: Peer, desc: Int32Array, d: number, extra: number): void {
    const t = this.frames;
    if (!this.vouch && (desc[d + D_FLAGS_GSO]! & F_CSUM_PARTIAL) !== 0) completeChecksum(t, desc, d);
    const f = desc[d + D_FRAME]!;
    const flags = desc[d + D_FLAGS_GSO]!;
    const ring = peer.out;
    const w = ring.words;
    const s = ring.slot(0);
    w[s + D_FRAME] = f;
    w[s + D_DATA] = desc[d + D_DATA]!;
    w[s + D_TOTAL] = desc[d + D_TOTAL]!;
    w[s + D_REGION_GEN] = desc[d + D_REGION_GEN]!;
    w[s + D_OFFSETS] = desc[d + D_OFFSETS]!;
    w[s + D_FLAGS_GSO] = rxFlags(flags, this.vouch) | extra;
    w[s + D_SEGS_VLAN] = desc[d + D_SEGS_VLAN]!;
    w[s + D_HASH] = desc[d + D_HASH]!;
    ring.offer();
    const owner = t.owner;
    owner[f] = OWNER_RING;
    if ((flags & F_TRAIN) !== 0) for (let g = t.next[f]!; g >= 0; g = t.next[g]!) owner[g] = OWNER_RING;
    ring.put(1);
    peer.sent = true;
  }

  // hot: per packet
  /** Everybody but the sender gets it: the last one the frame itself, the others copies. A flood never waits for room. */
  private toAll(desc: Int32Array, d: number, group: boolean): void {
    const peers = this.peers;
    const extra = group ? F_MULTICAST : 0;
    let last = peers.length - 1;
    while (last >= 0 && !this.takesFlood(peers[last]!)) last--;
    for (let p = 0; p < peers.length; p++) {
      const peer = peers[p]!;
      // A port hears a flood on its first queue.
      if (peer.queue !== 0 || peer.sibling || p === last) continue;
      if (p > last || !this.takesFlood(peer)) this.drops[DROP_SWITCH]!++;
      else if (copyFrame(this.frames, desc, d, this.scratch, 0, this.pool)) this.handOver(peer, this.scratch, 0, extra);
      else this.drops[DROP_SWITCH]!++;
    }
    if (last >= 0) this.handOver(peers[last]!, desc, d, extra);
    else this.pool.freeTrain(desc[d + D_FRAME]!);
  }

  // hot: per packet
  private takesFlood(peer: Peer): boolean {
    return peer.queue === 0 && !peer.sibling && !peer.closed && peer.out.room(1) === 1;
  }

  /** Nobody will ever read what stands in the ring to a closed peer: this side takes it back. */
  private reclaim(peer: Peer): void {
    peer.closed = true;
    peer.blocked = false;
    peer.out.flush();
    if (peer.reclaim === null) peer.reclaim = new RingConsumer(this.words, peer.out.base);
    while (peer.reclaim.readyNow() > 0) {
      this.drops[DROP_SWITCH]!++;
      this.pool.freeTrain(this.words[peer.reclaim.slot(0) + D_FRAME]!);
      peer.reclaim.take(1);
    }
    peer.reclaim.flush();
  }

  // hot: per burst
  /** Room that has come back, peers that have closed. `elapsedUs` since the last tick. */
  tick(elapsedUs: number): void {
    if (elapsedUs > 0) this.time[0]! += elapsedUs;
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) {
      const peer = peers[p]!;
      if (this.words[peer.status + SW_STATE] === SW_CLOSED) this.reclaim(peer);
      else if (peer.blocked && peer.out.room(1) === 1) peer.blocked = false;
    }
  }

  /** Whether a peer that was full has taken something. */
  roomCameBack(): boolean {
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) {
      const peer = peers[p]!;
      if (peer.blocked && peer.out.used() < peer.out.capacity) return true;
    }
    return false;
  }

  /** Microseconds from the last tick until a blocked peer counts as dead; -1 never. */
  nextUs(): number {
    let us = -1;
    for (let p = 0; p < this.peers.length; p++) {
      if (!this.peers[p]!.blocked) continue;
      // Once it counts as dead there is nothing to wait for: the next txBurst drops.
      const left = this.time[1 + p]! + PEER_DEAD_US - this.time[0]!;
      if (left > 0 && (us < 0 || left < us)) us = left;
    }
    return us;
  }
}

/** Empty frames the sending half wants in hand for floods, if the port has eight times as many. */
const LENT_MAX = 128;

export class SwitchTxPort implements TxPort, SenderFrames {
  readonly frames: FrameTable;
  readonly drops = new Int32Array(DROP_REASONS);
  private readonly sender: SwitchSender;
  private readonly peers: readonly Peer[];
  private readonly words: Int32Array;
  private readonly status: number;
  private readonly most: number;
  private readonly lent = new Int32Array(LENT_MAX);
  private lentCount = 0;
  private readonly done: Int32Array;
  private doneCount = 0;
  private lastUs = 0;
  private ticked = false;

  constructor(a: PortAttachment, ringEventfd: RingEventfd | undefined) {
    const own = a.own as SwitchOwn;
    checkHeader(own.block, KIND_RINGS);
    this.words = new Int32Array(own.block);
    this.status = statusWord(own.index);
    this.frames = new FrameTable(a.table, a.memory, a.host);
    this.peers = peersOf(own, this.words, ringEventfd);
    this.sender = new SwitchSender(a, this.frames, this.words, this.peers, this, this.drops);
    this.most = Math.min(LENT_MAX, own.framesPerPort >> 3);
    this.done = new Int32Array(this.frames.frames);
    // From here on a peer that has made room wakes this thread, not the broker's.
    Atomics.store(this.words, this.status + SW_SENDER_BELL, 1);
  }

  // hot: per burst
  txBurst(desc: Int32Array, at: number, n: number): number {
    return this.sender.txBurst(desc, at, n);
  }

  // hot: per burst
  sent(into: Int32Array, at: number, max: number): number {
    const n = max < this.doneCount ? max : this.doneCount;
    for (let i = 0; i < n; i++) into[at + i] = this.done[--this.doneCount]!;
    return n;
  }

  wants(): number {
    return this.most - this.lentCount;
  }

  // hot: per packet
  lend(frameId: number): void {
    this.lent[this.lentCount++] = frameId;
  }

  credit(_want: number): number {
    return this.lentCount;
  }

  // hot: per packet
  takeFrame(): number {
    return this.lent[--this.lentCount]!;
  }

  // hot: per packet
  freeTrain(f: number): void {
    const next = this.frames.next;
    for (let g = f, links = 0; g >= 0 && g < this.frames.frames && links < TRAIN_LINKS_MAX; links++) {
      const after = next[g]!;
      // No worker's any more, should it die now.
      this.frames.owner[g] = OWNER_BROKER | this.frames.hostBits;
      this.done[this.doneCount++] = g;
      g = after;
    }
  }

  // hot: per burst
  tick(nowUs: number): void {
    const elapsed = this.ticked ? (nowUs - this.lastUs) | 0 : 0;
    this.ticked = true;
    this.lastUs = nowUs;
    this.sender.tick(elapsed);
  }

  // hot: per burst
  flush(): void {
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) peers[p]!.flush();
  }

  pending(): boolean {
    return this.sender.roomCameBack();
  }

  /** `sent` gives what was lent and not used, too, after this. */
  detach(): void {
    this.flush();
    Atomics.store(this.words, this.status + SW_SENDER_BELL, 0);
    while (this.lentCount > 0) this.done[this.doneCount++] = this.lent[--this.lentCount]!;
  }
}
