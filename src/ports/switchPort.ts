/**
 * A switch port on its broker's thread (see switch.ts for the whole). Time is what `tick(nowUs)` says: no clock of its own.
 */
import type { RingEventfd } from '../rings/doorbell.ts';
import { DROP_BAD_DESCRIPTOR, DROP_CLOSING, DROP_REASONS, DROP_SWITCH, DROP_TX_DEVICE } from '../rings/drops.ts';
import { FrameTable, frameValid } from '../rings/frameTable.ts';
import {
  checkHeader,
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
  GENERATION_MASK,
  KIND_RINGS,
  OWNER_BROKER,
  OWNER_FREE,
  OWNER_RING,
  TRAIN_LINKS_MAX,
} from '../rings/layout.ts';
import { RingConsumer } from '../rings/spsc.ts';
import { copyFrame, countLinks } from './frameCopy.ts';
import { impairs, Link } from './impairment.ts';
import { completeChecksum } from './partialChecksum.ts';
import type { Port, PortAttachment, PortCaps } from './port.ts';
import { PEER_DEAD_US, statusWord, SW_ATTACHED, SW_CLOSED, SW_HUNGRY, SW_STATE } from './switch.ts';
import type { SwitchOwn } from './switch.ts';
import { Peer, rxFlags } from './switchPeer.ts';

export interface SwitchHooks {
  /** Writes to a peer's eventfd, where it sleeps in poll(2). */
  ringEventfd?: RingEventfd;
}

/** Attaches a port of a switch on the thread that runs its broker. Throws when that port was detached before. */
export function attachSwitchPort(attachment: PortAttachment, hooks: SwitchHooks = {}): SwitchPort {
  return new SwitchPort(attachment, hooks);
}

export class SwitchPort implements Port {
  readonly kind = 'switch';
  readonly caps: PortCaps;
  readonly frames: FrameTable;
  readonly drops = new Int32Array(DROP_REASONS);
  /** The impaired link this port receives from; null when nothing is configured. */
  readonly link: Link | null;
  private readonly words: Int32Array;
  private readonly status: number;
  private readonly peers: readonly Peer[];
  private readonly first: number;
  private readonly perPort: number;
  private readonly vouch: boolean;
  private readonly flood: boolean;
  private readonly macHi: number;
  private readonly macLo: number;
  private readonly empty: Int32Array;
  private top = 0;
  private turn = 0;
  private hungry = false;
  private lastUs = 0;
  private ticked = false;
  /** Unwrapped microseconds: now, then since when each peer's ring is full. */
  private readonly time: Float64Array;
  private readonly scratch = new Int32Array(DESC_WORDS);

  constructor(a: PortAttachment, hooks: SwitchHooks) {
    const own = a.own as SwitchOwn;
    checkHeader(own.block, KIND_RINGS);
    this.words = new Int32Array(own.block);
    this.status = statusWord(own.index);
    if (Atomics.load(this.words, this.status + SW_STATE) === SW_CLOSED)
      throw new Error(`switch port ${a.name} was detached: make a new switch`);
    this.caps = a.caps;
    this.frames = new FrameTable(a.table, a.memory, a.host);
    this.first = a.frameFirst;
    this.perPort = own.framesPerPort;
    this.vouch = own.vouch;
    this.flood = own.flood;
    this.macHi = a.macHi;
    this.macLo = a.macLo;
    const peers: Peer[] = [];
    for (let i = 0; i < own.ports; i++) if (i !== own.index) peers.push(new Peer(own, i, this.words, hooks.ringEventfd));
    this.peers = peers;
    this.time = new Float64Array(1 + peers.length);
    this.link = impairs(own.impair) ? new Link(this.frames, own.impair, own.index, this) : null;
    this.empty = new Int32Array(a.frameCount);
    for (let f = a.frameFirst + a.frameCount - 1; f >= a.frameFirst; f--)
      if (this.frames.owner[f] === OWNER_FREE) this.empty[this.top++] = f;
    Atomics.store(this.words, this.status + SW_STATE, SW_ATTACHED);
  }

  // hot: per burst
  rxBurst(desc: Int32Array, at: number, max: number): number {
    const link = this.link;
    if (link === null) return this.pull(desc, at, max);
    // Everything that has arrived enters the link now, so that its delay counts from now; the link has room for all frames.
    for (let i = 0; i < 256 && this.pull(this.scratch, 0, 1) === 1; i++) link.accept(this.scratch, 0);
    return link.release(desc, at, max);
  }

  // hot: per burst
  /** Round robin over the peers, each at most its share before the next has its turn. */
  private pull(desc: Int32Array, at: number, max: number): number {
    const peers = this.peers;
    const count = peers.length;
    let share = count === 0 ? 0 : (max / count) | 0;
    if (share < 1) share = 1;
    let n = 0;
    let p = this.turn;
    for (let quiet = 0; n < max && quiet < count; ) {
      const peer = peers[p]!;
      let k = peer.in.ready();
      if (k === 0) {
        quiet++;
      } else {
        quiet = 0;
        if (k > share) k = share;
        if (k > max - n) k = max - n;
        n += this.takeFrom(peer, k, desc, at + n * DESC_WORDS);
      }
      p = p + 1 === count ? 0 : p + 1;
    }
    this.turn = p;
    return n;
  }

  // hot: per burst
  private takeFrom(peer: Peer, k: number, desc: Int32Array, at: number): number {
    const ring = peer.in;
    const words = ring.words;
    let d = at;
    for (let i = 0; i < k; i++) {
      const s = ring.slot(i);
      ring.claiming(i);
      const sound = this.own(words, s);
      ring.claimed(i);
      if (!sound) continue;
      // Plain: for (w < DESC_WORDS) desc[d + w] = words[s + w]; written out 114 ns a frame round trip instead of 122 (2026-11, in one thread).
      desc[d] = words[s]!;
      desc[d + 1] = words[s + 1]!;
      desc[d + 2] = words[s + 2]!;
      desc[d + 3] = words[s + 3]!;
      desc[d + 4] = words[s + 4]!;
      desc[d + 5] = words[s + 5]!;
      desc[d + 6] = words[s + 6]!;
      desc[d + 7] = words[s + 7]!;
      d += DESC_WORDS;
    }
    ring.take(k);
    peer.taken = true;
    return ((d - at) / DESC_WORDS) | 0;
  }

  // hot: per packet
  /** The one check of a received descriptor; then all its links belong to this broker. */
  private own(words: Int32Array, s: number): boolean {
    const t = this.frames;
    const f = words[s + D_FRAME]!;
    const data = words[s + D_DATA]!;
    if (!frameValid(t, f, words[s + D_REGION_GEN]!)) {
      this.drops[DROP_BAD_DESCRIPTOR]!++;
      return false;
    }
    if ((data >>> 16) + (data & 0xffff) > t.frameBytes || words[s + D_REGION_GEN]! >>> 16 !== t.region || countLinks(t, words, s) < 0) {
      this.drops[DROP_BAD_DESCRIPTOR]!++;
      this.freeTrain(f);
      return false;
    }
    const owner = t.owner;
    const mine = OWNER_BROKER | t.hostBits;
    owner[f] = mine;
    if ((words[s + D_FLAGS_GSO]! & F_TRAIN) !== 0) {
      const next = t.next;
      for (let g = next[f]!; g >= 0; g = next[g]!) owner[g] = mine;
    }
    return true;
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
      const to = (hi & 0x01000000) !== 0 ? -1 : this.lookup(hi, t.view.getUint16(eth + 4));
      if (to >= 0) {
        if (!this.unicast(to, desc, d)) return i;
      } else if (to === -1) {
        this.toAll(desc, d, (hi & 0x01000000) !== 0);
      } else {
        this.drops[DROP_SWITCH]!++;
        this.freeTrain(f);
      }
    }
    return n;
  }

  // hot: per packet
  /** Index of the peer with that MAC address; -1: flood; -2: nobody shall have it. */
  private lookup(hi: number, lo: number): number {
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) if (peers[p]!.macLo === lo && peers[p]!.macHi === hi) return p;
    if (hi === this.macHi && lo === this.macLo) return -2;
    return this.flood ? -1 : -2;
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
    this.freeTrain(desc[d + D_FRAME]!);
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
    for (let p = 0; p < last; p++) {
      const peer = peers[p]!;
      if (!this.takesFlood(peer)) this.drops[DROP_SWITCH]!++;
      else if (copyFrame(this.frames, desc, d, this.scratch, 0, this)) this.handOver(peer, this.scratch, 0, extra);
      else this.drops[DROP_SWITCH]!++;
    }
    for (let p = last + 1; p < peers.length; p++) this.drops[DROP_SWITCH]!++;
    if (last >= 0) this.handOver(peers[last]!, desc, d, extra);
    else this.freeTrain(desc[d + D_FRAME]!);
  }

  // hot: per packet
  private takesFlood(peer: Peer): boolean {
    return !peer.closed && peer.out.room(1) === 1;
  }

  // hot: per burst
  alloc(into: Int32Array, at: number, max: number): number {
    const n = this.credit(max) < max ? this.top : max;
    for (let i = 0; i < n; i++) into[at + i] = this.empty[--this.top]!;
    return n;
  }

  // hot: per burst
  /** Empty frames, up to `want` looked for: frames that wait on their way home are fetched. */
  credit(want: number): number {
    if (this.top < want) this.takeHome();
    return this.top;
  }

  // hot: per packet
  takeFrame(): number {
    return this.empty[--this.top]!;
  }

  // hot: per packet
  free(frameId: number): void {
    const t = this.frames;
    if (frameId < 0 || frameId >= t.frames || t.owner[frameId] === OWNER_FREE) {
      this.drops[DROP_BAD_DESCRIPTOR]!++;
      return;
    }
    const home = ((frameId - this.first) / this.perPort) | 0;
    if (frameId >= this.first && home === 0) this.comeHome(frameId);
    else this.sendHome(frameId);
  }

  // hot: per packet
  private comeHome(f: number): void {
    const t = this.frames;
    t.generation[f] = (t.generation[f]! + 1) & GENERATION_MASK;
    t.next[f] = -1;
    t.owner[f] = OWNER_FREE;
    this.empty[this.top++] = f;
  }

  // hot: per packet
  private sendHome(f: number): void {
    const home = (f / this.perPort) | 0;
    const mine = (this.first / this.perPort) | 0;
    const peer = this.peers[home < mine ? home : home - 1]!;
    peer.homeOut.words[peer.homeOut.slot(0)] = f;
    peer.homeOut.offer();
    this.frames.owner[f] = OWNER_RING;
    peer.homeOut.put(1);
    peer.returned = true;
  }

  // hot: per packet
  freeTrain(f: number): void {
    const next = this.frames.next;
    for (let g = f, links = 0; g >= 0 && g < this.frames.frames && links < TRAIN_LINKS_MAX; links++) {
      const after = next[g]!;
      this.free(g);
      g = after;
    }
  }

  // hot: per burst
  private takeHome(): void {
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) {
      const ring = peers[p]!.homeIn;
      for (let n = ring.ready(); n > 0; n = ring.ready()) {
        for (let i = 0; i < n; i++) {
          const f = ring.words[ring.slot(i)]!;
          ring.claiming(i);
          if (f >= this.first && f < this.first + this.perPort && this.frames.owner[f] !== OWNER_FREE) this.comeHome(f);
          else this.drops[DROP_BAD_DESCRIPTOR]!++;
          ring.claimed(i);
        }
        ring.take(n);
      }
    }
  }

  available(): number {
    return this.top;
  }

  // hot: per burst
  tick(nowUs: number): void {
    const elapsed = this.ticked ? (nowUs - this.lastUs) | 0 : 0;
    this.ticked = true;
    this.lastUs = nowUs;
    if (elapsed > 0) {
      this.time[0]! += elapsed;
      if (this.link !== null) this.link.advance(elapsed);
    }
    this.takeHome();
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) {
      const peer = peers[p]!;
      if (this.words[peer.status + SW_STATE] === SW_CLOSED) this.reclaim(peer);
      else if (peer.blocked && peer.out.room(1) === 1) peer.blocked = false;
    }
  }

  /** Nobody will ever read what stands in the ring to a closed peer: this side takes it back. */
  private reclaim(peer: Peer): void {
    peer.closed = true;
    peer.blocked = false;
    peer.out.flush();
    if (peer.reclaim === null) peer.reclaim = new RingConsumer(this.words, peer.out.base);
    while (peer.reclaim.readyNow() > 0) {
      this.drops[DROP_SWITCH]!++;
      this.freeTrain(this.words[peer.reclaim.slot(0) + D_FRAME]!);
      peer.reclaim.take(1);
    }
    peer.reclaim.flush();
  }

  hasDeadline(): boolean {
    return this.nextUs() >= 0;
  }

  deadlineUs(): number {
    const us = this.nextUs();
    return us < 0 ? -1 : (this.lastUs + us) | 0;
  }

  /** Microseconds from the last tick until delayed frames are due or a blocked peer counts as dead; -1 never. */
  private nextUs(): number {
    let us = this.link === null ? -1 : this.link.dueInUs();
    for (let p = 0; p < this.peers.length; p++) {
      if (!this.peers[p]!.blocked) continue;
      // Once it counts as dead there is nothing to wait for: the next txBurst drops.
      const left = this.time[1 + p]! + PEER_DEAD_US - this.time[0]!;
      if (left > 0 && (us < 0 || left < us)) us = left;
    }
    return us;
  }

  // hot: per burst
  flush(): void {
    const peers = this.peers;
    for (let p = 0; p < peers.length; p++) peers[p]!.flush();
  }

  /**
   * Called before sleep: below half of its frames the port asks to be woken when frames come home, for its broker may have
   * to keep a worker waiting for credit. Asked before the last look, so that either the look or the bell finds them.
   */
  pending(): boolean {
    const peers = this.peers;
    const hungry = this.top < (this.perPort + 1) >> 1;
    if (hungry !== this.hungry) {
      this.hungry = hungry;
      Atomics.store(this.words, this.status + SW_HUNGRY, hungry ? 1 : 0);
    }
    for (let p = 0; p < peers.length; p++) {
      const peer = peers[p]!;
      if (peer.in.readyNow() > 0 || peer.homeIn.readyNow() > 0) return true;
      if (peer.blocked && peer.out.used() < peer.out.capacity) return true;
    }
    return this.link !== null && this.link.dueInUs() === 0;
  }

  /** A switch port has no descriptor to poll: its thread sleeps on the bell. */
  wait(): void {}

  held(): number {
    let n = this.link === null ? 0 : this.link.held();
    for (let p = 0; p < this.peers.length; p++) n += this.peers[p]!.in.readyNow();
    return n;
  }

  /** Ring index stores so far. */
  publishes(): number {
    let n = 0;
    for (const p of this.peers) n += p.publishes();
    return n;
  }

  /** Gives back all frames that wait here and leaves for good. Frames its own runtime still holds stay theirs. */
  detach(): void {
    if (Atomics.load(this.words, this.status + SW_STATE) === SW_CLOSED) return;
    while (this.pull(this.scratch, 0, 1) === 1) {
      this.drops[DROP_CLOSING]!++;
      this.freeTrain(this.scratch[D_FRAME]!);
    }
    if (this.link !== null) {
      this.drops[DROP_CLOSING]! += this.link.held();
      this.link.drain();
    }
    this.takeHome();
    this.flush();
    Atomics.store(this.words, this.status + SW_STATE, SW_CLOSED);
    for (const p of this.peers) p.ring();
  }
}
