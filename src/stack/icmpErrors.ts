/**
 * ICMP errors that we send: destination unreachable (RFC 1122 section 3.2.2.1) and fragment reassembly time exceeded (section
 * 3.2.2.4), within one rate.
 *
 * None is sent about an ICMP error, a group address, a fragment that is not the first, or a source that is no host (section
 * 3.2.2): where the callers do not make sure of it, it is checked here. The quote is as much of the datagram as fits into 576
 * bytes (RFC 1812 section 4.3.2.3).
 */
import { C_ICMP_ERRORS_TX, C_ICMP_TX } from '../rings/counters.ts';
import { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, F_CSUM_OK, F_ICMP, F_MULTICAST } from '../rings/layout.ts';
import { fold, sum16 } from '../wire/checksum.ts';
import {
  CODE_PORT_UNREACHABLE,
  CODE_PROTOCOL_UNREACHABLE,
  CODE_REASSEMBLY_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  isIcmpError,
  LEN_ICMP,
  OFF_ICMP_CHECKSUM,
  type,
} from '../wire/icmp.ts';
import { dst, fragmentOffset, headerLen, LEN_IPV4, PROTO_ICMP, protocol, src, totalLength } from '../wire/ipv4.ts';
import { isNoUnicast } from './broadcast.ts';
import type { StackEnv } from './env.ts';
import { TokenBucket } from './tokenBucket.ts';
import type { Ipv4Out } from './transmit.ts';

/** As Linux's icmp_msgs_per_sec and icmp_msgs_burst. */
const ERRORS_PER_MS = 1;
const ERRORS_AT_ONCE = 50;
const QUOTE_MAX = 576 - LEN_IPV4 - LEN_ICMP;

export class IcmpErrors {
  private readonly env: StackEnv;
  private readonly out: Ipv4Out;
  private readonly rate: TokenBucket;

  constructor(env: StackEnv, out: Ipv4Out) {
    this.env = env;
    this.out = out;
    this.rate = new TokenBucket(ERRORS_PER_MS, ERRORS_AT_ONCE, env.clock[1]);
  }

  /** Nobody listens where the datagram of the descriptor at word `d` wants to go. False when the rate forbids to say so. */
  portUnreachable(d: number): boolean {
    return this.send(d, ICMP_UNREACHABLE, CODE_PORT_UNREACHABLE);
  }

  /** Nobody here speaks its protocol. False when the rate forbids to say so. */
  protocolUnreachable(d: number): boolean {
    return this.send(d, ICMP_UNREACHABLE, CODE_PROTOCOL_UNREACHABLE);
  }

  /**
   * The descriptor at word `d` is a fragment. Nothing is reassembled here, so the time for the rest of it is over at once; only
   * its first fragment may be answered (RFC 1122 section 3.3.2), since only that one says whose it was. False when the rate
   * forbids to say so.
   */
  reassemblyTimeExceeded(d: number): boolean {
    const v = this.env.port.frames.view;
    const ip = this.datagramAt(d);
    if (fragmentOffset(v, ip) !== 0) return true;
    if (protocol(v, ip) === PROTO_ICMP) {
      const header = headerLen(v, ip);
      if (totalLength(v, ip) < header + LEN_ICMP || isIcmpError(type(v, ip + header))) return true;
    }
    return this.send(d, ICMP_TIME_EXCEEDED, CODE_REASSEMBLY_TIME_EXCEEDED);
  }

  /** Byte offset of the IPv4 header in packet memory. */
  private datagramAt(d: number): number {
    const words = this.env.arena.i32;
    return this.env.port.frames.offset[words[d + D_FRAME]] + (words[d + D_DATA] >>> 16) + ((words[d + D_OFFSETS] >> 8) & 0xff);
  }

  private send(d: number, kind: number, code: number): boolean {
    const words = this.env.arena.i32;
    const v = this.env.port.frames.view;
    const l3 = (words[d + D_OFFSETS] >> 8) & 0xff;
    const ip = this.datagramAt(d);
    const { host } = this.env;
    if ((words[d + D_FLAGS_GSO] & F_MULTICAST) !== 0 || dst(v, ip) !== host.address() || isNoUnicast(host, src(v, ip))) return true;
    if (!this.rate.take(this.env.clock[1])) return false;
    const quote = Math.min(QUOTE_MAX, totalLength(v, ip), (words[d + D_DATA] & 0xffff) - l3);
    const f = this.out.start(src(v, ip), PROTO_ICMP, LEN_ICMP + quote);
    // No credit or no way back: the sender's next datagram asks again.
    if (f < 0) return true;
    const icmp = this.out.l4;
    v.setInt32(icmp, (kind << 24) | (code << 16));
    v.setInt32(icmp + 4, 0);
    for (let i = 0; i < quote; i++) v.setUint8(icmp + LEN_ICMP + i, v.getUint8(ip + i));
    v.setUint16(icmp + OFF_ICMP_CHECKSUM, ~fold(sum16(v, icmp, LEN_ICMP + quote, 0)) & 0xffff);
    this.env.counters.v[C_ICMP_TX]++;
    this.env.counters.v[C_ICMP_ERRORS_TX]++;
    this.out.finish(f, F_CSUM_OK | F_ICMP);
    return true;
  }
}
