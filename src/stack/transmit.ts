/**
 * The way out: frames from credit, Ethernet and IPv4 headers, one batch of descriptors and one list of payload copies.
 * The batch goes to the port's tx ring when it is full and when the breath ends, through one `emit` burst if there is
 * payload to gather or work the port leaves to us. Nothing is started that the ring might have no room for: a train is
 * counted as the segments it may be cut into.
 *
 * TCP writes through `ready` / `take` / `header` / `copy` / `append`; everybody else through Ipv4Out.
 */
import * as counterIndex from '../rings/counters.ts';
import type { FrameTable } from '../rings/frameTable.ts';
import * as hostStateNumbers from '../rings/hostState.ts';
import type { HostView } from '../rings/hostState.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { WorkerPort } from '../rings/portRings.ts';
import type { RingProducer } from '../rings/spsc.ts';
import * as ethernetNumbers from '../wire/ethernet.ts';
import { setEthernet } from '../wire/ethernet.ts';
import * as ipv4Numbers from '../wire/ipv4.ts';
import { setIpv4 } from '../wire/ipv4.ts';
import { COPY_FROM_ARENA, COPY_WORDS, NATIVE_COPY_MIN, WORK_CUT } from './env.ts';
import type { StackConfig, StackEnv } from './env.ts';
import type { Neighbor } from './neighbor.ts';
import { arenaMemory, copyWords, packetMemory } from './wordCopy.ts';
import type { Memory } from './wordCopy.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_TRAINS_TX, C_TX_BURSTS, C_TX_BYTES, C_TX_BYTES_COPIED, C_TX_PACKETS } = counterIndex;
const { NB_FAILED, NB_REACHABLE } = hostStateNumbers;
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
  F_BAD,
  F_PARSED,
  F_TRAIN,
  F_TX,
  GENERATION_MASK,
  TRAIN_LINKS_MAX,
} = layoutNumbers;
const { ETHERTYPE_IPV4, LEN_ETHERNET } = ethernetNumbers;
const { LEN_IPV4 } = ipv4Numbers;

/** Bytes before L4. */
const LEN_L4_AT = LEN_ETHERNET + LEN_IPV4;
const OFFSETS = (LEN_L4_AT << 16) | (LEN_ETHERNET << 8);
/** Copy entries a batch may hold. */
const COPIES = 2048;

/** Arena words transmit takes. */
export const transmitWords = (config: StackConfig): number =>
  config.burst * DESC_WORDS + config.burst * TRAIN_LINKS_MAX * DESC_WORDS + COPIES * COPY_WORDS + 3 * 32;

/** How protocols beside TCP send one datagram. */
export interface Ipv4Out {
  /** L4 byte offset in packet memory of the datagram just started. */
  l4: number;
  /** Starts a single-frame datagram to `dst` with `lengthBytes` of L4; headers written, next hop looked up. Frame id, or -1 no credit/room, -2 no route. */
  start(dst: number, protocol: number, lengthBytes: number): number;
  /** Finishes it: descriptor appended, or handed to the neighbour queue while the next hop is unresolved. `flags`: F_* of the descriptor, e.g. F_CSUM_OK. */
  finish(frameId: number, flags: number): void;
}

export class Transmit implements Ipv4Out {
  l4 = 0;
  /** Descriptors handed to the ring since the last `takeSent`. */
  private sent = 0;
  private readonly env: StackEnv;
  /** Of env, without the way there. */
  private readonly port: WorkerPort;
  private readonly frames: FrameTable;
  private readonly tx: RingProducer;
  private readonly host: HostView;
  private readonly neighbor: Neighbor;
  private readonly words: Int32Array;
  private readonly arena: Memory;
  private readonly packets: Memory;
  private readonly counted: Float64Array;
  private readonly batchMax: number;
  private readonly descAt: number;
  private readonly cutAt: number;
  private readonly copyAt: number;
  private count = 0;
  private trains = 0;
  private copies = 0;
  /** Ring slots the batch may come to need. */
  private slots = 0;
  private ident: number;
  private startedHop = 0;
  private startedBytes = 0;
  private startedResolved = false;
  /** For neighbor.poll, made once. */
  readonly emitWaiting: (frameId: number, lengthBytes: number, flags: number) => boolean;

  constructor(env: StackEnv, neighbor: Neighbor) {
    this.env = env;
    this.port = env.port;
    this.frames = env.port.frames;
    this.tx = env.port.tx;
    this.host = env.host;
    this.neighbor = neighbor;
    this.words = env.arena.i32;
    this.arena = arenaMemory(env);
    this.packets = packetMemory(env);
    this.counted = env.counters.v;
    this.batchMax = env.config.burst;
    this.descAt = env.arena.take(this.batchMax * DESC_WORDS);
    this.cutAt = env.arena.take(this.batchMax * TRAIN_LINKS_MAX * DESC_WORDS);
    this.copyAt = env.arena.take(COPIES * COPY_WORDS);
    this.ident = env.random() & 0xffff;
    this.emitWaiting = (frameId, lengthBytes, flags) => {
      if (!this.room(1, 0)) return false;
      this.append(frameId, lengthBytes, lengthBytes, flags, 0, 1, 0, 0);
      return true;
    };
  }

  // hot: per packet
  /** Whether a descriptor of `links` frames that we hold already fits. */
  private room(links: number, copies: number): boolean {
    if (this.count === this.batchMax || this.copies + copies > COPIES) this.flush();
    const want = this.slots + links;
    return this.tx.room(want) >= want;
  }

  // hot: per packet
  /** Whether `links` frames can be taken and sent as one descriptor with up to `copies` copy entries. */
  ready(links: number, copies: number): boolean {
    return this.room(links, copies) && this.port.credit(links) >= links;
  }

  // hot: per packet
  /** A frame, after `ready` said so. */
  take(): number {
    return this.port.takeFrame();
  }

  // hot: per packet
  /** Writes Ethernet and IPv4 headers into `f` and returns the byte offset of L4. `idents`: how many identifications to use up. */
  header(f: number, src: number, dst: number, protocol: number, l4Bytes: number, macHi: number, macLo: number, idents: number): number {
    const frames = this.frames;
    const host = this.host;
    const eth = frames.offset[f] + frames.headroom;
    setEthernet(frames.view, eth, macHi, macLo, host.ownMacHi(), host.ownMacLo(), ETHERTYPE_IPV4);
    setIpv4(frames.view, eth + LEN_ETHERNET, LEN_IPV4 + l4Bytes, this.ident, protocol, src, dst);
    this.ident = (this.ident + idents) & 0xffff;
    return eth + LEN_L4_AT;
  }

  // hot: per packet
  /** Copies `n` payload bytes from arena byte `src` to packet memory byte `dst`: small ones now, large ones in the burst. */
  copy(dst: number, src: number, n: number): void {
    this.counted[C_TX_BYTES_COPIED] += n;
    if (n > NATIVE_COPY_MIN) {
      const e = this.copyAt + this.copies++ * COPY_WORDS;
      const words = this.words;
      words[e] = dst;
      words[e + 1] = src;
      words[e + 2] = n;
      words[e + 3] = (COPY_FROM_ARENA << 16) | this.count;
      return;
    }
    copyWords(this.packets, dst, this.arena, src, n);
  }

  // hot: per packet
  /** Appends the descriptor of finished frame `f`; all links are ours and chained. Lengths count from the Ethernet header. */
  append(f: number, linear: number, total: number, flags: number, gso: number, links: number, size: number, hash: number): void {
    const frames = this.frames;
    const words = this.words;
    const d = this.descAt + this.count * DESC_WORDS;
    frames.length[f] = linear;
    if (links === 1) frames.next[f] = -1;
    else {
      this.trains++;
      this.counted[C_TRAINS_TX]++;
    }
    words[d + D_FRAME] = f;
    words[d + D_DATA] = (frames.headroom << 16) | linear;
    words[d + D_TOTAL] = total;
    words[d + D_REGION_GEN] = (frames.region << 16) | (frames.generation[f] & GENERATION_MASK);
    words[d + D_OFFSETS] = OFFSETS;
    words[d + D_FLAGS_GSO] = (gso << 16) | flags | F_TX | F_PARSED | (links > 1 ? F_TRAIN : 0);
    words[d + D_SEGS_VLAN] = (size << 16) | links;
    words[d + D_HASH] = hash;
    this.count++;
    this.slots += links;
    this.counted[C_TX_PACKETS]++;
    this.counted[C_TX_BYTES] += total;
  }

  // hot: per burst
  /** Gathers, completes, cuts, and hands the batch to the tx ring (published by its own rule, and by the driver's flush). */
  flush(): void {
    if (this.count === 0) return;
    const env = this.env;
    const work = this.trains > 0 ? env.txWork : env.txWork & ~WORK_CUT;
    let at = this.descAt;
    let n = this.count;
    if (this.copies > 0 || work !== 0) {
      if ((work & WORK_CUT) !== 0) at = this.cutAt;
      n = env.bursts.emit(this.descAt, n, this.copyAt, this.copies, work, at);
    }
    this.count = 0;
    this.copies = 0;
    this.trains = 0;
    this.slots = 0;
    this.counted[C_TX_BURSTS]++;
    this.sent += n;
    this.push(at, n);
  }

  // hot: per burst
  private push(at: number, n: number): void {
    const port = this.port;
    const tx = this.tx;
    const words = this.words;
    const into = tx.words;
    const owner = this.frames.owner;
    const next = this.frames.next;
    const inRings = port.inRings;
    for (let i = 0; i < n; i++, at += DESC_WORDS) {
      if ((words[at + D_FLAGS_GSO] & F_BAD) !== 0) {
        this.counted[C_DROP + words[at + D_HASH]]++;
        port.freeTrain(words[at + D_FRAME]);
        continue;
      }
      for (let f = words[at + D_FRAME]; f >= 0; f = next[f]) owner[f] = inRings;
      tx.room(1);
      const s = tx.slot(0);
      // Plain: a loop over DESC_WORDS. Written out as in switchPort.ts, which says what that saves.
      into[s] = words[at];
      into[s + 1] = words[at + 1];
      into[s + 2] = words[at + 2];
      into[s + 3] = words[at + 3];
      into[s + 4] = words[at + 4];
      into[s + 5] = words[at + 5];
      into[s + 6] = words[at + 6];
      into[s + 7] = words[at + 7];
      tx.put(1);
    }
  }

  /** Descriptors sent since the last call. */
  takeSent(): number {
    const n = this.sent;
    this.sent = 0;
    return n;
  }

  /** Whether the ring, not credit, is what output waits for. */
  ringFull(): boolean {
    return this.tx.room(1) < 1;
  }

  start(dst: number, protocol: number, lengthBytes: number): number {
    const { host, port } = this.env;
    if (LEN_L4_AT + lengthBytes > port.frames.frameBytes - port.frames.headroom) return -1;
    // 255.255.255.255 is on this link whatever the prefix says.
    const hop = dst === -1 ? dst : host.nextHop(dst);
    if (hop === 0) return -2;
    const state = this.neighbor.resolve(hop);
    if (state === NB_FAILED) return -2;
    if (!this.ready(1, 0)) return -1;
    const f = this.take();
    const known = state === NB_REACHABLE;
    port.frames.next[f] = -1;
    this.l4 = this.header(
      f,
      host.address(),
      dst,
      protocol,
      lengthBytes,
      known ? this.neighbor.macHi : 0,
      known ? this.neighbor.macLo : 0,
      1,
    );
    this.startedHop = hop;
    this.startedBytes = LEN_L4_AT + lengthBytes;
    this.startedResolved = known;
    return f;
  }

  finish(frameId: number, flags: number): void {
    if (this.startedResolved) this.append(frameId, this.startedBytes, this.startedBytes, flags, 0, 1, 0, 0);
    else this.neighbor.wait(this.startedHop, frameId, this.startedBytes, flags);
  }
}
