/** What a switch port knows of another one: the four rings between them, its status, its bell. */
import { Doorbell } from '../rings/doorbell.ts';
import type { RingEventfd } from '../rings/doorbell.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { RingConsumer, RingProducer } from '../rings/spsc.ts';
import * as switchNumbers from './switch.ts';
import { bellWord, senderBellWord, statusWord } from './switch.ts';
import type { SwitchOwn } from './switch.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { F_BAD, F_CSUM_OK, F_CSUM_PARTIAL, F_IPCSUM_OK, F_MULTICAST, F_PARSED, F_REDIRECTED, F_TRAIN, F_TX, F_VLAN } = layoutNumbers;
const { SW_HUNGRY, SW_SENDER_BELL, SW_WANT_ROOM } = switchNumbers;

// hot: per packet
/**
 * What the receiver of a frame may believe: memory vouches for what a stack of this process wrote (F_TX) and for what a
 * provider vouched for before; without `vouch` the receiver verifies everything. Word 5: gsoSize stays.
 */
export function rxFlags(flags: number, vouch: boolean): number {
  if (!vouch) return flags & (0xffff0000 | F_TRAIN | F_VLAN);
  let f = flags & ~(F_TX | F_REDIRECTED | F_BAD | F_MULTICAST);
  if ((f & F_CSUM_PARTIAL) !== 0) f |= F_CSUM_OK;
  if ((flags & F_TX) !== 0 && (f & F_PARSED) !== 0) f |= F_IPCSUM_OK;
  return f;
}

/** All other ports, in order. */
export function peersOf(own: SwitchOwn, words: Int32Array, ringEventfd: RingEventfd | undefined): Peer[] {
  const peers: Peer[] = [];
  for (let i = 0; i < own.ports; i++) if (i !== own.index) peers.push(new Peer(own, i, words, ringEventfd));
  return peers;
}

export class Peer {
  readonly id: number;
  /** Pair rings. */
  readonly out: RingProducer;
  readonly in: RingConsumer;
  /** Frames going home to the peer, and ours coming home from it. */
  readonly homeOut: RingProducer;
  readonly homeIn: RingConsumer;
  readonly macHi: number;
  readonly macLo: number;
  /** Queues of the port it belongs to, and which of them it is. */
  readonly queues: number;
  readonly queue: number;
  /** Another queue of our own port: frames come home from it, nothing is sent to it. */
  readonly sibling: boolean;
  /** Word of its status line; of our "want room" word for it. */
  readonly status: number;
  readonly weWantRoom: number;
  closed = false;
  /** Its ring was full when last tried. */
  blocked = false;
  /** Our end as consumer of `out`, once the peer is closed. */
  reclaim: RingConsumer | null = null;
  /** Since the last flush: put on `out`, put on `homeOut`. */
  sent = false;
  returned = false;
  private readonly words: Int32Array;
  private readonly bell: Doorbell;
  /** Of its sending half, where that is a thread of its own. */
  private readonly senderBell: Doorbell;
  private readonly itWantsRoom: number;

  constructor(own: SwitchOwn, id: number, words: Int32Array, ringEventfd: RingEventfd | undefined) {
    const to = own.index * own.ports + id;
    const from = id * own.ports + own.index;
    this.id = id;
    this.words = words;
    this.out = new RingProducer(words, own.pair[to]!);
    this.in = new RingConsumer(words, own.pair[from]!);
    this.homeOut = new RingProducer(words, own.home[to]!);
    this.homeIn = new RingConsumer(words, own.home[from]!);
    this.bell = new Doorbell(words, bellWord(id), ringEventfd);
    this.senderBell = new Doorbell(words, senderBellWord(id), ringEventfd);
    const place = own.siblings[id]!;
    this.queues = place.count;
    this.queue = id - place.first;
    this.sibling = place.first === own.siblings[own.index]!.first;
    this.macHi = own.macs[id * 2]!;
    this.macLo = own.macs[id * 2 + 1]!;
    this.status = statusWord(id);
    this.itWantsRoom = statusWord(id) + SW_WANT_ROOM + own.index;
    this.weWantRoom = statusWord(own.index) + SW_WANT_ROOM + id;
  }

  // hot: per burst
  /** Publishes what was put and taken; rings for new frames, for room it waits for, and for frames it is short of. */
  flush(): void {
    let news = this.sent;
    if (this.sent) {
      this.sent = false;
      this.out.flush();
    }
    if (this.returned) {
      this.returned = false;
      this.homeOut.flush();
      if (Atomics.load(this.words, this.status + SW_HUNGRY) !== 0) news = true;
    }
    if (this.words[this.itWantsRoom] !== 0) this.in.flush();
    if (this.in.ease()) {
      if (Atomics.load(this.words, this.itWantsRoom) !== 0) {
        Atomics.store(this.words, this.itWantsRoom, 0);
        if (Atomics.load(this.words, this.status + SW_SENDER_BELL) !== 0) this.senderBell.ring();
        else news = true;
      }
    }
    this.homeIn.ease();
    if (news) this.bell.ring();
  }

  /** Leaving: nobody publishes what `flush` has put off any more. */
  settle(): void {
    this.in.flush();
    this.homeIn.flush();
  }

  ring(): void {
    this.bell.ring();
    this.senderBell.ring();
  }

  publishes(): number {
    return this.out.publishes + this.in.publishes + this.homeOut.publishes + this.homeIn.publishes;
  }
}
