/**
 * GRO, the reference: consecutive in-order segments of one TCP flow become one train, segment boundaries kept, so that the
 * stack does its per-segment work once. A few flows are open at a time, so that interleaved flows merge too.
 *
 * Two segments merge when everything but sequence, payload, IP identification, PSH and checksums is the same: addresses,
 * ports, ack, window, options byte for byte (timestamps included), TOS, TTL, DF. Flags are ACK or ACK|PSH, both carry
 * payload, the second is contiguous and not longer than the first; a shorter one or PSH ends the train. Any other segment
 * of the flow closes it, so order within a flow is never changed.
 *
 * The merged frame reads as one datagram: IPv4 total length rewritten and its checksum updated (RFC 1624), PSH if the last
 * link has it, checksum field partial (folded pseudo-header sum), so that it can go out again as it is.
 */
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4, update16 } from '../checksum.ts';
import * as ipv4Numbers from '../ipv4.ts';
import * as tcpNumbers from '../tcp.ts';
import type { BurstMemory } from './memory.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_OFFSETS,
  D_SEGS_VLAN,
  D_TOTAL,
  F_CSUM_OK,
  F_CSUM_PARTIAL,
  F_MULTICAST,
  F_REDIRECTED,
  F_TCP,
  F_TRAIN,
  F_TX,
  F_VLAN,
  TRAIN_LINKS_MAX,
} = layoutNumbers;
const { PROTO_TCP } = ipv4Numbers;
const { ACK, PSH } = tcpNumbers;

/** Flows that may be open for merging at a time; the oldest gives way. */
const OPEN_MAX = 8;
const SAME_FLAGS = F_VLAN | F_MULTICAST | F_TX | F_REDIRECTED;

export class Coalescer {
  private readonly m: BurstMemory;
  /** Per open flow: word index of its descriptor in the output (-1 closed), byte offset of its Ethernet header, last link. */
  private readonly desc = new Int32Array(OPEN_MAX);
  private readonly eth = new Int32Array(OPEN_MAX);
  private readonly tail = new Int32Array(OPEN_MAX);
  private turn = 0;

  constructor(m: BurstMemory) {
    this.m = m;
  }

  // hot: per burst
  begin(): void {
    this.desc.fill(-1);
    this.turn = 0;
  }

  // hot: per packet
  /** A good descriptor at `d`, whose place in the output would be `out`. True: it is now a link of an earlier one. */
  absorb(d: number, out: number): boolean {
    const m = this.m;
    const w = m.words;
    const flags = w[d + D_FLAGS_GSO]!;
    if ((flags & F_TCP) === 0) return false;
    const eth = m.offset[w[d + D_FRAME]!]! + (w[d + D_DATA]! >>> 16);
    const slot = this.find(d, eth);
    const tcp = eth + (w[d + D_OFFSETS]! >>> 16);
    const tcpFlags = m.packetView.getUint8(tcp + 13);
    const hdr = (w[d + D_OFFSETS]! >>> 16) + ((m.packetView.getUint8(tcp + 12) >> 4) << 2);
    const pay = w[d + D_TOTAL]! - hdr;
    const plain = (flags & F_TRAIN) === 0 && (tcpFlags === ACK || tcpFlags === (ACK | PSH)) && pay > 0 && ihl20(w[d + D_OFFSETS]!);
    if (slot >= 0) {
      if (plain && this.mergeable(slot, d, eth, pay)) {
        this.merge(slot, d, pay, tcpFlags);
        return true;
      }
      this.desc[slot] = -1;
    }
    if (plain && tcpFlags === ACK) {
      const s = slot >= 0 ? slot : this.freeSlot();
      this.desc[s] = out;
      this.eth[s] = eth;
      this.tail[s] = w[d + D_FRAME]!;
    }
    return false;
  }

  // hot: per packet
  private freeSlot(): number {
    for (let s = 0; s < OPEN_MAX; s++) if (this.desc[s]! < 0) return s;
    const s = this.turn;
    this.turn = (s + 1) % OPEN_MAX;
    return s;
  }

  // hot: per packet
  /** The open flow with the same addresses and ports, or -1. */
  private find(d: number, eth: number): number {
    const w = this.m.words;
    const v = this.m.packetView;
    const ip = eth + ((w[d + D_OFFSETS]! >> 8) & 0xff);
    const tcp = eth + (w[d + D_OFFSETS]! >>> 16);
    const src = v.getInt32(ip + 12);
    const dst = v.getInt32(ip + 16);
    const ports = v.getInt32(tcp);
    for (let s = 0; s < OPEN_MAX; s++) {
      const o = this.desc[s]!;
      if (o < 0) continue;
      const ip0 = this.eth[s]! + ((w[o + D_OFFSETS]! >> 8) & 0xff);
      const tcp0 = this.eth[s]! + (w[o + D_OFFSETS]! >>> 16);
      if (v.getInt32(tcp0) === ports && v.getInt32(ip0 + 12) === src && v.getInt32(ip0 + 16) === dst) return s;
    }
    return -1;
  }

  // hot: per packet
  private mergeable(slot: number, d: number, eth: number, pay: number): boolean {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const o = this.desc[slot]!;
    const eth0 = this.eth[slot]!;
    if (w[o + D_OFFSETS] !== w[d + D_OFFSETS] || (w[o + D_DATA]! ^ w[d + D_DATA]!) >>> 16 !== 0) return false;
    if (((w[o + D_FLAGS_GSO]! ^ w[d + D_FLAGS_GSO]!) & SAME_FLAGS) !== 0 || (w[o + D_SEGS_VLAN]! ^ w[d + D_SEGS_VLAN]!) >>> 16 !== 0)
      return false;
    const l3 = (w[d + D_OFFSETS]! >> 8) & 0xff;
    const l4 = w[d + D_OFFSETS]! >>> 16;
    const ip0 = eth0 + l3;
    const ip = eth + l3;
    const tcp0 = eth0 + l4;
    const tcp = eth + l4;
    // TOS, DF and fragment word, TTL
    if (
      v.getUint8(ip0 + 1) !== v.getUint8(ip + 1) ||
      v.getUint16(ip0 + 6) !== v.getUint16(ip + 6) ||
      v.getUint8(ip0 + 8) !== v.getUint8(ip + 8)
    )
      return false;
    if (v.getInt32(tcp0 + 8) !== v.getInt32(tcp + 8) || v.getUint16(tcp0 + 14) !== v.getUint16(tcp + 14)) return false;
    const doff = (v.getUint8(tcp + 12) >> 4) << 2;
    if (v.getUint8(tcp0 + 12) !== v.getUint8(tcp + 12)) return false;
    for (let i = 20; i < doff; i += 4) if (v.getInt32(tcp0 + i) !== v.getInt32(tcp + i)) return false;
    const have = w[o + D_TOTAL]! - l4 - doff;
    const first = (w[o + D_DATA]! & 0xffff) - l4 - doff;
    if (((v.getInt32(tcp0 + 4) + have) | 0) !== v.getInt32(tcp + 4) || pay > first) return false;
    return w[o + D_TOTAL]! + pay - l3 <= 0xffff && (w[o + D_SEGS_VLAN]! & 0xffff) < TRAIN_LINKS_MAX && w[o + D_FRAME] !== w[d + D_FRAME];
  }

  // hot: per packet
  private merge(slot: number, d: number, pay: number, tcpFlags: number): void {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const o = this.desc[slot]!;
    const l3 = (w[o + D_OFFSETS]! >> 8) & 0xff;
    const l4 = w[o + D_OFFSETS]! >>> 16;
    const ip = this.eth[slot]! + l3;
    const tcp = this.eth[slot]! + l4;
    const first = w[o + D_FRAME]!;
    const f = w[d + D_FRAME]!;
    const linear = w[o + D_DATA]! & 0xffff;
    const gso = linear - l4 - ((v.getUint8(tcp + 12) >> 4) << 2);
    const segs = (w[o + D_FLAGS_GSO]! & F_TRAIN) === 0 ? 1 : w[o + D_SEGS_VLAN]! & 0xffff;
    if (segs === 1) m.length[first] = linear;
    m.next[this.tail[slot]!] = f;
    m.next[f] = -1;
    m.length[f] = pay;
    this.tail[slot] = f;
    const total = w[o + D_TOTAL]! + pay;
    w[o + D_TOTAL] = total;
    w[o + D_FLAGS_GSO] = (gso << 16) | (w[o + D_FLAGS_GSO]! & 0xffff) | F_TRAIN | F_CSUM_OK | F_CSUM_PARTIAL;
    w[o + D_SEGS_VLAN] = (w[o + D_SEGS_VLAN]! & ~0xffff) | (segs + 1);
    v.setUint16(ip + 10, update16(v.getUint16(ip + 10), v.getUint16(ip + 2), total - l3));
    v.setUint16(ip + 2, total - l3);
    v.setUint16(tcp + 16, fold(pseudoSum4(v.getInt32(ip + 12), v.getInt32(ip + 16), PROTO_TCP, total - l4)));
    if ((tcpFlags & PSH) !== 0) v.setUint8(tcp + 13, ACK | PSH);
    if (pay < gso || (tcpFlags & PSH) !== 0) this.desc[slot] = -1;
  }
}

/** IPv4 without options: L4 stands 20 bytes behind L3. */
const ihl20 = (offsets: number): boolean => (offsets >>> 16) - ((offsets >> 8) & 0xff) === 20;
