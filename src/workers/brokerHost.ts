/**
 * The host state's part of a broker: ARP and what workers say of neighbours, and datagrams of the broker's own. It stands on the
 * thread that has receive queue 0; the brokers of other queues hand it what they receive for it.
 */
import type { Port } from '../ports/port.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { RingConsumer } from '../rings/spsc.ts';
import { createHost, type Host, type HostOptions } from '../stack/host.ts';
import type { FrameReturn } from './frameReturn.ts';
import type { QueueLink } from './queueLink.ts';
import type { TransmitterLink } from './transmitterLink.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_HOST_DELIVERED, C_RX_DELIVERED, C_RX_PACKETS, C_TX_BYTES, C_TX_PACKETS } = counterIndex;
const { DROP_RING_FULL_ARP } = dropReasons;
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
  F_CSUM_OK,
  F_IPCSUM_OK,
  F_TX,
  OWNER_BROKER,
} = layoutNumbers;

export interface BrokerHostEnv {
  port: Port;
  home: FrameReturn;
  link: TransmitterLink | null;
  queue: QueueLink | null;
  counters: Counters;
  /** The workers' control rings; empty where the host is elsewhere. */
  heard: readonly RingConsumer[];
  /** Each worker's bell, null where it is this thread. */
  bells: readonly (Doorbell | null)[];
  /** Where the published host state stands, and what it starts with; null where another thread has it. */
  host: Omit<HostOptions, 'takeFrame' | 'send'> | null;
}

export class BrokerHost {
  readonly host: Host | null;
  private readonly e: BrokerHostEnv;
  private readonly v: Float64Array;
  private readonly id = new Int32Array(1);
  private readonly desc = new Int32Array(DESC_WORDS);
  private epoch = 0;

  constructor(e: BrokerHostEnv) {
    this.e = e;
    this.v = e.counters.v;
    // Where there is no room to send, the host's own retries serve.
    this.host =
      e.host === null
        ? null
        : createHost({ ...e.host, takeFrame: () => this.takeFrame(), send: (f, lengthBytes) => void this.send(f, lengthBytes) });
  }

  /** An empty frame for a datagram of this thread's own, or -1. */
  takeFrame(): number {
    const { port } = this.e;
    if (port.alloc(this.id, 0, 1) !== 1) return -1;
    port.frames.owner[this.id[0]!] = OWNER_BROKER | port.frames.hostBits;
    return this.id[0]!;
  }

  /** Sends `lengthBytes` from the frame's headroom on, checksums complete, and takes the frame. False: there was no room. */
  send(f: number, lengthBytes: number): boolean {
    const { port, link, home } = this.e;
    const { frames } = port;
    const d = this.desc;
    frames.next[f] = -1;
    frames.length[f] = lengthBytes;
    d[D_FRAME] = f;
    d[D_DATA] = (frames.headroom << 16) | lengthBytes;
    d[D_TOTAL] = lengthBytes;
    d[D_REGION_GEN] = (frames.region << 16) | (frames.generation[f]! & 0xffff);
    d[D_OFFSETS] = 14 << 8;
    d[D_FLAGS_GSO] = F_TX | F_CSUM_OK | F_IPCSUM_OK;
    d[D_SEGS_VLAN] = 1;
    d[D_HASH] = 0;
    const sent = link !== null ? link.send(d, f) : port.txBurst(d, 0, 1) === 1;
    if (!sent) home.free(f);
    else if (link === null) {
      this.v[C_TX_PACKETS]!++;
      this.v[C_TX_BYTES]! += lengthBytes;
    }
    return sent;
  }

  // hot: per packet
  /** A received ARP frame, descriptor at word `at`: for the host here, or on the thread of queue 0. Takes the frame. */
  receive(desc: Int32Array, at: number, eth: number, linear: number): void {
    const v = this.v;
    const f = desc[at + D_FRAME]!;
    const host = this.host;
    const reason = host !== null ? host.input(eth, linear) : this.e.queue!.tellHost(desc, at) ? 0 : DROP_RING_FULL_ARP;
    if (reason === 0) {
      v[C_RX_DELIVERED]!++;
      v[C_HOST_DELIVERED]!++;
    } else v[C_DROP + reason]!++;
    if (host !== null || reason !== 0) this.e.home.freeTrain(f);
  }

  // hot: per burst
  /** Workers' messages, other queues' ARP, timers. Returns how many messages and frames that were. */
  pull(nowMs: number): number {
    const host = this.host;
    if (host === null) return 0;
    const heard = this.e.heard;
    let n = 0;
    for (let i = 0; i < heard.length; i++) n += this.hear(heard[i]!);
    const queue = this.e.queue;
    if (queue !== null) for (let i = 0; i < queue.hostIn.length; i++) n += this.hearQueue(queue.hostIn[i]!, host);
    host.tick(nowMs);
    return n;
  }

  // hot: per burst
  /** A worker's messages. */
  hear(c: RingConsumer): number {
    const host = this.host;
    if (host === null) return 0;
    const k = c.ready();
    for (let i = 0; i < k; i++) {
      const m = c.slot(i);
      host.message(c.words[m]!, c.words[m + 1]!);
    }
    if (k > 0) c.take(k);
    return k;
  }

  // hot: per burst
  /** ARP that another queue received: counted there, unless it is nothing. */
  private hearQueue(ring: RingConsumer, host: Host): number {
    const v = this.v;
    const frames = this.e.port.frames;
    const offset = frames.offset;
    const owner = frames.owner;
    const mine = OWNER_BROKER | frames.hostBits;
    const n = ring.ready();
    for (let i = 0; i < n; i++) {
      const s = ring.slot(i);
      const f = ring.words[s + D_FRAME]!;
      // Ours by the trace before it goes anywhere: this thread may die at any instant, the ring and the frame live on.
      ring.claiming(i);
      owner[f] = mine;
      ring.claimed(i);
      const reason = host.input(offset[f]! + (ring.words[s + D_DATA]! >>> 16), ring.words[s + D_DATA]! & 0xffff);
      if (reason !== 0) {
        v[C_RX_PACKETS]!++;
        v[C_DROP + reason]!++;
      }
      this.e.home.free(f);
    }
    if (n > 0) ring.take(n);
    return n;
  }

  // hot: per burst
  /** A neighbour that resolved, or failed, is news to every worker: some may sleep with packets that wait for it. */
  spread(): void {
    const host = this.host;
    if (host === null) return;
    const epoch = host.epoch();
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    const bells = this.e.bells;
    for (let w = 0; w < bells.length; w++) {
      const bell = bells[w];
      if (bell !== null && bell !== undefined) bell.ring();
    }
  }

  pending(): boolean {
    for (let i = 0; i < this.e.heard.length; i++) if (this.e.heard[i]!.readyNow() > 0) return true;
    return false;
  }

  nextDeadlineMs(nowMs: number): number {
    return this.host === null ? -1 : this.host.nextDeadlineMs(nowMs);
  }
}
