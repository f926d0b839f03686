/**
 * `inspect`, the reference: every received frame is checked once, here, and what follows trusts word 4 and the flags.
 * Lengths first (Ethernet, RFC 791 section 3.1, RFC 9293 section 3.1, RFC 768, RFC 792), then the IPv4 header checksum, then
 * the L4 checksum unless somebody vouches for it. Bytes behind the IPv4 datagram (Ethernet padding) are cut off the descriptor.
 */
import * as dropReasons from '../../rings/drops.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../checksum.ts';
import * as ethernetNumbers from '../ethernet.ts';
import * as ipv4Numbers from '../ipv4.ts';
import { Coalescer } from './coalesce.ts';
import type { BurstMemory } from './memory.ts';
import { sumBytes, sumChain } from './sum.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const {
  DROP_BAD_DESCRIPTOR,
  DROP_ICMP,
  DROP_IP_CHECKSUM,
  DROP_IP_HEADER,
  DROP_L4_CHECKSUM,
  DROP_NONE,
  DROP_TCP_HEADER,
  DROP_TRUNCATED,
  DROP_UDP_HEADER,
} = dropReasons;
const {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_HASH,
  D_OFFSETS,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_BAD,
  F_CSUM_OK,
  F_FRAGMENT,
  F_ICMP,
  F_IPCSUM_OK,
  F_MULTICAST,
  F_PARSED,
  F_TCP,
  F_TRAIN,
  F_UDP,
  F_VLAN,
} = layoutNumbers;
const { ETHERTYPE_IPV4, ETHERTYPE_VLAN, LEN_ETHERNET } = ethernetNumbers;
const { LEN_IPV4, PROTO_ICMP, PROTO_TCP, PROTO_UDP } = ipv4Numbers;

/** Flags that `inspect` decides anew; the others are kept as the port wrote them. */
const DECIDED = F_PARSED | F_TCP | F_UDP | F_ICMP | F_FRAGMENT | F_MULTICAST | F_BAD;
const LEN_ICMP = 8;

export class Inspector {
  private readonly m: BurstMemory;
  private readonly coalescer: Coalescer;

  constructor(m: BurstMemory) {
    this.m = m;
    this.coalescer = new Coalescer(m);
  }

  // hot: per burst
  inspect(at: number, n: number, coalesce: number): number {
    const m = this.m;
    if (!m.listFits(at, n, DESC_WORDS)) return 0;
    const w = m.words;
    const end = at + n * DESC_WORDS;
    let out = at;
    this.coalescer.begin();
    for (let d = at; d < end; d += DESC_WORDS) {
      w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! & ~DECIDED;
      const reason = this.ethernet(d);
      if (reason !== DROP_NONE) {
        w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | F_BAD;
        w[d + D_HASH] = reason;
      } else if (coalesce === 1 && this.coalescer.absorb(d, out)) continue;
      if (out !== d) for (let i = 0; i < DESC_WORDS; i++) w[out + i] = w[d + i]!;
      out += DESC_WORDS;
    }
    return (out - at) / DESC_WORDS;
  }

  // hot: per packet
  /** Descriptor, Ethernet and VLAN tag (IEEE 802.1Q); then by EtherType. */
  private ethernet(d: number): number {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const eth = m.believe(d);
    if (eth < 0) return DROP_BAD_DESCRIPTOR;
    const linear = w[d + D_DATA]! & 0xffff;
    const train = (w[d + D_FLAGS_GSO]! & F_TRAIN) !== 0;
    if (train ? !m.chainSound(d) : w[d + D_TOTAL] !== linear) return DROP_BAD_DESCRIPTOR;
    if (linear < LEN_ETHERNET) return DROP_TRUNCATED;
    let flags = F_PARSED;
    if ((v.getUint8(eth) & 1) !== 0) flags |= F_MULTICAST;
    let l3 = LEN_ETHERNET;
    let type = v.getUint16(eth + 12);
    if (type === ETHERTYPE_VLAN) {
      if (linear < LEN_ETHERNET + 4) return DROP_TRUNCATED;
      w[d + D_SEGS_VLAN] = (v.getUint16(eth + 14) << 16) | (w[d + D_SEGS_VLAN]! & 0xffff);
      flags |= F_VLAN;
      type = v.getUint16(eth + 16);
      l3 = LEN_ETHERNET + 4;
    }
    w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | flags;
    w[d + D_OFFSETS] = l3 << 8;
    return type === ETHERTYPE_IPV4 ? this.ipv4(d, eth, l3) : DROP_NONE;
  }

  // hot: per packet
  private ipv4(d: number, eth: number, l3: number): number {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const ip = eth + l3;
    const linear = w[d + D_DATA]! & 0xffff;
    const train = (w[d + D_FLAGS_GSO]! & F_TRAIN) !== 0;
    if (linear < l3 + LEN_IPV4) return DROP_TRUNCATED;
    const ihl = (v.getUint8(ip) & 15) << 2;
    const ipLen = v.getUint16(ip + 2);
    if (v.getUint8(ip) >> 4 !== 4 || ihl < LEN_IPV4 || ipLen < ihl) return DROP_IP_HEADER;
    if (linear < l3 + ihl || w[d + D_TOTAL]! < l3 + ipLen) return DROP_TRUNCATED;
    if (train && w[d + D_TOTAL] !== l3 + ipLen) return DROP_IP_HEADER;
    if ((w[d + D_FLAGS_GSO]! & F_IPCSUM_OK) === 0) {
      if (sumBytes(m, ip, ihl) !== 0xffff) return DROP_IP_CHECKSUM;
      w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | F_IPCSUM_OK;
    }
    const l4 = l3 + ihl;
    w[d + D_OFFSETS] = (l4 << 16) | (l3 << 8);
    if (!train && linear !== l3 + ipLen) {
      w[d + D_DATA] = (w[d + D_DATA]! & ~0xffff) | (l3 + ipLen);
      w[d + D_TOTAL] = l3 + ipLen;
    }
    if ((v.getUint16(ip + 6) & 0x3fff) !== 0) {
      w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | F_FRAGMENT;
      return train ? DROP_BAD_DESCRIPTOR : DROP_NONE;
    }
    const proto = v.getUint8(ip + 9);
    if (proto === PROTO_TCP) return this.tcp(d, eth, l4, ipLen - ihl);
    if (proto === PROTO_UDP) return this.udp(d, eth, l4, ipLen - ihl);
    if (train) return DROP_BAD_DESCRIPTOR;
    return proto === PROTO_ICMP ? this.icmp(d, eth + l4, ipLen - ihl) : DROP_NONE;
  }

  // hot: per packet
  private tcp(d: number, eth: number, l4: number, len: number): number {
    const linear = this.m.words[d + D_DATA]! & 0xffff;
    if (len < 20 || linear < l4 + 20) return DROP_TCP_HEADER;
    const doff = (this.m.packetView.getUint8(eth + l4 + 12) >> 4) << 2;
    if (doff < 20 || doff > len || linear < l4 + doff) return DROP_TCP_HEADER;
    return this.verify(d, eth, l4, len, l4 + doff, F_TCP);
  }

  // hot: per packet
  /** The UDP length may be less than what IP carries (RFC 768); the checksum covers it alone, and 0 means none was made. */
  private udp(d: number, eth: number, l4: number, len: number): number {
    const v = this.m.packetView;
    const linear = this.m.words[d + D_DATA]! & 0xffff;
    if (len < 8 || linear < l4 + 8) return DROP_UDP_HEADER;
    const udpLen = v.getUint16(eth + l4 + 4);
    if (udpLen < 8 || udpLen > len) return DROP_UDP_HEADER;
    if (v.getUint16(eth + l4 + 6) === 0 && (this.m.words[d + D_FLAGS_GSO]! & F_TRAIN) === 0) {
      this.m.words[d + D_FLAGS_GSO] = this.m.words[d + D_FLAGS_GSO]! | F_UDP;
      return DROP_NONE;
    }
    return this.verify(d, eth, l4, udpLen, l4 + 8, F_UDP);
  }

  // hot: per packet
  /** TCP and UDP: the links of a train in their frames, then the checksum with its pseudo-header. `pay`: of link 0, from Ethernet. */
  private verify(d: number, eth: number, l4: number, len: number, pay: number, kind: number): number {
    const m = this.m;
    const w = m.words;
    const v = m.packetView;
    const linear = w[d + D_DATA]! & 0xffff;
    const flags = w[d + D_FLAGS_GSO]!;
    const payInFrame = (w[d + D_DATA]! >>> 16) + pay;
    const train = (flags & F_TRAIN) !== 0;
    if (train && !m.linksFit(d, payInFrame)) return DROP_BAD_DESCRIPTOR;
    if ((flags & F_CSUM_OK) === 0) {
      const ip = eth + ((w[d + D_OFFSETS]! >> 8) & 0xff);
      const pseudo = pseudoSum4(v.getInt32(ip + 12), v.getInt32(ip + 16), v.getUint8(ip + 9), len);
      const sum = train ? sumChain(m, eth + l4, len, linear - l4, w[d + D_FRAME]!, payInFrame) : sumBytes(m, eth + l4, len);
      if (fold(pseudo + sum) !== 0xffff) return DROP_L4_CHECKSUM;
    }
    w[d + D_FLAGS_GSO] = flags | F_CSUM_OK | kind;
    return DROP_NONE;
  }

  // hot: per packet
  private icmp(d: number, icmp: number, len: number): number {
    const w = this.m.words;
    if (len < LEN_ICMP) return DROP_ICMP;
    if ((w[d + D_FLAGS_GSO]! & F_CSUM_OK) === 0 && sumBytes(this.m, icmp, len) !== 0xffff) return DROP_L4_CHECKSUM;
    w[d + D_FLAGS_GSO] = w[d + D_FLAGS_GSO]! | F_CSUM_OK | F_ICMP;
    return DROP_NONE;
  }
}
