/**
 * A switch port on its broker's thread (see switch.ts for the whole). Time is what `tick(nowUs)` says: no clock of its own.
 */
import type { RingEventfd } from '../rings/doorbell.ts';
import * as dropReasons from '../rings/drops.ts';
import { FrameTable, frameValid, markFree, settleFrame, settleTrain, sweepHost } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { checkHeader } from '../rings/layout.ts';
import { succeedConsumer, succeedProducer } from '../rings/succession.ts';
import { countLinks } from './frameCopy.ts';
import { impairs, Link } from './impairment.ts';
import type { Port, PortAttachment, PortCaps } from './port.ts';
import * as switchNumbers from './switch.ts';
import { statusWord } from './switch.ts';
import type { SwitchOwn } from './switch.ts';
import { type Peer, peersOf } from './switchPeer.ts';
import { SwitchSender } from './switchSender.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DROP_BAD_DESCRIPTOR, DROP_CLOSING, DROP_REASONS } = dropReasons;
const {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_REGION_GEN,
  DESC_WORDS,
  F_TRAIN,
  KIND_RINGS,
  OWNER_BROKER,
  OWNER_FREE,
  OWNER_RING,
  TRAIN_LINKS_MAX,
} = layoutNumbers;
const { SW_ATTACHED, SW_CLOSED, SW_HUNGRY, SW_STATE } = switchNumbers;

export interface SwitchHooks {
  /** Writes to a peer's eventfd, where it sleeps in poll(2). */
  ringEventfd?: RingEventfd;
}

/**
 * Attaches a port of a switch on the thread that runs its broker; `sends`: false where a transmitter has the sending half. Throws
 * when that port was detached before.
 */
export function attachSwitchPort(attachment: PortAttachment, hooks: SwitchHooks = {}, sends = true): SwitchPort {
  return new SwitchPort(attachment, hooks, sends);
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
  /** The sending half; null where a transmitter has it. */
  private readonly sender: SwitchSender | null;
  private readonly empty: Int32Array;
  private top = 0;
  private turn = 0;
  private hungry = false;
  private lastUs = 0;
  private ticked = false;
  private readonly scratch = new Int32Array(DESC_WORDS);

  constructor(a: PortAttachment, hooks: SwitchHooks, sends: boolean) {
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
    const inherited = Atomics.load(this.words, this.status + SW_STATE) === SW_ATTACHED;
    if (inherited) this.succeed(own);
    this.peers = peersOf(own, this.words, hooks.ringEventfd);
    this.sender = sends ? new SwitchSender(a, this.frames, this.words, this.peers, this, this.drops) : null;
    this.link = impairs(own.impair) ? new Link(this.frames, own.impair, own.index, this) : null;
    this.empty = new Int32Array(a.frameCount);
    for (let f = a.frameFirst + a.frameCount - 1; f >= a.frameFirst; f--)
      if (this.frames.owner[f] === OWNER_FREE) this.empty[this.top++] = f;
    Atomics.store(this.words, this.status + SW_STATE, SW_ATTACHED);
    if (!inherited) return;
    sweepHost(this.frames, (f) => this.free(f));
    this.flush();
    for (const p of this.peers) p.ring();
  }

  /**
   * The thread that had this port died without detaching. What it was handing to peers is theirs; what it was taking from them
   * is ours, to be swept. Peers notice nothing.
   */
  private succeed(own: SwitchOwn): void {
    const { words, frames } = this;
    const mine = OWNER_BROKER | frames.hostBits;
    for (let peer = 0; peer < own.ports; peer++) {
      if (peer === own.index) continue;
      const to = own.index * own.ports + peer;
      const from = peer * own.ports + own.index;
      succeedProducer(words, own.pair[to]!, (s) => settleTrain(frames, words[s + D_FRAME]!, OWNER_RING, 0));
      succeedProducer(words, own.home[to]!, (s) => settleFrame(frames, words[s]!, OWNER_RING, 0));
      succeedConsumer(words, own.pair[from]!, (s) => {
        if (frameValid(frames, words[s + D_FRAME]!, words[s + D_REGION_GEN]!)) settleTrain(frames, words[s + D_FRAME]!, mine, OWNER_RING);
      });
      succeedConsumer(words, own.home[from]!, (s) => settleFrame(frames, words[s]!, mine, OWNER_RING));
    }
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
  txBurst(desc: Int32Array, at: number, n: number): number {
    return this.sender === null ? 0 : this.sender.txBurst(desc, at, n);
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
    markFree(this.frames, f);
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
    if (elapsed > 0 && this.link !== null) this.link.advance(elapsed);
    this.takeHome();
    if (this.sender !== null) this.sender.tick(elapsed);
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
    const us = this.link === null ? -1 : this.link.dueInUs();
    const dead = this.sender === null ? -1 : this.sender.nextUs();
    return us < 0 || (dead >= 0 && dead < us) ? dead : us;
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
    }
    if (this.sender?.roomCameBack() === true) return true;
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
    for (const p of this.peers) p.settle();
    this.flush();
    Atomics.store(this.words, this.status + SW_STATE, SW_CLOSED);
    for (const p of this.peers) p.ring();
  }
}
