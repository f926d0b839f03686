/**
 * `emit`, the reference: payload is gathered into frames, then what the port cannot do is done here: checksums completed,
 * trains cut into the segments they stand for (what a NIC calls TSO).
 *
 * A cut writes link 0's header in front of each link's payload: sequence advanced, IPv4 identification counted up, lengths
 * and checksums its own, CWR only on the first (RFC 3168 section 6.1.2), PSH and FIN only on the last.
 */
import * as burstsNumbers from '../../rings/bursts.ts';
import * as dropReasons from '../../rings/drops.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../checksum.ts';
import * as ipv4Numbers from '../ipv4.ts';
import * as tcpNumbers from '../tcp.ts';
import { moveBytes, runCopies } from './copy.ts';
import type { BurstMemory } from './memory.ts';
import { sumBytes, sumChain } from './sum.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { WORK_CSUM, WORK_CUT } = burstsNumbers;
const { DROP_BAD_DESCRIPTOR } = dropReasons;
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
  F_CSUM_OK,
  F_CSUM_PARTIAL,
  F_TRAIN,
  GENERATION_MASK,
} = layoutNumbers;
const { PROTO_TCP, PROTO_UDP } = ipv4Numbers;
const { CWR, FIN, PSH } = tcpNumbers;

export class Emitter {
  private readonly m: BurstMemory;

  constructor(m: BurstMemory) {
    this.m = m;
  }

  // hot: per burst
  emit(at: number, n: number, copyAt: number, copies: number, work: number, outAt: number): number {
    const m = this.m;
    if (copies !== 0) runCopies(m, copyAt, copies);
    if (!m.listFits(at, n, DESC_WORDS) || !m.listFits(outAt, 0, DESC_WORDS)) return 0;
    const w = m.words;
    const end = at + n * DESC_WORDS;
    const limit = w.length - DESC_WORDS;
    let out = outAt;
    for (let d = at; d < end; d += DESC_WORDS) {
      if (out > limit) {
        m.bad++;
        break;
      }
      const flags = w[d + D_FLAGS_GSO]!;
      if ((flags & F_TRAIN) !== 0 && (work & WORK_CUT) !== 0) {
        out += this.cut(d, out, work) * DESC_WORDS;
        continue;
      }
      if ((flags & F_CSUM_PARTIAL) !== 0 && (work & WORK_CSUM) !== 0) this.complete(d);
      if (out !== d) for (let i = 0; i < DESC_WORDS; i++) w[out + i] = w[d + i]!;
      out += DESC_WORDS;
    }
    return (out - outAt) / DESC_WORDS;
  }

  // hot: per packet
  private refuse(d: number): void {
    const w = this.m.words;
    w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | F_BAD;
    w[d + D_HASH] = DROP_BAD_DESCRIPTOR;
  }

  // hot: per packet
  /** Bytes from the Ethernet header to the payload, as word 4 and the TCP header say; 0 when they cannot be right. */
  private headers(d: number, eth: number): number {
    const w = this.m.words;
    const v = this.m.packetView;
    const l3 = (w[d + D_OFFSETS]! >> 8) & 0xff;
    const l4 = w[d + D_OFFSETS]! >>> 16;
    const linear = w[d + D_DATA]! & 0xffff;
    if (l3 < 14 || l4 < l3 + 20 || linear < l4 + 8) return 0;
    const proto = v.getUint8(eth + l3 + 9);
    if (proto === PROTO_UDP) return l4 + 8;
    if (proto !== PROTO_TCP || linear < l4 + 20) return 0;
    const doff = (v.getUint8(eth + l4 + 12) >> 4) << 2;
    return doff < 20 || linear < l4 + doff ? 0 : l4 + doff;
  }

  // hot: per packet
  /** The field holds the folded pseudo-header sum: the sum over all of L4 is then the whole sum (RFC 9293 section 3.1, RFC 768). */
  private complete(d: number): void {
    const m = this.m;
    const w = m.words;
    const eth = m.believe(d);
    const hdr = eth < 0 ? 0 : this.headers(d, eth);
    const train = (w[d + D_FLAGS_GSO]! & F_TRAIN) !== 0;
    const linear = w[d + D_DATA]! & 0xffff;
    const pay = (w[d + D_DATA]! >>> 16) + hdr;
    if (hdr === 0 || (train ? !m.chainSound(d) || !m.linksFit(d, pay) : w[d + D_TOTAL] !== linear)) {
      this.refuse(d);
      return;
    }
    const l4 = w[d + D_OFFSETS]! >>> 16;
    const len = w[d + D_TOTAL]! - l4;
    const sum = train ? sumChain(m, eth + l4, len, linear - l4, w[d + D_FRAME]!, pay) : sumBytes(m, eth + l4, len);
    const udp = m.packetView.getUint8(eth + ((w[d + D_OFFSETS]! >> 8) & 0xff) + 9) === PROTO_UDP;
    const field = ~sum & 0xffff;
    m.packetView.setUint16(eth + l4 + (udp ? 6 : 16), udp && field === 0 ? 0xffff : field);
    w[d + D_FLAGS_GSO] = (w[d + D_FLAGS_GSO]! & ~F_CSUM_PARTIAL) | F_CSUM_OK;
  }

  // hot: per packet
  /** Writes one descriptor a link at `out` and returns how many; 1, refused, when the train is not to be believed. */
  private cut(d: number, out: number, work: number): number {
    const m = this.m;
    const w = m.words;
    const eth = m.believe(d);
    const hdr = eth < 0 ? 0 : this.headers(d, eth);
    const l3 = (w[d + D_OFFSETS]! >> 8) & 0xff;
    const data = w[d + D_DATA]!;
    const ok = hdr !== 0 && m.packetView.getUint8(eth + l3 + 9) === PROTO_TCP && m.chainSound(d) && m.linksFit(d, (data >>> 16) + hdr);
    if (!ok || out > w.length - this.links(d) * DESC_WORDS) {
      this.refuse(d);
      for (let i = 0; i < DESC_WORDS; i++) w[out + i] = w[d + i]!;
      return 1;
    }
    const flagsGso = w[d + D_FLAGS_GSO]! & 0xffff & ~F_TRAIN;
    const segs = (w[d + D_SEGS_VLAN]! & ~0xffff) | 1;
    const offsets = w[d + D_OFFSETS]!;
    const region = w[d + D_REGION_GEN]! & ~GENERATION_MASK;
    const hash = w[d + D_HASH]!;
    let done = 0;
    let count = 0;
    // Link 0 is written last: the others take their header from it.
    const first = w[d + D_FRAME]!;
    const firstLen = (data & 0xffff) - hdr;
    for (let f = first, n = firstLen; f !== -1; count++) {
      const next = m.next[f]!;
      const o = out + count * DESC_WORDS;
      const to = m.offset[f]! + (data >>> 16);
      if (f !== first) moveBytes(m.packet, to, m.packet, eth, hdr);
      w[o + D_FRAME] = f;
      w[o + D_DATA] = (data & ~0xffff) | (hdr + n);
      w[o + D_TOTAL] = hdr + n;
      w[o + D_REGION_GEN] = region | (m.generation[f]! & GENERATION_MASK);
      w[o + D_OFFSETS] = offsets;
      w[o + D_FLAGS_GSO] = flagsGso;
      w[o + D_SEGS_VLAN] = segs;
      w[o + D_HASH] = hash;
      m.next[f] = -1;
      m.length[f] = hdr + n;
      if (f !== first) this.segment(o, to, count, done, next === -1, work);
      done += n;
      f = next;
      if (f !== -1) n = m.length[f]!;
    }
    this.segment(out, eth, 0, 0, count === 1, work);
    return count;
  }

  // hot: per packet
  private links(d: number): number {
    let n = 0;
    for (let f = this.m.words[d + D_FRAME]!; f !== -1; f = this.m.next[f]!) n++;
    return n;
  }

  // hot: per packet
  /** Makes segment `k` of a train, `done` payload bytes into it, of the header copied to `eth`. */
  private segment(o: number, eth: number, k: number, done: number, last: boolean, work: number): void {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const l3 = (w[o + D_OFFSETS]! >> 8) & 0xff;
    const l4 = w[o + D_OFFSETS]! >>> 16;
    const total = w[o + D_TOTAL]!;
    const ip = eth + l3;
    const tcp = eth + l4;
    v.setUint16(ip + 2, total - l3);
    v.setUint16(ip + 4, (v.getUint16(ip + 4) + k) & 0xffff);
    v.setUint16(ip + 10, 0);
    v.setUint16(ip + 10, ~sumBytes(m, ip, l4 - l3) & 0xffff);
    v.setInt32(tcp + 4, (v.getInt32(tcp + 4) + done) | 0);
    let flags = v.getUint8(tcp + 13);
    if (k !== 0) flags &= ~CWR;
    if (!last) flags &= ~(PSH | FIN);
    v.setUint8(tcp + 13, flags);
    const pseudo = fold(pseudoSum4(v.getInt32(ip + 12), v.getInt32(ip + 16), PROTO_TCP, total - l4));
    v.setUint16(tcp + 16, pseudo);
    if ((work & WORK_CSUM) !== 0) {
      v.setUint16(tcp + 16, ~sumBytes(m, tcp, total - l4) & 0xffff);
      w[o + D_FLAGS_GSO] = (w[o + D_FLAGS_GSO]! & ~F_CSUM_PARTIAL) | F_CSUM_OK;
    } else {
      w[o + D_FLAGS_GSO] = w[o + D_FLAGS_GSO]! | F_CSUM_PARTIAL;
    }
  }
}
